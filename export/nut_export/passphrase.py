"""The passphrase of a key, from the environment or asked for."""

import os
import sys
from pathlib import Path

import click

from nut_runtime.errors import InputError

__all__ = ["VARIABLE", "ask_passphrase"]

VARIABLE = "NUT_KEY_PASSPHRASE"
"""Name of the environment variable."""


def ask_passphrase(key: Path, *, is_new: bool = False) -> str:
    """Return the passphrase of a key file: what the variable holds, else what is typed on the terminal, unseen.

    Args:
        key: The key, for the question.
        is_new: Ask twice, since nobody could open the key after a slip of the finger.

    Raises:
        InputError: If the variable is not set and there is no terminal to ask on.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return given
    if not sys.stdin.isatty():
        raise InputError(f"the key {key} needs a passphrase and there is no terminal to ask; set {VARIABLE}")
    typed: str = click.prompt(f"passphrase of {key}", hide_input=True, confirmation_prompt=is_new, err=True)
    return typed
