"""Our reader and anomalib's give the same pixels, to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image
from PIL import Image

from nut_runtime.pictures import list_pictures, read_picture
from nut_train.predict import picture_tensor

_NOISE = np.random.default_rng(0).integers(0, 256, (37, 53, 4), np.uint8)


def _equal(path: Path) -> bool:
    return torch.equal(picture_tensor(read_picture(path)), read_image(path, as_tensor=True))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_colour_and_grey_pictures_are_read_as_anomalib_reads_them(tmp_path, mode, ending):
    path = tmp_path / f"picture.{ending}"
    Image.fromarray(_NOISE[:, :, :3]).convert(mode).save(path)
    assert _equal(path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_alpha_and_palette_png_are_read_as_anomalib_reads_them(tmp_path, mode):
    path = tmp_path / "picture.png"
    picture = Image.fromarray(_NOISE)
    (picture if mode == "RGBA" else picture.convert("RGB").convert(mode)).save(path)
    assert _equal(path)


def test_an_exif_orientation_is_ignored_as_anomalib_ignores_it(tmp_path):
    path = tmp_path / "turned.jpg"
    picture = Image.fromarray(_NOISE[:, :, :3])
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    picture.save(path, exif=exif)
    assert read_picture(path).shape == (37, 53, 3)
    assert _equal(path)


def test_red_comes_first_in_the_tensor(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (9, 9), (255, 0, 0)).save(path)
    assert picture_tensor(read_picture(path))[:, 0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.data
@pytest.mark.parametrize("folder", ["nuts/train/good", "nuts/test/good", "nuts/test/defect", "nut-cutouts"])
def test_real_pictures_are_read_as_anomalib_reads_them(real_data, folder):
    paths = list_pictures(real_data / folder)[:12]
    assert paths
    assert [path.name for path in paths if not _equal(path)] == []
