"""A locator's `report.html`: one self-contained file for people, with pictures before and after."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_runtime.atomic import write_text
from nut_runtime.locate.instance import Instance
from nut_train.locator.evaluate import Located

__all__ = ["draw_instances", "draw_map", "write_locator_report"]

_SHOWN = 6
_SIDE_PX = 480  # longer side of a picture in the report
_TRUE, _COMPLETE, _FLAWED = (255, 255, 255), (60, 200, 60), (0, 140, 255)  # BGR
_JPEG_QUALITY = 85


def write_locator_report(folder: Path, record: Mapping[str, Any], located: Sequence[Located]) -> Path:
    """Write `report.html` into `folder`.

    Args:
        folder: An existing folder.
        record: The content of `locator.json`.
        located: The pictures of the split to show, at least one.

    Returns:
        The path of the report.

    Raises:
        PictureError: If a picture cannot be read any more.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    worst_first = sorted(located, key=lambda one: (one.matches.f1(0) + one.matches.f1(1), one.tray.picture.path.name))
    step = max(1, len(located) // _SHOWN)
    galleries = [
        {"title": "worst first", "pictures": [_shown(one) for one in worst_first[:_SHOWN]]},
        {"title": "a sample of all", "pictures": [_shown(one) for one in list(located)[::step][:_SHOWN]]},
    ]
    environment = Environment(loader=PackageLoader("nut_train", "templates"), autoescape=select_autoescape())
    page = environment.get_template("locator.html").render(
        record=record, galleries=galleries, losses=_losses(record["epochs"])
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def draw_instances(
    frame: NDArray[np.uint8], instances: Sequence[Instance], truth: NDArray[np.uint16] | None = None
) -> NDArray[np.uint8]:
    """Return a picture with the outlines of what was found: green what can be judged, orange what cannot.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.
        instances: What was found in it.
        truth: True labels, drawn in white below; uint16 `[H, W]`.
    """
    drawn = frame.copy()
    if truth is not None:
        for label in np.unique(truth[truth > 0]):
            outlines, _ = cv2.findContours((truth == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, outlines, -1, _TRUE, 2)
    for one in instances:
        mask = np.ascontiguousarray(one.mask, np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(one.x, one.y))
        colour = _COMPLETE if one.is_complete else _FLAWED
        cv2.drawContours(drawn, outlines, -1, colour, 1, cv2.LINE_AA)
        centre = round(one.centre[0]), round(one.centre[1])
        cv2.circle(drawn, centre, 2, colour, -1, cv2.LINE_AA)
    return drawn


def draw_map(found: NDArray[np.float32], frame_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a distance map in colours, uint8 `[H, W, 3]`, BGR, at the frame's size."""
    grey = np.asarray(np.clip(np.rint(found * 255), 0, 255), np.uint8)
    large = cv2.resize(grey, frame_px[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS), np.uint8)


def _shown(one: Located) -> dict[str, Any]:
    """Return a picture, its map and what was found, side by side, with the words below."""
    frame, truth, _ = one.tray.picture.read()
    after = draw_instances(frame, one.instances, truth)
    row = np.hstack([frame, draw_map(one.tray.found_map, one.tray.frame_px), after])
    scale = min(1.0, _SIDE_PX / max(one.tray.frame_px))
    small = cv2.resize(row, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    flawed = sum(not instance.is_complete for instance in one.instances)
    return {
        "name": one.tray.picture.path.name,
        "inline": "data:image/jpeg;base64," + base64.b64encode(coded).decode(),
        "matches": one.matches,
        "flawed": flawed,
        "map_error": one.tray.error,
    }


def _losses(epochs: Sequence[Mapping[str, float]]) -> str:
    """Return the course of both losses as points of an SVG of 400x120, one polyline each."""
    values = [[one[key] for one in epochs] for key in ("train_loss", "valid_loss")]
    top = max(max(line) for line in values) or 1.0
    wide = max(len(epochs) - 1, 1)
    colours = ("#888", "#2a7")
    lines = []
    for colour, line in zip(colours, values, strict=True):
        points = " ".join(f"{400 * place / wide:.1f},{118 - 114 * value / top:.1f}" for place, value in enumerate(line))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "".join(lines)
