"""Picture files, in the order they are given."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from nut_runtime.errors import PictureError
from nut_runtime.pictures import read_picture
from nut_runtime.sources.base import Frame, now

__all__ = ["PictureSource"]


class PictureSource:
    """Reads picture files one after the other; a broken one is reported and the next follows.

    Args:
        paths: The files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self._paths)

    def __iter__(self) -> Iterator[Frame]:
        """Give each file's picture, or its error."""
        for path in self._paths:
            started = time.perf_counter()
            picture, failure = None, None
            try:
                picture = read_picture(path)
            except PictureError as error:
                failure = error
            yield Frame(
                source=str(path),
                name=path.stem,
                timestamp=now(),
                capture_ms=(time.perf_counter() - started) * 1e3,
                picture=picture,
                error=failure,
            )

    def close(self) -> None:
        """Nothing is held open."""
