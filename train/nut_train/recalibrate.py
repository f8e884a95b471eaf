"""Another operating point for a trained run, from the scores it kept: nothing is trained again.

What follows from the thresholds follows: the calibration and its promise, the verdicts and figures over the judged test
pictures, and the thresholds inside the checkpoint. Every earlier calibration stays in the record's `history`.
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nut_dataset.layout import GOOD, list_dataset
from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import write_bytes, write_json, write_text
from nut_runtime.errors import InputError, OutputError
from nut_runtime.scoring import OperatingPoint, is_defective, normalise
from nut_train.calibrate import Calibration, calibrate
from nut_train.config import PointConfig
from nut_train.run import CHECKPOINT, RECORD, Run, open_run
from nut_train.statistics.pixel_counts import PIXELS, PixelCounts
from nut_train.thresholds import Rule, best_f1_threshold

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["changed_checkpoint", "recalibrate", "redraw_report"]

_NOTE_BEGIN, _NOTE_END = "<!-- nut calibrate -->", "<!-- /nut calibrate -->"


def recalibrate(run: Run, config: PointConfig, *, reason: str = "") -> Run:
    """Put a run's thresholds anew and write what follows from them into its folder.

    Each file is replaced at once, the record after the checkpoint: stopped between the two, the run is as it was, since
    `Run.load` takes the thresholds from the record.

    Args:
        run: A finished run.
        config: Where the thresholds go.
        reason: Why, for the history.

    Returns:
        The run as `open_run` reads it now.

    Raises:
        InputError: If the run kept no scores, or not what the rule needs.
        OutputError: If a file cannot be written.
    """
    scores = run.good_scores
    if scores is None:
        raise InputError(f"{run.folder} kept no scores of good pictures to calibrate with; train again")
    pictures = (run.record.get("evaluation") or {}).get("pictures") or []
    value = _best_f1(run, pictures) if config.rule is Rule.F1 else config.value
    calibration = calibrate(
        np.array(scores.raw_score),
        np.array(scores.map_peak),
        false_reject_rate=config.false_reject_rate,
        rule=config.rule,
        value=value,
        review_rate=config.review_rate,
        method=scores.method,
        folds=scores.folds,
        is_whitened=run.config.whiten,
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    older = {"until": now, "reason": reason, "calibration": run.record["calibration"]}
    record = {
        **run.record,
        "calibration": {**calibration.to_json(), "calibrated": now},
        "history": [*run.record.get("history", ()), older],
    }
    if pictures:
        record["evaluation"] = _judged_anew(run, calibration)
    content = changed_checkpoint(run.folder / CHECKPOINT, calibration.point)
    write_bytes(run.folder / CHECKPOINT, content)
    write_json(run.folder / RECORD, record)
    _note_in_report(run.folder / "report.html", calibration.point, now)
    return open_run(run.folder)


def redraw_report(run: Run, *, device: str = "auto", progress: Progress = no_progress) -> Run:
    """Judge the test pictures again and write the run's report anew, with all its figures at the present thresholds.

    Args:
        run: A finished run whose data set is still where it was.
        device: `auto`, `cpu` or `cuda`.
        progress: Told of each picture.

    Returns:
        The run as `open_run` reads it now.

    Raises:
        InputError: If the data set is gone.
        OutputError: If a file cannot be written.
    """
    from nut_train.evaluate import evaluate
    from nut_train.explain import try_explainer
    from nut_train.report import write_report

    root = Path(run.record["dataset"]["path"] or "")
    if not run.record["dataset"]["path"] or not root.is_dir():
        raise InputError(
            f"the data set {root} is not there any more, so the report cannot be drawn; leave out --report"
        )
    evaluation = evaluate(
        run.load(),
        list_dataset(root),
        seen=run.record.get("train_sha256", ()),
        false_reject_rate=run.record["calibration"]["false_reject_rate"],
        device=device,
        progress=progress,
    )
    record = {**run.record, "evaluation": None if evaluation is None else evaluation.to_json(root)}
    _remove(run.folder / PIXELS)  # first, so that no record stands beside the pixels of another's pictures
    write_json(run.folder / RECORD, record)
    if evaluation is not None and evaluation.pixels is not None:
        evaluation.pixels.save(run.folder / PIXELS)
    write_report(run.folder, record, evaluation, try_explainer(run, device=device))
    return open_run(run.folder)


def _best_f1(run: Run, pictures: list[Mapping[str, Any]]) -> float:
    """Return the threshold that the judged test pictures would choose for themselves.

    Raises:
        InputError: If there are none, or not of both classes.
    """
    if not pictures:
        raise InputError(f"{run.folder} has no judged test pictures, which the rule f1 needs; choose another rule")
    return best_f1_threshold(
        np.array([float(one["raw_score"]) for one in pictures]),
        np.array([one["kind"] != GOOD for one in pictures], bool),
    )


def _judged_anew(run: Run, calibration: Calibration) -> dict[str, Any]:
    """Return a run's evaluation with the verdicts, the figures over them and how sure these are, at other thresholds.

    What does not hang on a threshold stays: AUROC, average precision, the maps' figures.
    """
    from nut_train.metrics import image_metrics
    from nut_train.statistics.confidence import confidence
    from nut_train.statistics.scored import Scored

    evaluation = run.record["evaluation"]
    pictures = evaluation["pictures"]
    raw = np.array([one["raw_score"] for one in pictures], np.float32)
    scores = normalise(raw, calibration.point.image)
    rejected = is_defective(scores)
    scored = Scored(
        kinds=tuple(str(one["kind"]) for one in pictures),
        scores=raw.astype(np.float64),
        rejected=rejected,
        pixels=_kept_pixels(run),
        false_reject_rate=calibration.false_reject_rate,
    )
    figures = image_metrics(scored.scores, scored.defective, rejected)
    return {
        **evaluation,
        "image": {**evaluation["image"], **figures.to_json()},
        "confidence": confidence(scored).to_json(),
        "pictures": [
            {**one, "pred_score": float(score), "pred_label": bool(label)}
            for one, score, label in zip(pictures, scores, rejected, strict=True)
        ],
    }


def _kept_pixels(run: Run) -> PixelCounts | None:
    """Return the kept maps of a run's judged test pictures; None where they are not there, or of other pictures.

    Earlier versions left those of before when they judged changed test pictures.
    """
    if not (run.folder / PIXELS).is_file():
        return None
    pixels = PixelCounts.load(run.folder / PIXELS)
    evaluation = run.record["evaluation"]
    kinds = dict(enumerate(str(one["kind"]) for one in evaluation["pictures"]))
    good = {place for place, kind in kinds.items() if kind == GOOD}  # each of which has a map
    marked = pixels.marked.any(axis=1)
    places = {int(place) for place in pixels.places}
    is_theirs = (
        places <= set(kinds)
        and {int(place) for place in pixels.places[~marked]} >= good
        and int(marked.sum()) == (evaluation["pixel"] or {}).get("masks")
    )
    return pixels if is_theirs else None


def _remove(path: Path) -> None:
    """Remove a file that may be there.

    Raises:
        OutputError: If it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error


