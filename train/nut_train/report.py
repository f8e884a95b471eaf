"""`report.html`: one self-contained file for people, with its figures as PNG beside it."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nut_runtime.atomic import write_bytes, write_text
from nut_train.evaluate import Evaluation, Judged
from nut_train.figures import gallery_picture, roc, score_histogram

__all__ = ["write_report"]

_GALLERY = 6


def write_report(folder: Path, record: Mapping[str, Any], evaluation: Evaluation | None) -> Path:
    """Write `report.html` and `figures/*.png` into `folder`.

    Args:
        folder: An existing folder.
        record: The content of `run.json`, or the same keys for an evaluation on other data.
        evaluation: The judged test pictures; None writes a report of training and calibration alone.

    Returns:
        The path of the report.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    threshold = float(record["calibration"]["point"]["image"]["threshold"])
    judged = () if evaluation is None else evaluation.judged
    held_out = [float(item["raw_score"]) for item in record.get("held_out_scores", [])]
    charts = {"scores": score_histogram(judged, held_out, threshold), "roc": roc(judged, threshold)}
    drawn: dict[str, bytes] = {name: data for name, data in charts.items() if data is not None}
    galleries = []
    for title, items in _galleries(judged):
        pictures = []
        for place, item in enumerate(items):
            name = f"{title.split(',')[0].replace(' ', '-')}-{place + 1}"
            drawn[name] = gallery_picture(item)
            pictures.append({"figure": name, "item": item})
        galleries.append({"title": title, "pictures": pictures})
    for name, data in drawn.items():
        write_bytes(figures / f"{name}.png", data)
    environment = Environment(loader=PackageLoader("nut_train", "templates"), autoescape=select_autoescape())
    page = environment.get_template("report.html").render(
        record=record,
        evaluation=evaluation,
        galleries=galleries,
        inline={name: "data:image/png;base64," + base64.b64encode(data).decode() for name, data in drawn.items()},
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _galleries(judged: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    """Choose the pictures worth a look: mistakes first, then the extremes of what went right."""
    rising = sorted(judged, key=lambda item: item.prediction.raw_score)
    falling = rising[::-1]
    choices = [
        (
            "missed defects, least suspicious first",
            [i for i in rising if i.is_defective and not i.prediction.pred_label],
        ),
        (
            "false alarms, most suspicious first",
            [i for i in falling if not i.is_defective and i.prediction.pred_label],
        ),
        (
            "best defects, most suspicious first",
            [i for i in falling if i.is_defective and i.prediction.pred_label],
        ),
        (
            "hardest defects, that were still found",
            [i for i in rising if i.is_defective and i.prediction.pred_label],
        ),
        (
            "accepted good parts, closest to the threshold first",
            [i for i in falling if not i.is_defective and not i.prediction.pred_label],
        ),
    ]
    return [(title, items[:_GALLERY]) for title, items in choices if items]
