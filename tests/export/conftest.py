"""What several tests of the export share: the slow part of it, done once, and a bundle with all its variants."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from nut_dataset.layout import open_dataset
from nut_export import graph
from nut_export.compat import COMPAT, write_compat
from nut_export.ovms import write_ovms
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.engines import Engine, load_engine
from nut_runtime.pictures import encode_png, read_picture

TOOLS_PAGE = Path(__file__).parents[2] / "docs" / "other-tools.md"


@pytest.fixture(scope="session")
def exported_features() -> dict[bytes, tuple[onnx.ModelProto, tuple[int, int]]]:
    """What was exported so far, by the backbone's weights and the input's size."""
    return {}


@pytest.fixture
def quick_export(exported_features, monkeypatch) -> None:
    """Let exports of a backbone that was exported before take the result from then."""
    original = graph.export_features

    def export(model: Any, *, size: tuple[int, int], source: str, target: str) -> Any:
        first = next(iter(model.feature_extractor.state_dict().values()))  # the bank takes no part in the features
        key = repr((size, source, target, model.backbone, model.layers)).encode() + first.numpy().tobytes()
        if key not in exported_features:
            exported_features[key] = original(model, size=size, source=source, target=target)
        return exported_features[key]

    monkeypatch.setattr(graph, "export_features", export)


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
        import torch

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
