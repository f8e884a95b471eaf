"""`Inspector.inspect_batch`: the verdicts of `inspect`, in the order of the frames, however many come together."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nut_dataset.layout import open_dataset
from nut_runtime import Inspector
from nut_runtime.batching import deal_out, is_worth_filling
from nut_runtime.bundle import open_bundle
from nut_runtime.engines import ENGINES, load_batch_engine
from nut_runtime.errors import BundleError, EngineError, PictureError
from nut_runtime.manifest import Cascade
from nut_runtime.pictures import read_picture


@pytest.fixture(scope="module", params=list(ENGINES))
def inspector(request, batch_bundle) -> Inspector:
    """One of a bundle with models for three frames."""
    return Inspector(batch_bundle, engine=request.param)


@pytest.fixture(scope="module")
def frames(nuts: Path) -> list[np.ndarray]:
    """Good and defective nuts in turns, cut to one size."""
    dataset = open_dataset(nuts)
    paths = [path for pair in zip(dataset.test_good, dataset.defective, strict=False) for path in pair]
    pictures = [read_picture(path) for path in paths]
    height, width = (min(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    return [picture[:height, :width] for picture in pictures]


@pytest.fixture
def asked(inspector, monkeypatch) -> list[int]:
    """How many frames the engine was asked for at a time."""
    counts: list[int] = []

    def counting(infer: Callable, count: Callable) -> Callable:
        return lambda frames: counts.append(count(frames)) or infer(frames)

    batch = inspector._batch_engine()
    monkeypatch.setattr(batch, "infer_batch", counting(batch.infer_batch, len))
    # `infer` of an engine is its own `infer_batch`, of one frame
    monkeypatch.setattr(inspector.engine, "infer", counting(inspector.engine.infer, lambda _frame: 1))
    return counts


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        pytest.param(0, [], id="none"),
        pytest.param(1, [1], id="too-few-to-fill-a-batch"),
        pytest.param(2, [3], id="filled-up"),
        pytest.param(3, [3], id="full"),
        pytest.param(4, [3, 1], id="one-left"),
        pytest.param(5, [3, 3], id="two-left"),
    ],
)
def test_the_verdicts_are_those_of_each_frame_alone_in_the_order_of_the_frames(
    inspector, frames, asked, count, expected
):
    verdicts = inspector.inspect_batch(frames[:count])
    assert asked == expected
    for frame, verdict in zip(frames[:count], verdicts, strict=True):
        alone = inspector.inspect(frame)
        assert verdict.label is alone.label
        # float32 sums in another order, see `nut_export.batch`
        assert verdict.pred_score == pytest.approx(alone.pred_score, abs=1e-4)
        np.testing.assert_allclose(verdict.anomaly_map, alone.anomaly_map, atol=1e-3)
        assert [(box.x, box.y) for box in verdict.boxes] == [(box.x, box.y) for box in alone.boxes]
        assert set(verdict.milliseconds) == {"infer", "decide"}


def test_frames_of_several_sizes_are_judged_with_those_of_their_size(inspector, frames, asked):
    small = [np.ascontiguousarray(frame[8:-8, 4:-4]) for frame in frames]
    mixed = [small[0], frames[0], small[1], frames[1], frames[2], frames[3][:40]]
    verdicts = inspector.inspect_batch(mixed)
    assert asked == [3, 3, 1]  # two small ones and a copy, three large ones, and one that is alone
    for frame, verdict in zip(mixed, verdicts, strict=True):
        assert verdict.raw_score == pytest.approx(inspector.inspect(frame).raw_score, rel=1e-4)


def test_a_frame_keeps_its_score_in_every_place_and_whatever_is_beside_it(inspector, frames):
    frame = frames[1]
    alone = inspector.inspect(frame).raw_score
    others = [np.zeros_like(frame), np.full_like(frame, 255), frames[0], frames[3]]
    for place in range(3):
        for one, other in itertools.pairwise(others):
            batch = [one, other]
            batch.insert(place, frame)
            assert inspector.inspect_batch(batch)[place].raw_score == pytest.approx(alone, rel=1e-4)


def test_one_frame_that_is_none_refuses_all(inspector, frames, asked):
    with pytest.raises(PictureError, match="expected uint8 pixels, got float32"):
        inspector.inspect_batch([frames[0], frames[1].astype(np.float32), frames[2]])
    assert asked == []


def test_a_score_that_is_no_number_is_never_called_good(inspector, frames, monkeypatch):
    batch = inspector._batch_engine()
    results = batch.infer_batch(np.stack(frames[:3]))
    results[1] = replace(results[1], raw_score=float("nan"))
    monkeypatch.setattr(batch, "infer_batch", lambda _frames: results)
    with pytest.raises(EngineError, match="gave the score nan"):
        inspector.inspect_batch(frames[:3])


@pytest.mark.parametrize("name", list(ENGINES))
def test_in_a_cascade_frames_near_the_threshold_are_judged_again_one_by_one(batch_bundle, frames, name):
    """Its models for one frame are the exact ones here, and the batch is that of the fast ones."""
    bundle = open_bundle(batch_bundle)
    scores = [verdict.raw_score for verdict in Inspector(bundle, engine=name).inspect_batch(frames[:3])]
    manifest = bundle.manifest
    middle = float(np.median(scores))
    cascade = Cascade(models=manifest.models, guard=dict.fromkeys(manifest.models, 1e-3 * middle))
    image = replace(manifest.point.image, threshold=middle)
    moved = replace(manifest, precision="cascade", cascade=cascade, point=replace(manifest.point, image=image))
    verdicts = Inspector(replace(bundle, manifest=moved), engine=name).inspect_batch(frames[:3])
    assert [verdict.is_rejudged for verdict in verdicts] == [score == middle for score in scores]


def test_a_bundle_without_models_for_several_frames_says_how_to_get_them(bundle_folder, frames):
    with pytest.raises(BundleError, match=r"no model of openvino for several frames at once; export it with --batch N"):
        Inspector(bundle_folder, engine="openvino").inspect_batch(frames[:2])


@pytest.mark.parametrize("name", list(ENGINES))
def test_a_batch_of_another_size_than_the_models_is_an_engine_error(batch_bundle, frames, name):
    engine = load_batch_engine(open_bundle(batch_bundle), name)
    with pytest.raises(EngineError, match=f"{name} failed on a frame of shape"):
        engine.infer_batch(np.stack(frames[:2]))


def test_a_batch_is_filled_up_from_half_of_it_on():
    assert [count for count in range(1, 9) if is_worth_filling(count, 8)] == [4, 5, 6, 7, 8]
    assert deal_out([], 4) == []
