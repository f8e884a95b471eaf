"""`nut calibrate`, and the options about thresholds that `nut train` shares with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_train.config import DEVICES, PointConfig, TrainConfig
from nut_train.promise_words import percent, warnings_of
from nut_train.thresholds import Rule

__all__ = ["calibrate", "print_calibration", "threshold_options"]

_DEFAULTS = TrainConfig()


def threshold_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--false-reject-rate`, `--threshold`, `--threshold-value` and `--review-rate`."""
    for option in (
        click.option(
            "--review-rate",
            type=float,
            metavar="RATE",
            help="Share of good parts that may be for review or rejected; none is for review by default.",
        ),
        click.option(
            "--threshold-value", type=float, metavar="RAW", help="The raw threshold itself, for --threshold value."
        ),
        click.option(
            "--threshold",
            type=click.Choice([str(rule) for rule in Rule]),
            default=str(Rule.CONFORMAL),
            show_default=True,
            help="How the threshold is put; f1 looks at the test defects, so that they measure nothing any more.",
        ),
        click.option(
            "--false-reject-rate",
            type=float,
            default=_DEFAULTS.false_reject_rate,
            show_default=True,
            help="Share of good parts that may be rejected.",
        ),
    ):
        command = option(command)
    return command


@click.command(cls=NutCommand)
@click.argument("run", type=click.Path(path_type=Path))
@threshold_options
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history in run.json.")
@click.option("--report", is_flag=True, help="Judge the test pictures again and draw report.html anew.")
@click.option(
    "--device", type=click.Choice(DEVICES), default=_DEFAULTS.device, show_default=True, help="Where to, with --report."
)
def calibrate(
    run: Path,
    false_reject_rate: float,
    threshold: str,
    threshold_value: float | None,
    review_rate: float | None,
    reason: str,
    report: bool,
    device: str,
) -> None:
    """Move the operating point of a trained RUN, from the scores that it kept; nothing is trained again.

    \b
    nut calibrate run --false-reject-rate 0.005
    nut calibrate run --false-reject-rate 0.01 --review-rate 0.05 --reason "two weeks of false alarms"
    nut calibrate run --threshold value --threshold-value 31.5
    """
    config = PointConfig(
        false_reject_rate=false_reject_rate, rule=Rule(threshold), value=threshold_value, review_rate=review_rate
    )
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_train.cli import print_evaluation
    from nut_train.recalibrate import recalibrate, redraw_report
    from nut_train.run import open_run

    opened = open_run(run)
    before = opened.point.image.threshold
    moved = recalibrate(opened, config, reason=reason)
    click.echo(f"before  reject above raw score {before:.4g}")
    print_calibration(moved.record)
    if report:
        with progress_bars() as progress:
            redraw_report(moved, device=device, progress=progress)
    print_evaluation(moved.record)
    click.echo(f"run     {run}\nnext    nut export {run} -o bundle")


def print_calibration(record: dict[str, Any]) -> None:
    """Print where the thresholds of a run are, what they promise, and what to be warned of."""
    calibration = record["calibration"]
    point = calibration["point"]
    kind = "cross-fitted" if calibration.get("method") == "crossfit" else "held-out"
    if calibration.get("rule", "conformal") in {"f1", "value"}:
        aim = f"put by {calibration['rule']}, {calibration['promise']['above']} above it"
    else:
        aim = f"{percent(calibration['false_reject_rate'])} of good parts aimed at"
    click.echo(
        f"reject  above raw score {point['image']['threshold']:.4g}: {aim}, from {calibration['held_out']} {kind} "
        "pictures"
    )
    if point.get("review_from") is not None:
        click.echo(
            f"review  above raw score {point['review_from']:.4g}: {percent(calibration['review_rate'])} of good parts "
            "at most for review or rejected"
        )
    for line in calibration.get("guarantee", ()):
        click.echo(f"holds   {line}")
    for line in warnings_of(calibration):
        click.echo(f"warning: {line}", err=True)
