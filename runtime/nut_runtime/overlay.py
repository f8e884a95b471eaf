"""The picture people look at: heat map over the part, outline of what is defective, verdict in a strip."""

import numpy as np
from numpy.typing import NDArray

from nut_runtime.verdict import Label

__all__ = ["draw_heat", "draw_strip", "draw_verdict"]

_SMALLEST_SIDE_PX = 256  # smaller frames are enlarged, so that the strip's text can be read
_LARGEST_ENLARGED_PX = 2048  # but not beyond this, or a long thin frame would take the whole memory
_TALLEST_STRIP_PX = 120
# Normalised map values between which the heat rises from nothing to full; 0.5 is the threshold. Good places lie
# at 0.3 to 0.45, so a wider range would veil the whole picture.
_HEAT_FROM, _HEAT_TO = 0.42, 0.75
_STRONGEST_HEAT = 0.65  # opacity of full heat
_OUTLINE_BGR = (255, 255, 255)
_STRIP_BGR = {
    Label.GOOD: (70, 130, 40),
    Label.DEFECT: (40, 40, 200),
    Label.REVIEW: (0, 120, 200),
    Label.NO_VERDICT: (90, 90, 90),
}


def draw_heat(
    frame: NDArray[np.uint8], anomaly_map: NDArray[np.float32], pred_mask: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Lay the anomaly map over the frame.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.
        anomaly_map: Normalised, float32 `[h, w]`, 0..1; scaled to the frame.
        pred_mask: Defective pixels, bool `[h, w]`, outlined in white; None draws no outline.

    Returns:
        A new picture, uint8 BGR, at the frame's size, or enlarged where a side is under 256 px.
    """
    import cv2

    height, width = frame.shape[:2]
    factor = max(1.0, min(_SMALLEST_SIDE_PX / min(height, width), _LARGEST_ENLARGED_PX / max(height, width)))
    size = (round(width * factor), round(height * factor))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) if factor > 1 else frame
    # Coloured at the map's own size and blended in one pass: a 1080p frame takes 10 ms, where each pixel by itself took
    # 37 ms.
    heat = np.clip((anomaly_map - _HEAT_FROM) / (_HEAT_TO - _HEAT_FROM), 0, 1)
    colours = cv2.applyColorMap((255 * (0.3 + 0.7 * heat)).astype(np.uint8), cv2.COLORMAP_TURBO)
    opacity = cv2.resize((np.minimum(2 * heat, 1) * _STRONGEST_HEAT).astype(np.float32), size)
    blended = cv2.blendLinear(picture, cv2.resize(colours, size), 1 - opacity, opacity)
    if pred_mask is not None and pred_mask.any():
        mask = cv2.resize(pred_mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(blended, outlines, -1, _OUTLINE_BGR, max(1, min(size) // 250))
    return blended


def draw_verdict(
    frame: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    pred_mask: NDArray[np.bool_],
    *,
    is_defective: bool,
    pred_score: float,
    name: str = "",
    label: Label | None = None,
) -> NDArray[np.uint8]:
    """Draw the heat map with a strip below that says verdict, score and name.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.
        anomaly_map: Normalised, float32 `[h, w]`.
        pred_mask: Defective pixels, bool `[h, w]`; outlined only on a defective part.
        is_defective: The verdict.
        pred_score: Normalised score.
        name: What the frame is called; cut where it does not fit.
        label: What the strip says, where that is more than defective or not.

    Returns:
        A new picture, uint8 BGR, as `draw_heat`'s with a strip added below.
    """
    heat = draw_heat(frame, anomaly_map, pred_mask if is_defective else None)
    said = label if label is not None else Label.DEFECT if is_defective else Label.GOOD
    word = "DEFECT" if said is Label.DEFECT else str(said)
    return draw_strip(heat, f"{word} {pred_score:.3f}", name=name, label=said)


def draw_strip(picture: NDArray[np.uint8], text: str, *, name: str, label: Label) -> NDArray[np.uint8]:
    """Add a strip below a picture, in the colour of a verdict.

    Args:
        picture: uint8 `[H, W, 3]`, BGR.
        text: What it says.
        name: What the frame is called; cut where it does not fit.
        label: The verdict.

    Returns:
        A new picture, uint8 BGR, of the same width.
    """
    import cv2

    width = picture.shape[1]
    strip_height = min(max(28, width // 16), _TALLEST_STRIP_PX)
    strip = np.full((strip_height, width, 3), _STRIP_BGR[label], np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, strip_height / 50
    thickness = max(1, strip_height // 24)
    baseline = strip_height * 2 // 3
    cv2.putText(strip, text, (8, baseline), font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    used = cv2.getTextSize(text, font, scale, thickness)[0][0] + 24
    shown = name.encode("ascii", "replace").decode()  # the built-in font knows no other letters
    small = scale * 0.7
    while shown and used + cv2.getTextSize(shown, font, small, 1)[0][0] > width - 8:
        shown = shown[1:]
    cv2.putText(strip, shown, (used, baseline), font, small, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([picture, strip])
