"""What several tests of the export share: the slow part of it, done once, and a bundle with all its variants."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from nut_benchmarks.cli import main
from nut_dataset.layout import open_dataset
from nut_export import cascade, fast, graph
from nut_export.builder import GraphBuilder
from nut_export.compat import COMPAT, write_compat
from nut_export.guard import Guard
from nut_export.ovms import write_ovms
from nut_export.plan import GroupedBank, SearchPlan
from nut_export.quantise import QuantisedFeatures
from nut_export.search import Nearest, SearchBank, add_image_score
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.engines import Engine, load_engine
from nut_runtime.pictures import encode_png, read_picture, write_picture

AddSearch = Callable[[GraphBuilder], tuple[Nearest, SearchBank]]
TOOLS_PAGE = Path(__file__).parents[2] / "docs" / "other-tools.md"


@pytest.fixture(scope="session")
def exported_features() -> dict[bytes, tuple[onnx.ModelProto, tuple[int, int]]]:
    """What was exported so far, by the backbone's weights and the input's size."""
    return {}


@pytest.fixture(scope="session")
def export_once(exported_features) -> Callable[..., Any]:
    """`export_features`, but a backbone that was exported before gives the result from then."""
    original = graph.export_features

    def export(model: Any, *, size: tuple[int, int], source: str, target: str) -> Any:
        first = next(iter(model.feature_extractor.state_dict().values()))  # the bank takes no part in the features
        key = repr((size, source, target, model.backbone, model.layers)).encode() + first.numpy().tobytes()
        if key not in exported_features:
            exported_features[key] = original(model, size=size, source=source, target=target)
        return exported_features[key]

    return export


@pytest.fixture
def quick_export(export_once, monkeypatch) -> None:
    """Let exports of a backbone that was exported before take the result from then."""
    monkeypatch.setattr(graph, "export_features", export_once)


@pytest.fixture(scope="session")
def tools_bundle(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A copy of the bundle with each variant and a model repository beside its model."""
    folder = Path(shutil.copytree(bundle_folder, tmp_path_factory.mktemp("tools") / "bundle"))
    write_compat(folder / "model.xml", COMPAT)
    write_ovms(folder / "model.xml", "nuts")
    return open_bundle(folder)


@pytest.fixture(scope="session")
def our_engine(tools_bundle: Bundle) -> Engine:
    """Our runtime's OpenVINO, which the tools run too."""
    return load_engine(tools_bundle, "openvino")


