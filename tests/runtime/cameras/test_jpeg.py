"""JPEG pictures: whole ones become pixels, and halves an error."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nut_runtime.cameras.jpeg import decode_jpeg
from nut_runtime.errors import PictureError

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8), (0, 0), 1)


def encoded(picture=PICTURE, **options) -> bytes:  # noqa: ANN003 - OpenCV's
    flags = [number for name, value in options.items() for number in (getattr(cv2, f"IMWRITE_JPEG_{name}"), value)]
    return cv2.imencode(".jpg", picture, flags)[1].tobytes()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(), id="baseline"),
        pytest.param(encoded(PROGRESSIVE=1), id="progressive"),
        pytest.param(encoded(RST_INTERVAL=4), id="restarts"),
        pytest.param(encoded() + b"\0" * 100, id="padded"),
        pytest.param(encoded(PICTURE[:, :, 0]), id="grey"),
        pytest.param(encoded(np.full((64, 64, 3), 128, np.uint8)), id="mid-grey"),
    ],
)
def test_a_whole_picture_is_decoded(data):
    picture = decode_jpeg(data)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert np.array_equal(picture, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


@given(st.integers(min_value=0, max_value=len(encoded()) - 1), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_picture_that_breaks_off_anywhere_is_an_error(length, is_ended):
    data = encoded()[:length]
    whole = decode_jpeg(encoded())
    if not is_ended:
        with pytest.raises(PictureError):
            decode_jpeg(data)
        return
    # With an end that is not its own, the decoder's grey gives it away as soon as a row of blocks is missing.
    try:
        picture = decode_jpeg(data + b"\xff\xd9")
    except PictureError:
        return
    assert np.array_equal(picture[:-16], whole[:-16])


@given(st.binary(max_size=2000))
@settings(deadline=None, max_examples=60)
def test_garbage_is_an_error_and_never_another(data):
    with pytest.raises(PictureError):
        decode_jpeg(b"\xff\xd8" + data)


def test_garbage_within_the_picture_is_an_error_where_it_shows():
    data = bytearray(encoded())
    data[len(data) // 2] = 0xFF
    data[len(data) // 2 + 1] = 0x01
    with pytest.raises(PictureError, match=f"is damaged at byte {len(data) // 2} of {len(data)}"):
        decode_jpeg(bytes(data))


def test_a_header_that_claims_gigapixels_is_refused_before_decoding():
    data = bytearray(encoded())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\xf0\xff\xf0"
    with pytest.raises(PictureError, match="larger than 64 megapixels"):
        decode_jpeg(bytes(data))
