"""One reader for all: what it gives, and what it refuses by name."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import (
    MIN_SIDE_PX,
    check_frame,
    encode_png,
    list_pictures,
    read_picture,
    write_picture,
)


@pytest.fixture
def bgr() -> np.ndarray:
    """A smooth picture with three different channels, uint8 `[40, 50, 3]`."""
    coarse = np.random.default_rng(1).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (50, 40), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def rgb(bgr) -> Image.Image:
    return Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "A.PNG"])
def test_a_lossless_file_gives_the_pixels_that_were_written(tmp_path, bgr, rgb, name):
    rgb.save(tmp_path / name)
    np.testing.assert_array_equal(read_picture(tmp_path / name), bgr)


def test_a_path_with_spaces_and_umlauts_is_read(tmp_path, bgr):
    path = tmp_path / "Büro 1" / "Muttern [gut] (größe).png"
    path.parent.mkdir()
    write_picture(path, bgr)
    np.testing.assert_array_equal(read_picture(path), bgr)
    np.testing.assert_array_equal(read_picture(str(path)), bgr)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_is_the_same_value_in_all_channels(tmp_path, rgb, mode):
    rgb.convert(mode).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    expected = np.asarray(rgb.convert(mode).convert("L"))
    np.testing.assert_array_equal(picture, np.repeat(expected[:, :, None], 3, axis=2))


def test_a_palette_is_expanded_to_its_colours(tmp_path, rgb):
    palette = rgb.convert("P")
    palette.save(tmp_path / "a.png")
    expected = np.asarray(palette.convert("RGB"))[:, :, ::-1]
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), expected)


def test_an_alpha_channel_is_dropped_without_blending(tmp_path, bgr, rgb):
    rgb.putalpha(Image.new("L", rgb.size, 0))  # wholly transparent: a reader that blends would give black
    rgb.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), bgr)


def test_an_orientation_tag_is_ignored(tmp_path, rgb):
    exif = rgb.getexif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    rgb.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (40, 50, 3)


def test_the_pixels_are_contiguous_and_writable(tmp_path, rgb):
    rgb.convert("RGBA").save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.flags.c_contiguous
    assert picture.flags.writeable


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def _refused(folder: Path, rgb: Image.Image, kind: str) -> Path:
    """Write a file of a refused kind and return its path."""
    bgr = np.asarray(rgb)[:, :, ::-1]
    path = folder / f"{kind}.png"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is not a picture\n" * 20)
    elif kind == "folder":
        path.mkdir()
    elif kind in {"16-bit-grey", "16-bit-colour"}:
        deep = bgr.astype(np.uint16) * 256
        cv2.imwrite(str(path), deep[:, :, 0] if kind == "16-bit-grey" else deep)
    elif kind == "float":
        path = path.with_suffix(".tif")
        cv2.imwrite(str(path), bgr.astype(np.float32))
    elif kind in {"cmyk-jpeg", "cmyk-jpeg-with-fill-bytes", "cmyk-tiff"}:
        path = path.with_suffix(".tif" if kind == "cmyk-tiff" else ".jpg")
        rgb.convert("CMYK").save(path)
        if kind == "cmyk-jpeg-with-fill-bytes":
            data = path.read_bytes()
            path.write_bytes(data[:2] + b"\xff\xff" + data[2:])
    elif kind in {"1x1", "too-narrow"}:
        Image.new("RGB", (1, 1) if kind == "1x1" else (100, MIN_SIDE_PX - 1)).save(path)
    elif kind.startswith("cut-off"):
        path = path.with_suffix(f".{kind.rsplit('-', 1)[1]}")
        rgb.save(path)
        _cut(path)
    else:
        rgb.save(path)
        _flip_a_bit(path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing.png", "does not exist"),
        ("empty", r"empty \(0 bytes\)"),
        ("text", "not a picture"),
        ("folder", "cannot read"),
        ("16-bit-grey", "uint16 pixels, expected 8 bits"),
        ("16-bit-colour", "uint16 pixels, expected 8 bits"),
        ("float", "float32 pixels, expected 8 bits"),
        ("cmyk-jpeg", "CMYK"),
        ("cmyk-jpeg-with-fill-bytes", "CMYK"),
        ("cmyk-tiff", "CMYK"),
        ("1x1", "1x1 px is too small"),
        ("too-narrow", "100x7 px is too small"),
        ("cut-off-png", "cut off"),
        ("cut-off-jpg", "broken"),
        ("cut-off-bmp", "broken"),
        ("cut-off-tif", "broken"),
        ("cut-off-webp", "broken"),
        ("damaged", "damaged"),
    ],
)
def test_a_file_that_cannot_be_judged_is_refused_by_name(tmp_path, rgb, capfd, kind, message):
    path = tmp_path / kind if kind.startswith("missing") else _refused(tmp_path, rgb, kind)
    with pytest.raises(PictureError, match=message) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the decoders' own chatter would land here


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + end


def _bmp_header(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, *[0] * 6)


def _tiff_header(width: int, height: int, order: str) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + struct.pack(f"{order}H", 2) + b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)


def _webp_header(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + size


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_png_header(90_000, 90_000), id="png"),
        pytest.param(_bmp_header(90_000, 90_000), id="bmp-from-the-top"),
        pytest.param(_tiff_header(90_000, 90_000, "<"), id="tiff-little-endian"),
        pytest.param(_tiff_header(90_000, 90_000, ">"), id="tiff-big-endian"),
        pytest.param(_webp_header(90_000, 90_000), id="webp"),
    ],
)
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, data):
    path = tmp_path / "bomb"
    path.write_bytes(data)
    with pytest.raises(PictureError, match="90000x90000 px is larger than 64 megapixels"):
        read_picture(path)


def test_pictures_are_listed_by_name_without_folders_and_hidden_files(tmp_path):
    for name in ("b.JPG", "a.png", "c.webp", ".hidden.png", "notes.txt", "a.png.part"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "b.JPG", "c.webp"]


def test_a_link_to_nowhere_is_listed_so_that_somebody_hears_of_it(tmp_path):
    (tmp_path / "lost.png").symlink_to(tmp_path / "gone.png")
    assert [path.name for path in list_pictures(tmp_path)] == ["lost.png"]


def test_listing_something_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        list_pictures(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(np.zeros((20, 20, 3), np.float32), "expected uint8 pixels, got float32", id="float"),
        pytest.param([[0]], "expected uint8 pixels, got list", id="no-array"),
        pytest.param(np.zeros((20, 20), np.uint8), r"expected shape \[H, W, 3\]", id="grey"),
        pytest.param(np.zeros((20, 20, 4), np.uint8), r"expected shape \[H, W, 3\]", id="alpha"),
        pytest.param(np.zeros((0, 20, 3), np.uint8), "too small", id="no-rows"),
        pytest.param(np.zeros((8000, 8001, 3), np.uint8), "larger than 64 megapixels", id="huge"),
    ],
)
def test_a_frame_that_no_model_takes_is_refused(frame, message):
    with pytest.raises(PictureError, match=message):
        check_frame(frame, name="camera 0")


def test_a_frame_that_a_model_takes_is_passed_on_uncopied(bgr):
    assert check_frame(bgr) is bgr


def test_png_bytes_give_the_pixels_back(bgr):
    decoded = cv2.imdecode(np.frombuffer(encode_png(bgr), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, bgr)
