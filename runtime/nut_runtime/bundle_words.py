"""A bundle in words, for `nut-runtime info` and `doctor`."""

from collections.abc import Mapping
from typing import Any

from nut_runtime.bundle import Bundle
from nut_runtime.errors import BundleError
from nut_runtime.manifest import Manifest
from nut_runtime.signature import read_signature

__all__ = ["info_rows", "signature_words"]


def info_rows(bundle: Bundle) -> list[tuple[str, str]]:
    """Return what a bundle says of itself, each a name and a line; a line that goes on has no name."""
    manifest = bundle.manifest
    facts = manifest.provenance
    backbone, bank = facts.get("backbone", {}), facts.get("bank", {})
    calibration = facts.get("calibration", {})
    frames = "any uint8 BGR frame"
    if manifest.frame_px is not None:
        frames = f"uint8 BGR frames of {manifest.frame_px[1]}x{manifest.frame_px[0]} only"
    trained = f"{facts.get('trained')} on data {str(facts.get('dataset_fingerprint'))[:12]}"
    if checkpoint := facts.get("checkpoint"):
        trained = f"by anomalib alone, {checkpoint['file']} {checkpoint['sha256'][:12]}, on data not stated"
    rows: list[tuple[str, str]] = [
        ("bundle", manifest.bundle_id),
        ("exported", manifest.created),
        ("trained", trained),
        (
            "backbone",
            f"{backbone.get('name')} {', '.join(backbone.get('layers', []))} ({backbone.get('weights')})",
        ),
        ("memory bank", f"{bank.get('rows')} x {bank.get('width')}"),
        ("input", f"{frames}, judged at {manifest.input_width_px}x{manifest.input_height_px}"),
        ("precision", manifest.precision),
        ("threshold", f"raw {manifest.point.image.threshold:.6g}, {_rate_words(calibration)}"),
    ]
    rows += _threshold_rows(manifest, calibration)
    if (batch := manifest.batch) is not None:
        rows.append(("batch", f"{batch.size} frames at once as well, {', '.join(batch.models)}"))
    for engine, chosen in facts.get("fast", {}).items():
        rows.append((f"fast {engine}", _fast_words(chosen)))
    for engine, width in manifest.cascade.guard.items() if manifest.cascade is not None else ():
        rows.append((f"guard {engine}", f"the exact model decides within {width:.3g} of the threshold"))
    rows += _locator_rows(manifest)
    for engine, figures in manifest.parity.items():
        rows.append(
            (
                f"parity {engine}",
                (
                    f"{figures['flips']} of {figures['pictures']} verdicts flipped, "
                    f"max |d score| {figures['max_d_score']:.1e}"
                ),
            )
        )
    rows.append(("files", f"{len(manifest.files)}, all match their SHA-256"))
    unlisted = bundle.unlisted_files()
    if unlisted:
        rows.append(("", f"not used, since the manifest does not list them: {', '.join(unlisted)}"))
    rows.append(("signature", signature_words(bundle)))
    return rows


def _locator_rows(manifest: Manifest) -> list[tuple[str, str]]:
    """Return a line on the locator, if there is one."""
    found = manifest.locator
    if found is None:
        return []
    return [("locator", f"{found.precision}, searches at {found.long_side_px} px, cuts out {found.cutout}")]


def signature_words(bundle: Bundle) -> str:
    """Say who signed a bundle, and whether that was verified."""
    if bundle.verified_by is not None:
        return f"by {bundle.verified_by}, verified"
    try:
        signature = read_signature(bundle.folder)
    except BundleError as error:
        return f"unusable, not verified ({error})"
    return "none" if signature is None else f"by {signature.key}, not verified (no --verify-key)"


def _threshold_rows(manifest: Manifest, calibration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say more of the threshold: where review begins, who moved it last, and what it cannot promise."""
    rows = []
    if manifest.point.review_from is not None:
        rows.append(("review", f"from raw {manifest.point.review_from:.6g}, score {manifest.point.review_score:.3f}"))
    if manifest.history:
        last = manifest.history[-1]
        why = f" ({last.reason})" if last.reason else ""
        rows.append(("", f"moved {last.when} from raw {last.before.image.threshold:.6g}, {last.bundle_id}{why}"))
    if calibration and not calibration.get("is_supported", True):
        held_out, smallest = calibration["held_out"], 100 * calibration["smallest_rate"]
        kind = "cross-fitted" if calibration.get("method") == "crossfit" else "held-out"
        rows.append(("", f"{held_out} {kind} pictures can speak for no less than {smallest:.1f}%"))
    return rows


def _rate_words(calibration: Mapping[str, Any]) -> str:
    """Say what share of good parts the threshold rejects."""
    if not calibration:
        return "false-reject rate not stated"
    rate = f"{100 * calibration['false_reject_rate']:.2f}% of good parts rejected"
    by = {"f1": "put where F1 is best", "value": "put by hand"}.get(calibration.get("rule", ""))
    return f"aimed at {rate}" if by is None else f"{by}, about {rate}"


def _fast_words(chosen: Mapping[str, Any]) -> str:
    """Say what the export chose for the fast model of an engine."""
    features, search = chosen.get("features"), chosen.get("search")
    backbone = "backbone float32"
    if features is not None:
        backbone = f"backbone int8, {len(features['float_layers'])} of {features['layers']} layers float32"
    if search is None:
        return f"{backbone}; search exact"
    kind = f"{search['arithmetic']}, {search['components']} components, {search['candidates']} candidates"
    return f"{backbone}; search {kind}"
