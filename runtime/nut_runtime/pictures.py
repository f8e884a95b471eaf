"""Reading and writing pictures: the one definition that training, calibration, export and the edge share.

What a file gives, always `uint8 [H, W, 3]` in BGR order:

========================= =========================================================================
8-bit colour              as it is
8-bit grey                the grey value in all three channels
8-bit palette, grey+alpha expanded to colour
8-bit colour with alpha   the alpha channel is dropped, as anomalib does
EXIF orientation          ignored, as anomalib does: what the sensor delivered is what is judged
16-bit, float             refused: nothing tells 12-bit data from 16-bit, and a wrong guess is black
CMYK                      refused: a camera does not deliver it, and decoders disagree on its colours
sides under 8 px          refused: there is no part to see
more than 64 megapixels   refused: crop or scale it down first
========================= =========================================================================

On 8-bit pictures this equals anomalib's own reader to the bit (tests/train/test_reading.py).
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.atomic import write_bytes
from nut_runtime.errors import InputError, PictureError
from nut_runtime.opencv import quiet_opencv
from nut_runtime.picture_header import read_header

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "check_frame",
    "encode_png",
    "list_pictures",
    "read_picture",
    "write_picture",
]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MIN_SIDE_PX = 8
MAX_PIXELS = 64_000_000


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files directly in `folder`, sorted by name; hidden files and folders are left out.

    Raises:
        InputError: If `folder` is not a folder, or may not be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    # `not is_dir`, for a link to nowhere is no file: it is listed, and whoever reads it is told.
    return sorted(path for path in paths if path.suffix.lower() in EXTENSIONS and not path.is_dir())


def read_picture(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read a picture file as the model takes it.

    Args:
        path: A PNG, JPEG, BMP, TIFF or WebP file.

    Returns:
        The picture, uint8 `[H, W, 3]`, BGR.

    Raises:
        PictureError: If the file is missing, empty, not a picture, broken, or of a kind refused above.
    """
    cv2 = quiet_opencv()
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise PictureError(f"{path} does not exist") from error
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise PictureError(f"{path} is empty (0 bytes)")
    _refuse_by_header(path, data)
    try:
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise PictureError(f"{path} cannot be decoded: {error.err}") from error
    if raw is None:
        raise PictureError(f"{path} is not a picture that can be read, or is broken")
    if raw.dtype != np.uint8:
        raise PictureError(f"{path} has {raw.dtype} pixels, expected 8 bits; convert it to 8 bits first")
    return check_frame(_as_bgr(raw), name=str(path))


def _as_bgr(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring what the decoder gave, `[H, W]` or `[H, W, 1|2|3|4]`, to three channels."""
    if raw.ndim == 2:  # noqa: PLR2004
        raw = raw[:, :, None]
    channels = raw.shape[2]
    if channels >= 3:  # noqa: PLR2004
        return np.ascontiguousarray(raw[:, :, :3])
    return np.repeat(raw[:, :, :1], 3, axis=2)


def check_frame(frame: Any, *, name: str = "frame", frame_px: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return `frame` when a model can judge it.

    Args:
        frame: Expected to be uint8 `[H, W, 3]`, BGR.
        name: What to call the frame in the message.
        frame_px: Height and width of the only frames that the model takes; None where it takes any.

    Raises:
        PictureError: If type, shape or size are not those a model takes.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        got = getattr(frame, "dtype", type(frame).__name__)
        raise PictureError(f"{name}: expected uint8 pixels, got {got}")
    if frame.ndim != 3 or frame.shape[2] != 3:  # noqa: PLR2004
        raise PictureError(f"{name}: expected shape [H, W, 3] in BGR order, got {list(frame.shape)}")
    height, width = frame.shape[:2]
    _check_size(name, height, width)
    if frame_px is not None and (height, width) != frame_px:
        raise PictureError(
            f"{name}: {width}x{height} px, but the bundle takes only {frame_px[1]}x{frame_px[0]} px; set the camera to "
            f"that size, or export again with --frame-size {width}x{height} or without it"
        )
    return frame


def _check_size(name: str, height: int, width: int) -> None:
    """Refuse a picture that is too small to show a part, or too large to hold."""
    if min(height, width) < MIN_SIDE_PX:
        raise PictureError(f"{name}: {width}x{height} px is too small, at least {MIN_SIDE_PX} px a side are needed")
    if height * width > MAX_PIXELS:
        raise PictureError(
            f"{name}: {width}x{height} px is larger than {MAX_PIXELS // 1_000_000} megapixels; crop or scale it down"
        )


def _refuse_by_header(path: Path, data: bytes) -> None:
    """Refuse, before decoding, what the decoder would convert without saying so or blow up on."""
    header = read_header(data)
    if header is None:
        return
    if header.fault:
        raise PictureError(f"{path} {header.fault}; copy or save it again")
    if header.is_cmyk:
        raise PictureError(f"{path} is a CMYK picture; convert it to RGB first")
    _check_size(str(path), header.height_px, header.width_px)


def encode_png(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return `picture` (`[H, W]` or BGR `[H, W, 3]`, uint8 or uint16) as PNG bytes, lossless."""
    done, data = quiet_opencv().imencode(".png", picture)
    if not done:
        raise InputError(f"cannot encode a picture of shape {list(picture.shape)} as PNG")
    return data.tobytes()


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write `picture` as PNG to `path`; the file appears whole or not at all."""
    write_bytes(path, encode_png(picture))


def extensions_text(extensions: Iterable[str] = EXTENSIONS) -> str:
    """Return the file endings that are read, for a message: `.bmp, .jpeg, ...`."""
    return ", ".join(sorted(extensions))
