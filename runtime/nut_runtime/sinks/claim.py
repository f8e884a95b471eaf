"""A file that only one process may write to at a time."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from nut_runtime.errors import OutputError

__all__ = ["Claim", "lock_file_of", "try_to_lock"]


def lock_file_of(path: Path) -> Path:
    """Return the file beside `path` that a `Claim` on it locks."""
    return path.with_name(f"{path.name}.lock")


def try_to_lock(descriptor: int) -> bool:
    """Take the lock on an open file; False where another holds it.

    The operating system gives it back when the file is closed, or the process ends in whatever way, so that no lock is
    ever left over.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Claim:
    """Holds `PATH.lock` locked, with the number of the holding process in it, until it is let go.

    The lock file itself stays: whoever removed it could take the lock away from one who has just opened it.

    Args:
        path: What is claimed.

    Raises:
        OutputError: If another process, or another part of this one, holds it, or the lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        lock = lock_file_of(path)
        try:
            self._descriptor: int | None = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise OutputError(f"cannot write {lock}: {error.strerror or error}") from error
        if not try_to_lock(self._descriptor):
            holder = ""
            with suppress(OSError):
                os.lseek(self._descriptor, 1, os.SEEK_SET)
                holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip()
            self.close()
            process = f" (process {holder})" if holder else ""
            raise OutputError(f"{path} is in use by another instance{process}; stop that one or choose another file")
        with suppress(OSError):  # a full disk; the number is only for the message
            os.ftruncate(self._descriptor, 0)
            os.write(
                self._descriptor, f"\n{os.getpid()}\n".encode()
            )  # from the second byte on: Windows locks the first

    def close(self) -> None:
        """Let go of it; safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
