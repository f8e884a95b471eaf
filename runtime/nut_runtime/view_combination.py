"""How the views of one part make one verdict.

Every rule asks for a number of defective views: `any` for one, `all` for all of them, `at-least` for as many as it
says. With the verdicts in the order good, review, defect, the part's is that of its k-th worst view, so that REVIEW
means: were the doubtful views defective, the part would be. A view without a verdict could have been anything. Where
that makes no difference the part has its verdict all the same; wherever it could, the part has none.
"""

from collections.abc import Sequence

from nut_runtime.errors import InputError
from nut_runtime.parts import View
from nut_runtime.station_file.config import Combine
from nut_runtime.verdict import Label, Reason

__all__ = ["combine"]

_FROM_WORST = (Label.DEFECT, Label.REVIEW, Label.GOOD)


def combine(views: Sequence[View], rule: Combine, at_least: int = 1) -> tuple[Label, Reason | None]:
    """Return the verdict on a part, and where there is none the reason of its first view that has none.

    The order of the views does not matter to the verdict.

    Args:
        views: One for each camera, at least one; a camera that gave no frame has a view without a verdict.
        rule: How many defective views make a defective part.
        at_least: The number for `at-least`, from 1 to the number of views; not looked at otherwise.

    Raises:
        InputError: If there is no view, or `at_least` is not such a number.
    """
    if not views:
        raise InputError("a part without views has no verdict; expected at least one view")
    needed = {Combine.ANY: 1, Combine.ALL: len(views), Combine.AT_LEAST: at_least}[rule]
    if not 1 <= needed <= len(views):
        raise InputError(f"at_least must be from 1 to the {len(views)} views of a part, got {needed}")
    mildest, worst = (_nth_worst(views, needed, missing) for missing in (Label.GOOD, Label.DEFECT))
    if mildest is worst:
        return mildest, None
    return Label.NO_VERDICT, next(view.reason for view in views if view.label is Label.NO_VERDICT)


def _nth_worst(views: Sequence[View], number: int, missing: Label) -> Label:
    """Return the verdict of the `number`-th worst view, counted from 1, were all that are missing `missing`."""
    labels = [missing if view.label is Label.NO_VERDICT else view.label for view in views]
    return sorted(labels, key=_FROM_WORST.index)[number - 1]
