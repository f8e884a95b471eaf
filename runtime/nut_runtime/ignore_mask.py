"""Areas of a view that are not looked at, such as a screw hole that never looks alike.

The model cannot leave pixels out: its score is that of the most anomalous patch, wherever that lies. So a verdict stays
as it is, to the bit, unless the peak of its anomaly map lies in an ignored area. Only then is the part judged on the
rest of the map, by the map's own threshold.

What the rest is: an oddity in an ignored area lights up around it too. The map is blurred, which carries 16 px of the
map far, and a patch that lies half in the area, 8 px wide with the built-in backbone, is as odd as one inside. So the
ignored area is grown by a margin of both together. Beyond it no patch that touches the area has a part in the map; what
is left is that a patch sees a little more of the picture than its own place (docs/station.md has figures). Price: while
the most anomalous place of all is in an ignored area, a defect in the margin is not seen. A defect there that is itself
the most anomalous place is, since then the verdict stays as it is.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import read_picture
from nut_runtime.regions import defect_boxes
from nut_runtime.scoring import is_defective
from nut_runtime.verdict import Label, Verdict

__all__ = ["MARGIN_PX", "IgnoreMask"]

MARGIN_PX = 24
"""How far around an ignored area the map is not looked at either, in pixels of the map: the reach of the map's blur
(16, `nut_export.anomaly_map`) and a patch (8)."""

_WHITE = 255

_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IgnoreMask:
    """What of a view is not looked at. May be used by several threads.

    Attributes:
        path: The picture it is from.
        ignored: True where nothing is looked at, bool `[H, W]`, of the view's size.
    """

    path: Path
    ignored: _Mask
    _areas: dict[tuple[int, int], tuple[_Mask, _Mask]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: str | Path) -> "IgnoreMask":
        """Read a mask.

        Args:
            path: A picture of 8 bits a channel: black is ignored, white is looked at. No other colour is taken, so that
                neither a picture of the part nor the soft edges of a JPEG make a mask by mistake.

        Raises:
            PictureError: If it is no such picture.
            InputError: If nothing in it is white.
        """
        path = Path(path)
        picture = read_picture(path)
        ignored = (picture == 0).all(axis=2)
        odd = int(np.count_nonzero(~ignored & ~(picture == _WHITE).all(axis=2)))
        if odd:
            raise PictureError(
                f"{path} has {odd} pixels that are neither black nor white; paint what is ignored black and all else "
                "white, without soft edges, and save it as PNG"
            )
        if ignored.all():
            raise InputError(f"{path} is all black, so nothing would be looked at; paint what is looked at white")
        return cls(path=path, ignored=ignored)

    @property
    def share(self) -> float:
        """The ignored part of the view, 0..1, before it is grown."""
        return float(self.ignored.mean())

    def check_size(self, view_px: tuple[int, int]) -> None:
        """Refuse a view of another size.

        Args:
            view_px: Height and width of the view: of the camera's region, or its whole frame.

        Raises:
            PictureError: If the mask has another size.
        """
        if self.ignored.shape != view_px:
            height, width = self.ignored.shape
            raise PictureError(
                f"{self.path} has {width}x{height} px, but the view has {view_px[1]}x{view_px[0]} px; make them "
                "the same"
            )

    def areas(self, map_px: tuple[int, int]) -> tuple[_Mask, _Mask]:
        """Return what is ignored of an anomaly map, and the same grown by the margin; bool `[h, w]` each.

        A pixel of the map is ignored where any pixel of the view that it covers is.

        Args:
            map_px: Height and width of the map, which are those of the model's input.

        Raises:
            InputError: If nothing would be left to judge.
        """
        import cv2

        if map_px not in self._areas:
            height, width = (max(sides) for sides in zip(map_px, self.ignored.shape, strict=True))
            fine = cv2.resize(self.ignored.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
            inside = cv2.resize(fine, map_px[::-1], interpolation=cv2.INTER_AREA) > 0
            reach = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)
            grown = cv2.dilate(inside.astype(np.uint8), reach) > 0
            if grown.all():
                raise InputError(
                    f"{self.path} leaves nothing to judge: its black areas, each grown by {MARGIN_PX} px of the "
                    f"anomaly map of {map_px[1]}x{map_px[0]} px, cover the whole view"
                )
            self._areas[map_px] = inside, grown  # two threads may both get here, with the same result
        return self._areas[map_px]

    def apply(self, verdict: Verdict, view_px: tuple[int, int]) -> tuple[Verdict, bool]:
        """Return the verdict with ignored areas left out, and whether that made a difference to how it came about.

        The same object comes back where the peak of the map lies outside. Else map and mask are empty in the ignored
        areas and their margin, the boxes are those of the rest, and `pred_score` is the highest value of the rest's
        map, or the model's own where that is lower: leaving something out never makes a part worse. `raw_score` stays
        the model's, of the whole view.

        Args:
            verdict: What the model said.
            view_px: Height and width of the judged view.

        Raises:
            PictureError: If the mask is of another size than the view.
            InputError: If nothing would be left to judge.
        """
        self.check_size(view_px)
        size = (verdict.anomaly_map.shape[0], verdict.anomaly_map.shape[1])
        inside, grown = self.areas(size)
        if not _peaks_inside(verdict.anomaly_map, inside, grown):
            return verdict, False
        anomaly_map = np.where(grown, np.float32(0), verdict.anomaly_map)
        pred_mask = verdict.pred_mask & ~grown
        score = np.minimum(np.float32(verdict.pred_score), anomaly_map.max())
        rejected = bool(is_defective(score))
        return (
            replace(
                verdict,
                label=Label.DEFECT if rejected else Label.GOOD,
                pred_score=float(score),
                anomaly_map=anomaly_map,
                pred_mask=pred_mask,
                boxes=defect_boxes(anomaly_map, pred_mask, view_px) if rejected else (),
            ),
            True,
        )


def _peaks_inside(anomaly_map: NDArray[np.float32], inside: _Mask, grown: _Mask) -> bool:
    """Return whether the peak of a map lies in an ignored area.

    The map is clipped at 1, so that the peak may be a plateau that reaches out of the area it belongs to. It counts as
    inside where it touches the area and ends within the margin; every one does, where there are several.
    """
    import cv2

    peak = anomaly_map == anomaly_map.max()
    if (peak & ~grown).any():
        return False
    count, labels = cv2.connectedComponents(peak.astype(np.uint8), connectivity=8)
    return np.unique(labels[peak & inside]).size == count - 1  # one of the counted is the background
