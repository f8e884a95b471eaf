"""Sizes are read from the header as a decoder reads them, and odd bytes never raise."""

import io

import numpy as np
import pytest
from PIL import Image

from nut_runtime.picture_header import Header, read_header


def encoded(file_format: str, mode: str = "RGB", **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (23, 37, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        pytest.param("PNG", {}, id="png"),
        pytest.param("JPEG", {}, id="jpeg"),
        pytest.param("JPEG", {"progressive": True}, id="jpeg-progressive"),
        pytest.param("TIFF", {}, id="tiff"),
        pytest.param("TIFF", {"compression": "tiff_lzw"}, id="tiff-compressed"),
        pytest.param("BMP", {}, id="bmp"),
        pytest.param("WEBP", {}, id="webp-lossy"),
        pytest.param("WEBP", {"lossless": True}, id="webp-lossless"),
        pytest.param("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}, id="webp-extended"),
    ],
)
def test_the_size_of_every_format_is_found(file_format, options):
    assert read_header(encoded(file_format, **options)) == Header(width_px=37, height_px=23)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_printers_colours_are_found(file_format):
    header = read_header(encoded(file_format, "CMYK"))
    assert header is not None
    assert header.is_cmyk


def test_a_damaged_remark_in_a_png_is_no_fault():
    data = encoded("PNG")
    remark = b"\0\0\0\x04teXt" + b"hiya" + b"\0\0\0\0"  # the last four bytes: a wrong checksum
    header = read_header(data[:33] + remark + data[33:])  # 33: signature and first chunk
    assert header == Header(width_px=37, height_px=23)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_no_cut_or_changed_byte_makes_it_raise(file_format):
    data = encoded(file_format)[:200]
    for length in range(len(data)):
        read_header(data[:length])
    for position in range(len(data)):
        read_header(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"BM", b"\xff\xd8", b"RIFF\0\0\0\0WEBPVP9 "])
def test_what_is_not_understood_is_left_to_the_decoder(data):
    assert read_header(data) is None
