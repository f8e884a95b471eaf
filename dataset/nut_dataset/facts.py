"""What one picture file is, in numbers: the raw material of every check.

The numbers describe the file and the photograph, not the part: a model that could see only these should not
be able to tell a good part from a defective one, and `nut_dataset.confounds` tests just that.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nut_runtime.errors import PictureError
from nut_runtime.pictures import read_picture

__all__ = ["HASH_BITS", "HASH_SIDE", "FileFacts", "PictureFacts", "read_facts"]

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE

_BORDER_SHARE = 0.02  # of the shorter side: wide enough to outvote a part that touches the edge at one place
_PLAIN_LEVELS = 8  # grey levels around the median that still count as one background (JPEG and sensor noise)
_PLAIN_SHARE = 0.9
_WHITE, _BLACK = 240, 15


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """Properties of a picture that can be read. Grey levels are 0 (black) to 255 (white).

    Attributes:
        width_px: Width in pixels.
        height_px: Height in pixels.
        mode: Channels as stored in the file, in Pillow's names: `L`, `RGB`, `RGBA`, `P` ...
        format: File format by content, not by name: `PNG`, `JPEG` ...
        file_bytes: Size of the file in bytes.
        background: Median grey level of the border (the outer 2% of the shorter side).
        background_share: Share of the border within 8 grey levels of that median, 0..1; 1 = plain background.
        brightness: Mean grey level.
        contrast: Standard deviation of the grey level.
        saturation: Mean difference between the largest and smallest of the three channels; 0 = grey.
        sharpness: log10 of 1 plus the variance of the Laplacian of the grey levels; low = blurred.
        pixels_sha256: SHA-256 of the decoded pixels and their shape: equal for a picture saved another way.
        phash: Perceptual hash (DCT, 16 x 16 bits) as 64 hexadecimal digits.
    """

    width_px: int
    height_px: int
    mode: str
    format: str
    file_bytes: int
    background: float
    background_share: float
    brightness: float
    contrast: float
    saturation: float
    sharpness: float
    pixels_sha256: str
    phash: str

    @property
    def size(self) -> str:
        """Width and height as one word, `640x480`."""
        return f"{self.width_px}x{self.height_px}"

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width_px * self.height_px

    @property
    def aspect(self) -> float:
        """Width divided by height."""
        return self.width_px / self.height_px

    @property
    def bytes_per_pixel(self) -> float:
        """File size divided by the number of pixels: how hard the file is compressed."""
        return self.file_bytes / self.pixels

    @property
    def background_name(self) -> str:
        """The background in words; `no plain background` for a picture that the scene fills to the edge."""
        if self.background_share < _PLAIN_SHARE:
            return "no plain background"
        if self.background >= _WHITE:
            return "white background"
        return "black background" if self.background <= _BLACK else "plain grey background"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """One file of a data set.

    Attributes:
        path: The file, relative to the data set's folder.
        split: `train` or `test`.
        kind: `good` or the kind of defect.
        size_bytes: Size of the file; 0 where it cannot be opened.
        sha256: SHA-256 of the file; None where it cannot be opened.
        problem: Why the picture cannot be used, in one line; None where it can.
        picture: What the picture is; None where it cannot be used.
    """

    path: Path
    split: str
    kind: str
    size_bytes: int
    sha256: str | None
    problem: str | None
    picture: PictureFacts | None

    @property
    def folder(self) -> str:
        """Split and kind as one word, `test/good`."""
        return f"{self.split}/{self.kind}"


def read_facts(root: Path, path: Path, *, split: str, kind: str) -> FileFacts:
    """Read the file `path` of the data set in `root`; a file that cannot be used is told, not raised."""
    relative = path.relative_to(root)
    data: bytes | None = None
    picture: PictureFacts | None = None
    problem: str | None = None
    try:
        data = path.read_bytes()
        picture = _describe(read_picture(path), data)
    except OSError as error:
        problem = f"{relative.as_posix()} cannot be opened: {error.strerror or error}"
    except PictureError as error:
        problem = str(error).replace(str(path), relative.as_posix())
    return FileFacts(
        path=relative,
        split=split,
        kind=kind,
        size_bytes=len(data or b""),
        sha256=None if data is None else hashlib.sha256(data).hexdigest(),
        problem=problem,
        picture=picture,
    )


def _describe(picture: NDArray[np.uint8], data: bytes) -> PictureFacts:
    """Measure `picture` (uint8 `[H, W, 3]`, BGR), which was decoded from `data`."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)  # (H, W)
    height, width = grey.shape
    border = _border(grey)
    background = float(np.median(border))
    near = np.abs(border.astype(np.int16) - round(background)) <= _PLAIN_LEVELS
    mean, deviation = cv2.meanStdDev(grey)  # OpenCV, as numpy takes three times longer for all of this
    blue, green, red = cv2.split(picture)
    spread = cv2.max(cv2.max(blue, green), red) - cv2.min(cv2.min(blue, green), red)  # (H, W), never negative
    mode, file_format = _stored_as(data)
    return PictureFacts(
        width_px=width,
        height_px=height,
        mode=mode,
        format=file_format,
        file_bytes=len(data),
        background=background,
        background_share=float(near.mean()),
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        saturation=float(cv2.mean(spread)[0]),
        sharpness=float(np.log10(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))[1][0, 0] ** 2 + 1)),
        pixels_sha256=hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest(),
        phash=_perceptual_hash(grey),
    )


def _border(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the outermost pixels of `grey` `[H, W]` as one row."""
    wide = max(1, round(min(grey.shape) * _BORDER_SHARE))
    inner = slice(wide, -wide)
    return np.concatenate(
        [grey[:wide].ravel(), grey[-wide:].ravel(), grey[inner, :wide].ravel(), grey[inner, -wide:].ravel()]
    )


def _stored_as(data: bytes) -> tuple[str, str]:
    """Return channel mode and format from the file's header; the pixels are not decoded a second time."""
    try:
        with Image.open(io.BytesIO(data)) as header:
            return header.mode, header.format or "unknown"
    except (OSError, ValueError):  # OpenCV reads a few variants that Pillow does not know or refuses
        return "unknown", "unknown"


def _perceptual_hash(grey: NDArray[np.uint8]) -> str:
    """Return the perceptual hash of `grey` `[H, W]`, 64 hexadecimal digits."""
    import imagehash

    bits = imagehash.phash(Image.fromarray(grey), hash_size=HASH_SIDE).hash  # (16, 16) bool
    return np.packbits(bits).tobytes().hex()
