"""The slow part of an export, done once: torch's export of the backbone, which no test here alters."""

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
        first = next(iter(model.feature_extractor.state_dict().values()))  # the bank takes no part in the features
        key = repr((size, source, target, model.backbone, model.layers)).encode() + first.numpy().tobytes()
        if key not in exported_features:
            exported_features[key] = original(model, size=size, source=source, target=target)
        return exported_features[key]

    monkeypatch.setattr(graph, "export_features", export)
