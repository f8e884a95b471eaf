"""SHA-256 of a user's files, with the one-line error that a missing or unreadable one deserves."""

import hashlib
from pathlib import Path

from nut_runtime.errors import InputError

__all__ = ["digest"]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
