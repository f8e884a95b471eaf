"""Files and folders that appear whole or not at all, wherever the process is killed."""

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nut_runtime.errors import OutputError

__all__ = [
    "check_output_folder",
    "check_output_page",
    "new_folder",
    "restore_folder",
    "sync_folder",
    "write_bytes",
    "write_json",
    "write_text",
]

_OLD = ".old"  # ends the name of a folder that is set aside while another takes its place


def write_bytes(path: Path, data: bytes, *, is_durable: bool = True, is_private: bool = False) -> None:
    """Write `data` to `path` through a neighbouring temporary file and a rename.

    Args:
        path: The file; an older one is replaced.
        data: Its content.
        is_durable: Wait until the disk has it. Without, a power cut may lose or empty the file; a killed
            process still cannot halve it.
        is_private: Nobody but its owner may read the file (mode 0600), at no instant of the writing.

    Raises:
        OutputError: If the folder does not exist or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if is_private:  # made anew, with its mode from the start; opening it for writing then keeps the mode
            temporary.unlink(missing_ok=True)
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # a file system that is gone or read-only; the first error says so
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` as `write_bytes` does; what a file name cannot say in UTF-8 becomes `?`."""
    write_bytes(path, text.encode(errors="replace"))


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON with a final newline; NaN is refused, as JSON has none."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def check_output_folder(folder: Path, *, marker: str, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse an output folder that is in the way, before any work is done.

    An older output is replaced only where it is one: it must hold `marker`, the file that every finished output of
    its kind has. So `--force` with a slip of the finger deletes nobody's pictures.

    Args:
        folder: The output folder.
        marker: Name of the file that shows that an existing folder is an older output of the same kind.
        overwrite: Whether such a folder may be replaced.
        inputs: What is being read; it must not lie in the folder that is replaced.

    Raises:
        OutputError: If `folder` is a file, is not empty and may not be replaced, holds an input or the working
            directory, or its parent cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, expected a folder to write to; choose another output")
    resolved = folder.resolve()
    for kept in (Path.cwd(), *inputs):
        if kept.resolve().is_relative_to(resolved):
            raise OutputError(f"{folder} holds {kept}, which is in use; choose another output")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise OutputError(f"{folder} exists already; choose another output or give --force to replace it")
        if not (folder / marker).is_file():
            raise OutputError(f"{folder} is not an older output ({marker} is missing), so it is not replaced; move it")
    parent = next(place for place in (*resolved.parents, resolved) if place.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputError(f"cannot write to {parent}; choose an output folder elsewhere")


def check_output_page(path: Path, *, mark: str, of: str, overwrite: bool) -> None:
    """Refuse a page that is in the way, before any work is done; only an older page of the same kind is replaced.

    Args:
        path: The file to write.
        mark: Text among the first 1,000 characters of every such page.
        of: The command that writes such pages, for the message.
        overwrite: Whether an older one may be replaced.

    Raises:
        OutputError: If `path` exists and may not be replaced or is no such page, or its folder does not exist.
    """
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it, or choose another place for the page")
    if not path.exists():
        return
    if not overwrite:
        raise OutputError(f"{path} exists already; choose another file or give --force to replace it")
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            is_ours = mark in file.read(1000)
    except OSError as error:
        raise OutputError(f"cannot replace {path}: {error.strerror or error}") from error
    if not is_ours:
        raise OutputError(f"{path} is not an older page of {of}, so it is not replaced; move it")


@contextmanager
def new_folder(
    folder: Path,
    *,
    marker: str,
    overwrite: bool = False,
    inputs: Sequence[Path] = (),
    keep_older_as: Path | None = None,
) -> Iterator[Path]:
    """Give a temporary folder that becomes `folder` when the block ends without an error.

    The temporary folder lies beside `folder`, so that the last step is a rename. An older folder is replaced
    only then; when the block raises (Ctrl-C included) the older one is still there and the temporary is gone. A link
    is followed: what it points to is replaced.

    Args:
        folder: The output folder.
        marker: As in `check_output_folder`; the block must write it.
        overwrite: Whether an older output may be replaced.
        inputs: As in `check_output_folder`.
        keep_older_as: Where the older folder goes when it is replaced: a free name beside it. None removes it.

    Raises:
        OutputError: As `check_output_folder`, or if the folder cannot be made or renamed.
    """
    check_output_folder(folder, marker=marker, overwrite=overwrite, inputs=inputs)
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        temporary.chmod(0o755)  # mkdtemp's 0700 would follow the folder to another user
        yield temporary
        check_output_folder(folder, marker=marker, overwrite=overwrite, inputs=inputs)  # it may have come meanwhile
        _replace_folder(temporary, folder, keep_older_as)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def restore_folder(folder: Path) -> bool:
    """Put an older folder back that a kill between the two renames of `new_folder` left aside; return whether it did.

    Nobody may be writing the folder at the same time. Where something is in its place nothing is done, and where
    several lie aside neither, since none of them is known to be the latest.

    Args:
        folder: As `new_folder` was given it.

    Raises:
        OutputError: If it cannot be renamed.
    """
    folder = folder.resolve()
    try:
        if folder.exists():
            return False
        aside = list(folder.parent.glob(f".{glob.escape(folder.name)}.*{_OLD}"))
        if len(aside) == 1:
            aside[0].rename(folder)
        return len(aside) == 1
    except OSError as error:
        raise OutputError(f"cannot put back {folder}: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder, where the system can do so; a power cut then keeps a rename."""
    with suppress(OSError):  # Windows opens no folders; some file systems sync none
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace_folder(temporary: Path, folder: Path, kept: Path | None) -> None:
    """Rename `temporary` to `folder`, setting an older folder aside: to be kept, or for that instant."""
    if kept is not None and os.path.lexists(kept):
        raise OutputError(f"cannot keep {folder} as {kept}, which exists already; move that away")
    aside = kept or folder.with_name(f".{folder.name}.{os.getpid()}{_OLD}")
    try:
        if folder.exists():
            folder.rename(aside)
        temporary.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        if aside.exists() and not folder.exists():  # failed or stopped between the two
            aside.rename(folder)
        if kept is None:
            shutil.rmtree(aside, ignore_errors=True)
