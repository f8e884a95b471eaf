"""A plan as a table on screen and as Markdown."""

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from nut_benchmarks.planner.choice import Row
from nut_benchmarks.planner.plan import Plan
from nut_benchmarks.planner.words import notes, plan_lines, plan_title
from nut_benchmarks.tables import markdown_table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["plan_markdown", "plan_rows", "plan_table", "refusals", "sorted_rows"]

_WRAP: dict[str, Any] = {"width": 118, "subsequent_indent": "  ", "break_on_hyphens": False}
_TEXTS = ("backbone", "precision", "engine", "remark")  # columns that are no numbers


def sorted_rows(plan: Plan) -> list[Row]:
    """Return the candidates that were tried, the most accurate first, of equals the fastest; without figures last."""
    tried = [row for row in plan.rows if not row.is_ruled_out]
    return sorted(tried, key=lambda row: ([-figure for figure in row.accuracy_rank or ()] or [1.0], row.all_ms))


def plan_rows(plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Return the headings and a row of texts for each candidate; a column that says the same everywhere is left out."""
    front, proposed = plan.front, plan.proposal.row
    rows = sorted_rows(plan)
    cameras = plan.config.cameras

    def remark(row: Row) -> str:
        if row.reason is not None:
            return row.reason
        if row is proposed:
            return "proposed" if plan.proposal.is_met else "nearest"
        return "front" if row in front else ""

    columns: dict[str, Callable[[Row], str]] = {
        "backbone": lambda row: row.candidate.backbone,
        "px": lambda row: row.candidate.size,
        "bank": lambda row: f"{100 * row.candidate.coreset_ratio:.3g}%",
        "rows": lambda row: str(row.candidate.bank_rows or "-"),
        "precision": lambda row: row.candidate.precision,
        "engine": lambda row: row.candidate.engine,
        "p50 ms": lambda row: "-" if row.speed is None else f"{row.speed.p50_ms:.1f}",
        "p95 ms": lambda row: "-" if row.speed is None else f"{row.speed.p95_ms:.1f}",
        f"all {cameras} ms": lambda row: "-" if row.speed is None else f"{row.speed.all_ms:.1f}",
        "streams": lambda row: "-" if row.speed is None else str(row.speed.streams),
        "judged twice": lambda row: _share(getattr(row.speed, "rejudged", None)),
        "image AUROC": lambda row: _figure(row.auroc),
        "pixel AUROC": lambda row: _figure(getattr(row.accuracy, "pixel_auroc", None)),
        "defects found": lambda row: _figure(getattr(row.accuracy, "recall", None), digits=3),
        "good rejected": lambda row: _figure(getattr(row.accuracy, "good_rejected", None), digits=3),
        "remark": remark,
    }
    if cameras == 1:
        del columns[f"all {cameras} ms"], columns["streams"]
    for name in ("backbone", "engine"):
        if len({columns[name](row) for row in plan.rows}) == 1:
            del columns[name]
    for name in ("judged twice", "image AUROC", "pixel AUROC", "defects found", "good rejected"):
        if {columns[name](row) for row in rows} == {"-"}:
            del columns[name]
    return list(columns), [[text(row) for text in columns.values()] for row in rows]


def plan_table(plan: Plan) -> "Table":
    """Return the table for a terminal; why a candidate has no figures stands below it, in `refusals`."""
    from rich.table import Table

    columns, rows = plan_rows(plan)
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in columns:
        # a word a line, and no word cut, so that the table fits a narrow terminal
        justify: Literal["left", "right"] = "left" if column in _TEXTS else "right"
        table.add_column(column.replace(" ", "\n"), justify=justify, no_wrap=True)
    for texts, row in zip(rows, sorted_rows(plan), strict=True):
        if row.reason is not None:
            texts[-1] = "refused"
        table.add_row(*texts, style="bold" if row is plan.proposal.row else None)
    return table


def refusals(plan: Plan) -> list[str]:
    """Return the candidates without figures, each with the reason why."""
    return [f"{row.candidate.describe()}: {row.reason}" for row in sorted_rows(plan) if row.reason is not None]


def plan_markdown(plan: Plan) -> str:
    """Return the plan as Markdown: caveats first, then the table, the proposal and the commands."""
    height, width = plan.frame_size
    machine, config = plan.machine, plan.config
    lines = [f"# {plan_title(plan)}", ""]
    sets = " ".join(machine.instruction_sets)
    caveats = [
        (
            f"Measured {plan.created} on {machine.cpu}, {machine.cores} cores, {sets}; {machine.system}, Python "
            f"{machine.python}. Another machine gives other times, and so does a busy one: plan on the kind of machine "
            "that will judge."
        ),
        (
            f"Time is from a decoded {width}x{height} frame in memory to all five outputs in memory, {config.repeats} "
            f"frames after {config.warm_up} to warm up; no disk, no camera. The 95th percentile has to meet the target."
        ),
        (
            "Accuracy is that of the scores and verdicts which the engine gave at that precision; pixel AUROC is the "
            "trained model's. Defects found and good rejected are at the threshold that was calibrated for a "
            f"false-reject rate of {100 * config.false_reject_rate:g}%."
        ),
    ]
    if config.cameras > 1:
        caveats.append(
            f"All {config.cameras}: from {config.cameras} parts that come at the same time to the last verdict, in the "
            "faster of two ways: one after the other with all threads, or in as many streams as there are cameras "
            "(threads at most), which share the threads."
        )
    if "cascade" in config.precisions:
        caveats.append(
            "A cascade's time is that of a part it judges once, or twice where more than 5% of good parts are judged "
            "twice."
        )
    for caveat in caveats:
        lines += textwrap.wrap(f"- {caveat}", **_WRAP)
    columns, rows = plan_rows(plan)
    lines += ["", *markdown_table(columns, rows, words=_TEXTS), ""]
    for line in plan_lines(plan):
        lines += [*textwrap.wrap(line[0].upper() + line[1:] + ".", width=118, break_on_hyphens=False), ""]
    lines += ["```", *plan.commands(), "```", "", "![Accuracy against time, with the Pareto front](plan.png)", ""]
    for note in notes(plan):
        lines += textwrap.wrap(f"- {note[0].upper() + note[1:]}.", **_WRAP)
    versions = ", ".join(f"{name} {value}" for name, value in plan.versions.items())
    lines += ["", f"Commit {plan.commit or 'unknown'}. {versions}.", "", "```", plan.command, "```", ""]
    return "\n".join(lines)


def _figure(value: float | None, *, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}%"
