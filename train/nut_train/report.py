"""`report.html`: one self-contained file for people, with its charts as PNG beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nut_runtime.atomic import write_bytes, write_text
from nut_train.evaluate import Evaluation, Judged
from nut_train.figures import Chart, Thresholds, kind_scores, precision_recall, roc, score_histogram
from nut_train.report_text import AT_THRESHOLD, figure_rows, interval_text, is_chosen_by_test, warnings_of
from nut_train.statistics.bootstrap import LEVEL, RESAMPLES
from nut_train.thumbnails import Album, compared_pair, judged_pair

if TYPE_CHECKING:
    from nut_train.explain import Explainer

__all__ = ["Gallery", "choose_galleries", "write_report"]

_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures worth a look.

    Attributes:
        title: What they are.
        note: In which order they stand.
        total: How many there are of the kind.
        items: Those that are shown.
    """

    title: str
    note: str
    total: int
    items: Sequence[Judged]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A picture of a gallery.

    Attributes:
        item: The judged picture.
        url: It and its heat map.
        near_url: Its most unusual place beside the good one it was compared with; None where that is not known.
        near_name: The good picture's name.
    """

    item: Judged
    url: str
    near_url: str | None = None
    near_name: str = ""


def write_report(
    folder: Path, record: Mapping[str, Any], evaluation: Evaluation | None, explainer: "Explainer | None" = None
) -> Path:
    """Write `report.html` and `figures/*.png` into `folder`.

    The page loads nothing, and says so to the browser (a content security policy without any source but itself).

    Args:
        folder: An existing folder.
        record: The content of `run.json`, or the same keys for an evaluation on other data.
        evaluation: The judged test pictures; None writes a report of training and calibration alone.
        explainer: Finds the good places that pictures were compared with; None shows none.

    Returns:
        The path of the report.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    charts = _charts(record, () if evaluation is None else evaluation.judged)
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for name, chart in charts.items():
        write_bytes(figures / f"{name}.png", chart.png)
    album = Album()
    galleries = []
    for gallery in choose_galleries(evaluation):
        drawn = [shown for item in gallery.items if (shown := _show(item, album, explainer)) is not None]
        galleries.append({"gallery": gallery, "drawn": drawn})
    environment = Environment(loader=PackageLoader("nut_train", "templates"), autoescape=select_autoescape())
    page = environment.get_template("report.html").render(
        record=record,
        evaluation=evaluation,
        warnings=warnings_of(record, evaluation),
        rows=[] if evaluation is None else figure_rows(record, evaluation),
        confusion=None if evaluation is None else _confusion(evaluation.judged),
        galleries=galleries,
        charts={name: chart.svg for name, chart in charts.items()},
        interval_text=interval_text,
        unsure=AT_THRESHOLD if is_chosen_by_test(record) else frozenset(),
        level=LEVEL,
        resamples=RESAMPLES,
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _show(item: Judged, album: Album, explainer: "Explainer | None") -> _Shown | None:
    """Put a picture into the album; None where there is no room left."""
    url = album.add(judged_pair(item))
    if url is None:
        return None
    found = None if explainer is None else compared_pair(item, explainer)
    if found is None:
        return _Shown(item=item, url=url)
    near, comparison = found
    return _Shown(item=item, url=url, near_url=album.add(near), near_name=comparison.good.picture.name)


def _charts(record: Mapping[str, Any], judged: Sequence[Judged]) -> dict[str, Chart]:
    """Draw what there is to draw."""
    point = record["calibration"]["point"]
    review = point.get("review_from")
    thresholds = Thresholds(reject=float(point["image"]["threshold"]), review=None if review is None else float(review))
    held_out = [float(item["raw_score"]) for item in record.get("held_out_scores", [])]
    charts = {
        "scores": score_histogram(judged, held_out, thresholds),
        "kinds": kind_scores(judged, thresholds),
        "roc": roc(judged, thresholds.reject, has_intervals=not is_chosen_by_test(record)) if judged else None,
        "precision-recall": precision_recall(judged, thresholds.reject) if judged else None,
    }
    return {name: chart for name, chart in charts.items() if chart is not None}


def _confusion(judged: Sequence[Judged]) -> dict[str, int]:
    """Count truth against verdict."""
    counts = dict.fromkeys(("good_accepted", "good_rejected", "defective_accepted", "defective_rejected"), 0)
    for item in judged:
        verdict = "rejected" if item.prediction.pred_label else "accepted"
        counts[f"{'defective' if item.is_defective else 'good'}_{verdict}"] += 1
    return counts


def choose_galleries(evaluation: Evaluation | None) -> list[Gallery]:
    """Choose the pictures worth a look: mistakes first, then what nearly was one, then the usual."""
    if evaluation is None:
        return []
    # Of equal scores the name decides, so that the choice does not hang on the order of the files.
    rising = sorted(evaluation.judged, key=lambda item: (item.prediction.raw_score, str(item.prediction.path)))
    near = sorted(rising, key=lambda item: abs(item.prediction.pred_score - 0.5))  # 0.5 is the threshold
    right = [item for item in near if item.prediction.pred_label == item.is_defective]
    choices = [
        (
            "Missed defects",
            "the least suspicious first",
            [item for item in rising if item.is_defective and not item.prediction.pred_label],
        ),
        (
            "False alarms",
            "the most suspicious first",
            [item for item in rising[::-1] if not item.is_defective and item.prediction.pred_label],
        ),
        ("Borderline, but right", "the closest to the threshold first", right[:_SHOWN]),
        ("Typical defects that are found", "about the median score", _middle(right, defective=True)),
        ("Typical good parts that pass", "about the median score", _middle(right, defective=False)),
    ]
    return [
        Gallery(title=title, note=note, total=len(items), items=items[:_SHOWN])
        for title, note, items in choices
        if items
    ]


def _middle(items: Sequence[Judged], *, defective: bool) -> list[Judged]:
    """Return the few whose scores lie about the median of theirs, in rising order."""
    chosen = [item for item in items if item.is_defective == defective]
    chosen.sort(key=lambda item: (item.prediction.raw_score, str(item.prediction.path)))
    start = max(0, (len(chosen) - _SHOWN // 2) // 2)
    return chosen[start : start + _SHOWN // 2]
