"""What a plan says in sentences."""

from nut_benchmarks.planner.choice import Accuracy, Proposal, Row, Speed, auroc_error
from nut_benchmarks.planner.config import counted
from nut_benchmarks.planner.plan import BUSY, Plan

__all__ = ["notes", "plan_lines", "plan_title"]


def plan_title(plan: Plan) -> str:
    """Say in one line what was planned."""
    candidates = [row.candidate for row in plan.rows]
    parts = [plan.dataset.resolve().name]
    for names in ({one.backbone for one in candidates}, {one.engine for one in candidates}):
        if len(names) == 1:
            parts += names
    what = "a part" if plan.config.cameras == 1 else f"the parts of {plan.config.cameras} cameras"
    parts.append(f"{what} within {plan.config.target_ms:g} ms on {counted(plan.threads, 'thread')}")
    return "; ".join(parts)


def plan_lines(plan: Plan) -> list[str]:
    """Return what is proposed and what it costs."""
    proposal, target = plan.proposal, plan.config.target_ms
    row, speed = proposal.row, proposal.row.speed
    if speed is None:
        raise TypeError("a proposal was measured")
    said = f"{row.candidate.describe()}: {_took(speed, plan.config.cameras)}{_finds(row)}"
    line = f"proposal: {said}; {_cost(proposal)}"
    if not proposal.is_met:
        line = f"nothing meets {target:g} ms; nearest: {said}; try smaller ones, fewer cameras or a faster machine"
    lines = [line]
    if speed.rejudged is not None and speed.twice_ms is not None:
        lines.append(
            f"{100 * speed.rejudged:.0f}% of good parts are judged twice, which takes {speed.twice_ms:.1f} ms (p95)"
        )
    if plan.config.cameras > 1:
        streams = f", streams={speed.streams}" if speed.streams > 1 else ""
        lines.append(
            f'run it as one nut_runtime.Inspector("bundle", engine="{row.candidate.engine}", threads={plan.threads}'
            f"{streams}) for all cameras"
        )
    return lines


def notes(plan: Plan) -> list[str]:
    """Return what limits the figures, the gravest first."""
    found = [_measured_with(plan, next(row.accuracy for row in plan.rows if row.accuracy is not None))]
    if plan.load is not None and plan.load > BUSY:
        found.append(
            f"the machine was busy when the plan began ({plan.load:.1f} processes a core), so times may be too long; "
            "plan again when nothing else runs"
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
        found.append(
            f"{' and '.join(dict.fromkeys(one.precision for one in ruled_out))} left out where in fp32 another bank is "
            f"faster and at least as accurate: {', '.join(banks)} (--complete measures them)"
        )
    return found


def _took(speed: Speed, cameras: int) -> str:
    one = f"{speed.p50_ms:.1f} ms p50, {speed.p95_ms:.1f} p95"
    if cameras == 1:
        return one
    way = "one after the other" if speed.streams == 1 else f"in {speed.streams} streams"
    return f"{one}; {cameras} cameras {speed.all_ms:.1f} ms p95, {way}"


def _finds(row: Row) -> str:
    auroc = "" if row.auroc is None else f", image AUROC {row.auroc:.4f}"
    if row.accuracy is None or row.accuracy.recall is None:
        return auroc
    return f"{auroc}, {100 * row.accuracy.recall:.0f}% of defects found"


def _cost(proposal: Proposal) -> str:
    """Say what a proposal gives away."""
    cost, best = proposal.cost, proposal.best
    if cost is None or best is None:
        return "chosen as the largest image and bank that are fast enough, since nothing tells which finds defects"
    if best is proposal.row:
        return "none is more accurate"
    auroc, recall = cost
    against = f"against the most accurate, which takes {best.all_ms:.1f} ms"
    if auroc > 0:
        return f"costs {auroc:.4f} of AUROC {against}"
    if recall > 0:
        return f"finds {100 * recall:.0f}% of defects fewer {against}"
    return "none is more accurate"


def _measured_with(plan: Plan, accuracy: Accuracy) -> str:
    """Say how far the test pictures carry."""
    good, defective = accuracy.good, accuracy.defective
    if not good and not defective:
        return "no test pictures that are not in train/good too, so nothing but time was measured"
    if not defective:
        return (
            "no defective test pictures: nothing tells which candidate finds defects, only how many of "
            f"{counted(good, 'good one')} it rejects; put some in test/<kind>"
        )
    best = plan.proposal.best
    if not good or best is None or best.auroc is None:
        return "no good test pictures, so there is no AUROC; put some in test/good"
    # Six defects all found do not show that an AUROC is 1, for which the formula gives no error: half of one picture
    # of the rarer kind counts as misjudged.
    most = 1 - 1 / (2 * min(good, defective))
    error = auroc_error(min(best.auroc, most), good=good, defective=defective)
    return (
        f"{good} good and {defective} defective test pictures tell an AUROC to about {error:.3f} (one standard error); "
        "candidates closer to each other than that cannot be told apart"
    )
