"""What the page says of a bundle."""

from typing import Any

from nut_runtime.manifest import Manifest

__all__ = ["bundle_facts"]


def bundle_facts(manifest: Manifest, *, engine: str = "") -> dict[str, Any]:
    """Return what a person at the line may ask about the model, plain types.

    Args:
        manifest: The bundle's.
        engine: The engine that runs it, with its version.
    """
    provenance = manifest.provenance
    backbone, bank, calibration = (provenance.get(part) for part in ("backbone", "bank", "calibration"))
    evaluation = provenance.get("evaluation")
    facts: dict[str, Any] = {
        "id": manifest.bundle_id,
        "name": manifest.name,
        "created": manifest.created,
        "precision": manifest.precision,
        "engine": engine,
        "raw_threshold": manifest.point.image.threshold,
        "threshold_moved": manifest.point != manifest.model_point,
        "input_px": [manifest.input_width_px, manifest.input_height_px],
        "parity": {
            name: {key: figures.get(key) for key in ("pictures", "flips", "max_d_score")}
            for name, figures in manifest.parity.items()
        },
    }
    if isinstance(backbone, dict):
        facts["backbone"] = backbone.get("name")
    if isinstance(bank, dict):
        facts["bank"] = [bank.get("rows"), bank.get("width")]
    if isinstance(calibration, dict):
        facts["false_reject_rate"] = calibration.get("false_reject_rate")
    if isinstance(evaluation, dict) and isinstance(evaluation.get("image"), dict):
        facts["auroc"] = evaluation["image"].get("auroc")
    return facts
