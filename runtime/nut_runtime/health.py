"""How the station is: what works, what does not and since when, and what was counted."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["ComponentHealth", "Health"]

_log = logging.getLogger("nut_runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentHealth:
    """One camera, output or other part of the station.

    Attributes:
        is_well: Whether it works.
        message: What is wrong, or how it is; one line.
        since: When `is_well` last changed, in seconds since 1970.
    """

    is_well: bool
    message: str
    since: float

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"ok": self.is_well, "message": self.message, "since": round(self.since, 3)}


class Health:
    """Takes reports from all threads, and tells them to whoever asks.

    Components are named by kind and name, as `camera front`, `output mqtt`, `model`, `view front`. A change for the
    worse or the better is logged once; a component that keeps saying the same is silent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._components: dict[str, ComponentHealth] = {}
        self._counters: Counter[str] = Counter()
        self._gauges: dict[str, Callable[[], float]] = {}

    def report(self, component: str, *, is_well: bool, message: str = "") -> None:
        """Say how a component is.

        Args:
            component: Its kind and name.
            is_well: Whether it works.
            message: What is wrong, or how it is; one line.
        """
        with self._lock:
            before = self._components.get(component)
            changed = before is None or before.is_well != is_well
            since = time.time() if before is None or changed else before.since
            self._components[component] = ComponentHealth(is_well=is_well, message=message, since=since)
        if changed and not is_well:
            _log.warning("%s: %s", component, message)
        elif changed and before is not None:
            _log.warning("%s: well again%s", component, f", {message}" if message else "")

    def forget(self, component: str) -> None:
        """Take a component out, such as an output that was closed."""
        with self._lock:
            self._components.pop(component, None)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter, named as in Prometheus without prefix and unit: `parts_good`, `parts_dropped`."""
        with self._lock:
            self._counters[what] += number

    def gauge(self, what: str, read: Callable[[], float]) -> None:
        """Offer a figure that is read when asked for, such as the length of a queue; `read` must be quick."""
        with self._lock:
            self._gauges[what] = read

    @property
    def is_well(self) -> bool:
        """Whether every component works."""
        with self._lock:
            return all(component.is_well for component in self._components.values())

    def components(self) -> dict[str, ComponentHealth]:
        """Return every component, by name."""
        with self._lock:
            return {name: replace(one) for name, one in sorted(self._components.items())}

    def counters(self) -> dict[str, int]:
        """Return every counter."""
        with self._lock:
            return dict(sorted(self._counters.items()))

    def gauges(self) -> dict[str, float]:
        """Read every gauge."""
        with self._lock:
            readers = dict(self._gauges)
        return {name: float(read()) for name, read in sorted(readers.items())}

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        components = self.components()
        return {
            "ok": all(one.is_well for one in components.values()),
            "components": {name: one.to_json() for name, one in components.items()},
            "counters": self.counters(),
            "gauges": self.gauges(),
        }
