"""The parts of an MJPEG stream, cut and spoiled in every way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nut_runtime.cameras.multipart import MultipartParser, boundary_of
from nut_runtime.errors import SourceError

BODIES = st.lists(st.binary(max_size=300).filter(lambda body: b"--frame" not in body), max_size=6)
CUTS = st.lists(st.integers(min_value=1, max_value=200), max_size=30)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut data as a network does."""
    found, at = [], 0
    for cut in cuts:
        found.append(data[at : at + cut])
        at += cut
    return [*found, data[at:]]


def parsed(data: bytes, cuts: list[int], **options: int) -> list[bytes]:
    parser = MultipartParser(b"frame", **options)
    return [body for piece in pieces(data, cuts) for body in parser.feed(piece)]


@given(BODIES, CUTS, st.sampled_from([b"\r\n", b"\n"]))
@settings(deadline=None, max_examples=100)
def test_parts_with_a_length_come_out_as_they_went_in_however_they_are_cut(bodies, cuts, line):
    data = b"".join(
        line.join((b"--frame", b"Content-Type: image/jpeg", b"CONTENT-length:  %d" % len(body), b"", body)) + line
        for body in bodies
    )
    assert parsed(data, cuts) == bodies


@given(BODIES, CUTS)
@settings(deadline=None, max_examples=100)
def test_parts_without_a_length_end_at_the_next_boundary(bodies, cuts):
    data = b"".join(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + body + b"\r\n" for body in bodies)
    assert parsed(data + b"--frame", cuts) == bodies


@given(st.binary(max_size=3000), CUTS)
@settings(deadline=None, max_examples=100)
def test_garbage_gives_parts_or_one_error_and_never_another(data, cuts):
    try:
        for body in parsed(data + b"\n--frame\n\n" + data, cuts, max_part_bytes=1000):
            assert len(body) <= 1200  # a length is checked whenever a piece has come, and pieces are of 200 here
    except SourceError:
        pass


@given(st.binary(min_size=1, max_size=200), st.integers(min_value=0, max_value=400), CUTS)
@settings(deadline=None, max_examples=100)
def test_a_length_that_is_wrong_spoils_no_other_part(body, length, cuts):
    if b"--frame" in body:
        return
    good = b"--frame\r\nContent-Length: 4\r\n\r\ngood\r\n"
    bad = b"--frame\r\nContent-Length: %d\r\n\r\n%b\r\n" % (length, body)
    bodies = parsed(good + bad + good + good * 20, cuts)
    assert bodies[0] == b"good"
    # A length that reaches into the next part is noticed by the boundary in it.
    assert bodies[2:] == [b"good"] * 21


def test_the_parser_holds_no_more_than_a_part():
    parser = MultipartParser(b"frame", max_part_bytes=100_000)
    parser.feed(b"--frame\r\n\r\n")
    for _ in range(100):
        parser.feed(bytes(1000))
    with pytest.raises(SourceError, match="does not end within 100000 bytes"):
        parser.feed(bytes(1000))
    with pytest.raises(SourceError, match="a part of 200000 bytes is announced"):
        MultipartParser(b"frame", max_part_bytes=100_000).feed(b"--frame\r\nContent-Length: 200000\r\n\r\n")
    with pytest.raises(SourceError, match="header does not end within 8192 bytes"):
        MultipartParser(b"frame").feed(b"--frame\r\n" + b"x" * 9000)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=frame", b"frame"),
        ('multipart/x-mixed-replace;boundary="my frame"', b"my frame"),
        ("Multipart/X-Mixed-Replace; charset=x; BOUNDARY=--frame", b"frame"),
    ],
)
def test_the_boundary_is_taken_from_the_header(content_type, boundary):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["", "image/jpeg", "text/html; boundary=x", "multipart/x-mixed-replace", "é"])
def test_what_is_no_mjpeg_is_refused_by_name(content_type):
    with pytest.raises(SourceError, match=f"expected an MJPEG stream .* got {content_type or 'nothing'}"):
        boundary_of(content_type)
