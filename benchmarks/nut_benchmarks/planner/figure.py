"""The picture of a plan: accuracy against time, the front, the target and the proposal."""

import io
from typing import TYPE_CHECKING

from nut_benchmarks.planner.choice import Row
from nut_benchmarks.planner.plan import Plan
from nut_benchmarks.planner.words import plan_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plan_figure"]

_COLOURS = {"fp32": "#3b7dd8", "int8": "#2b7a4b", "cascade": "#b3762f"}
_LINE, _FAINT, _TARGET = "#333333", "#c9ccd1", "#b3372f"
_MARKERS = "osD^vP*X"
_WIDE = 8.0  # times the fastest from which on time is drawn in logarithms


def plan_figure(plan: Plan) -> bytes:
    """Draw the plan as PNG.

    Without an AUROC the share of good test pictures rejected stands in its place, and the image's size where there are
    none of them either; there is no front then.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes: Axes = figure.add_subplot()
    rows = [row for row in plan.rows if row.speed is not None]
    label, heights = _heights(rows)
    sides = sorted({(row.candidate.image_height_px, row.candidate.image_width_px) for row in rows})
    marker = {side: _MARKERS[place % len(_MARKERS)] for place, side in enumerate(sides)}
    front = plan.front
    for row, height in zip(rows, heights, strict=True):
        candidate = row.candidate
        axes.plot(
            row.all_ms,
            height,
            marker[candidate.image_height_px, candidate.image_width_px],
            color=_COLOURS[candidate.precision],
            markersize=8 if row in front else 6,
            alpha=1.0 if row in front or not front else 0.45,
            zorder=3,
        )
    if front:
        line = [(row.all_ms, row.auroc) for row in front]
        axes.step(*zip(*line, strict=True), where="post", color=_LINE, linewidth=1, zorder=2)
    axes.axvline(plan.config.target_ms, color=_TARGET, linestyle="--", linewidth=1, zorder=1)
    proposed = plan.proposal.row
    height = heights[rows.index(proposed)]
    axes.plot(proposed.all_ms, height, "o", markersize=16, fillstyle="none", color=_TARGET, zorder=4)
    times = [row.all_ms for row in rows] + [plan.config.target_ms]
    if max(times) > _WIDE * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.1, y=0.14)
    _name(axes, plan, [(row, heights[rows.index(row)]) for row in (front or [proposed])])
    cameras = plan.config.cameras
    what = "one part" if cameras == 1 else f"the parts of {cameras} cameras"
    axes.set(xlabel=f"time of {what}, 95th percentile (ms)", ylabel=label)
    axes.set_title(plan_title(plan), fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee", zorder=0)
    _legend(axes, plan, rows, marker)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _heights(rows: list[Row]) -> tuple[str, list[float]]:
    """Return what the vertical axis is, and each row's place on it."""
    if any(row.auroc is not None for row in rows):
        return "image AUROC", [row.auroc or 0.0 for row in rows]
    rejected = [row.accuracy and row.accuracy.good_rejected for row in rows]
    if any(share is not None for share in rejected):
        return "share of good test pictures rejected", [share or 0.0 for share in rejected]
    return "height of the image (px)", [float(row.candidate.image_height_px) for row in rows]


def _name(axes: "Axes", plan: Plan, points: list[tuple[Row, float]]) -> None:
    """Write beside points which candidates they are, every other one below its point."""
    from matplotlib.patheffects import withStroke

    has_many = len({row.candidate.backbone for row in plan.rows}) > 1
    for place, (row, height) in enumerate(points):
        candidate = row.candidate
        text = f"{candidate.size} px, {100 * candidate.coreset_ratio:.3g}%, {candidate.precision}"
        if has_many:
            text = f"{candidate.backbone}\n{text}"
        axes.annotate(
            text,
            (row.all_ms, height),
            xytext=(9, -13 if place % 2 == 0 else 9),
            textcoords="offset points",
            fontsize=8,
            color=_LINE,
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _legend(axes: "Axes", plan: Plan, rows: list[Row], marker: dict[tuple[int, int], str]) -> None:
    """Explain colours, marks and lines below the axes."""
    from matplotlib.lines import Line2D

    used = [name for name in _COLOURS if any(row.candidate.precision == name for row in rows)]
    handles = [Line2D([], [], color=_COLOURS[name], marker="o", linestyle="", label=name) for name in used]
    handles += [
        Line2D(
            [], [], color="#777777", marker=mark, linestyle="", label=f"{'x'.join(map(str, dict.fromkeys(side)))} px"
        )
        for side, mark in marker.items()
    ]
    if plan.front:
        handles.append(Line2D([], [], color=_LINE, linewidth=1, label="Pareto front"))
    handles.append(
        Line2D([], [], color=_TARGET, linestyle="--", linewidth=1, label=f"target {plan.config.target_ms:g} ms")
    )
    name = "proposal" if plan.proposal.is_met else "nearest"
    handles.append(Line2D([], [], color=_TARGET, marker="o", markersize=10, fillstyle="none", linestyle="", label=name))
    axes.legend(handles=handles, fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
