"""Reads size and kind of a picture from its header, before a decoder takes memory or converts colours.

Fields that are not where the format puts them give None: the decoder then says what is wrong with the file.
"""

import zlib
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Header", "read_header"]

_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF markers; the other three are tables
_CMYK_CHANNELS = 4
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_COLOURS = 256, 257, 262  # tags
_TIFF_SHORT, _TIFF_SEPARATED = 3, 5  # a 16-bit field; the colours of a printer
_MAX_TAGS = 4096
_BMP_HEADER = 40  # bytes; the shorter header of OS/2 has other fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file says of itself.

    Attributes:
        width_px: Width in pixels.
        height_px: Height in pixels.
        is_cmyk: Whether the colours are those of a printer.
        fault: What is wrong with the file as a whole, or empty; known for PNG only.
    """

    width_px: int
    height_px: int
    is_cmyk: bool = False
    fault: str = ""


def read_header(data: bytes) -> Header | None:
    """Return the header of a PNG, JPEG, TIFF, BMP or WebP file; None where none is understood."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg(data)
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff(data, "little" if data.startswith(b"II") else "big")
    if data.startswith(b"BM") and _signed(data, 14) >= _BMP_HEADER:
        return Header(width_px=_signed(data, 18), height_px=abs(_signed(data, 22)))  # < 0: rows from the top
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _signed(data: bytes, at: int) -> int:
    """Return four bytes as a signed number, little end first."""
    return int.from_bytes(data[at : at + 4], "little", signed=True)


def _png(data: bytes) -> Header:
    """Walk the chunks: libpng would print what it finds on stderr, beyond anybody's control."""
    header = Header(width_px=int.from_bytes(data[16:20], "big"), height_px=int.from_bytes(data[20:24], "big"))
    view, position = memoryview(data), 8
    while True:
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        name = data[position + 4 : position + 8]
        if end > len(data):
            return replace(header, fault="is cut off")
        is_needed = name[:1].isupper()  # others hold remarks; a decoder passes over damage there
        if is_needed and zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return replace(header, fault="is damaged (wrong checksum)")
        if name == b"IEND":
            return header
        position = end


def _jpeg(data: bytes) -> Header | None:
    """Walk the segments to the frame header."""
    position = 2
    while position + 10 < len(data) and data[position] == 0xFF:  # noqa: PLR2004
        marker = data[position + 1]
        if marker == 0xFF:  # noqa: PLR2004
            position += 1  # fill byte
            continue
        if marker in _JPEG_SIZES:
            return Header(
                height_px=int.from_bytes(data[position + 5 : position + 7], "big"),
                width_px=int.from_bytes(data[position + 7 : position + 9], "big"),
                is_cmyk=data[position + 9] == _CMYK_CHANNELS,
            )
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _tiff(data: bytes, order: Literal["little", "big"]) -> Header | None:
    """Read the first directory."""
    start = int.from_bytes(data[4:8], order)
    n_tags = int.from_bytes(data[start : start + 2], order)
    fields = {}
    for at in range(start + 2, start + 2 + 12 * min(n_tags, _MAX_TAGS), 12):
        is_short = int.from_bytes(data[at + 2 : at + 4], order) == _TIFF_SHORT
        fields[int.from_bytes(data[at : at + 2], order)] = int.from_bytes(
            data[at + 8 : at + (10 if is_short else 12)], order
        )
    if not fields.get(_TIFF_WIDTH) or not fields.get(_TIFF_HEIGHT):
        return None
    return Header(
        width_px=fields[_TIFF_WIDTH],
        height_px=fields[_TIFF_HEIGHT],
        is_cmyk=fields.get(_TIFF_COLOURS) == _TIFF_SEPARATED,
    )


def _webp(data: bytes) -> Header | None:
    """Read the first chunk, one of three."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif chunk == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        return None
    return Header(width_px=width, height_px=height)
