"""JPEG pictures as cameras send them: whole ones become pixels, and halves an error."""

import re

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import PictureError
from nut_runtime.opencv import quiet_opencv
from nut_runtime.picture_header import read_header
from nut_runtime.pictures import check_frame

__all__ = ["check_jpeg", "decode_jpeg", "refuse_grey_end"]

_START = b"\xff\xd8"
_SCAN = b"\xff\xda"
_END = 0xD9
# In compressed data FF is followed by 00, or by the number of a restart; or it fills the space before a marker.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})  # of a progressive picture
_UNDECODED = 128


def check_jpeg(data: bytes, *, name: str = "a frame") -> None:
    """Refuse what is not a whole JPEG picture, by its markers and before it is decoded.

    Decoders differ in what they make of half a picture: nothing, or one that is grey from the middle on.

    Args:
        data: The file.
        name: What to call it in the message.

    Raises:
        PictureError: If the data is no JPEG picture, does not end as one does, or has in its middle what none has.
    """
    if not data.startswith(_START):
        raise PictureError(f"{name} of {len(data)} bytes is no JPEG picture")
    scan = data.find(_SCAN)
    if scan < 0:
        raise PictureError(f"{name} breaks off after {len(data)} bytes")
    position = scan + 2
    while True:
        found = _MARKER.search(data, position)
        if found is None:
            raise PictureError(f"{name} breaks off after {len(data)} bytes")
        marker = found.group(1)[0]
        if marker == _END:
            return
        if marker not in _BETWEEN_SCANS:
            raise PictureError(f"{name} is damaged at byte {found.start()} of {len(data)}")
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")


def decode_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Return a JPEG picture's pixels, uint8 `[H, W, 3]`, BGR; grey becomes three equal channels.

    Raises:
        PictureError: If it is not a whole JPEG picture, or of a kind or size that is not judged.
    """
    cv2 = quiet_opencv()
    check_jpeg(data)
    header = read_header(data)
    if header is not None:
        if header.is_cmyk:
            raise PictureError("a frame is a CMYK picture; set the camera to colour or grey")
        # Before decoding, for a few bytes may claim to be gigapixels.
        check_frame(np.broadcast_to(np.uint8(0), (header.height_px, header.width_px, 3)), name="a frame")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise PictureError(f"a frame cannot be decoded: {error.err}") from error
    if picture is None:
        raise PictureError(f"a frame of {len(data)} bytes cannot be decoded")
    refuse_grey_end(picture)
    return check_frame(picture, name="a frame")


def refuse_grey_end(picture: NDArray[np.uint8]) -> None:
    """Refuse a decoded picture whose lowest rows were never there.

    Where compressed data ends too soon, but with the right marker, libjpeg warns on stderr and paints the rest in the
    grey of exactly 128. No sensor gives a whole row of that; a picture that has nothing else was drawn so.

    Raises:
        PictureError: If the last row is of that grey, and the picture is not.
    """
    if (picture[-1] == _UNDECODED).all() and not (picture == _UNDECODED).all():
        rows = int(np.argmin((picture == _UNDECODED).all(axis=(1, 2))[::-1]))
        raise PictureError(f"the last {rows} of {len(picture)} rows of a frame are missing")
