"""Options that several commands share."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nut_runtime.engines import ENGINES
from nut_runtime.errors import InputError
from nut_runtime.review import NEVER

__all__ = ["engine_options", "key_option", "model_option", "read_review_from"]

DEFAULT_BUNDLE = "bundle"
BUNDLE_VARIABLE = "NUT_MODEL"
KEY_VARIABLE = "NUT_VERIFY_KEY"

Command = Callable[..., Any]


def model_option(command: Command) -> Command:
    """Add `--model`."""
    return click.option(
        "--model",
        metavar="BUNDLE",
        type=click.Path(path_type=Path),
        envvar=BUNDLE_VARIABLE,
        default=DEFAULT_BUNDLE,
        show_default=f"${BUNDLE_VARIABLE}, else ./{DEFAULT_BUNDLE}",
        help="The bundle folder.",
    )(command)


def key_option(command: Command) -> Command:
    """Add `--verify-key`."""
    return click.option(
        "--verify-key",
        metavar="PUB.pem",
        type=click.Path(path_type=Path),
        envvar=KEY_VARIABLE,
        callback=_refuse_empty_key,
        show_default=f"${KEY_VARIABLE}, else signatures are not verified",
        help="Refuse a bundle that no key in this file has signed.",
    )(command)


def _refuse_empty_key(ctx: click.Context, parameter: click.Parameter, key: Path | None) -> Path | None:
    """Refuse a variable that is set to nothing: whoever set it, in a service file say, wanted bundles verified."""
    del ctx, parameter
    if key is None and os.environ.get(KEY_VARIABLE) is not None:
        raise InputError(f"{KEY_VARIABLE} is set but empty; name the file of a public key, or unset it")
    return key


def engine_options(command: Command) -> Command:
    """Add `--engine` and `--threads`."""
    command = click.option("--threads", type=int, help="Threads to compute with; the engine chooses by default.")(
        command
    )
    return click.option(
        "--engine",
        type=click.Choice(tuple(ENGINES)),
        help="Inference engine; whichever is installed by default.",
    )(command)


def read_review_from(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Read a score for review, 0 to 0.5, or `off`; None where nothing was given.

    Raises:
        click.BadParameter: If it is neither.
    """
    if value is None:
        return None
    if value == "off":
        return NEVER
    try:
        score = float(value)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 0.5:  # noqa: PLR2004 - the threshold
        raise click.BadParameter(f"{value!r} is neither a score from 0 to 0.5 nor off", ctx, parameter)
    return score
