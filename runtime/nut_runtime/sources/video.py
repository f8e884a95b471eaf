"""Video files, and the choice between pictures and videos on a command line."""

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from nut_runtime.errors import InputError, SourceError
from nut_runtime.opencv import quiet_opencv
from nut_runtime.pictures import EXTENSIONS, extensions_text, list_pictures
from nut_runtime.sources.base import Frame, Source, now
from nut_runtime.sources.pictures import PictureSource

__all__ = ["VIDEO_EXTENSIONS", "VideoSource", "open_files"]

VIDEO_EXTENSIONS = frozenset({".avi", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


class VideoSource:
    """Reads a video file frame by frame.

    Args:
        path: The file.

    Raises:
        SourceError: If it does not open.
    """

    def __init__(self, path: Path) -> None:
        cv2 = quiet_opencv()
        if not path.is_file():
            raise InputError(f"{path} does not exist")
        self._path = path
        # One decoder where there is a choice: the others print to stderr about broken files.
        has_ffmpeg = cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG)
        self._video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if has_ffmpeg else cv2.CAP_ANY)
        if not self._video.isOpened():
            raise SourceError(f"{path} cannot be opened as a video; it is broken or of an unknown format")
        frames = int(self._video.get(cv2.CAP_PROP_FRAME_COUNT))
        # Some containers do not say, or say nonsense.
        self.count: int | None = frames if frames > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        """Give the frames to the end.

        Raises:
            SourceError: If the video ends before the number of frames it says it has.
        """
        read = 0
        while True:
            started = time.perf_counter()
            done, picture = self._video.read()
            if not done:
                break
            read += 1
            yield Frame(
                source=f"{self._path}#{read}",
                name=f"{self._path.stem}-{read:06}",
                timestamp=now(),
                capture_ms=(time.perf_counter() - started) * 1e3,
                picture=picture,
            )
        if self.count is not None and read < self.count:
            raise SourceError(f"{self._path} broke off after frame {read} of {self.count}")

    def close(self) -> None:
        """Close the file."""
        self._video.release()


class _Joined:
    """Several sources, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        counts = [source.count for source in sources]
        self.count: int | None = None if None in counts else sum(count for count in counts if count is not None)

    def __iter__(self) -> Iterator[Frame]:
        """Give all frames of the first source, then of the next."""
        return chain.from_iterable(self._sources)

    def close(self) -> None:
        """Close them all."""
        for source in self._sources:
            source.close()


def open_files(paths: Sequence[Path]) -> Source:
    """Open picture files, folders of pictures and video files as one source, in the order given.

    A folder gives the pictures in it by name, then those in its sub-folders.

    Raises:
        InputError: If a path does not exist, is neither picture nor video, or a folder holds no pictures.
        SourceError: If a video does not open.
    """
    sources: list[Source] = []
    for path in paths:
        suffix = path.suffix.lower()
        if path.is_dir():
            sources.append(PictureSource(_pictures_below(path)))
        elif not path.exists():
            raise InputError(f"{path} does not exist")
        elif suffix in EXTENSIONS:
            sources.append(PictureSource([path]))
        elif suffix in VIDEO_EXTENSIONS:
            sources.append(VideoSource(path))
        else:
            known = extensions_text(EXTENSIONS | VIDEO_EXTENSIONS)
            raise InputError(f"{path} is neither a picture nor a video; known endings are {known}")
    return sources[0] if len(sources) == 1 else _Joined(sources)


def _pictures_below(folder: Path) -> list[Path]:
    """Return the pictures in a folder, then those in its sub-folders; hidden folders are left out."""
    folders = sorted(
        path
        for path in folder.rglob("*")
        if path.is_dir() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    pictures = [picture for place in (folder, *folders) for picture in list_pictures(place)]
    if not pictures:
        raise InputError(f"{folder} holds no pictures ({extensions_text()})")
    return pictures
