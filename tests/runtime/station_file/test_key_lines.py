"""Every key's line, in all the ways that TOML has of writing one."""

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nut_runtime.station_file.key_lines import KeyPath, key_lines, line_of

DECOYS = [
    "[camera]",
    '"name" = 1',
    "name = 'x'",
    "[[part]]",
    "# fps = 2",
    "}",
    "]",
    "=",
    ",",
    "'",
    "it's",
    "\u2028",
    "\x85",
]


def all_paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Give the path of all that is in a parsed file."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from all_paths(one, (*path, key))


class Writer:
    """Writes a TOML file at random and notes where each key went."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.names = 0

    def put(self, *pieces: str) -> None:
        self.text += "".join(pieces)

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def one_of(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def decoy(self) -> str:
        return " ".join(self.draw(st.lists(st.sampled_from(DECOYS), max_size=3)))

    def name(self) -> tuple[str, str]:
        """Return a new key, and how it is written."""
        self.names += 1
        plain = f"k{self.names}"
        odd = self.one_of("a.b", "[x]", "#", "= 1", "ü", "")
        return self.draw(
            st.sampled_from(
                [
                    (plain, plain),
                    (f"{plain}{odd}", f'"{plain}{odd}"'),
                    (f"{plain}{odd}", f"'{plain}{odd}'"),
                    (f'{plain}"\\', f'"{plain}\\"\\\\"'),
                ]
            )
        )

    def gap(self) -> None:
        """Write what may stand between two statements, or inside an array."""
        for _ in range(self.draw(st.integers(0, 2))):
            self.put(self.one_of("\n", "  \n", "\t# ", "# "))
            if self.text.endswith("# "):
                self.put(self.decoy().replace("\u2028", "").replace("\x85", ""), "\n")

    def string(self) -> None:
        decoy = self.decoy()
        lines = f"\n{decoy}\n[k1]\nk2 = 3 # {decoy}\n"
        self.put(
            self.one_of(
                f'"{decoy}\\"\\\\"'.replace('"name"', "name"),
                "'" + decoy.replace("'", '"') + "'",
                f'"""{lines}"""',
                f'"""\\"""{lines}\\\\"""',
                f'"""a""{lines}""""',
                f'"""{lines}"""""',
                f'"""""{lines}\\\n  """',
                "'''" + lines.replace("'", "''") + "'''",
                "''''" + lines.replace("'", '"') + "'''''",
                '""',
                "''",
                '""""""',
                "''''''",
            )
        )

    def value(self, path: KeyPath, depth: int = 0, *, on_one_line: bool = False) -> None:
        kind = self.draw(st.sampled_from(["scalar", "string", "array", "inline"][: 4 if depth < 3 else 2]))
        if kind == "string" and not on_one_line:
            self.string()
        elif kind == "array":
            self.array(path, depth)
        elif kind == "inline":
            self.inline(path, depth)
        else:
            self.put(
                self.one_of("1", "-0.5e3", "true", "1979-05-27 07:32:00Z", "07:32:00", "2000-01-01", "inf", '"# ="')
            )

    def array(self, path: KeyPath, depth: int) -> None:
        self.put("[")
        for number in range(self.draw(st.integers(0, 3))):
            self.put(" ," if number else "")
            self.gap()
            self.note((*path, number))
            self.value((*path, number), depth + 1)
            self.gap()
        self.put("]")

    def inline(self, path: KeyPath, depth: int) -> None:
        self.put("{ ")
        for number in range(self.draw(st.integers(0, 3))):
            self.put(", " if number else "")
            self.pair(path, depth + 1)
        self.put(" }")

    def pair(self, path: KeyPath, depth: int = 0) -> None:
        for number in range(self.draw(st.integers(1, 3))):
            name, written = self.name()
            path += (name,)
            self.put(self.one_of(".", " . ", "\t.") if number else "")
            self.note(path)
            self.put(written)
        self.put(self.one_of("=", " = ", "\t=  "))
        self.value(path, depth)

    def pairs(self, path: KeyPath) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.gap()
            self.put(self.one_of("", "  "))
            self.pair(path)
            self.put(self.one_of("\n", " # k1 = 2\n"))

    def file(self) -> None:
        self.pairs(())
        arrays: dict[tuple[str, ...], tuple[KeyPath, str, int]] = {}
        for _ in range(self.draw(st.integers(0, 5))):
            self.gap()
            if arrays and self.draw(st.booleans()):
                key = self.draw(st.sampled_from(sorted(arrays)))
                path, written, count = arrays[key]
                if self.draw(st.booleans()):  # a table in the last element
                    name, more = self.name()
                    inner = (*path, count - 1, name)
                    self.note(inner)
                    self.put("[", written, self.one_of(".", " . "), more, "]\n")
                    self.pairs(inner)
                    continue
            else:
                name, written = self.name()
                path, count, key = (name,), 0, (name,)
                if self.draw(st.booleans()):
                    self.note(path)
                    self.put("[ ", written, " ]\n")
                    self.pairs(path)
                    continue
            self.note(path)
            self.note((*path, count))
            self.put("[[", written, "]]", self.one_of("\n", " # [[k1]]\n"))
            arrays[key] = (path, written, count + 1)
            self.pairs((*path, count))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_every_key_of_a_generated_file_is_found_in_its_line(data: st.DataObject):
    writer = Writer(data.draw)
    writer.file()
    text = writer.text.replace("\n", "\r\n") if data.draw(st.booleans()) else writer.text
    parsed = tomllib.loads(text)
    found = key_lines(text)
    assert found == writer.lines
    assert set(found) == set(all_paths(parsed))


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="ab.=[]{},\"'#\n\\ 1", max_size=40))
def test_whatever_tomllib_takes_has_all_of_its_keys_found(text: str):
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        key_lines_must_end(text)
        return
    assert set(key_lines(text)) == set(all_paths(parsed))


