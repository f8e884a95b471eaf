"""What a bundle says of itself as a flat list of facts, so that two bundles can be held against each other.

The list is made from the manifest's own JSON, leaf by leaf. What is known here gets a section and words for people;
what a later version adds to the manifest is compared all the same, under its own name.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nut_runtime.bundle import Bundle
from nut_runtime.errors import BundleError
from nut_runtime.good_scores import GoodScores
from nut_runtime.manifest import Manifest
from nut_runtime.point_history import PointMove
from nut_runtime.signature import read_signature

__all__ = ["SECTIONS", "Fact", "Value", "bundle_facts"]

Value = str | int | float | bool | None
"""What a fact holds; None where the bundle does not state it."""

SECTIONS = (
    "bundle",
    "threshold",
    "model",
    "memory bank",
    "data",
    "calibration",
    "evaluation",
    "parity",
    "self-test",
    "versions",
    "signature (not verified)",
    "files",
    "other",
)
"""In the order in which they matter to whoever approves a bundle."""

_SECTION_OF = {  # the longest key that begins a fact's key decides
    "bundle_id": "bundle",
    "name": "bundle",
    "created": "bundle",
    "operating_point": "threshold",
    "model_point": "threshold",
    "history": "threshold",
    "precision": "model",
    "input_px": "model",
    "models": "model",
    "provenance.backbone": "model",
    "provenance.fast": "model",
    "cascade": "model",
    "batch": "model",
    "provenance.neighbours": "model",
    "provenance.patches": "model",
    "provenance.input": "model",
    "provenance.outputs": "model",
    "provenance.bank": "memory bank",
    "provenance.trained": "data",
    "provenance.dataset_fingerprint": "data",
    "provenance.proof_fingerprint": "data",
    "provenance.calibration": "calibration",
    "calibration": "calibration",
    "provenance.evaluation": "evaluation",
    "provenance.versions": "versions",
    "parity": "parity",
    "golden": "self-test",
    "signature": "signature (not verified)",
    "files": "files",
}
_LABELS = {
    "bundle_id": "bundle id",
    "created": "exported",
    "input_px": "input size (height, width)",
    "provenance.backbone.name": "backbone",
    "provenance.backbone.layers": "layers",
    "provenance.backbone.weights": "weights",
    "provenance.backbone.weights_sha256": "weights' SHA-256",
    "provenance.backbone.mean": "pixel mean",
    "provenance.backbone.std": "pixel deviation",
    "provenance.neighbours": "neighbours of the score",
    "provenance.patches": "patches (rows, columns)",
    "provenance.bank.rows": "bank rows",
    "provenance.bank.width": "bank width",
    "provenance.trained": "trained",
    "provenance.dataset_fingerprint": "data trained on",
    "provenance.proof_fingerprint": "data of the proof",
    "provenance.calibration.false_reject_rate": "false-reject rate aimed at",
    "provenance.calibration.held_out": "calibration pictures",
    "provenance.calibration.smallest_rate": "smallest rate they can speak for",
    "provenance.calibration.is_supported": "rate is supported by them",
    "calibration.brightness": "brightness of good pictures",
    "calibration.sharpness": "sharpness of good pictures",
    "calibration.raw_score": "scores of good pictures",
    "calibration.good": "scores that put the threshold",
    "history": "thresholds moved",
    "operating_point.review_from": "review from (raw)",
    "provenance.calibration.rule": "rule of the threshold",
    "provenance.calibration.method": "calibration pictures are of",
    "provenance.calibration.folds": "models that scored them",
    "provenance.calibration.review_rate": "review rate aimed at",
    "golden.frames": "golden frames",
    "signature": "signed by",
}
# Around the rest of a key that has no words of its own.
_BEFORE = {
    "models": "file for ",
    "provenance.backbone": "backbone ",
    "provenance.input": "input ",
    "provenance.outputs": "output ",
}
_AFTER = {"operating_point": " (raw)", "model_point": " (raw, fixed into the model files)"}
# What another fact says already, or what follows from the files.
_LEFT_OUT = ("schema", "provenance.name", "provenance.operating_point")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact.

    Attributes:
        key: Where it stands in the manifest, such as `provenance.bank.rows`.
        section: One of `SECTIONS`.
        label: What it is, in words.
        value: What the bundle says; None where it does not.
    """

    key: str
    section: str
    label: str
    value: Value


