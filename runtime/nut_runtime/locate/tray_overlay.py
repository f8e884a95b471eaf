"""The picture of a tray: each part's outline in the colour of its verdict, its number, and its heat map in place."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nut_runtime.locate.tray import Nut, Tray
from nut_runtime.opencv import quiet_opencv
from nut_runtime.overlay import draw_heat
from nut_runtime.verdict import Label

__all__ = ["count_words", "draw_tray", "tray_words"]

_OUTLINE_BGR = {
    Label.GOOD: (80, 190, 40),
    Label.DEFECT: (40, 40, 230),
    Label.REVIEW: (0, 150, 255),
    Label.NO_VERDICT: (150, 150, 150),
}


def draw_tray(picture: NDArray[np.uint8], tray: Tray, *, frame_px: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Draw a tray's parts on its frame.

    Args:
        picture: The frame or a smaller version of it, uint8 `[H, W, 3]`, BGR.
        tray: What was said of it.
        frame_px: Height and width of the frame; None where the picture is the frame.

    Returns:
        A new picture, uint8 BGR, of the picture's size, or enlarged where a side is under 256 px.
    """
    cv2 = quiet_opencv()
    height, width = frame_px or picture.shape[:2]
    verdict = tray.verdict
    no_heat = np.zeros((1, 1), np.float32)
    drawn = draw_heat(
        picture,
        no_heat if verdict is None else verdict.anomaly_map,
        verdict.pred_mask if verdict is not None and verdict.label is Label.DEFECT else None,
    )
    across, down = drawn.shape[1] / width, drawn.shape[0] / height
    line = max(1, round(min(drawn.shape[:2]) / 300))
    for nut in sorted(tray.nuts, key=lambda nut: nut.label is Label.DEFECT):  # no other line over a defect's
        one, colour = nut.instance, _OUTLINE_BGR[nut.label]
        contours, _ = cv2.findContours(one.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        middle = np.array([one.x + 0.5, one.y + 0.5])
        outlines = [((contour + middle) * (across, down)).round().astype(np.int32) for contour in contours]
        cv2.polylines(drawn, outlines, isClosed=True, color=colour, thickness=line, lineType=cv2.LINE_AA)
        _number(drawn, nut, (one.centre[0] * across, one.centre[1] * down), one.height * down)
    return drawn


def count_words(counts: Mapping[str, int]) -> str:
    """Return what the parts of trays came to, such as `24 nuts: 22 good, 1 defect, 1 incomplete`."""
    rest = [f"{counts[name]} {name}" for name in ("good", "defect", "review", "incomplete") if counts[name]]
    return f"{counts['found']} nuts" + (f": {', '.join(rest)}" if rest else "")


def tray_words(tray: Tray) -> str:
    """Return what a strip says of a tray."""
    word = "DEFECT" if tray.label is Label.DEFECT else str(tray.label)
    score = "" if tray.verdict is None else f" {tray.verdict.pred_score:.3f}"
    return f"{word}{score}, {count_words(tray.counts)}"


def _number(drawn: NDArray[np.uint8], nut: Nut, centre: tuple[float, float], height: float) -> None:
    """Write a part's number into its middle, white on a dark rim so that it can be read on anything."""
    cv2 = quiet_opencv()
    scale = float(np.clip(height / 90, 0.3, 1.5))
    text = str(nut.instance.number)
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    at = (round(centre[0] - wide / 2), round(centre[1] + high / 2))
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness, cv2.LINE_AA)
