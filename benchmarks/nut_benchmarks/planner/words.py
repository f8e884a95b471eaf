"""What a plan says in sentences."""

from nut_benchmarks.planner.choice import auroc_error
from nut_benchmarks.planner.plan import Plan

__all__ = ["notes", "plan_lines", "plan_title"]


def plan_title(plan: Plan) -> str:
    """Say in one line what was planned."""
    first = plan.rows[0].candidate
    parts = [plan.dataset.resolve().name]
    if len({row.candidate.backbone for row in plan.rows}) == 1:
        parts.append(first.backbone)
    if len({row.candidate.engine for row in plan.rows}) == 1:
        parts.append(first.engine)
    cameras = "a part" if plan.config.cameras == 1 else f"{plan.config.cameras} parts, one a camera,"
    parts.append(f"{cameras} within {plan.config.target_ms:g} ms on {plan.threads} threads")
    return "; ".join(parts)


def plan_lines(plan: Plan) -> list[str]:
    """Return what is proposed, what it costs, and the commands that make it."""
    proposal, cameras = plan.proposal, plan.config.cameras
    row, best = proposal.row, proposal.best
    speed = row.speed
    if speed is None:
        raise TypeError("a proposal was measured")
    took = f"{speed.p50_ms:.1f} ms p50, {speed.p95_ms:.1f} p95"
    if cameras > 1:
        way = "one after the other" if speed.streams == 1 else f"{speed.streams} streams of {speed.threads} threads"
        took += f", {cameras} cameras in {speed.all_ms:.1f} ms ({way})"
    accuracy = "" if row.auroc is None else f", image AUROC {row.auroc:.4f}"
    if proposal.is_met:
        line = f"proposal: {row.candidate.describe()}: {took}{accuracy}"
    else:
        line = (
            f"nothing meets {plan.config.target_ms:g} ms; nearest: {row.candidate.describe()}: {took}{accuracy}; try a "
            "smaller --image-size or --coreset-ratio, fewer cameras, or a faster machine"
        )
    if proposal.cost is not None and best is not None:
        if best is row:
            line += "; none is more accurate"
        elif proposal.cost > 0:
            line += f"; costs {proposal.cost:.4f} against the most accurate, which takes {best.all_ms:.1f} ms"
        else:
            line += "; as accurate as the best"
    elif proposal.is_met:
        line += "; chosen as the largest image and bank that are fast enough, since nothing tells which finds defects"
    lines = [line]
    if speed.twice_ms is not None and speed.rejudged is not None:
        lines.append(
            f"{100 * speed.rejudged:.0f}% of good parts are judged twice; such a part takes {speed.twice_ms:.1f} ms"
        )
    return lines


def notes(plan: Plan) -> list[str]:
    """Return what limits the figures, the gravest first."""
    found = []
    accuracy = next(row.accuracy for row in plan.rows if row.accuracy is not None)
    if not accuracy.good and not accuracy.defective:
        found.append("no test pictures that are not in train/good too, so nothing but time was measured")
    elif not accuracy.defective:
        found.append(
            f"no defective test pictures: nothing tells which candidate finds defects, only that it rejects few of "
            f"{accuracy.good} good ones; put some in test/<kind>"
        )
    elif not accuracy.good:
        found.append("no good test pictures, so there is no AUROC; put some in test/good")
    elif plan.proposal.best is not None and plan.proposal.best.auroc is not None:
        error = auroc_error(plan.proposal.best.auroc, good=accuracy.good, defective=accuracy.defective)
        found.append(
            f"{accuracy.good} good and {accuracy.defective} defective test pictures know an AUROC to about "
            f"{max(error, 1 / (accuracy.good * accuracy.defective)):.3f} (one standard error); candidates nearer to "
            "each other than that cannot be told apart"
        )
    if plan.pictures < plan.good_pictures:
        found.append(
            f"banks were made from {plan.pictures} of {plan.good_pictures} good pictures; the ratios are those that "
            "give banks of the same size from all of them (--pictures takes more)"
        )
    if plan.leaked:
        found.append(f"{plan.leaked} test pictures are byte-identical to training pictures; left out")
    if not plan.is_supported:
        found.append(
            f"{plan.held_out} held-out pictures cannot speak for a false-reject rate of "
            f"{100 * plan.config.false_reject_rate:g}%; add good pictures"
        )
    ruled_out = [row.candidate for row in plan.rows if row.is_ruled_out]
    if ruled_out:
        banks = dict.fromkeys(f"{one.backbone} {one.size} px {100 * one.coreset_ratio:.3g}%" for one in ruled_out)
        precisions = dict.fromkeys(one.precision for one in ruled_out)
        found.append(
            f"{' and '.join(precisions)} not measured where another bank is faster and at least as accurate in fp32: "
            f"{', '.join(banks)} (--complete measures them)"
        )
    return found
