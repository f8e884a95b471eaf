"""The last rejects with their pictures, in memory, a fixed number of them."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nut_runtime.errors import InputError
from nut_runtime.parts import View
from nut_runtime.serve.shown import Kind, shown_jpeg

__all__ = ["Album"]

_REST = 19.0  # times as long as a picture took: a twentieth of a core, however many rejects come


@dataclass(slots=True)
class _Page:
    """One reject: what is said of it, and its pictures once they are made."""

    facts: dict[str, Any]
    pictures: dict[Kind, bytes] = field(default_factory=dict)
    is_pending: bool = True


class Album:
    """Keeps the newest rejects; a thread of its own makes their small JPEGs.

    Where rejects come faster than that, the newest wait for their pictures and the others stay without: the listing
    says so. Nothing grows, neither the pages nor what waits.

    Args:
        size: Rejects kept.
        waiting: Full-size frames that wait for the thread at most.
    """

    def __init__(self, *, size: int = 24, waiting: int = 4) -> None:
        self._size = size
        self._changed = threading.Condition()
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._waiting: deque[tuple[str, View]] = deque()
        self._most_waiting = waiting
        self._version = 0
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._wake: Callable[[], None] | None = None

    @property
    def version(self) -> int:
        """Rises with every change."""
        return self._version

    def on_change(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` after pictures were made; it must take no time."""
        self._wake = wake

    def add(self, name: str, facts: Mapping[str, Any], view: View) -> None:
        """Take a reject; quick, its pictures come later.

        Args:
            name: Its id.
            facts: What the listing says of it; plain types.
            view: What its pictures are made of.
        """
        with self._changed:
            self._pages[name] = _Page(facts=dict(facts))
            self._pages.move_to_end(name)
            while len(self._pages) > self._size:
                self._pages.popitem(last=False)
            self._waiting.append((name, view))
            while len(self._waiting) > self._most_waiting:
                self._give_up(self._waiting.popleft()[0])
            self._version += 1
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._work, name="page album", daemon=True)
                self._thread.start()
            self._changed.notify()

    def listing(self) -> list[dict[str, Any]]:
        """Return what is said of each reject, the newest first, with `picture`: `ready`, `pending` or `none`."""
        with self._changed:
            return [
                {**page.facts, "picture": "ready" if page.pictures else "pending" if page.is_pending else "none"}
                for page in reversed(self._pages.values())
            ]

    def picture(self, name: str, kind: Kind) -> bytes | None:
        """Return a reject's JPEG; None where it is unknown or has none yet."""
        with self._changed:
            page = self._pages.get(name)
            return None if page is None else page.pictures.get(kind)

    def close(self) -> None:
        """Stop the thread; safe to call twice."""
        self._closed.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(1.0)

    def _give_up(self, name: str) -> None:
        page = self._pages.get(name)
        if page is not None:
            page.is_pending = False

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed.is_set())
                if self._closed.is_set():
                    return
                name, view = self._waiting.popleft()
            started = time.perf_counter()
            pictures: dict[Kind, bytes] = {}
            try:
                pictures = {kind: data for kind in Kind if (data := shown_jpeg(view, kind)) is not None}
            except InputError:
                pictures = {}  # one that cannot be drawn is listed without
            del view
            with self._changed:
                page = self._pages.get(name)
                if page is not None:
                    page.pictures, page.is_pending = pictures, False
                    self._version += 1
            wake = self._wake
            if wake is not None:
                wake()
            self._closed.wait(_REST * (time.perf_counter() - started))
