"""The slow part of an export, done once: torch's export of the backbone, which no test here alters."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from nut_export import graph


@pytest.fixture(scope="session")
def exported_features() -> dict[bytes, tuple[onnx.ModelProto, tuple[int, int]]]:
    """What was exported so far, by the backbone's weights and the input's size."""
    return {}


@pytest.fixture
def quick_export(exported_features, monkeypatch) -> None:
    """Let exports of a backbone that was exported before take the result from then."""
    original = graph.export_features

    def export(model: Any, *, size: tuple[int, int], source: str, target: str) -> Any:
        first = next(iter(model.state_dict().values()))
        key = repr((size, source, target, model.backbone, model.layers)).encode() + first.numpy().tobytes()
        if key not in exported_features:
            exported_features[key] = original(model, size=size, source=source, target=target)
        return exported_features[key]

    monkeypatch.setattr(graph, "export_features", export)


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
