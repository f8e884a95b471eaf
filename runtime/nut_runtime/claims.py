"""One process at a time: what a station must have to itself is claimed, and the second one is told who has it.

The claim is an advisory lock on a file, held by the operating system for as long as the process lives, so that neither
`kill -9` nor a power cut leaves one behind. The file stays; only the lock counts.
"""

import contextlib
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import IO, Self

from nut_runtime.errors import InputError
from nut_runtime.owner import give_owner

__all__ = ["Claim", "claim", "lock_file_of", "try_to_lock"]

_PID_BYTES = 32
_LOCKED_BYTE = 1 << 20  # on Windows: far behind the process number, which others must be able to read


class Claim:
    """Something held by this process; a context manager.

    Attributes:
        what: What is held, in words.
    """

    def __init__(self, what: str, file: IO[bytes]) -> None:
        self.what = what
        self._file: IO[bytes] | None = file

    def release(self) -> None:
        """Let go; safe to call twice."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # a file system that is gone has no lock either
                file.truncate(0)
                # Closing is not enough: a child process that is just being started has the file open for an instant.
                _unlock(file.fileno())
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim(thing: Path | str, *, what: str | None = None) -> Claim:
    """Hold something, until `Claim.release` or the end of the process, whichever way it ends.

    Args:
        thing: A path, such as a database: claimed by a hidden file `.NAME.lock` beside it, for all users of the
            computer. Or a name, such as `camera /dev/video0`: claimed in a folder of the user's
            (`$XDG_RUNTIME_DIR/nut-runtime`, else `nut-runtime-UID` among the temporary files).
        what: What to call it in the message; else the path or name itself.

    Raises:
        InputError: If another process has it, or this one has it already, naming the process; or if the lock file
            cannot be made.
    """
    name = str(thing) if what is None else what
    path = lock_file_of(thing) if isinstance(thing, Path) else _in_runtime_folder(thing)
    try:
        file = os.fdopen(_open(path, thing), "r+b", buffering=0)
    except OSError as error:
        raise InputError(f"cannot claim {name}: {path}: {error.strerror or error}") from error
    if not try_to_lock(file.fileno()):
        with contextlib.suppress(OSError):
            holder = file.read(_PID_BYTES).decode("ascii", "replace").strip()
            file.close()
            raise InputError(f"{name} is in use by process {holder or 'unknown'}; stop that one first")
        file.close()
        raise InputError(f"{name} is in use by another process; stop that one first")
    with contextlib.suppress(OSError):  # a full disk; the number is only for the message
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
    return Claim(name, file)


def _open(path: Path, thing: Path | str) -> int:
    """Open a lock file, made if need be; what root makes belongs to the owner of the thing, who must claim it too."""
    try:
        # Not inherited by child processes: they would go on holding it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    # Only one made here and now: one that was there may be a link that somebody put in root's way.
    if isinstance(thing, Path) and hasattr(os, "geteuid") and os.geteuid() == 0:
        with contextlib.suppress(OSError):  # a share on which root is nobody; the claim itself holds
            give_owner(descriptor, (thing if thing.exists() else path.parent).stat())
    return descriptor


def lock_file_of(path: Path) -> Path:
    """Return the file beside `path` that a claim on it locks."""
    path = path.resolve()  # the same file by two names is one thing
    return path.with_name(f".{path.name}.lock")


def _in_runtime_folder(name: str) -> Path:
    """Return the lock file for a name; readable by its beginning, unique by its hash."""
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        folder = Path(given) / "nut-runtime"
    else:
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        folder = Path(tempfile.gettempdir()) / f"nut-runtime-{user}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Among the temporary files anybody may have made a folder of that name, or a link.
        if hasattr(os, "getuid") and folder.lstat().st_uid != os.getuid():
            raise InputError(f"cannot claim {name}: {folder} belongs to another user; remove it")
    except OSError as error:
        raise InputError(f"cannot claim {name}: {folder}: {error.strerror or error}") from error
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]
    return folder / f"{plain}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:16]}.lock"


def try_to_lock(descriptor: int) -> bool:
    """Take the lock on an open file; False where another holds it.

    The operating system gives it back when the file is closed, or the process ends in whatever way, so that no lock is
    ever left over.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    if sys.platform != "win32":  # there closing gives the lock back, and children inherit nothing
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
