"""On which line of a TOML text each key stands, which `tomllib` does not say."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping

__all__ = ["KeyPath", "key_lines", "line_of"]

KeyPath = tuple[str | int, ...]
"""Names of tables and keys from the top, and numbers from 0 in arrays: `("camera", 1, "settings", "fps")`."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# The longer quotes first. Up to two quotes may stand right before the three that end a multi-line string.
_STRING = re.compile(
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^\\"\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
# A date and its time may be parted by a space; all else ends at one.
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^ \t\n,\]}#]*|[^ \t\n,\]}#]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    r"""Return the line, from 1, on which each table, key and array element of a TOML text begins.

    A table that stands in several places, such as an array of tables, has the first one's line; each of its elements
    has its own.

    Args:
        text: TOML that `tomllib` has accepted; of any other text the answer is of no use.

    Example:
        >>> key_lines('[part]\nqueue = 8\n[[camera]]\nname = "top"')[("camera", 0, "name")]
        4
    """
    return _Scan(text.replace("\r\n", "\n")).run()


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """Return the line of a key, or where it is missing that of the nearest table around it; 1 for the whole file."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 1)


class _Scan:
    """One pass over a text, statement by statement, as `tomllib` reads it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ends = [place for place, letter in enumerate(text) if letter == "\n"]
        self._elements: dict[KeyPath, int] = {}  # how many `[[name]]` there were
        self.lines: dict[KeyPath, int] = {}

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._take(_BLANK)
        while self._at < len(self._text):
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._array_table(self._key())
                self._at += 2
            elif self._text.startswith("[", self._at):
                self._at += 1
                table = self._table(self._key(), ())
                self._at += 1
            else:
                self._pair(table)
            self._take(_BLANK)
        return self.lines

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Pass what matches here, and return it; pass one letter where nothing does, so that every scan ends."""
        found = pattern.match(self._text, self._at)
        if found is None:
            self._at += 1
            return ""
        self._at = found.end()
        return found[0]

    def _mark(self, path: KeyPath) -> None:
        self.lines.setdefault(path, bisect_left(self._ends, self._at) + 1)

    def _key(self) -> list[str]:
        """Pass a key, dotted or not, with the blanks around it."""
        names = []
        while True:
            self._take(_SPACE)
            is_quoted = self._text[self._at : self._at + 1] in {'"', "'"}
            raw = self._take(_STRING if is_quoted else _BARE_KEY)
            names.append(next(iter(tomllib.loads(f"{raw} = 0"))) if is_quoted else raw)
            self._take(_SPACE)
            if self._text[self._at : self._at + 1] != ".":
                return names
            self._at += 1

    def _table(self, names: list[str], path: KeyPath) -> KeyPath:
        """Return the path of `[names]`; of arrays of tables on the way the last element is meant."""
        for name in names:
            path += (name,)
            self._mark(path)
            if path in self._elements:
                path += (self._elements[path] - 1,)
        return path

    def _array_table(self, names: list[str]) -> KeyPath:
        path = (*self._table(names[:-1], ()), names[-1])
        number = self._elements.get(path, 0)
        self._elements[path] = number + 1
        self._mark(path)
        path += (number,)
        self._mark(path)
        return path

    def _pair(self, table: KeyPath) -> None:
        """Pass `key = value`."""
        path = table
        for name in self._key():
            path += (name,)
            self._mark(path)
        self._at += 1  # the equals sign
        self._take(_SPACE)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_STRING if first in {'"', "'"} else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        self._take(_BLANK)
        number = 0
        while self._at < len(self._text) and self._text[self._at] != "]":
            self._mark((*path, number))
            self._value((*path, number))
            self._take(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
                self._take(_BLANK)
            number += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        self._take(_BLANK)  # TOML 1.1 lets lines end inside
        while self._at < len(self._text) and self._text[self._at] != "}":
            self._pair(path)
            self._take(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
                self._take(_BLANK)
        self._at += 1
