"""The page's own files, read once: a name that is asked for is looked up among them, never made into a path."""

from dataclasses import dataclass
from importlib import resources

__all__ = ["PageFile", "page_files"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """One file.

    Attributes:
        content: Its bytes.
        media_type: What a browser is told that it is.
    """

    content: bytes
    media_type: str


def page_files() -> dict[str, PageFile]:
    """Return every file of the page by name."""
    folder = resources.files("nut_runtime.serve") / "static"
    return {
        file.name: PageFile(content=file.read_bytes(), media_type=_TYPES[ending])
        for file in folder.iterdir()
        if (ending := f".{file.name.rpartition('.')[2]}") in _TYPES
    }
