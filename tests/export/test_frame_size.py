"""`nut export --frame-size`: a model for one frame size, proved on pictures of that size, that names another."""

import json
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from click.testing import CliRunner

from nut_benchmarks.bench import BenchConfig, _parity, run_bench
from nut_benchmarks.cli import main
from nut_dataset.layout import open_dataset
from nut_dataset.progress import no_progress
from nut_export import graph
from nut_export.compat import COMPAT
from nut_export.export import ExportConfig, Exported, export_bundle
from nut_export.frame_size import at_frame_size, parse_frame_size
from nut_runtime import Inspector
from nut_runtime.bundle import open_bundle
from nut_runtime.cli import main as runtime
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import read_picture, write_picture
from nut_train.run import open_run

FRAME_PX = (120, 200)


@pytest.fixture(scope="module")
def exported(run_folder, export_once, tmp_path_factory) -> Exported:
    """The bundle for frames of 200x120 (width x height), with a proof on three pictures."""
    config = ExportConfig(pictures=3, frame_px=FRAME_PX, compat=tuple(COMPAT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "export_features", export_once)
        return export_bundle(open_run(run_folder), tmp_path_factory.mktemp("fixed") / "bundle", config)


@pytest.fixture(scope="module")
def folder(exported) -> Path:
    return exported.bundle.folder


def test_both_model_files_take_that_size_only(exported, folder):
    assert exported.bundle.manifest.frame_px == FRAME_PX
    (value,) = onnx.load(folder / "model.onnx").graph.input
    assert [dim.dim_value for dim in value.type.tensor_type.shape.dim] == [1, *FRAME_PX, 3]
    (image,) = openvino.Core().read_model(folder / "model.xml").inputs
    assert list(image.shape) == [1, *FRAME_PX, 3]


def test_the_proof_holds_and_says_that_pictures_were_brought_to_that_size(exported, folder):
    proof = json.loads((folder / "parity.json").read_text())
    assert list(proof) == ["onnxruntime", "openvino", *(f"compat/{name}" for name in COMPAT)]
    for figures in proof.values():
        assert figures["frame_px"] == list(FRAME_PX)
        assert (figures["pictures"], figures["sizes"], figures["flips"]) == (3, 1, [])
    assert exported.bundle.manifest.parity["openvino"]["frame_px"] == list(FRAME_PX)
    assert "only frames of 200x120" in (folder / "parity.html").read_text()


def test_the_golden_frames_have_that_size_and_the_self_test_passes_on_them(exported, folder):
    bundle = exported.bundle
    assert {bundle.golden_frame(golden).shape for golden in bundle.manifest.golden} == {(*FRAME_PX, 3)}
    result = CliRunner().invoke(runtime, ["doctor", "--model", str(folder)])
    assert result.exit_code == 0, result.output
    assert result.output.count("this device judges as the reference did") == 2


@pytest.mark.parametrize("engine", list(ENGINES))
def test_it_judges_as_the_bundle_for_any_size_does(bundle_folder, folder, engine):
    fixed, free = Inspector(folder, engine=engine), Inspector(bundle_folder, engine=engine)
    frame = np.random.default_rng(0).integers(0, 256, (*FRAME_PX, 3), np.uint8)
    # the same graph; an engine may order the sums of a fixed size otherwise, as in tests/runtime/test_engines.py
    assert fixed.inspect(frame).pred_score == pytest.approx(free.inspect(frame).pred_score, abs=1e-5)
    with pytest.raises(PictureError, match="frame: 64x48 px, but the bundle takes only 200x120 px"):
        fixed.inspect(np.zeros((48, 64, 3), np.uint8))


def test_info_names_the_size(folder):
    result = CliRunner().invoke(runtime, ["info", "--model", str(folder)])
    assert "uint8 BGR frames of 200x120 only, judged at 96x128" in result.stdout


@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_picture_of_another_size_is_one_line_and_the_others_are_judged(folder, tmp_path, streams):
    write_picture(tmp_path / "1.png", np.zeros((48, 64, 3), np.uint8))
    result = CliRunner().invoke(runtime, ["--model", str(folder), str(tmp_path / "1.png")])
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "64x48 px, but the bundle takes only 200x120 px" in line
    write_picture(tmp_path / "2.png", np.zeros((*FRAME_PX, 3), np.uint8))
    result = CliRunner().invoke(runtime, ["--model", str(folder), "--streams", streams, str(tmp_path)])
    assert result.exit_code == 1, result.output
    assert "1 parts, 1 rejects, 1 failures" in result.stderr


def test_the_bench_brings_its_pictures_to_that_size_for_anomalib_too(exported, run_folder, nuts, tmp_path):
    config = BenchConfig(threads=1, warm_up=0, repeats=1, pictures=2)
    bench = run_bench(exported.bundle.folder, nuts, tmp_path / "bench", config=config)
    assert bench.frame_size == FRAME_PX
    dataset, engine = open_dataset(nuts), load_engine(exported.bundle, "openvino")
    with at_frame_size([*dataset.test_good[:1], *dataset.defective[:1]], FRAME_PX) as sources:
        results = {"openvino": [engine.infer(read_picture(path)) for path in sources]}
        parity = _parity(open_run(run_folder), exported.bundle, dataset, sources, bench.timings, results, no_progress)[
            "openvino"
        ]
    assert (parity.frame_px, parity.sizes, parity.flips) == (FRAME_PX, 1, ())
    assert parity.d_image_auroc == 0.0  # both classes were found again by the pictures' own paths


@pytest.mark.usefixtures("quick_export")
def test_a_size_on_the_command_line_is_width_by_height(run_folder, tmp_path):
    bundle = tmp_path / "bundle"
    arguments = ["export", str(run_folder), "-o", str(bundle), "--pictures", "1", "--frame-size", "200x120"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "0 flips on 1 pictures brought to 200x120" in result.stdout
    assert open_bundle(bundle).manifest.frame_px == FRAME_PX


@pytest.mark.parametrize(
    "text", ["", "1920", "1920x", "x1080", "1920X1080", "1920x1080x3", "-1x8", "8.0x8", "\uff11x\uff18"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match=r"expected WIDTHxHEIGHT in pixels, such as 1920x1080"):
        parse_frame_size(text)


@pytest.mark.parametrize(
    ("frame_px", "says"),
    [
        pytest.param((1080, 7), "frame size 7x1080, expected at least 8 px a side", id="narrow"),
        pytest.param((0, 8), "frame size 8x0, expected at least 8 px a side", id="none"),
        pytest.param((10_000, 10_000), "frame size 10000x10000, expected at most 64 megapixels", id="large"),
    ],
)
def test_a_size_no_picture_may_have_is_refused(frame_px, says):
    with pytest.raises(InputError, match=says):
        ExportConfig(frame_px=frame_px)


def test_pictures_are_stretched_to_the_size_and_gone_afterwards(tmp_path):
    small, same = tmp_path / "small.png", tmp_path / "same.png"
    write_picture(small, np.full((30, 20, 3), 90, np.uint8))
    write_picture(same, np.full((*FRAME_PX, 3), 80, np.uint8))
    with at_frame_size([small, same], FRAME_PX) as sources:
        assert list(sources.values()) == [small, same]
        written, kept = sources
        assert kept == same
        picture = read_picture(written)
        assert picture.shape == (*FRAME_PX, 3)
        assert (picture == 90).all()
    assert not written.exists()
    assert same.exists()


def test_a_larger_picture_is_averaged_not_sampled(tmp_path):
    path = tmp_path / "stripes.png"
    stripes = np.zeros((FRAME_PX[0] * 2, FRAME_PX[1] * 2, 3), np.uint8)
    stripes[:, ::2] = 200
    write_picture(path, stripes)
    with at_frame_size([path], FRAME_PX) as sources:
        assert (read_picture(next(iter(sources))) == 100).all()


def test_without_a_size_every_picture_is_its_own(tmp_path):
    with at_frame_size([tmp_path / "a.png"], None) as sources:
        assert sources == {tmp_path / "a.png": tmp_path / "a.png"}
