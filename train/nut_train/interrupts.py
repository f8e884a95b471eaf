"""Ctrl-C inside Lightning, made an ordinary `KeyboardInterrupt` again."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ctrl_c_passes"]


@contextmanager
def ctrl_c_passes() -> Iterator[None]:
    """Let Ctrl-C leave a block of Lightning code as `KeyboardInterrupt`.

    Lightning's trainer catches it, turns further ones off and leaves with `exit(1)`; the caller could not tell that
    from a failure, and a notebook would lose its Ctrl-C for good.
    """
    try:
        yield
    except SystemExit as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from error