def changed_checkpoint(path: Path, point: OperatingPoint, bank: "Tensor | None" = None) -> bytes:
    """Return a checkpoint's content with other thresholds, for whoever loads it with anomalib alone.

    Args:
        path: The checkpoint, which stays as it is.
        point: Its thresholds and ranges.
        bank: Another memory bank, float32 `[M, D]`; None leaves the one that is there.

    Raises:
        InputError: If it cannot be read safely.
    """
    import torch

    if not path.is_file():
        raise InputError(f"{path} is missing; train again")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content["state_dict"]
        for name, value in (
            ("_image_threshold", point.image.threshold),
            ("image_min", point.image.minimum),
            ("image_max", point.image.maximum),
            ("_pixel_threshold", point.pixel.threshold),
            ("pixel_min", point.pixel.minimum),
            ("pixel_max", point.pixel.maximum),
        ):
            state[f"post_processor.{name}"].fill_(value)
        if bank is not None:
            state["model.memory_bank"] = bank.detach().cpu().contiguous()
    except Exception as error:  # torch raises what it likes, and its own message would advise to unpickle
        raise InputError(f"{path} is not a PatchCore checkpoint that can be read safely; train again") from error
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _note_in_report(path: Path, point: OperatingPoint, now: str) -> None:
    """Say at the top of an older report that its thresholds are not the run's any more."""
    if not path.is_file():
        return
    page = path.read_text(encoding="utf-8")
    begin, end = page.find(_NOTE_BEGIN), page.find(_NOTE_END)
    if 0 <= begin < end:
        page = page[:begin] + page[end + len(_NOTE_END) :]
    note = (
        f'{_NOTE_BEGIN}<p class="warn">The thresholds were moved at {now}, to raw {point.image.threshold:.4g} for a '
        "part. The verdicts and figures below are from before; run.json has those of now, and nut calibrate "
        f"RUN --report draws this page anew and moves nothing.</p>{_NOTE_END}"
    )
    write_text(path, page.replace("<body>", f"<body>{note}", 1))
