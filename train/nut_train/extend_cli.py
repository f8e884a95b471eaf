"""`nut train --extend`: which options it takes, and what it prints."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nut_dataset.findings import counted
from nut_dataset.progress import progress_bars
from nut_runtime.errors import InputError
from nut_train.calibrate_cli import print_calibration
from nut_train.extend_config import ExtendConfig

__all__ = ["run_extension"]

_FIXED = (
    "backbone",
    "layers",
    "backbone_weights",
    "image_size",
    "neighbours",
    "whiten",
    "calibration",
    "folds",
)  # batch size and workers change no result, so they may be given
_TAKEN = (
    "coreset_ratio",
    "bank_size",
    "bank_mb",
    "holdout",
    "seed",
    "false_reject_rate",
    "threshold",
    "threshold_value",
    "review_rate",
    "device",
)
_LISTED = 20


def run_extension(new: Path, base: Path, out: Path, *, base_dataset: Path | None, logger: str, force: bool) -> None:
    """Extend a run as the options of the command at hand say.

    Args:
        new: The new good pictures.
        base: The run to extend.
        out: The run folder to write.
        base_dataset: Where the run's data set lies now; None takes the place where it was trained.
        logger: Experiment tracker, one of `nut_train.tracking.LOGGERS`.
        force: Whether an older run folder is replaced.

    Raises:
        InputError: If an option was given that belongs to the run, or as `extend`.
    """
    given = _given(click.get_current_context())
    for name in _FIXED:
        if name in given:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} is as in {base} and cannot be another; leave it out, or train anew")
    config = ExtendConfig(**{name: given[name] for name in _TAKEN if name in given})

    from nut_train.extend import extend
    from nut_train.run import open_run
    from nut_train.tracking import choose_logger, log_run

    chosen = choose_logger(logger)
    with progress_bars() as progress:
        done = extend(open_run(base), new, out, config, base_root=base_dataset, overwrite=force, progress=progress)
    _print_extension(done.run.record)
    if done.comparison is not None:
        from nut_train.compare_cli import print_comparison

        print_comparison(done.comparison, ("before", "after", "change"))
    if place := log_run(done.run, chosen):
        click.echo(f"logged  {place}")
    click.echo(f"run     {out}\nreport  {out / 'report.html'}\nnext    nut export {out} -o bundle")


def _given(context: click.Context) -> dict[str, Any]:
    """Return the options that somebody chose, on the command line or in the environment."""
    unchosen = {ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP}
    return {name: value for name, value in context.params.items() if context.get_parameter_source(name) not in unchosen}


def _print_extension(record: dict[str, Any]) -> None:
    """Print what a growing did."""
    grown = record["extended"]
    changes = grown["changes"]
    before, after = changes["bank_rows"]
    given = counted(sum(one["role"] == "bank" for one in grown["pictures"]), "new picture")
    click.echo(
        f"bank    {before} -> {after} x {record['bank']['width']}: {counted(grown['rows_added'], 'row')} from {given}, "
        f"behind those of {grown['base']['run']}"
    )
    old, now = changes["thresholds"]["image"]
    click.echo(f"before  reject above raw score {old:.4g}, now {now:.4g}")
    print_calibration(record)
    from nut_train.cli import print_evaluation  # which imports this module

    print_evaluation(record)
    for one in grown["pictures"][:_LISTED]:
        verdicts = ["rejected" if one[key] else "accepted" for key in ("was_rejected", "is_rejected")]
        held = ", held out" if one["role"] == "held_out" else ""
        click.echo(
            f"new     {one['name']}: {one['before']:.4g} {verdicts[0]} -> {one['after']:.4g} {verdicts[1]}{held}"
        )
    if len(grown["pictures"]) > _LISTED:
        click.echo(f"new     and {len(grown['pictures']) - _LISTED} more, in the report")
    for one in grown["left_out"][:_LISTED]:
        click.echo(f"left    {one['name']}: {one['why']}")
    if len(grown["left_out"]) > _LISTED:
        click.echo(f"left    and {len(grown['left_out']) - _LISTED} more")
    for note in grown["notes"]:
        click.echo(f"note    {note}")
    if changes["not_compared"]:
        click.echo(f"note    not compared with the base: {changes['not_compared']}")
