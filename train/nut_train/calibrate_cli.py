"""`nut calibrate`, and the options about thresholds that `nut train` shares with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError
from nut_train.config import DEVICES, TrainConfig
from nut_train.kept_point import NO_REVIEW, kept_point
from nut_train.promise_words import percent, review_words, warnings_of
from nut_train.thresholds import Rule

__all__ = ["calibrate", "print_calibration", "threshold_options"]

_DEFAULTS = TrainConfig()


class _RateOrOff(click.ParamType):
    """A review rate, or `off` for none."""

    name = "RATE|off"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        return NO_REVIEW if value == "off" else float(click.FLOAT.convert(value, param, ctx))


def threshold_options(*, kept: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds `--false-reject-rate`, `--threshold`, `--threshold-value` and `--review-rate` to a command.

    Args:
        kept: Whose thresholds stay where an option is not given, which is None then; None puts the defaults.
    """
    is_new = kept is None
    shown: bool | str = kept or True
    options = (
        click.option(
            "--review-rate",
            type=_RateOrOff(),
            show_default=kept or "off",
            help="Share of good parts that may be for review or rejected.",
        ),
        click.option(
            "--threshold-value", type=float, metavar="RAW", help="The raw threshold itself, for --threshold value."
        ),
        click.option(
            "--threshold",
            type=click.Choice([str(rule) for rule in Rule]),
            default=str(Rule.CONFORMAL) if is_new else None,
            show_default=shown,
            help="How the threshold is put; f1 looks at the test defects, so that they measure nothing any more.",
        ),
        click.option(
            "--false-reject-rate",
            type=float,
            default=_DEFAULTS.false_reject_rate if is_new else None,
            show_default=shown,
            help="Share of good parts that may be rejected.",
        ),
    )

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in options:
            command = option(command)
        return command

    return add


@click.command(cls=NutCommand)
@click.argument("run", type=click.Path(path_type=Path))
@threshold_options(kept="as RUN has it")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history in run.json.")
@click.option("--report", is_flag=True, help="Judge the test pictures again and draw report.html anew.")
@click.option(
    "--device", type=click.Choice(DEVICES), default=_DEFAULTS.device, show_default=True, help="Where to, with --report."
)
def calibrate(run: Path, reason: str, report: bool, device: str, **point: Any) -> None:
    """Move the operating point of a trained RUN, from the scores that it kept; nothing is trained again.

    What is not given stays as RUN has it now: rule, value and rates. With --report and none of these nothing moves, and
    only the page is drawn anew.

    \b
    nut calibrate run --false-reject-rate 0.005
    nut calibrate run --false-reject-rate 0.01 --review-rate 0.05 --reason "two weeks of false alarms"
    nut calibrate run --review-rate off
    nut calibrate run --threshold value --threshold-value 31.5
    nut calibrate run --report
    """
    asked = {name: value for name, value in point.items() if value is not None}
    if not asked and (reason or not report):
        raise InputError(
            "nothing is to be moved; give --false-reject-rate, --threshold, --threshold-value or --review-rate, or "
            "--report alone to draw the page anew"
        )
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_train.cli import print_evaluation
    from nut_train.recalibrate import recalibrate, redraw_report
    from nut_train.run import open_run

    opened = open_run(run)
    if asked:
        before = opened.point.image.threshold
        opened = recalibrate(opened, kept_point(opened, **asked), reason=reason)
        click.echo(f"before  reject above raw score {before:.4g}")
    if report:
        with progress_bars() as progress:
            opened = redraw_report(opened, device=device, progress=progress)
    print_calibration(opened.record)
    print_evaluation(opened.record)
    click.echo(f"run     {run}")
    if report:
        click.echo(f"report  {run / 'report.html'}")
    click.echo(f"next    nut export {run} -o bundle")


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
        click.echo(f"review  above raw score {point['review_from']:.4g}: {review_words(calibration)}")
    for line in calibration.get("guarantee", ()):
        click.echo(f"holds   {line}")
    for line in warnings_of(calibration):
        click.echo(f"warning: {line}", err=True)
