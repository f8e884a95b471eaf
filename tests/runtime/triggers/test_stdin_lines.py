"""Each line is a trigger, from a real pipe."""

import os
import subprocess
import sys
import threading
import time

import pytest

from nut_runtime.triggers.stdin_lines import LineTriggers


@pytest.fixture
def pipe():
    """Reading and writing end; whatever is still open is closed."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def names(source: LineTriggers) -> list[str]:
    return [trigger.name for trigger in source]


def feed(pipe, *pieces: bytes) -> None:
    """Write in a thread, and close the writing end."""
    writing = pipe.pop()

    def write():
        for piece in pieces:
            os.write(writing, piece)
        os.close(writing)

    threading.Thread(target=write, daemon=True).start()


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param([b"a\nb\n"], ["a", "b"], id="two lines"),
        pytest.param([b"a\r\n\n b \n"], ["a", "", "b"], id="ends of other systems and empty ones"),
        pytest.param([b"a\nb"], ["a", "b"], id="no end at the end"),
        pytest.param([b"a", b"b", b"c\nd\n"], ["abc", "d"], id="a line in pieces"),
        pytest.param([b""], [], id="nothing"),
        pytest.param(["Größe\n".encode(), b"\xff\xfe\n"], ["Größe", "\ufffd\ufffd"], id="other encodings"),
        pytest.param([b"\x1b[2Jx\x00\n"], ["?[2Jx?"], id="control characters"),
    ],
)
def test_each_line_names_a_trigger(pipe, pieces, expected):
    source = LineTriggers(pipe[0])
    feed(pipe, *pieces)
    assert names(source) == expected


def test_a_letter_cut_in_two_by_the_pipe_is_whole(pipe):
    source = LineTriggers(pipe[0])
    letter = "é".encode()
    feed(pipe, b"x" * 4095 + letter[:1], letter[1:] + b"\nend\n")
    assert names(source)[-1] == "end"


def test_a_line_of_megabytes_takes_no_memory_and_the_next_is_its_own(pipe):
    source = LineTriggers(pipe[0])
    feed(pipe, *[b"x" * 65536] * 64, b"\nnext\n")
    assert names(source) == ["x" * 64, "next"]


def test_a_writer_waits_where_the_station_is_slower(pipe):
    source = LineTriggers(pipe[0])
    triggers = iter(source)
    os.set_blocking(pipe[1], False)
    written = 0
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        try:
            written += os.write(pipe[1], b"x" * 63 + b"\n")
        except BlockingIOError:
            time.sleep(0.01)
    assert written < 1_000_000  # the pipe's own buffer and what is read at a time
    assert next(triggers).name == "x" * 63
    source.stop()


def test_stop_ends_the_iteration_though_nothing_ever_comes(pipe):
    source = LineTriggers(pipe[0])
    triggers = iter(source)
    threading.Timer(0.05, source.stop).start()
    began = time.monotonic()
    assert list(triggers) == []
    assert time.monotonic() - began < 0.15
    os.close(pipe.pop())  # lets the reading thread go


def test_a_process_whose_standard_input_stays_open_ends_without_a_word():
    program = """
import threading
from nut_runtime.triggers.stdin_lines import LineTriggers
source = LineTriggers()
threading.Timer(0.1, source.stop).start()
print([trigger.name for trigger in source])
"""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdin.write("one\n")
        process.stdin.flush()
        assert process.wait(20) == 0
        assert process.stdout.read() == "['one']\n"
        assert process.stderr.read() == ""
