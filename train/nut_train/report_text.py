"""What a report says in words and numbers; the template only places it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nut_dataset.findings import counted
from nut_train import promise_words
from nut_train.evaluate import Evaluation
from nut_train.metrics import ImageMetrics
from nut_train.statistics.bootstrap import FEW, Interval
from nut_train.thresholds import Rule

__all__ = ["AT_THRESHOLD", "FigureRow", "Warn", "figure_rows", "interval_text", "is_chosen_by_test", "warnings_of"]

AT_THRESHOLD = frozenset({"recall", "false_reject_rate", "f1"})
"""The figures that hang on the threshold."""

_MOST_NAMED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """Something the reader must know before the figures.

    Attributes:
        what: One or two sentences.
        details: Lines to unfold.
        is_grave: Whether a figure is wrong because of it, not only unsure.
    """

    what: str
    details: tuple[str, ...] = ()
    is_grave: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """One figure of the table.

    Attributes:
        name: For people.
        value: The figure; None where it cannot be measured.
        interval: Where it lies with 95% confidence; None where nothing can be said.
        note: What it means.
        is_card: Whether it is among the few that head the page.
    """

    name: str
    value: float | None
    interval: Interval | None
    note: str
    is_card: bool = False


def interval_text(interval: Interval | Mapping[str, Any] | None) -> str:
    """Return an interval for people.

    Example:
        >>> interval_text(Interval(low=0.9, high=1.0, method="exact")), interval_text(None)
        ('0.900 to 1.000', '-')
    """
    if interval is None:
        return "-"
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (interval["low"], interval["high"])
    return f"{low:.3f} to {high:.3f}"


def warnings_of(record: Mapping[str, Any], evaluation: Evaluation | None) -> list[Warn]:
    """Return what must be known before the figures, leakage first.

    Args:
        record: The content of `run.json` or `evaluation.json`.
        evaluation: The judged test pictures.
    """
    warns = []
    if evaluation is None:
        warns.append(Warn(what="No test picture is left that is not in train/good too, so nothing was measured."))
    elif evaluation.leaked:
        warns.append(_leakage(evaluation))
    calibration = record["calibration"]
    if "is_supported" in calibration:
        warns += [Warn(what=f"{line[0].upper()}{line[1:]}.") for line in promise_words.warnings_of(calibration)]
    if evaluation is not None:
        fewest = min(evaluation.image.good, evaluation.image.defective)
        if 0 < fewest < FEW:
            warns.append(
                Warn(
                    what=f"Measured on {counted(evaluation.image.good, 'good picture')} and "
                    f"{counted(evaluation.image.defective, 'defective one')}. With fewer than {FEW} of either, the "
                    "bootstrap intervals are themselves rough, and rather too narrow than too wide."
                )
            )
    for finding in record.get("findings", ()):
        if finding["severity"] == "note" or (evaluation is not None and finding["code"] == "leaked-test-files"):
            continue
        action = f"; {finding['action']}" if finding["action"] else ""
        text = f"{finding['what']}{action}."
        warns.append(Warn(what=text[0].upper() + text[1:], details=tuple(finding["details"][:_MOST_NAMED])))
    return warns


def _leakage(evaluation: Evaluation) -> Warn:
    """Say what the training set shares with the test set."""
    what = f"{counted(len(evaluation.leaked), 'test picture')} {'has' if len(evaluation.leaked) == 1 else 'have'} the "
    what += "same bytes as training pictures: the model knows them by heart. "
    if evaluation.is_leakage_kept:
        what += "They were kept in as asked (--leakage), so the figures below are not those of new parts."
    else:
        what += "They are left out of every figure below."
    names = [path.name for path in evaluation.leaked]
    return Warn(what=what, details=tuple(names[:_MOST_NAMED]), is_grave=True)


def figure_rows(record: Mapping[str, Any], evaluation: Evaluation) -> list[FigureRow]:
    """Return the table of figures.

    Args:
        record: The content of `run.json` or `evaluation.json`.
        evaluation: The judged test pictures.
    """
    image, pixel, sure = evaluation.image, evaluation.pixel, evaluation.confidence.intervals
    rate = record["calibration"].get("false_reject_rate")
    stated = _stated(record["calibration"])
    unsure = AT_THRESHOLD if is_chosen_by_test(record) else frozenset()

    def row(name: str, value: float | None, key: str, note: str, *, is_card: bool = False) -> FigureRow:
        interval = None if key in unsure else sure.get(key)
        return FigureRow(name=name, value=value, interval=interval, note=note, is_card=is_card)

    chance = image.defective / (image.good + image.defective)
    note = "chance that a defective part scores above a good one"
    rows = [
        row("image AUROC", image.auroc, "auroc", note, is_card=True),
        row("defects found", image.recall, "recall", f"recall at {stated}", is_card=True),
        row("good rejected", image.false_reject_rate, "false_reject_rate", f"at {stated}", is_card=True),
        row("F1", image.f1, "f1", _best_f1(image), is_card=True),
        row("AUPR", image.average_precision, "average_precision", f"average precision; guessing gives {chance:.3f}"),
    ]
    if rate is not None:
        note = f"with a threshold put for {100 * rate:.2g}% on these very good pictures: what the ranking could give"
        rows.append(row(f"recall at {100 * rate:.2g}%", evaluation.confidence.recall_at_rate, "recall_at_rate", note))
    if pixel is not None:
        note = f"over all pixels of {pixel.masks} pictures with masks and the good ones"
        rows.append(row("pixel AUROC", pixel.auroc, "pixel.auroc", note, is_card=True))
        note = "mean share of each defect region that is found, up to 30% false-positive pixels"
        rows.append(row("PRO", pixel.pro, "pixel.pro", note, is_card=True))
    return rows


def is_chosen_by_test(record: Mapping[str, Any]) -> bool:
    """Return whether the test pictures put the threshold, so that no interval of a figure at it says anything."""
    return record["calibration"].get("rule") == Rule.F1


def _stated(calibration: Mapping[str, Any]) -> str:
    """Return how the threshold was put."""
    rate, rule = calibration.get("false_reject_rate"), calibration.get("rule", Rule.CONFORMAL)
    if rate is None:
        return "the threshold"
    if rule == Rule.VALUE:
        return "the threshold that was given"
    if rule == Rule.F1:
        return "the threshold that is best for these very pictures"
    return f"the threshold calibrated for {100 * rate:.2g}% false rejects"


def _best_f1(image: ImageMetrics) -> str:
    if image.best_f1 is None:
        return "needs good and defective pictures"
    return f"at the threshold; the best threshold for these very pictures would give {image.best_f1:.3f}"
