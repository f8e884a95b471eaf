"""The stack that a thread's signal handlers run on, kept from libraries that put one of their own in its place."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["kept_signal_stack"]


class _Stack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Leave the calling thread with the signal stack that it had before a `with` block.

    OpenVINO's CPU library sets one whenever it is loaded (`sigstack_manager.cpp`: AVX-512 and AMX need more room than
    the usual one has), and takes it back when it goes, but puts in its place what it had found then: perhaps the one of
    another core, which is gone by now. Or it goes in another thread, and takes nothing back. Python's handlers run on
    that stack, so the next signal, a SIGTERM to a station whose bundle was exchanged, ended the process (SIGSEGV)
    without a word. With the thread's own stack back in its place, OpenVINO leaves it alone. A thread that has none runs
    its handlers on its usual stack, which has room for anything.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    exchange = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    is_known = exchange(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if is_known:
            exchange(ctypes.byref(before), None)
