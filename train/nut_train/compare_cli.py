"""`nut compare`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nut_runtime.cli_errors import NutCommand

if TYPE_CHECKING:
    from nut_train.compare import Comparison

__all__ = ["compare", "print_comparison"]

_LISTED = 20


@click.command(cls=NutCommand)
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "out", metavar="FILE", type=click.Path(path_type=Path), help="A page to write, with the pictures."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resampling.")
@click.option("--force", is_flag=True, help="Replace FILE if it is an older such page.")
def compare(run_a: Path, run_b: Path, out: Path | None, seed: int, force: bool) -> None:
    """Compare RUN_B with RUN_A on the pictures that both judged: figures, and verdicts that changed.

    Both are run folders, or folders that nut evaluate wrote. Nothing is judged again.

    \b
    nut compare run-old run-new
    nut compare run-old run-new -o compare.html
    """
    from nut_train.compare import compare as compare_sides
    from nut_train.compare import open_side
    from nut_train.compare_report import check_compare_path, write_compare_report

    if out is not None:
        check_compare_path(out, overwrite=force)
    found = compare_sides(open_side(run_a), open_side(run_b), seed=seed)
    print_comparison(found)
    if out is not None:
        write_compare_report(out, found)
        click.echo(f"page    {out}")


def print_comparison(found: "Comparison", names: tuple[str, str, str] = ("A", "B", "B less A")) -> None:
    """Print the figures of two evaluations side by side, and the verdicts that changed.

    Args:
        found: From `nut_train.compare.compare`.
        names: What to call the two, and what changed.
    """
    click.echo(f"on {found.good} good and {found.defective} defective pictures that both judged")
    click.echo(f"{'':14} {names[0]:>8} {names[1]:>8} {names[2]:>9}   95% interval")
    for each in found.differences:
        ends = "" if each.interval is None else f"{each.interval.low:+.4f} to {each.interval.high:+.4f}"
        says = "" if each.is_better is None else ("  better" if each.is_better else "  worse")
        click.echo(f"{each.name:14} {each.a:8.4f} {each.b:8.4f} {each.b - each.a:+9.4f}   {ends}{says}")
    if found.is_small:
        click.echo("warning: with so few pictures the intervals are rough, and rather too narrow", err=True)
    changes = found.changes
    click.echo(
        f"verdicts that changed: {len(changes)}"
        + (
            f" ({found.mended} right now, {len(changes) - found.mended} wrong; p = {found.p_value:.2g})"
            if changes
            else ""
        )
    )
    for change in changes[:_LISTED]:
        says = "rejected" if change.is_now_rejected else "accepted"
        click.echo(
            f"  {'right' if change.is_mended else 'wrong'}: {change.path} is now {says} "
            f"({change.a_score:.3f} -> {change.b_score:.3f})"
        )
    if len(changes) > _LISTED:
        click.echo(f"  and {len(changes) - _LISTED} more")
