"""What passes through a station: a trigger, the part it announces, its views and what was said of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nut_runtime.locate.tray import Tray
from nut_runtime.sources.base import Frame
from nut_runtime.verdict import Label, Reason, Verdict

__all__ = ["JudgedPart", "Part", "Trigger", "View"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trigger:
    """The announcement of one part, which gets exactly one record and one answer.

    Attributes:
        name: What the one who triggered calls it, such as a number of the PLC's; empty where nobody did.
        at: When it came, in seconds of `time.monotonic`.
        answer: Told the part's record once it is kept; called once, from one thread. It must not block or raise.
    """

    name: str = ""
    at: float = field(default_factory=time.monotonic)
    answer: Callable[[Mapping[str, Any]], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """A part before it is judged.

    Attributes:
        sequence: Its number, from 1; goes on where an earlier run of the station stopped.
        trigger: What announced it.
        frames: One a view, in the order of the station's cameras, at least one.
        skipped: Frames that the camera gave since the part before, and nobody asked for.
    """

    sequence: int
    trigger: Trigger
    frames: tuple[Frame, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """One camera's look at a part, judged.

    Attributes:
        frame: The frame.
        label: What it comes to.
        verdict: What the model said; None without a verdict.
        reason: Why there is none.
        error: The same in words, for a person.
        wait_ms: From the capture to the moment it was taken up to be judged.
        warnings: What is not as it was when the model was calibrated, such as `darker than usual`.
        tray: The parts in it, where it was searched for parts.
    """

    frame: Frame
    label: Label
    verdict: Verdict | None = None
    reason: Reason | None = None
    error: str = ""
    wait_ms: float = 0.0
    warnings: tuple[str, ...] = ()
    tray: Tray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JudgedPart:
    """A part with its verdict and its record.

    Attributes:
        sequence: Its number.
        trigger: What announced it.
        label: The verdict on the part, all views together.
        reason: Why there is none.
        views: In the order of the station's cameras, at least one.
        record: The one JSON object that every output is told (docs/runtime.md).
        milliseconds: From the trigger, or the capture where nothing triggered, to the verdict.
        is_kept: Whether every journal has its record; False while one could not take it.
    """

    sequence: int
    trigger: Trigger
    label: Label
    reason: Reason | None
    views: tuple[View, ...]
    record: dict[str, Any]
    milliseconds: float
    is_kept: bool = True
