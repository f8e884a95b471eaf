"""Growing a run: good parts that it did not know join its memory bank, and what follows is worked out anew.

The bank keeps the rows that it has, to the bit and in their order, and the new ones come behind them. Patches of the
new pictures are added, the one farthest from the bank each time, until

- as large a share of them is in it as of the base's own pictures, and
- none is farther from the bank than the middle one of the base's held-out good parts scored. A part's score is at most
  the largest distance of its patches, so that a picture that was a false alarm then passes as an ordinary part does;
  and if the threshold, put anew, should be lower still, more is added until it passes.

Good parts that the base held out are judged by the grown bank and put the threshold again. What was picked because of
its high score would put it too high and is no sample of fresh parts, so a few new pictures all go into the bank.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import new_folder, write_bytes, write_json
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_runtime.scoring import is_defective, normalise
from nut_train.bank_origin import read_origin, write_origin
from nut_train.calibrate import Calibration, calibrate
from nut_train.compare import Comparison
from nut_train.config import PointConfig
from nut_train.crossfit import GoodScore, score_good
from nut_train.digests import digest
from nut_train.evaluate import Evaluation, evaluate
from nut_train.explain import try_explainer
from nut_train.extend_changes import changes_of, compare_with_base, notes_of, picture_rows
from nut_train.extend_config import ExtendConfig
from nut_train.extend_pictures import BasePictures, NewPictures, find_base, find_new
from nut_train.extension_record import steps_of
from nut_train.grown_bank import GrownBank, NewPatches, extract, grow, most_rows
from nut_train.patchcore import set_operating_point
from nut_train.recalibrate import changed_checkpoint
from nut_train.report import write_report
from nut_train.run import CHECKPOINT, RECORD, RUN_SCHEMA, Run, open_run, package_versions
from nut_train.statistics.pixel_counts import PIXELS
from nut_train.thresholds import Rule, best_f1_threshold
from nut_train.train import dataset_facts
from nut_train.work_folder import temporary_work_folder

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["Extended", "extend"]

_TIGHTER = (1.0, 0.5, 0.25, 0.0)  # shares of the distance that the bank is to cover within, while a picture is rejected
_STALE = ("history", "resumed_pictures", "stability", "evaluated", "trained_on")  # of the base and not of the grown run


@dataclass(frozen=True, slots=True, kw_only=True)
class Extended:
    """A grown run.

    Attributes:
        run: As `open_run` reads it; `extended` in its record says what was done.
        comparison: With its base, on the test pictures that both judged; None where there are none.
    """

    run: Run
    comparison: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Calibrated:
    """A grown bank whose thresholds are put."""

    bank: GrownBank
    calibration: Calibration
    held_out: list[GoodScore]
    new: list[GoodScore]
    is_full: bool


def extend(
    run: Run,
    new: Path,
    out: Path,
    config: ExtendConfig | None = None,
    *,
    base_root: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Extended:
    """Add good pictures to the bank of a finished run, and write the grown run.

    The run itself is only read, and the grown one appears when everything is done.

    Args:
        run: A finished run.
        new: A folder of good pictures, a data set with `train/good`, or one picture.
        out: The run folder to write.
        config: What is asked for; None takes what the run has.
        base_root: Where the run's data set lies now; None takes the place where it was trained.
        overwrite: Replace an older run folder.
        progress: Told of each step.

    Raises:
        InputError: If the run, its pictures or the new ones cannot be used; or the bank has no room.
        OutputError: If `out` exists or cannot be written.
    """
    started = time.monotonic()
    config = config or ExtendConfig()
    point = config.point(run)
    if int(run.record["schema"]) != RUN_SCHEMA:
        raise InputError(f"{run.folder} has schema {run.record['schema']}, expected {RUN_SCHEMA}; train again")
    base_place = base_root or Path(run.record["dataset"]["path"])
    with (
        new_folder(out, marker=RECORD, overwrite=overwrite, inputs=[run.folder, new, base_place]) as folder,
        temporary_work_folder() as work,
    ):
        base = find_base(run, base_root)
        found = find_new(new, base, holdout=config.holdout, share=run.config.holdout, seed=config.seed)
        if point.rule is Rule.F1 and not (base.dataset.test_good and base.dataset.defective):
            raise InputError("--threshold f1 needs test/good and defects in test; choose another rule")
        growing = _Growing(run, config, point, base, found, progress)
        done, before = growing.work(work)
        evaluation = growing.evaluate(done.calibration.false_reject_rate)
        growing.write(folder, done, evaluation)
        record = growing.record(done, before, evaluation, started)
        write_json(folder / RECORD, record)
        comparison, reason = compare_with_base(run, folder)
        record["extended"]["changes"] = changes_of(run, record, comparison, reason)
        write_json(folder / RECORD, record)
        explainer = try_explainer(open_run(folder), dataset=base.dataset.root, device=config.device)
        write_report(folder, record, evaluation, explainer)
    return Extended(run=open_run(out), comparison=comparison)


class _Growing:
    """One growing, from the base's model to the grown record."""

    def __init__(
        self,
        run: Run,
        config: ExtendConfig,
        point: PointConfig,
        base: BasePictures,
        new: NewPictures,
        progress: Progress,
    ) -> None:
        scores = run.good_scores
        if scores is None:
            raise InputError(f"{run.folder} kept no scores of good pictures to calibrate with; train again")
        self.run, self.config, self.point, self.base, self.new, self.progress = run, config, point, base, new, progress
        self.scores = scores
        for done, path in enumerate(new.digests, start=1):
            read_picture(path)
            progress("reading pictures", done, len(new.digests))
        self.model: Patchcore = run.load()
        self.base_bank = self.model.model.memory_bank.detach().cpu().clone()
        self.origin = read_origin(run.folder, self.base_bank)
        self.step = len(steps_of(run.record)) + 1
        self.patches = 0
        steps = steps_of(run.record)
        bank = run.record["bank"]
        known = bank["rows"] / bank["patches"] if "patches" in bank else run.config.coreset_ratio
        self.share = config.coreset_ratio or (steps[-1]["share"] if steps else known)
        self.seen = sorted({*self._trained_on(), *new.digests.values()})

    def work(self, folder: Path) -> tuple[_Calibrated, list[GoodScore]]:
        """Grow the bank and put the thresholds; also return what the base says of the new pictures."""
        new = self.new
        patches = extract(
            self.model,
            new.bank,
            [new.name(path, self.step) for path in new.bank],
            image_size=self.run.config.image_size,
            folder=folder,
            progress=self.progress,
        )
        self.patches = len(patches.features)
        before = self._score([*new.bank, *new.held_out])
        return self._calibrated(patches), before

    def _calibrated(self, patches: NewPatches) -> _Calibrated:
        most = most_rows(
            base=len(self.base_bank),
            width=self.base_bank.shape[1],
            patches=self.patches,
            bank_size=self.config.bank_size,
            bank_mb=self.config.bank_mb,
        )
        radius = float(min(np.median(self.scores.raw_score), np.median(self.scores.map_peak)))
        for share in _TIGHTER:
            bank = grow(
                self.base_bank,
                patches,
                least=min(int(self.share * self.patches), most),
                most=most,
                radius=share * radius,
                device=self.config.device,
                progress=self.progress,
            )
            self.model.model.memory_bank = bank.rows.to(self.model.device)
            held_out = self._score([*self.base_held_out, *self.new.held_out])
            new = self._score(self.new.bank)
            calibration = self._calibrate(held_out)
            is_full = len(bank.rows) - len(self.base_bank) == most
            rejected = is_defective(normalise(np.array([one.raw_score for one in new]), calibration.point.image))
            if not np.any(rejected) or is_full:
                break
        set_operating_point(self.model, calibration.point)
        names = set(self.new.held_out)
        return _Calibrated(
            bank=bank,
            calibration=calibration,
            held_out=held_out,
            new=[*new, *(one for one in held_out if one.path in names)],
            is_full=is_full,
        )

    @property
    def base_held_out(self) -> list[Path]:
        """The base's pictures that still calibrate."""
        return [path for name, path in self.base.held_out.items() if name not in self.new.moved]

    def evaluate(self, false_reject_rate: float | None = None) -> Evaluation | None:
        """Judge the base's test pictures."""
        return evaluate(
            self.model,
            self.base.dataset,
            seen=self.seen,
            false_reject_rate=false_reject_rate,
            device=self.config.device,
            progress=self.progress,
        )

    def write(self, folder: Path, done: _Calibrated, evaluation: Evaluation | None) -> None:
        """Write everything but the record and the report."""
        content = changed_checkpoint(self.run.folder / CHECKPOINT, done.calibration.point, done.bank.rows)
        write_bytes(folder / CHECKPOINT, content)
        write_origin(folder, self.origin.and_then(done.bank.origin), done.bank.rows)
        if evaluation is not None and evaluation.pixels is not None:
            evaluation.pixels.save(folder / PIXELS)

    def record(
        self, done: _Calibrated, before: Sequence[GoodScore], evaluation: Evaluation | None, started: float
    ) -> dict[str, Any]:
        """Return the grown run's record, without what changed."""
        run, new, base = self.run, self.new, self.base
        split, bank = run.record["split"], run.record["bank"]
        joined = {new.name(path, self.step): sha256 for path, sha256 in new.digests.items()}
        sha256_of = {name: sha256 for sha256, name in [*base.in_bank.items(), *base.calibrating.items()]} | joined
        scores = run.record["held_out_scores"] if self._is_crossfit else [self._named(one) for one in done.held_out]
        record: dict[str, Any] = {
            **{key: value for key, value in run.record.items() if key not in _STALE},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": package_versions(),
            "arguments": self.config.arguments(run, self.point).to_json(),
            "dataset": dataset_facts(base.dataset),
            "split": {
                **split,
                "bank": [*split["bank"], *(new.name(path, self.step) for path in new.bank)],
                "held_out": [
                    *(name for name in split["held_out"] if name not in new.moved),
                    *(new.name(path, self.step) for path in new.held_out),
                ],
                "sha256": {name: sha256 for name, sha256 in sha256_of.items() if name not in new.moved},
            },
            "calibration": done.calibration.to_json(),
            "bank": {
                **bank,
                "rows": len(done.bank.rows),
                "width": int(done.bank.rows.shape[1]),
                "patches": bank.get("patches", 0) + self.patches,
            },
            "held_out_scores": scores,
            "train_sha256": self.seen,
            "evaluation": None if evaluation is None else evaluation.to_json(base.dataset.root),
            "seconds": {"total": round(time.monotonic() - started, 1)},
        }
        rows = picture_rows(run, record, new, self.step, before, done.new)
        steps = [{key: value for key, value in step.items() if key != "chain"} for step in steps_of(run.record)]
        return record | {
            "extended": {
                "base": {
                    "run": str(run.folder.resolve()),
                    "created": run.record.get("created"),
                    "checkpoint_sha256": digest(run.folder / CHECKPOINT),
                    "rows": len(self.base_bank),
                },
                "dataset": {"path": str(new.root)},
                "rows_added": len(done.bank.origin),
                "radius": done.bank.radius,
                "share": self.share,
                "pictures": rows,
                "left_out": [{"name": new.name(path, self.step), "why": why} for path, why in new.left_out.items()],
                "moved": list(new.moved),
                "leaked": [path.relative_to(base.dataset.root).as_posix() for path in new.leaked],
                "notes": notes_of(
                    base,
                    new,
                    rows,
                    density=len(done.bank.origin) / (self.share * self.patches),
                    is_crossfit=self._is_crossfit,
                    is_full=done.is_full,
                ),
                "chain": steps,
            }
        }

    @property
    def _is_crossfit(self) -> bool:
        return self.scores.method == "crossfit"

    def _trained_on(self) -> list[str]:
        known = self.run.record.get("train_sha256")
        return list(known) if known is not None else [digest(path) for path in self.base.dataset.train_good]

    def _score(self, paths: Sequence[Path]) -> list[GoodScore]:
        return score_good(self.model, paths, device=self.config.device, progress=self.progress)

    def _named(self, score: GoodScore) -> dict[str, Any]:
        """Return a score with the name that the record has for its picture."""
        names = {path: name for name, path in self.base.held_out.items()}
        name = names.get(score.path) or self.new.name(score.path, self.step)
        return {**score.to_json(), "path": name}

    def _calibrate(self, held_out: Sequence[GoodScore]) -> Calibration:
        """Put the thresholds: by the held-out pictures, or by the cross-fitted scores of before."""
        raw, peaks = list(self.scores.raw_score), list(self.scores.map_peak)
        if not self._is_crossfit:
            raw, peaks = [one.raw_score for one in held_out], [one.map_peak for one in held_out]
        value = self.point.value
        if self.point.rule is Rule.F1:
            judged = () if (found := self.evaluate()) is None else found.judged
            value = best_f1_threshold(
                np.array([one.prediction.raw_score for one in judged]),
                np.array([one.is_defective for one in judged], bool),
            )
        return calibrate(
            np.array(raw),
            np.array(peaks),
            false_reject_rate=self.point.false_reject_rate,
            rule=self.point.rule,
            value=value,
            review_rate=self.point.review_rate,
            method=self.scores.method,
            folds=self.scores.folds,
            is_whitened=self.run.config.whiten,
        )
