"""A TOML file as it was read: its data, the line of each key, and what is wrong with it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nut_runtime.errors import InputError
from nut_runtime.station_file.key_lines import KeyPath, key_lines, line_of

__all__ = ["Document", "Problem"]

_LARGEST_BYTES = 1_000_000
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_HINTS = {
    "Unescaped": "; write paths of Windows in 'single quotes'",
    "hex value": "; write paths of Windows in 'single quotes'",
    "overwrite a value": "; the key stands there twice",
    "Cannot declare": "; the table stands there twice",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a station file.

    Attributes:
        line: Where it is, from 1; for what is missing, where it belongs.
        key: Which key it is, with the tables it is in, such as `camera.settings.fps`; empty for a mistake in the TOML.
        message: What was expected, what was got and what to do; one line.
    """

    line: int
    key: str
    message: str

    def __str__(self) -> str:
        """Return it as it stands after the name of the file."""
        return f"line {self.line}: {self.key}{': ' if self.key else ''}{self.message}"


@dataclass(slots=True, kw_only=True)
class Document:
    """A TOML file.

    Attributes:
        path: The file.
        data: What it says; empty where it is no TOML.
        lines: The line of each key.
        problems: What was found to be wrong so far.
    """

    path: Path
    data: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _mistaken: set[KeyPath] = field(default_factory=set)

    @classmethod
    def read(cls, path: Path, *, what: str = "station file") -> "Document":
        """Read a file. A mistake in the TOML is the document's only problem.

        Args:
            path: The file.
            what: What it should be, for messages.

        Raises:
            InputError: If the file cannot be read at all.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the {what} {path}: {error.strerror or error}") from error
        document = cls(path=path)
        if len(content) > _LARGEST_BYTES:
            document.problems.append(Problem(line=1, key="", message=f"{len(content)} bytes are no {what}"))
            return document
        try:
            text = content.decode("utf-8-sig")  # some editors on Windows begin with a byte order mark
            document.data = tomllib.loads(text)
            document.lines = key_lines(text)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            document.problems.append(Problem(line=line, key="", message="not UTF-8; save the file as UTF-8"))
        except ValueError as error:  # tomllib's own, or of a number with thousands of digits
            document.problems.append(_syntax_problem(str(error), text))
        except RecursionError:
            document.problems.append(Problem(line=1, key="", message="not TOML: too many brackets inside one another"))
        return document

    def add(self, path: KeyPath, message: str) -> None:
        """Note a mistake at a key; one that several cameras share is noted once."""
        self._mistaken.add(path)
        name = ".".join(part for part in path if isinstance(part, str))
        problem = Problem(line=line_of(self.lines, path), key=name, message=message)
        if problem not in self.problems:
            self.problems.append(problem)

    def line(self, *path: str | int) -> int:
        """Return the line of a key."""
        return line_of(self.lines, path)

    def has(self, *path: str | int) -> bool:
        """Return whether the file has this key or table, right or wrong."""
        return path in self.lines

    def is_sound(self, *path: str | int) -> bool:
        """Return whether nothing was noted at this key, nor at anything in or around it."""
        return not any(path[: len(one)] == one or one[: len(path)] == path for one in self._mistaken)

    def sorted_problems(self) -> tuple[Problem, ...]:
        """Return what is wrong, from the top of the file to its end."""
        return tuple(sorted(self.problems, key=lambda problem: problem.line))


def _syntax_problem(said: str, text: str) -> Problem:
    """Return what `tomllib` says as a problem."""
    found = _PLACE.search(said)
    if found is None:
        line = 1
    elif found[1] is None:
        line = text.rstrip().count("\n") + 1
    else:
        line = int(found[1])
    what = _PLACE.sub("", said)
    hint = next((hint for part, hint in _HINTS.items() if part in what), "")
    return Problem(line=line, key="", message=f"not TOML: {what[:1].lower()}{what[1:]}{hint}")
