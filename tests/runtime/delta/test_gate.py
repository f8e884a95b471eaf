"""What is no next version of a bundle, but for other frames, is refused by its manifest alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from nut_runtime.bundle import open_bundle
from nut_runtime.delta.gate import check_alike
from nut_runtime.errors import BundleError
from nut_runtime.manifest import Manifest


@pytest.fixture
def manifest(tiny_bundle, tmp_path: Path) -> Manifest:
    return open_bundle(tiny_bundle(tmp_path / "bundle", {"model.onnx": b"x"}, "nuts-1")).manifest


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        pytest.param(None, (48, 64), "nuts-1 takes any frame and nuts-1 only frames of 64x48 px", id="from-any"),
        pytest.param((48, 64), (64, 48), "takes frames of 64x48 px and nuts-1 only frames of 48x64 px", id="another"),
    ],
)
def test_a_bundle_that_would_refuse_the_frames_of_the_old_one_is_refused(manifest, before, after, says):
    with pytest.raises(BundleError, match=says):
        check_alike(replace(manifest, frame_px=before), replace(manifest, frame_px=after))


@pytest.mark.parametrize(("before", "after"), [(None, None), ((48, 64), (48, 64)), ((48, 64), None)])
def test_a_bundle_that_takes_all_frames_of_the_old_one_may_follow_it(manifest, before, after):
    check_alike(replace(manifest, frame_px=before), replace(manifest, frame_px=after))
