"""Another operating point for a finished bundle: only its manifest changes, and says so in its history.

The runtime decides from the raw score and the manifest. The thresholds inside the model files stay as they were
shipped, for other tools.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nut_export.bundle_id import bundle_id, with_locator
from nut_export.guard import guard_at
from nut_export.signing import SigningKey, sign_manifest
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.claims import claim
from nut_runtime.delta.exchange import manifest_digest
from nut_runtime.errors import BundleError, InputError
from nut_runtime.good_scores import GoodScores
from nut_runtime.manifest import MANIFEST, Cascade, Manifest
from nut_runtime.point_history import PointMove
from nut_runtime.review import NEVER
from nut_runtime.scoring import OperatingPoint, Scale
from nut_runtime.signature import SIGNATURE
from nut_train.calibrate import Calibration, calibrate
from nut_train.config import PointConfig
from nut_train.thresholds import Rule, threshold_at

__all__ = ["Moved", "PointRequest", "calibration_scores", "set_threshold"]

KEPT = ("false_reject_rate", "held_out", "smallest_rate", "is_supported", "rule", "method", "folds", "review_rate")
"""What a bundle keeps of a calibration, besides its scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRequest:
    """Where thresholds are to go; one of the first three at most, and something at all.

    Attributes:
        false_reject_rate: Share of good parts that may be rejected: image and pixel threshold by the scores in the
            bundle.
        raw: The raw image threshold itself.
        pred: A score as the bundle gives it now, above 0 and below 1: the image threshold goes to where that is.
        review_from: Score below 0.5, at the new threshold, from which a part is for review; `review.NEVER` for none.
        review_rate: Instead, the share of good parts that may be for review or rejected.
        reason: Why, for the history.
    """

    false_reject_rate: float | None = None
    raw: float | None = None
    pred: float | None = None
    review_from: float | None = None
    review_rate: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        """Check that it asks for something, and for one thing.

        Raises:
            InputError: If it does not, or a value is outside its range.
        """
        ways = [way for way in (self.false_reject_rate, self.raw, self.pred) if way is not None]
        reviews = [way for way in (self.review_from, self.review_rate) if way is not None]
        if len(ways) > 1:
            raise InputError("give one of --false-reject-rate, --raw and --pred, not several")
        if len(reviews) > 1:
            raise InputError("give one of --review-from and --review-rate, not both")
        if not ways and not reviews:
            raise InputError("nothing is to be moved; give --false-reject-rate, --raw, --pred, --review-from or -rate")
        if self.raw is not None and not 0 < self.raw < float("inf"):
            raise InputError(f"raw threshold {self.raw}, expected a number above 0")
        if self.pred is not None and not 0 < self.pred < 1:
            raise InputError(f"score {self.pred}, expected above 0 and below 1")
        if self.review_from is not None and not (0 <= self.review_from < 0.5 or self.review_from == NEVER):  # noqa: PLR2004
            raise InputError(f"review from score {self.review_from}, expected at least 0 and below 0.5, or off")
        if self.false_reject_rate is not None:
            PointConfig(false_reject_rate=self.false_reject_rate, review_rate=self.review_rate)
        elif self.review_rate is not None and not 0 < self.review_rate < 1:
            raise InputError(f"review rate {self.review_rate}, expected above 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A bundle whose operating point was moved.

    Attributes:
        bundle: As it is now.
        move: What was done.
        calibration: What the calibration pictures say of the new point, as `run.json` would have it; None without any.
        notes: What a user should know besides.
    """

    bundle: Bundle
    move: PointMove
    calibration: Mapping[str, Any] | None
    notes: tuple[str, ...]


def set_threshold(
    folder: Path,
    request: PointRequest,
    *,
    out: Path | None = None,
    signing_key: SigningKey | None = None,
    overwrite: bool = False,
) -> Moved:
    """Move a bundle's operating point; its model files are not touched.

    Args:
        folder: The bundle.
        request: Where the thresholds are to go.
        out: Folder for a changed copy; None changes the bundle itself, by one file that is replaced at once (and its
            signature after it).
        signing_key: Signs the result; a signed bundle needs one.
        overwrite: Replace an older bundle at `out`.

    Raises:
        BundleError: If the bundle is not usable, lacks what the request needs, or is replaced meanwhile.
        InputError: If the request moves nothing, or to where nothing can be decided, or the bundle that is to be
            changed is being extended or taken back just now.
        OutputError: If the result cannot be written.
    """
    digest = manifest_digest(folder)
    bundle = open_bundle(folder)
    if (folder / SIGNATURE).exists() and signing_key is None:
        raise InputError(
            f"{folder} is signed and its signature will not hold for the new manifest; give --sign KEY.pem"
        )
    if signing_key is not None and signing_key.path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the private key {signing_key.path} lies in the bundle and would go to the line; move it")
    manifest, move, calibration, notes = _moved(bundle, request)
    if out is None:
        with claim(folder.resolve(), what=f"the bundle {folder}"):  # nut-runtime extend holds the same
            if manifest_digest(folder) != digest:
                raise BundleError(f"{folder} was replaced meanwhile; look at it, then move its thresholds again")
            _write(folder, manifest, signing_key)
            return Moved(bundle=open_bundle(folder), move=move, calibration=calibration, notes=notes)
    inputs = [folder, *([] if signing_key is None else [signing_key.path])]
    with new_folder(out, marker=MANIFEST, overwrite=overwrite, inputs=inputs) as place:
        for path in manifest.files:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, place / path)
        _write(place, manifest, signing_key)
        open_bundle(place)
    return Moved(bundle=open_bundle(out), move=move, calibration=calibration, notes=notes)


def calibration_scores(manifest: Manifest) -> GoodScores | None:
    """Return the scores of good pictures that a bundle carries; None where they are not there or were thinned out.

    Those by the bundle's own model, where it is int8 and judged all of them: its scores differ from the reference's.
    Bundles from before the peaks of the maps were kept have none of those.
    """
    views = manifest.calibration
    if views is None:
        return None
    own, good = views.raw_score, views.good
    is_whole = 0 < own.count == len(own.values)
    if good is None:
        return GoodScores(method="holdout", folds=1, raw_score=own.values, map_peak=()) if is_whole else None
    is_own = manifest.precision == "int8" and is_whole and own.count == len(good.raw_score) and good.method == "holdout"
    return replace(good, raw_score=own.values) if is_own else good


def _moved(
    bundle: Bundle, request: PointRequest
) -> tuple[Manifest, PointMove, Mapping[str, Any] | None, tuple[str, ...]]:
    """Return the new manifest and what is to be said of it."""
    manifest = bundle.manifest
    scores = calibration_scores(manifest)
    if scores is None and (request.false_reject_rate is not None or request.review_rate is not None):
        raise BundleError(
            f"{bundle.folder} carries no calibration scores to put a threshold by a rate; give --raw or --pred, or "
            "export the run again"
        )
    point, calibration = _point(manifest, scores, request)
    if point == manifest.point:
        raise InputError(f"the thresholds of {bundle.folder} are there already, so nothing was written")
    _check_pixel(point.pixel, manifest.model_point.pixel)
    stated = None if calibration is None else calibration.to_json()
    notes = []
    if request.false_reject_rate is None and point.image != manifest.point.image:
        notes.append("the pixel threshold stays where it was; --false-reject-rate moves both")
    elif scores is not None and not scores.map_peak and request.false_reject_rate is not None:
        notes.append("the pixel threshold stays where it was: the bundle is from before its scores were kept")
    cascade = None
    if manifest.cascade is not None:
        cascade = _cascade_at(manifest, point, notes)
    move = PointMove(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        bundle_id=manifest.bundle_id,
        before=manifest.point,
        after=point,
        by=_by(request, stated),
        reason=request.reason,
    )
    facts = dict(manifest.provenance)
    if stated is not None:
        facts["calibration"] = {key: stated[key] for key in KEPT}
    elif point.image != manifest.point.image:
        facts["calibration"] = {}  # what it said was of the threshold from before
    changed = replace(
        manifest,
        bundle_id=_named(bundle, point),
        point=point,
        cascade=cascade,
        provenance=facts,
        history=(*manifest.history, move),
    )
    return changed, move, stated, tuple(notes)


def _point(
    manifest: Manifest, scores: GoodScores | None, request: PointRequest
) -> tuple[OperatingPoint, Calibration | None]:
    """Return the operating point that was asked for, and what the calibration pictures say of it."""
    old = manifest.point
    raw = request.raw
    if request.pred is not None:
        raw = _raw_of(request.pred, old.image)
    calibration = None
    image, pixel = old.image, old.pixel
    if raw is not None:
        image = image.moved_to(raw)
    if scores is not None and (raw is not None or request.false_reject_rate is not None):
        by_rate = request.false_reject_rate is not None
        calibration = calibrate(
            np.array(scores.raw_score),
            np.array(scores.map_peak or scores.raw_score),
            false_reject_rate=request.false_reject_rate or 0.5,  # of a value the pictures tell the rate
            rule=Rule.CONFORMAL if by_rate else Rule.VALUE,
            value=raw,
            review_rate=request.review_rate,
            method=scores.method,
            folds=scores.folds,
            is_whitened=bool(manifest.provenance.get("whitened")),
        )
        if by_rate:
            image = image.moved_to(calibration.point.image.threshold)
            pixel = pixel.moved_to(calibration.point.pixel.threshold) if scores.map_peak else pixel
    return OperatingPoint(image=image, pixel=pixel, review_from=_review(old, image, scores, request)), calibration


def _review(old: OperatingPoint, image: Scale, scores: GoodScores | None, request: PointRequest) -> float | None:
    """Return the raw score from which parts are for review."""
    if request.review_from is not None:
        return None if request.review_from == NEVER else _raw_of(request.review_from, image)
    if request.review_rate is not None and scores is not None:
        review = threshold_at(np.array(scores.raw_score), request.review_rate)
        if review >= image.threshold:
            raise InputError(
                f"{len(scores.raw_score)} pictures put review at {request.review_rate:g} of the good parts from raw "
                f"score {review:.4g}, not below the threshold {image.threshold:.4g}; give a larger one or --review-from"
            )
        return review
    if old.review_from is not None and old.review_from >= image.threshold:
        raise InputError(
            f"parts are for review from raw score {old.review_from:.4g}, which is not below the new threshold "
            f"{image.threshold:.4g}; give --review-from too, or --review-from off"
        )
    return old.review_from


def _raw_of(score: float, scale: Scale) -> float:
    """Return the raw score that a scale normalises to this one."""
    return scale.threshold + (score - 0.5) * (scale.maximum - scale.minimum)


def _check_pixel(pixel: Scale, inside: Scale) -> None:
    """Refuse a pixel threshold beyond what the model's map still tells: it is clipped at 0 and 1.

    Raises:
        InputError: If it is.
    """
    half = (inside.maximum - inside.minimum) / 2
    if not inside.threshold - half < pixel.threshold < inside.threshold + half:
        raise InputError(
            f"pixel threshold {pixel.threshold:.4g} is beyond what the model's map tells, "
            f"{inside.threshold - half:.4g} to {inside.threshold + half:.4g}; run nut calibrate and export again"
        )


def _cascade_at(manifest: Manifest, point: OperatingPoint, notes: list[str]) -> Cascade | None:
    """Return a cascade whose bands hold at other thresholds."""
    cascade = manifest.cascade
    if cascade is None:
        return None
    guard = {}
    for engine, width in cascade.guard.items():
        found = {"width": width, **cascade.found.get(engine, {})}
        band = guard_at(found, point, measured_at=manifest.model_point.image.threshold)
        guard[engine] = band.width
        if band.stretch > 1:
            notes.append(
                f"the band of {engine} was measured at raw scores {band.lowest:.4g} to {band.highest:.4g} and is "
                f"widened in proportion, {band.stretch:.2f} times; nothing was measured there: export again to be sure"
            )
    return replace(cascade, guard=guard)


def _named(bundle: Bundle, point: OperatingPoint) -> str:
    """Return the id of a bundle at another operating point."""
    manifest = bundle.manifest
    judge = bundle_id(manifest.name, bundle.folder, point)
    return judge if manifest.locator is None else with_locator(judge, manifest.name, bundle.folder, manifest.locator)


def _by(request: PointRequest, stated: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a move rests on, for the history."""
    asked = {
        name: value
        for name, value in (
            ("false_reject_rate", request.false_reject_rate),
            ("raw", request.raw),
            ("pred", request.pred),
            ("review_from", request.review_from),
            ("review_rate", request.review_rate),
        )
        if value is not None
    }
    if stated is None:
        return {"asked": asked}
    return {"asked": asked, **{key: stated[key] for key in ("rule", "method", "folds", "held_out", "promise")}}


def _write(folder: Path, manifest: Manifest, key: SigningKey | None) -> None:
    """Write a manifest, and its signature."""
    write_json(folder / MANIFEST, manifest.to_json())
    if key is not None:
        sign_manifest(folder, (folder / MANIFEST).read_bytes(), key)