def key_lines_must_end(text: str) -> None:
    """Scan what is no TOML: the answer is of no use, but there is one, or an error."""
    with suppress(tomllib.TOMLDecodeError):
        key_lines(text)


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        pytest.param("a = 1", ("a",), 1, id="first"),
        pytest.param("\n\n# a = 0\na = 1", ("a",), 4, id="after-comment"),
        pytest.param('x = """\na = 0\n"""\na = 1', ("a",), 4, id="after-multi-line-string"),
        pytest.param("x = '''\n[t]\n'''\n[t]\na = 1", ("t", "a"), 5, id="literal-string-with-a-header"),
        pytest.param("[[c]]\na = 1\n[[c]]\na = 2", ("c", 1, "a"), 4, id="second-of-an-array"),
        pytest.param("[[c]]\n[c.s]\nf = 1\n[[c]]\n[c.s]\nf = 2", ("c", 1, "s", "f"), 6, id="table-in-the-second"),
        pytest.param("[[c]]\n[[c.d]]\n[[c]]\n[[c.d]]\n[[c.d]]\nf = 2", ("c", 1, "d", 1, "f"), 6, id="array-in-array"),
        pytest.param("[[c]]\n\ns = { f = 2 }", ("c", 0, "s", "f"), 3, id="inline"),
        pytest.param("a.b.c = 1\n", ("a", "b", "c"), 1, id="dotted"),
        pytest.param("x = [\n1,\n# 2\n[3, \n4]]", ("x", 1, 1), 5, id="in-arrays"),
        pytest.param('"a.b" = 1\n"\\u0061" = 2', ("a",), 2, id="escaped-key"),
    ],
)
def test_a_key_is_found_in_its_line(text, path, line):
    assert key_lines(text)[path] == line


def test_a_missing_key_has_the_line_of_the_table_it_is_missing_in():
    lines = key_lines("a = 1\n[[c]]\n[[c]]\n[c.s]\nx = 1")
    assert line_of(lines, ("c", 1, "name")) == 3
    assert line_of(lines, ("c", 1, "s", "name")) == 4
    assert line_of(lines, ("bundle",)) == 1
