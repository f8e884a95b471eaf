"""The name of a bundle: which models it has, and where its thresholds are."""

import hashlib
import json
from pathlib import Path

from nut_export.cascade import FAST_FOLDER
from nut_export.writers import ONNX_FILE, OPENVINO_FILE
from nut_runtime.locate.entry import LocatorEntry
from nut_runtime.scoring import OperatingPoint

__all__ = ["LOCATOR_STEM", "bundle_id", "with_locator"]

LOCATOR_STEM = "locator"
"""What the files of a locator are called, before their endings."""

# What makes a model another one; OpenVINO numbers the nodes of its XML anew in every run.
_HASHED = (ONNX_FILE, f"{OPENVINO_FILE.removesuffix('.xml')}.bin")


def bundle_id(name: str, folder: Path, point: OperatingPoint) -> str:
    """Name these very models and this operating point: the part's name and a digest of both.

    A bundle whose thresholds are moved gets another name, and its old one when they are moved back.

    Args:
        name: Name of the part.
        folder: The bundle's folder, its models written.
        point: Thresholds and ranges.
    """
    content = hashlib.sha256()
    files = (place / file for place in (folder, folder / FAST_FOLDER) for file in _HASHED)
    for path in filter(Path.is_file, files):
        content.update(path.read_bytes())
    content.update(json.dumps(point.to_json(), sort_keys=True).encode())
    return f"{name}-{content.hexdigest()[:12]}"


def with_locator(judge_id: str, name: str, folder: Path, entry: LocatorEntry) -> str:
    """Name the same with a locator: the part's name, and a digest of the judge's id and of the locator.

    Args:
        judge_id: From `bundle_id`.
        name: Name of the part.
        folder: The bundle's folder, the locator's files written.
        entry: What the manifest says of it.
    """
    content = hashlib.sha256(judge_id.encode())
    for file in (f"{LOCATOR_STEM}.onnx", f"{LOCATOR_STEM}.bin"):  # of the XML OpenVINO numbers the nodes anew
        if (folder / file).is_file():
            content.update((folder / file).read_bytes())
    content.update(json.dumps([entry.find.to_json(), entry.cutout.to_json()], sort_keys=True).encode())
    return f"{name}-{content.hexdigest()[:12]}"
