"""The charts of a report, as SVG that follows the page's colours and as PNG for other documents."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nut_train.evaluate import Judged
from nut_train.statistics.bootstrap import exact_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Chart", "Thresholds", "kind_scores", "precision_recall", "roc", "score_histogram"]

_GOOD, _HELD, _DEFECT, _INK, _REVIEW = "#2b7a4b", "#9dc9ae", "#b3372f", "#333333", "#b87900"
_PAGE_COLOURS = {
    _GOOD: "var(--good)",
    _HELD: "var(--held)",
    _DEFECT: "var(--bad)",
    _INK: "currentColor",
    _REVIEW: "var(--review)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawn chart.

    Attributes:
        png: On white, at 110 dots an inch.
        svg: An `<svg>` element without a background, whose colours are the page's CSS variables.
    """

    png: bytes
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The raw scores that decide.

    Attributes:
        reject: Above it a part is rejected.
        review: From it, below `reject`, a part is for review; None where there is no such band.
    """

    reject: float
    review: float | None = None

    def draw(self, axes: "Axes") -> None:
        """Draw a vertical line at each."""
        axes.axvline(self.reject, color=_INK, linestyle="--", linewidth=1.2, label=f"reject above {self.reject:.4g}")
        if self.review is not None:
            axes.axvline(
                self.review, color=_REVIEW, linestyle=":", linewidth=1.4, label=f"review from {self.review:.4g}"
            )


def score_histogram(judged: Sequence[Judged], held_out: Sequence[float], thresholds: Thresholds) -> Chart | None:
    """Draw how the raw scores of good and defective parts lie about the thresholds; None without any score.

    Args:
        judged: The test pictures.
        held_out: Raw scores of the good parts that calibrated the threshold.
        thresholds: The raw thresholds.
    """
    from matplotlib.ticker import MaxNLocator

    groups = {
        "good, held out of training": (np.asarray(held_out, float), _HELD),
        "good, test": (_scores(judged, defective=False), _GOOD),
        "defective, test": (_scores(judged, defective=True), _DEFECT),
    }
    groups = {name: (scores, colour) for name, (scores, colour) in groups.items() if scores.size}
    if not groups:
        return None
    everything = np.concatenate([scores for scores, _ in groups.values()])
    bins = np.linspace(everything.min(), everything.max() + 1e-9, 31)
    figure = _figure()
    axes = figure.add_subplot()
    for name, (scores, colour) in groups.items():
        axes.hist(scores, bins=list(bins), alpha=0.7, label=f"{name} ({scores.size})", color=colour)
    thresholds.draw(axes)
    axes.set(xlabel="raw score", ylabel="pictures")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)  # inside it would hide a bar
    return _chart(figure)


def kind_scores(judged: Sequence[Judged], thresholds: Thresholds) -> Chart | None:
    """Draw each test picture as a dot, a row a kind; None without test pictures."""
    kinds = sorted({item.kind for item in judged}, key=lambda kind: (kind != "good", kind))[::-1]
    if not kinds:
        return None
    figure = _figure(height=1.1 + 0.42 * len(kinds))
    axes = figure.add_subplot()
    for row, kind in enumerate(kinds):
        scores = np.sort([item.prediction.raw_score for item in judged if item.kind == kind])
        # Golden-ratio steps spread the dots evenly without chance, so that the same figures give the same file.
        spread = (np.arange(scores.size) * 0.618034 % 1 - 0.5) * 0.62
        axes.plot(
            scores, row + spread, "o", markersize=4, alpha=0.65, color=_GOOD if kind == "good" else _DEFECT, mew=0
        )
        axes.plot([np.median(scores)] * 2, [row - 0.36, row + 0.36], color=_INK, linewidth=1.6)
    thresholds.draw(axes)
    axes.set_yticks(range(len(kinds)), [_plain(kind) for kind in kinds])
    axes.set(xlabel="raw score (bar: median)", ylim=(-0.6, len(kinds) - 0.4))
    return _chart(figure)


def roc(judged: Sequence[Judged], threshold: float, *, has_intervals: bool = True) -> Chart | None:
    """Draw the ROC curve with the calibrated threshold and its exact intervals; None where a class is missing.

    Args:
        judged: The test pictures.
        threshold: The raw score above which a part is rejected.
        has_intervals: False where these pictures put the threshold, so that an interval would say nothing.
    """
    from sklearn.metrics import roc_curve

    scores, truth = _both(judged)
    if truth.all() or not truth.any():
        return None
    false_rate, true_rate, _ = roc_curve(truth, scores)
    figure = _figure(width=3.9)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=_HELD, linewidth=1)
    axes.plot(false_rate, true_rate, color=_DEFECT)
    rejected = scores > threshold
    false, found = rejected[~truth], rejected[truth]
    arms = (_arms(false), _arms(found)) if has_intervals else (None, None)
    axes.errorbar([false.mean()], [found.mean()], xerr=arms[0], yerr=arms[1], fmt="o", color=_INK, linewidth=1)
    axes.annotate("at the threshold", (float(false.mean()), float(found.mean())), (6, -12), textcoords="offset points")
    axes.set(xlabel="good parts rejected", ylabel="defective parts found", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return _chart(figure)


def precision_recall(judged: Sequence[Judged], threshold: float) -> Chart | None:
    """Draw precision against recall with the calibrated threshold; None where a class is missing."""
    from sklearn.metrics import precision_recall_curve

    scores, truth = _both(judged)
    if truth.all() or not truth.any():
        return None
    precision, recall, _ = precision_recall_curve(truth, scores)
    figure = _figure(width=3.9)
    axes = figure.add_subplot()
    axes.axhline(float(truth.mean()), color=_HELD, linewidth=1)
    axes.step(recall, precision, where="post", color=_DEFECT)
    rejected = scores > threshold
    if rejected.any():
        axes.plot([rejected[truth].mean()], [truth[rejected].mean()], "o", color=_INK)
    axes.set(
        xlabel="defective parts found (recall)",
        ylabel="rejects that are defective (precision)",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
    )
    return _chart(figure)


def _plain(name: str) -> str:
    """Return a folder's name as matplotlib can draw it: no formula between dollars, nothing that is not Unicode."""
    return name.encode(errors="replace").decode().replace("$", r"\$")


