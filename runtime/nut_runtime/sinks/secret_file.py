"""Passwords and tokens, which stand in files of their own and nowhere else."""

from pathlib import Path

from nut_runtime.errors import InputError

__all__ = ["read_secret"]


def read_secret(path: Path) -> str:
    """Return the first line of a file.

    Raises:
        InputError: If it cannot be read, or its first line is empty or holds anything but printable ASCII. The message
            tells nothing of it.
    """
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise InputError(f"{path} holds other characters than ASCII; write the secret into its first line") from None
    secret = text.partition("\n")[0].strip()
    if not secret or not secret.isprintable():
        raise InputError(f"the first line of {path} is empty or not printable; write the secret there")
    return secret