@pytest.fixture(scope="session")
def pictures(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Real files: good and defective nuts of their own sizes, one made larger, taller and tiny, PNG and JPEG."""
    dataset = open_dataset(nuts)
    nut = read_picture(dataset.defective[0])
    folder = tmp_path_factory.mktemp("pictures")
    shaped = []
    for width, height in [(640, 480), (97, 311), (33, 9)]:
        resized = np.asarray(cv2.resize(nut, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        shaped.append(folder / f"{width}x{height}.png")
        shaped[-1].write_bytes(encode_png(resized))
    jpeg = folder / "nut.jpg"
    jpeg.write_bytes(cv2.imencode(".jpg", nut)[1].tobytes())
    return [*dataset.test_good[:2], *dataset.defective[:2], *shaped, jpeg]


@pytest.fixture
def run_documented(
    tools_bundle: Bundle, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Callable[[str], str]:
    """Run the Python example of docs/other-tools.md that imports a package, as it stands, where its files are."""
    (tmp_path / "bundle").symlink_to(tools_bundle.folder)
    shutil.copy(pictures[2], tmp_path / "part.png")
    monkeypatch.chdir(tmp_path)

    def run(package: str) -> str:
        blocks = re.findall(r"```python\n(.*?)```", TOOLS_PAGE.read_text(encoding="utf-8"), re.DOTALL)
        (code,) = (block for block in blocks if f"from {package}" in block)
        capsys.readouterr()
        exec(compile(code, str(TOOLS_PAGE), "exec"), {})  # noqa: S102 - our own page
        return str(capsys.readouterr().out)

    return run


@pytest.fixture(scope="session")
def sparse_bundles() -> list[Path]:
    """What `sparse_bundle` made so far."""
    return []


@pytest.fixture
def sparse_bundle(run_folder, sparse_bundles, quick_export, tmp_path_factory) -> Path:
    """A bundle like `bundle_folder` but of every third row of its memory bank. Tests that alter it copy it first."""
    if not sparse_bundles:
        from nut_export.export import ExportConfig, export_bundle
        from nut_train.run import open_run

        folder = tmp_path_factory.mktemp("sparse")
        run = Path(shutil.copytree(run_folder, folder / "run"))
        checkpoint = torch.load(run / "model.ckpt", weights_only=True)
        bank = checkpoint["state_dict"]["model.memory_bank"][::3].clone()
        checkpoint["state_dict"]["model.memory_bank"] = bank
        torch.save(checkpoint, run / "model.ckpt")
        record = json.loads((run / "run.json").read_text())
        record["bank"]["rows"] = len(bank)
        (run / "run.json").write_text(json.dumps(record))
        export_bundle(open_run(run), folder / "bundle", ExportConfig(pictures=2, name="nuts"))
        sparse_bundles.append(folder / "bundle")
    return sparse_bundles[0]


@pytest.fixture
def run_search() -> Callable[[AddSearch, np.ndarray, str], tuple[np.ndarray, float]]:
    """A function that runs a search, from `embedding` to `distances`, and the image score from it, in an engine."""

    def run(add: AddSearch, patches: np.ndarray, engine: str) -> tuple[np.ndarray, float]:
        builder = GraphBuilder()
        nearest, bank = add(builder)
        add_image_score(builder, "distances", nearest, bank, name="score")
        model = builder.model(
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, list(patches.shape))],
            [
                helper.make_tensor_value_info("distances", TensorProto.FLOAT, [len(patches)]),
                helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
            ],
            name="search",
        ).SerializeToString()
        if engine == "onnxruntime":
            session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            distances, score = session.run(["distances", "score"], {"embedding": patches})
        else:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            found = compiled({"embedding": patches})
            distances, score = np.array(found["distances"]), np.array(found["score"])
        return distances, float(score[0])

    return run


@pytest.fixture
def anomalib_score() -> Callable[[np.ndarray, int, np.ndarray], float]:
    """A function that gives anomalib's own image score, computed in float64."""

    class _Model(PatchcoreModel):
        def __init__(self, bank: np.ndarray, neighbours: int) -> None:  # only the search is wanted, not a backbone
            torch.nn.Module.__init__(self)
            self.num_neighbors = neighbours
            self.memory_bank = torch.from_numpy(bank.astype(np.float64))

    def score(bank: np.ndarray, neighbours: int, patches: np.ndarray) -> float:
        model = _Model(bank, neighbours)
        embedding = torch.from_numpy(patches.astype(np.float64))
        scores, places = model.nearest_neighbors(embedding, n_neighbors=1)
        return float(model.compute_anomaly_score(scores.reshape(1, -1), places.reshape(1, -1), embedding))

    return score


@pytest.fixture(scope="session")
def more_nuts(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`nuts` with one more good picture: int8 is calibrated on eight that were not held out."""
    folder = Path(shutil.copytree(nuts, tmp_path_factory.mktemp("more") / "nuts"))
    good = open_dataset(folder).train_good
    write_picture(folder / "train/good/mirrored.png", read_picture(good[0])[:, ::-1].copy())
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class FastExport:
    """A bundle with a fast model, and what `nut export` said of it."""

    result: Result
    bundle: Bundle


@pytest.fixture(scope="session")
def fast_exports() -> dict[str, FastExport]:
    """What `export_fast` made so far, by precision."""
    return {}


@pytest.fixture(scope="session")
def quantised_features() -> dict[bytes, QuantisedFeatures]:
    """What was quantised so far."""
    return {}


@pytest.fixture
def export_fast(
    fast_exports, quantised_features, run_folder, more_nuts, quick_export, monkeypatch, tmp_path_factory
) -> Callable[[str], FastExport]:
    """A function that gives the bundle of a precision, exported by the command, with a search in int8 in both engines.

    The backbone is quantised once, with an error at which no layer is tried alone; the proof of int8 does not hold with
    it. A cascade takes each model to need a time that was written down, since this decides which is chosen. And the
    search is planned on patches whose nearest row is clear: there are 960, so that a single one between two rows, which
    the processor's last bits decide, would put int8 below the 99.9% that it must keep.
    """
    quantise, measure, choose = fast.quantise_features, cascade.guard_band, fast.choose_plan

    def quantise_once(features: onnx.ModelProto, pixels: Any, *, error: float, progress: Any) -> QuantisedFeatures:
        key = features.SerializeToString(deterministic=True)
        if key not in quantised_features:
            quantised_features[key] = quantise(features, pixels, error=0.2, progress=progress)
        return quantised_features[key]

    def as_if_timed(*arguments: Any, **options: Any) -> Guard:
        return replace(measure(*arguments, **options), fast_ms=1.0, exact_ms=10.0)

    def on_clear_patches(grouped: GroupedBank, patches: np.ndarray, **options: Any) -> SearchPlan | None:
        rows = grouped.bank.rows[grouped.half_norms < 1e29]  # others fill up groups
        squared = ((patches - grouped.bank.mean)[:, None] - rows) ** 2
        nearest, next_one = np.sort(np.sqrt(squared.sum(axis=2)), axis=1)[:, :2].T
        clear = next_one > 1.02 * nearest
        assert clear.mean() > 0.5, "hardly any patch is left to plan on"
        return choose(grouped, patches[clear], **options)

    def export(precision: str) -> FastExport:
        if precision not in fast_exports:
            monkeypatch.setattr(fast, "quantise_features", quantise_once)
            monkeypatch.setattr(cascade, "guard_band", as_if_timed)
            monkeypatch.setattr(fast, "choose_plan", on_clear_patches)
            folder = tmp_path_factory.mktemp(precision) / "bundle"
            options = ["--components", "152", "--candidates", "8", "--pictures", "6", "--dataset", str(more_nuts)]
            options += ["--batch", "2"]
            options += ["--force"] if precision == "int8" else []
            command = ["export", str(run_folder), "-o", str(folder), "--precision", precision, *options]
            result = CliRunner().invoke(main, command)
            logging.disable(logging.NOTSET)  # a command quiets the whole process
            assert result.exit_code == 0, result.output
            fast_exports[precision] = FastExport(result=result, bundle=open_bundle(folder))
        return fast_exports[precision]

    return export


@pytest.fixture
def int8(export_fast) -> FastExport:
    """A bundle in int8. Tests that alter it copy it first."""
    return export_fast("int8")


@pytest.fixture
def cascade_of_two(export_fast) -> FastExport:
    """A cascade. Tests that alter it copy it first."""
    return export_fast("cascade")