def _arms(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how far the exact interval of a share reaches to either side, shape (2, 1)."""
    found = exact_rate(int(hits.sum()), hits.size)
    if found is None:
        return np.zeros((2, 1))
    return np.array([[hits.mean() - found.low], [found.high - hits.mean()]])


def _scores(judged: Sequence[Judged], *, defective: bool) -> NDArray[np.float64]:
    return np.array([item.prediction.raw_score for item in judged if item.is_defective == defective])


def _both(judged: Sequence[Judged]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    scores = np.array([item.prediction.raw_score for item in judged], float)
    return scores, np.array([item.is_defective for item in judged], bool)


def _figure(*, width: float = 5.9, height: float = 3.3) -> "Figure":
    """Return an empty figure that needs no display and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _chart(figure: "Figure") -> Chart:
    """Draw a figure both ways, in our colours."""
    import matplotlib as mpl

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK)
        axes.spines[:].set_color(_INK)
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set_color(_INK)
    for text in (text for legend in figure.legends for text in legend.get_texts()):
        text.set_color(_INK)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    drawn = io.BytesIO()
    # Text stays text, in the page's own font; the salt makes the same chart the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nut"}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Chart(png=picture.getvalue(), svg=_page_svg(drawn.getvalue().decode()))


def _page_svg(text: str) -> str:
    """Return matplotlib's SVG file as an element that takes colours and font from the page around it."""
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'font: ([\d.]+px) [^;"]+', r"font-size: \1; font-family: inherit", text)
    names = "figure|axes|patch|text|line2d|matplotlib|xtick|ytick|legend|LineCollection"  # each chart has them again
    text = re.sub(rf' id="(?:{names})[^"]*"', "", text)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)  # inside a page an SVG needs none
    for colour, variable in _PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    return re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
