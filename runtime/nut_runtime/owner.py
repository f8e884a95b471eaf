"""Files of the user who works with them, though another one, mostly root, made them."""

import os
import sys
from pathlib import Path

from nut_runtime.errors import OutputError

__all__ = ["give_owner"]


def give_owner(place: Path | int, like: os.stat_result) -> None:
    """Give a file or folder the owner and group of another one; nothing is done where it has them, or on Windows.

    Args:
        place: A path, of which a last link is not followed, or the descriptor of an open file.
        like: What the other one is.

    Raises:
        OutputError: If the system does not let this user do so.
    """
    if sys.platform == "win32":
        return
    try:
        now = os.fstat(place) if isinstance(place, int) else place.lstat()
        if (now.st_uid, now.st_gid) == (like.st_uid, like.st_gid):
            return
        if isinstance(place, int):
            os.fchown(place, like.st_uid, like.st_gid)
        else:
            os.lchown(place, like.st_uid, like.st_gid)
    except OSError as error:
        raise OutputError(
            f"cannot give {place} to user {like.st_uid} and group {like.st_gid}, as what it replaces or lies beside: "
            f"{error.strerror or error}; do this as that user, or as root"
        ) from error
