"""A bundle for one frame size (`nut export --frame-size 1920x1080`), and pictures brought to it.

Where the size is known, everything that hangs on it is worked out when an engine loads the model, not for each frame.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.pictures import MAX_PIXELS, MIN_SIDE_PX, read_picture, write_picture

__all__ = ["at_frame_size", "bring_to", "check_frame_size", "input_text", "parse_frame_size"]


def parse_frame_size(text: str) -> tuple[int, int]:
    """Return height and width in pixels of a size written as `WIDTHxHEIGHT`.

    Raises:
        InputError: If it is not written so.

    Example:
        >>> parse_frame_size("1920x1080")
        (1080, 1920)
    """
    found = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", text.strip(), re.ASCII)
    if found is None:
        raise InputError(f"frame size {text!r}, expected WIDTHxHEIGHT in pixels, such as 1920x1080")
    return int(found[2]), int(found[1])


def check_frame_size(frame_px: tuple[int, int]) -> None:
    """Refuse a frame size that no picture may have.

    Args:
        frame_px: Height and width in pixels.

    Raises:
        InputError: If a side is too short, or the frame too large.
    """
    height, width = frame_px
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(f"frame size {width}x{height}, expected at least {MIN_SIDE_PX} px a side")
    if height * width > MAX_PIXELS:
        raise InputError(f"frame size {width}x{height}, expected at most {MAX_PIXELS // 1_000_000} megapixels")


def bring_to(picture: NDArray[np.uint8], frame_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture at a frame's size, stretched; one of that size already as it is.

    Args:
        picture: uint8 BGR `[H, W, 3]`.
        frame_px: Height and width in pixels.
    """
    height, width = frame_px
    if picture.shape[:2] == frame_px:
        return picture
    is_smaller = picture.shape[0] >= height and picture.shape[1] >= width
    way = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=way), np.uint8)


def input_text(frame_px: tuple[int, int] | None, *, frames: int = 1) -> str:
    """Return what a model for one frame, or for several at once, says of its input, in words."""
    if frame_px is None:
        return f"uint8 [{frames}, H, W, 3], BGR, any H and W"
    return f"uint8 [{frames}, {frame_px[0]}, {frame_px[1]}, 3], BGR"


@contextmanager
def at_frame_size(paths: Sequence[Path], frame_px: tuple[int, int] | None) -> Iterator[Mapping[Path, Path]]:
    """Bring pictures to one size, as PNG files that are there as long as the `with` block.

    They are stretched, as the model does itself with a frame whose sides are in another proportion than its own.

    Args:
        paths: Picture files.
        frame_px: Height and width in pixels; None leaves every picture as it is.

    Yields:
        The files to judge, in the order of `paths`, each with the one it came from; a picture of that size already is
        its own.

    Raises:
        PictureError: If a picture cannot be read.
    """
    if frame_px is None:
        yield {path: path for path in paths}
        return
    with tempfile.TemporaryDirectory(prefix="nut-frames-") as folder:
        sources: dict[Path, Path] = {}
        for number, path in enumerate(dict.fromkeys(paths)):
            picture = read_picture(path)
            if picture.shape[:2] == frame_px:
                sources[path] = path
                continue
            written = Path(folder) / f"{number:05}.png"
            write_picture(written, bring_to(picture, frame_px))
            sources[written] = path
        yield sources
