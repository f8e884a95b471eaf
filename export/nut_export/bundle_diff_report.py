"""`diff.html`: an update on one page, for the person who approves it; the pictures that flip are drawn into it."""

import base64
import heapq
from itertools import groupby
from pathlib import Path

from nut_export.bundle_diff import BundleDiff
from nut_export.bundle_diff_text import moved_text, same_text, value_text
from nut_runtime.atomic import check_output_page, write_text
from nut_runtime.errors import InputError
from nut_runtime.opencv import quiet_opencv
from nut_runtime.overlay import draw_verdict
from nut_runtime.sources import Frame
from nut_runtime.verdict import Verdict

__all__ = ["FlipGallery", "check_report_path", "write_diff_report"]

_MARK = '<meta name="generator" content="nut bundle diff">'
_SHOWN = 30
_WIDTH_PX = 420
_JPEG_QUALITY = 85


class FlipGallery:
    """Draws the pictures that flip as they are judged, and keeps those whose scores differ most.

    Call it with a frame and both verdicts (`verdict_diff.OnFlip`).
    """

    def __init__(self) -> None:
        self._kept: list[tuple[float, int, dict[str, str]]] = []
        self._seen = 0

    def __call__(self, frame: Frame, a: Verdict, b: Verdict) -> None:
        """Draw one picture twice, as the old and as the new bundle see it."""
        self._seen += 1
        gap = abs(b.pred_score - a.pred_score)
        if len(self._kept) == _SHOWN and gap <= self._kept[0][0]:
            return
        item = {"source": frame.source, "a": _drawn(frame, a), "b": _drawn(frame, b)}
        put = heapq.heappush if len(self._kept) < _SHOWN else heapq.heappushpop
        put(self._kept, (gap, -self._seen, item))  # the number decides between equal gaps, before the dicts would

    @property
    def pictures(self) -> list[dict[str, str]]:
        """Source and both drawings (data URLs) of what was kept, the largest difference first."""
        return [item for _, _, item in sorted(self._kept, key=lambda kept: kept[:2], reverse=True)]


def check_report_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a page that is in the way, before any work is done; only an older diff page is ever replaced.

    Raises:
        OutputError: If `path` exists and may not be replaced or is no such page, or its folder does not exist.
    """
    check_output_page(path, mark=_MARK, of="nut bundle diff", overwrite=overwrite)


def write_diff_report(path: Path, diff: BundleDiff, gallery: FlipGallery | None = None) -> None:
    """Write the page, self-contained.

    Args:
        path: The file to write.
        diff: What changed.
        gallery: The pictures that flipped, drawn while they were judged.

    Raises:
        OutputError: If it cannot be written.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(loader=PackageLoader("nut_export", "templates"), autoescape=select_autoescape())
    sections = groupby(diff.differences, key=lambda difference: difference.section)
    page = environment.get_template("bundle_diff.html").render(
        mark=_MARK,
        diff=diff,
        sections=[(section, list(differences)) for section, differences in sections],
        pictures=[] if gallery is None else gallery.pictures,
        same=same_text(diff),
        value_text=value_text,
        moved_text=moved_text,
    )
    write_text(path, page)


def _drawn(frame: Frame, verdict: Verdict) -> str:
    """Return a frame's overlay as a JPEG data URL."""
    if frame.picture is None:
        raise InputError(f"{frame.source} has no picture to draw")
    cv2 = quiet_opencv()
    drawn = draw_verdict(
        frame.picture,
        verdict.anomaly_map,
        verdict.pred_mask,
        is_defective=verdict.is_defective,
        pred_score=verdict.pred_score,
    )
    height, width = drawn.shape[:2]
    if width > _WIDTH_PX:
        drawn = cv2.resize(drawn, (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width))), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise InputError(f"cannot draw {frame.source} as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
