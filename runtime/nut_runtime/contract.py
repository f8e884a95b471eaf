"""The names, types and shapes that a model and its users agree on."""

from collections.abc import Mapping

__all__ = ["INPUT", "OUTPUTS", "STAGES", "STAGE_DISTANCES", "STAGE_EMBEDDING", "STAGE_PIXELS"]

INPUT = "image"
"""uint8 `[1, H, W, 3]`, BGR, any H and W."""

OUTPUTS: Mapping[str, str] = {
    "pred_score": "float32 [1], 0..1, threshold at 0.5",
    "raw_score": "float32 [1], the unclamped distance",
    "pred_label": "bool [1], true = defective",
    "anomaly_map": "float32 [1, 1, h, w], 0..1, threshold at 0.5",
    "pred_mask": "bool [1, 1, h, w], true = defective",
}
"""What a model gives, in this order."""

# Tensors inside the graph that the self-test compares, in the order a frame passes through them.
STAGE_PIXELS = "stage/pixels"  # float32 [1, 3, h, w], resized and normalised, RGB
STAGE_EMBEDDING = "stage/embedding"  # float32 [P, D]
STAGE_DISTANCES = "stage/distances"  # float32 [P]
STAGES = (STAGE_PIXELS, STAGE_EMBEDDING, STAGE_DISTANCES)