def bundle_facts(bundle: Bundle) -> dict[str, Fact]:
    """Return what a bundle says of itself, and who is said to have signed it, by key."""
    manifest = bundle.manifest
    data = manifest.to_json()
    data["golden"]["frames"] = _golden(manifest)
    golden = {path for frame in manifest.golden for path in (frame.picture, frame.stages)}
    data["files"] = {
        path: f"{entry.sha256}, {entry.size_bytes} bytes"
        for path, entry in manifest.files.items()
        if path not in golden
    }
    for figures in data["parity"].values():
        figures.pop("engine", None)
    if manifest.calibration is not None:
        data["calibration"] = {name: _sample(sample) for name, sample in data["calibration"].items() if name != "good"}
        if manifest.calibration.good is not None:
            data["calibration"]["good"] = _scores(manifest.calibration.good)
    if manifest.history:
        data["history"] = _history(manifest.history)
    leaves = dict(_leaves(data, ""))
    leaves["signature"] = _signer(bundle)
    return {key: _fact(key, value) for key, value in leaves.items() if not _begins(key, _LEFT_OUT)}


def _leaves(data: Any, key: str) -> Iterator[tuple[str, Value]]:
    """Give the key and value of everything that is not an object; a list is one value."""
    if isinstance(data, Mapping):
        for name, inner in data.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(data, list | tuple):
        plain = all(isinstance(item, str | int | float | bool) for item in data)
        yield key, ", ".join(map(str, data)) if plain else json.dumps(data, sort_keys=True)
    elif isinstance(data, float) and not math.isfinite(data):
        yield key, str(data)  # JSON has no such numbers, and NaN would differ from itself
    else:
        yield key, data


def _fact(key: str, value: Value) -> Fact:
    begins = [start for start in _SECTION_OF if _begins(key, (start,))]
    start = max(begins, key=len, default="")
    return Fact(
        key=key, section=_SECTION_OF.get(start, "other"), label=_LABELS.get(key) or _label(key, start), value=value
    )


def _label(key: str, start: str) -> str:
    """Put a key that has no words of its own into words: what its section's name says already is left out."""
    inner = key.removeprefix(f"{start}.") if start else key.removeprefix("provenance.")
    if start in {"files", "provenance.versions"}:  # dots and underscores are part of these names
        return inner
    return _BEFORE.get(start, "") + inner.replace(".", " ").replace("_", " ") + _AFTER.get(start, "")


def _begins(key: str, starts: tuple[str, ...]) -> bool:
    return any(key == start or key.startswith(f"{start}.") for start in starts)


def _sample(sample: Mapping[str, Any]) -> str:
    """Return a figure of many pictures in a line, with a digest of all of it."""
    values = sample["values"]
    digest = hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]
    spread = f"{values[0]:.6g} to {values[-1]:.6g}, " if values else ""
    return f"{spread}{sample['count']} pictures, digest {digest}"


def _scores(good: GoodScores) -> str:
    """Return the scores that a threshold can be put by in a line."""
    digest = hashlib.sha256(json.dumps(good.to_json()).encode()).hexdigest()[:12]
    return f"{len(good.raw_score)} pictures, {good.method}, digest {digest}"


def _history(moves: Sequence[PointMove]) -> str:
    """Return in a line how often the thresholds were moved, and when and why last."""
    last = moves[-1]
    why = f", {last.reason}" if last.reason else ""
    often = "once" if len(moves) == 1 else f"{len(moves)} times, last"
    return f"{often} {last.when} from raw {last.before.image.threshold:.6g}{why}"


def _golden(manifest: Manifest) -> str:
    """Return how many golden frames there are, and a digest of what the manifest says of them and of their files."""
    paths = sorted(path for frame in manifest.golden for path in (frame.picture, frame.stages))
    files = [manifest.files[path].sha256 for path in paths if path in manifest.files]
    content = json.dumps([manifest.to_json()["golden"]["frames"], files])
    return f"{len(manifest.golden)} with digest {hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _signer(bundle: Bundle) -> str | None:
    """Return who is said to have signed; nothing is verified here."""
    try:
        signature = read_signature(bundle.folder)
    except BundleError:
        return "unusable signature"
    return "nobody" if signature is None else signature.key
