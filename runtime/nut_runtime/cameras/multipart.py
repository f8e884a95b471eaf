"""The parts of an MJPEG stream (`multipart/x-mixed-replace`), whatever comes over the line."""

import re

from nut_runtime.errors import SourceError

__all__ = ["MAX_PART_BYTES", "MultipartParser", "boundary_of"]

MAX_PART_BYTES = 32_000_000
_MAX_HEADER_BYTES = 8192
_MAX_PREAMBLE_BYTES = 65_536
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,10})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r"""boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))""", re.IGNORECASE)


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a `Content-Type` names, without the dashes that stand before it in the stream.

    Some cameras count the dashes as part of it, and some send more or fewer of them than they say.

    Raises:
        SourceError: If it is not that of an MJPEG stream.
    """
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().lstrip().startswith("multipart/") or found is None:
        got = " ".join(content_type.split())[:80] or "nothing"
        raise SourceError(f"expected an MJPEG stream (multipart/x-mixed-replace with a boundary), got {got}")
    boundary = (found.group(1) or found.group(2)).strip().lstrip("-").encode("latin-1", "replace")
    if not boundary:
        raise SourceError("expected an MJPEG stream with a boundary, got an empty one")
    return boundary


class MultipartParser:
    """Takes bytes as they come and gives the bodies of the parts.

    A part whose length is not what its header says is given as far as it goes, up to the next boundary, so that one
    bad part spoils no other; whether it is a whole picture is for the decoder to say.

    Args:
        boundary: Without leading dashes.
        max_part_bytes: What is longer is no picture.
    """

    def __init__(self, boundary: bytes, *, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self._delimiter = b"--" + boundary
        self._max_part = max_part_bytes
        self._buffer = bytearray()
        self._searched = 0  # up to where the buffer holds no delimiter
        self._in_body = False
        self._length: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the bodies that are complete now, in order, often none.

        Raises:
            SourceError: If what comes is not a multipart stream: no boundary, or no end of a header or part.
        """
        self._buffer += data
        bodies: list[bytes] = []
        while True:
            body = self._body() if self._in_body else None
            if body is not None:
                bodies.append(body)
            elif self._in_body or not self._header():
                return bodies

    @property
    def is_in_part(self) -> bool:
        """Whether a part has begun and is not complete."""
        return self._in_body

    def _header(self) -> bool:
        """Go past the next delimiter and header; return whether they are there."""
        at = self._buffer.find(self._delimiter, self._searched)
        if at < 0:
            if len(self._buffer) > _MAX_PREAMBLE_BYTES:
                raise SourceError(f"no boundary within {_MAX_PREAMBLE_BYTES} bytes of the stream")
            self._searched = max(0, len(self._buffer) - len(self._delimiter) + 1)
            return False
        end = _BLANK_LINE.search(self._buffer, at)
        if end is None or end.end() - at > _MAX_HEADER_BYTES:
            if len(self._buffer) - at > _MAX_HEADER_BYTES:
                raise SourceError(f"a part's header does not end within {_MAX_HEADER_BYTES} bytes")
            self._searched = at
            return False
        length = _LENGTH.search(self._buffer, at, end.start() + 1)
        self._length = None if length is None else int(length.group(1))
        if self._length is not None and self._length > self._max_part:
            raise SourceError(f"a part of {self._length} bytes is announced, at most {self._max_part} are taken")
        del self._buffer[: end.end()]
        self._searched = 0
        self._in_body = True
        return True

    def _body(self) -> bytes | None:
        """Return the part's body if it is all there."""
        if self._length is not None:
            if len(self._buffer) < self._length:
                return None
            # The header may promise more than came, and the next part then lies within.
            short = self._buffer.find(b"\n" + self._delimiter, 0, self._length)
            if short >= 0:
                return _without_line_end(self._take(short + 1))
            # Or it ends within the next delimiter, whose beginning is then not to be lost.
            return self._take(self._length, left=len(self._delimiter) - 1)
        at = self._buffer.find(self._delimiter, self._searched)
        if at < 0:
            if len(self._buffer) > self._max_part:
                raise SourceError(f"a part does not end within {self._max_part} bytes")
            self._searched = max(0, len(self._buffer) - len(self._delimiter) + 1)
            return None
        return _without_line_end(self._take(at))

    def _take(self, length: int, *, left: int = 0) -> bytes:
        body = bytes(self._buffer[:length])
        del self._buffer[: max(0, length - left)]
        self._searched = 0
        self._in_body = False
        return body


def _without_line_end(body: bytes) -> bytes:
    """Leave out the line end that belongs to the boundary behind it."""
    return body.removesuffix(b"\n").removesuffix(b"\r")
