"""A bundle diff for people: on a terminal in colour, in a pipe one line a fact."""

import re
from collections.abc import Iterator
from itertools import groupby

import click

from nut_export.bundle_diff import BundleDiff, Difference
from nut_export.bundle_facts import SECTIONS, Value
from nut_export.verdict_diff import Flip, VerdictDiff

__all__ = ["diff_lines", "moved_text", "same_text", "value_text"]

_SHOWN_FLIPS = 20
_SHOWN_SAME = 4  # of a section that differs in part
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Sections whose numbers are sizes, of which one wants to know by how much they moved.
_RELATIVE = {"threshold", "memory bank"}


def diff_lines(diff: BundleDiff) -> Iterator[str]:
    """Yield the lines to print, with colour codes that `click.echo` strips where they do not belong."""
    yield f"{click.style('A', fg='red')}  {_plain(diff.a)}"
    yield f"{click.style('B', fg='green')}  {_plain(diff.b)}"
    yield ""
    width = max((len(difference.label) for difference in diff.differences), default=0)
    for section, differences in groupby(diff.differences, key=lambda difference: difference.section):
        yield click.style(section, bold=True)
        for difference in differences:
            old, new = _red(value_text(difference.a)), _green(value_text(difference.b))
            moved = moved_text(difference)
            yield f"  {_plain(difference.label):<{width}}  {old} -> {new}{f'  ({moved})' if moved else ''}"
    if not diff.differences:
        yield "no fact differs"
    same = same_text(diff)
    if same:
        yield f"{click.style('the same', bold=True)}: {same}"
    if diff.verdicts is not None:
        yield ""
        yield from _verdict_lines(diff.verdicts)


def moved_text(difference: Difference) -> str:
    """Return by how much a size moved, such as `+0.41%`; nothing for what is no size."""
    a, b = difference.a, difference.b
    if difference.section not in _RELATIVE or not (_is_number(a) and _is_number(b)) or not a:
        return ""
    old, new = float(a), float(b or 0)
    return f"{100 * (new - old) / abs(old):+.2f}%"


def same_text(diff: BundleDiff) -> str:
    """Return what is the same, section by section: its name where nothing in it differs, else the facts that do not."""
    texts = []
    for section in SECTIONS:
        same = [fact.label for fact in diff.same if fact.section == section]
        differing = sum(difference.section == section for difference in diff.differences)
        if not same:
            continue
        if not differing:
            texts.append(section)
        elif len(same) <= _SHOWN_SAME:
            texts += same
        else:
            texts.append(f"{len(same)} of {len(same) + differing} facts under {section}")
    return _plain(", ".join(texts))


def value_text(value: Value) -> str:
    """Return a value as people read it: numbers to six digits, digests cut to twelve.

    Example:
        >>> value_text(0.123456789), value_text(None), value_text("ab" * 32), value_text(True)
        ('0.123457', 'not stated', 'abababababab', 'yes')
    """
    if value is None:
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return _DIGEST.sub(r"\1", _plain(str(value)))


def _verdict_lines(verdicts: VerdictDiff) -> Iterator[str]:
    """Yield how many verdicts flip, and which."""
    yield f"{verdicts.pictures} pictures judged with both in {verdicts.engine} {verdicts.engine_version}"
    yield f"  rejected            {verdicts.a_rejects} by A, {verdicts.b_rejects} by B"
    yield f"  |d pred_score|      max {verdicts.max_d_score:.2e}, mean {verdicts.mean_d_score:.2e}"
    flips = (
        f"{len(verdicts.flips)}: {verdicts.good_to_defect} good -> DEFECT, {verdicts.defect_to_good} DEFECT -> good"
        if verdicts.flips
        else "0"
    )
    yield f"  verdicts that flip  {click.style(flips, fg='red' if verdicts.flips else 'green', bold=True)}"
    # One line more is as long as saying that there is one more.
    shown = verdicts.flips if len(verdicts.flips) <= _SHOWN_FLIPS + 1 else verdicts.flips[:_SHOWN_FLIPS]
    for flip in shown:
        yield f"    {_flip_text(flip)}"
    if len(shown) < len(verdicts.flips):
        yield f"    and {len(verdicts.flips) - len(shown)} more (--json lists all)"


def _flip_text(flip: Flip) -> str:
    good, defect = _green("good"), _red("DEFECT")
    verdict = f"{good} -> {defect}" if flip.is_now_defective else f"{defect} -> {good}"
    return f"{verdict}  {flip.a_score:.4f} -> {flip.b_score:.4f}  {_plain(flip.source)}"


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(text: str) -> str:
    """Return text from a file less what would steer a terminal or cannot be printed."""
    return _CONTROL.sub("?", text).encode(errors="replace").decode()


def _red(text: str) -> str:
    return click.style(text, fg="red")


def _green(text: str) -> str:
    return click.style(text, fg="green")
