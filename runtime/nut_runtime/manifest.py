"""What a bundle says of itself, `manifest.json`: read strictly, since a verdict hangs on it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from nut_runtime.batch_models import BatchModels
from nut_runtime.errors import BundleError, InputError
from nut_runtime.locate.entry import LocatorEntry
from nut_runtime.locate.settings import CutoutSettings
from nut_runtime.point_history import PointMove
from nut_runtime.scoring import OperatingPoint
from nut_runtime.view_calibration import ViewCalibration

__all__ = ["MANIFEST", "SCHEMA", "Cascade", "FileEntry", "GoldenFrame", "Manifest"]

MANIFEST = "manifest.json"
SCHEMA = 2
"""2 for a bundle with a locator, 1 for one without: a runtime that knows of no locators would judge a whole tray as one
part, and must refuse."""

# A name or a path below the bundle: letters, digits and -_. in each part, none starting with a dot. So no
# absolute path, no drive, no backslash and no way up.
_SAFE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of the bundle.

    Attributes:
        sha256: Digest of its content, lower-case hex.
        size_bytes: Its length.
    """

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFrame:
    """A frame with what the reference said of it.

    Attributes:
        picture: PNG file in the bundle.
        stages: NPZ file with the reference's intermediate tensors.
        raw_score: The reference's raw score.
        pred_score: Its normalised score.
        is_defective: Its verdict.
    """

    picture: str
    stages: str
    raw_score: float
    pred_score: float
    is_defective: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """A fast model in front of the exact one, which decides again where the fast one's score is near the threshold.

    Attributes:
        models: The fast model's file for each engine.
        guard: Half width of the band around the raw threshold, by engine: a raw score at most so far from it is
            decided by the exact model.
        found: How the bands were found: pictures, perturbations, largest difference, safety factor.
    """

    models: Mapping[str, str]
    guard: Mapping[str, float]
    found: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"models": dict(self.models), "guard": dict(self.guard), "found": dict(self.found)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of `manifest.json`.

    Attributes:
        bundle_id: Names this very model with this operating point.
        name: Name of the part or data set.
        created: When it was exported, ISO 8601, UTC.
        precision: Inference precision that the bundle was verified with, such as `fp32`.
        input_height_px: Height that frames are brought to inside the model.
        input_width_px: Width of the same.
        point: Thresholds and ranges that decide.
        model_point: Those fixed into the model files at export; the same unless `point` was moved since.
        files: Every file of the bundle but the manifest, by path.
        models: File that each engine loads, by engine name; of a cascade the exact one.
        golden: Frames for the self-test.
        tolerances: Largest difference that the self-test lets pass, by stage, or `ENGINE/STAGE` where engines differ.
        parity: Summary of the proof, by engine.
        provenance: Where the model came from: run, data set fingerprint, backbone, bank, package versions.
        cascade: The fast model in front, where the precision is `cascade`.
        frame_px: Height and width of the only frames the model files take; None where they take any.
        calibration: What the views of good parts were like; None in bundles from before it was stored.
        locator: What finds the parts of a tray, each of which is then judged; None where a frame shows one part.
        batch: Models that judge several frames at once; None where none were asked for.
        history: How the operating point was moved since the export, the oldest change first.
    """

    bundle_id: str
    name: str
    created: str
    precision: str
    input_height_px: int
    input_width_px: int
    point: OperatingPoint
    model_point: OperatingPoint
    files: Mapping[str, FileEntry]
    models: Mapping[str, str]
    golden: tuple[GoldenFrame, ...]
    tolerances: Mapping[str, float]
    parity: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cascade: Cascade | None = None
    frame_px: tuple[int, int] | None = None
    calibration: ViewCalibration | None = None
    locator: LocatorEntry | None = None
    batch: BatchModels | None = None
    history: tuple[PointMove, ...] = ()

    @property
    def schema(self) -> int:
        """The number that says which runtimes read it."""
        return SCHEMA if self.locator is not None else 1

    def to_json(self) -> dict[str, Any]:
        """Return plain types, the schema number first."""
        return {
            "schema": self.schema,
            "bundle_id": self.bundle_id,
            "name": self.name,
            "created": self.created,
            "precision": self.precision,
            "input_px": [self.input_height_px, self.input_width_px],
            "operating_point": self.point.to_json(),
            "model_point": self.model_point.to_json(),
            "files": {
                path: {"sha256": entry.sha256, "size_bytes": entry.size_bytes} for path, entry in self.files.items()
            },
            "models": dict(self.models),
            "golden": {
                "frames": [
                    {
                        "picture": frame.picture,
                        "stages": frame.stages,
                        "raw_score": frame.raw_score,
                        "pred_score": frame.pred_score,
                        "is_defective": frame.is_defective,
                    }
                    for frame in self.golden
                ],
                "tolerances": dict(self.tolerances),
            },
            "parity": {engine: dict(figures) for engine, figures in self.parity.items()},
            "provenance": dict(self.provenance),
            "cascade": None if self.cascade is None else self.cascade.to_json(),
            **({} if self.frame_px is None else {"frame_px": list(self.frame_px)}),
            **({} if self.calibration is None else {"calibration": self.calibration.to_json()}),
            **({} if self.locator is None else {"locator": self.locator.to_json()}),
            **({} if self.batch is None else {"batch": self.batch.to_json()}),
            **({} if not self.history else {"history": [move.to_json() for move in self.history]}),
        }

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read the text of a manifest.

        Raises:
            BundleError: If it is not JSON, of a newer schema, incomplete, or names a file outside the bundle.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not JSON ({error}); export the bundle again") from error
        if not isinstance(data, dict) or type(data.get("schema")) is not int or data["schema"] < 1:
            raise BundleError(f"{MANIFEST} has no schema number; it is not a bundle of nut-toolchain")
        if data["schema"] > SCHEMA:
            raise BundleError(
                f"{MANIFEST} has schema {data['schema']}, this version reads up to {SCHEMA}; update nut-runtime"
            )
        try:
            manifest = cls._from_json(data)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, InputError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise BundleError(f"{MANIFEST} is incomplete: {reason}; export the bundle again") from error
        if data["schema"] != manifest.schema:
            has = "without" if manifest.locator is None else "with"
            raise BundleError(f"{MANIFEST} has schema {data['schema']} {has} a locator; export the bundle again")
        _check_paths(manifest)
        _check_values(manifest)
        return manifest

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> Self:
        height, width = data["input_px"]
        golden = data["golden"]
        return cls(
            bundle_id=str(data["bundle_id"]),
            name=str(data["name"]),
            created=str(data["created"]),
            precision=str(data["precision"]),
            input_height_px=int(height),
            input_width_px=int(width),
            point=OperatingPoint.from_json(data["operating_point"]),
            model_point=OperatingPoint.from_json(data["model_point"]),
            files={
                str(path): FileEntry(sha256=str(entry["sha256"]), size_bytes=int(entry["size_bytes"]))
                for path, entry in data["files"].items()
            },
            models={str(engine): str(path) for engine, path in data["models"].items()},
            golden=tuple(
                GoldenFrame(
                    picture=str(frame["picture"]),
                    stages=str(frame["stages"]),
                    raw_score=float(frame["raw_score"]),
                    pred_score=float(frame["pred_score"]),
                    is_defective=bool(frame["is_defective"]),
                )
                for frame in golden["frames"]
            ),
            tolerances={str(stage): float(value) for stage, value in golden["tolerances"].items()},
            parity={str(engine): dict(figures) for engine, figures in data["parity"].items()},
            provenance=dict(data["provenance"]),
            cascade=_cascade(data.get("cascade")),
            frame_px=_frame_px(data.get("frame_px")),
            calibration=None if data.get("calibration") is None else ViewCalibration.from_json(data["calibration"]),
            locator=None if data.get("locator") is None else LocatorEntry.from_json(data["locator"]),
            batch=None if data.get("batch") is None else BatchModels.from_json(data["batch"]),
            history=tuple(PointMove.from_json(move) for move in data.get("history") or ()),
        )


def _frame_px(value: Any) -> tuple[int, int] | None:
    """Return height and width; a manifest need not have them.

    Raises:
        ValueError: If they are not two whole numbers of at least 1.
    """
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or any(type(side) is not int or side < 1 for side in value):  # noqa: PLR2004
        raise ValueError(f"frame_px is {value!r}, expected height and width")
    return value[0], value[1]


def _cascade(data: Mapping[str, Any] | None) -> Cascade | None:
    if data is None:
        return None
    return Cascade(
        models={str(engine): str(path) for engine, path in data["models"].items()},
        guard={str(engine): float(width) for engine, width in data["guard"].items()},
        found=dict(data["found"]),
    )


def _check_paths(manifest: Manifest) -> None:
    """Refuse file names that lead out of the bundle, and references to files it does not list."""
    for path, entry in manifest.files.items():
        if _SAFE_PATH.fullmatch(path) is None:
            raise BundleError(f"{MANIFEST} names the file {path!r}, which is not a plain path inside the bundle")
        if _SHA256.fullmatch(entry.sha256) is None:
            raise BundleError(f"{MANIFEST} has no valid SHA-256 for {path}; export the bundle again")
    named = [*manifest.models.values(), *(manifest.cascade.models.values() if manifest.cascade else ())]
    named += manifest.batch.models.values() if manifest.batch else ()
    # An IR keeps its weights, the memory bank among them, in a second file.
    named += [f"{path.removesuffix('.xml')}.bin" for path in named if path.endswith(".xml")]
    for frame in manifest.golden:
        named += [frame.picture, frame.stages]
    named += manifest.locator.files if manifest.locator is not None else ()
    for path in named:
        if path not in manifest.files:
            raise BundleError(f"{MANIFEST} refers to {path!r}, which is not among its files")


def _check_values(manifest: Manifest) -> None:
    """Refuse numbers that no export writes."""
    size = (manifest.input_height_px, manifest.input_width_px)
    if min(size) < 1:
        raise BundleError(f"{MANIFEST} has the input size {list(size)}, expected height and width; export it again")
    if not manifest.models:
        raise BundleError(f"{MANIFEST} names no model; export the bundle again")
    if (manifest.precision == "cascade") != (manifest.cascade is not None):
        has = "without" if manifest.cascade is None else "with"
        raise BundleError(f"{MANIFEST} has the precision {manifest.precision} {has} a cascade; export it again")
    if manifest.cascade is not None:
        _check_cascade(manifest.cascade, manifest.models)
    if manifest.locator is not None:
        _check_locator(manifest.locator, manifest)
    for stage, tolerance in manifest.tolerances.items():
        if not 0 <= tolerance < float("inf"):
            raise BundleError(f"{MANIFEST} has the tolerance {tolerance} for {stage}; export the bundle again")


def _check_cascade(cascade: Cascade, exact: Mapping[str, str]) -> None:
    """Refuse a fast model without an exact one behind it, or without a band in which that one decides."""
    for engine in cascade.models:
        width = cascade.guard.get(engine, float("nan"))
        if engine not in exact or not 0 < width < float("inf"):
            raise BundleError(
                f"{MANIFEST} has a fast model for {engine} without exact one or guard band; export it again"
            )


def _check_locator(locator: LocatorEntry, manifest: Manifest) -> None:
    """Refuse a locator whose cut-outs are not what the judge was trained for, such as that of another bundle."""
    missing = sorted(set(manifest.models) - set(locator.models))
    if missing:
        raise BundleError(f"{MANIFEST} has a locator without a model for {missing[0]}; export the bundle again")
    cut = locator.cutout
    try:
        trained = manifest.provenance.get("cutout")
        expected = cut if trained is None else CutoutSettings.from_json(trained)
    except InputError as error:
        raise BundleError(f"{MANIFEST} does not say what the judge was trained for: {error}") from error
    if expected != cut:
        raise BundleError(
            f"{MANIFEST}: the locator cuts out {cut}, but the judge was trained for {expected}; "
            "export a judge that was trained on the cut-outs of this locator"
        )
    if manifest.frame_px not in (None, (cut.size_px, cut.size_px)):
        raise BundleError(
            f"{MANIFEST}: the locator cuts out {cut.size_px}x{cut.size_px} px, but the judge takes frames of "
            f"{manifest.frame_px[1]}x{manifest.frame_px[0]} only; export it without a frame size, or with this one"
        )
