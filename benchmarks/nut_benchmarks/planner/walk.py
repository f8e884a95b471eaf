"""The way through all candidates: every bank in fp32 first, then those that are worth it in the other precisions."""

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nut_benchmarks.planner.banks import Bank, Subject, train_banks
from nut_benchmarks.planner.candidates import export_bank, measure_candidate
from nut_benchmarks.planner.choice import Candidate, Row
from nut_benchmarks.planner.config import PlanConfig, counted, size_text
from nut_benchmarks.planner.schedule import Schedule, Step
from nut_dataset.progress import Progress
from nut_runtime.errors import NutError

__all__ = ["Walk"]

_FAILURES = (NutError, RuntimeError, MemoryError)
"""What may befall one candidate without ending the plan: engines and exporters raise a RuntimeError for what they
cannot do with an unusual backbone, and a process that runs out of memory ends in one."""


_CLEARLY = 0.9
"""Share of another's time that is faster by more than what two timings of the same thing differ by."""


class Walk:
    """Trains, exports and times.

    Args:
        config: What is asked for.
        engines: The engines to time in.
        threads: Threads to use.
        work: A folder for trainings and bundles.
        progress: Told of each step within a candidate.
        say: Told of each candidate.
    """

    def __init__(
        self,
        config: PlanConfig,
        engines: Sequence[str],
        threads: int,
        work: Path,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.engines, self.threads = config, engines, threads
        self.work, self.progress, self.say = work, progress, say
        # What the others are judged by comes first.
        self.first = "fp32" if "fp32" in config.precisions else config.precisions[0]
        self.others = tuple(name for name in config.precisions if name != self.first)

    def run(self, subjects: Sequence[Subject]) -> tuple[list[Row], list[Bank]]:
        """Go through all candidates.

        Args:
            subjects: Backbones at their sizes.

        Returns:
            A row for each candidate, and the banks that could be trained.
        """
        config = self.config
        steps = []
        for subject in subjects:
            area = float(subject.size[0] * subject.size[1])
            steps.append(Step(kind="train", weight=area**2))  # the coreset compares all patches with all picks
            steps += [Step(kind=name, weight=area) for name in config.precisions for _ in config.coreset_ratios]
        self.schedule = Schedule(steps)
        banks_there_are = len(subjects) * len(config.coreset_ratios)
        self.say(
            f"{counted(len(subjects), 'training')}, {counted(banks_there_are, 'bank')}, "
            f"{counted(len(config.precisions), 'precision')}, {counted(len(self.engines), 'engine')}: "
            f"{counted(banks_there_are * len(config.precisions) * len(self.engines), 'candidate')}"
        )
        if self.others and self.first == "fp32" and not config.is_complete:
            self.say(f"{' and '.join(self.others)} only of banks that no other one clearly beats in fp32")
        rows: list[Row] = []
        trained: list[tuple[Subject, Bank]] = []
        for subject in subjects:
            for bank in self._train(subject, rows):
                trained.append((subject, bank))
                rows += self._measure(subject, bank, self.first)
        ruled_out = set() if config.is_complete or self.first != "fp32" else _beaten(rows)
        wanted = []
        for precision in self.others:
            for subject, bank in trained:
                if _key(_candidate(subject, bank, precision, "")) in ruled_out:
                    self.schedule.drop(_step(subject, precision))
                    rows += [
                        Row(
                            candidate=_candidate(subject, bank, precision, engine),
                            reason="in fp32 another bank is clearly faster and at least as accurate",
                            is_ruled_out=True,
                        )
                        for engine in self.engines
                    ]
                else:
                    wanted.append((subject, bank, precision))
        for subject, bank, precision in wanted:
            rows += self._measure(subject, bank, precision)
        return rows, [bank for _, bank in trained]

    def _train(self, subject: Subject, rows: list[Row]) -> Iterator[Bank]:
        """Give the banks of a training; what fails is added to the rows."""
        config = self.config
        folder = Path(tempfile.mkdtemp(dir=self.work))
        left = set(config.coreset_ratios)
        step = Step(kind="train", weight=float(subject.size[0] * subject.size[1]) ** 2)
        self.say(f"training {subject.backbone.name} at {size_text(subject.size)} px")
        is_done = False
        try:
            for ratio, bank in train_banks(subject, config, folder, progress=self.progress):
                if not is_done:
                    self.schedule.finish(step)
                    is_done = True
                left.discard(ratio)
                if isinstance(bank, Bank):
                    yield bank
                else:
                    rows += self._refused(subject, ratio, bank)
        except _FAILURES as error:
            if not is_done:
                self.schedule.drop(step)
            for ratio in sorted(left):
                rows += self._refused(subject, ratio, error)

    def _refused(self, subject: Subject, ratio: float, error: Exception) -> list[Row]:
        """Return the rows of a bank that could not be trained."""
        height, width = subject.size
        self.say(f"{subject.backbone.name} at {size_text(subject.size)} px, {100 * ratio:.3g}% bank: {_reason(error)}")
        refused = []
        for precision in self.config.precisions:
            self.schedule.drop(_step(subject, precision))
            refused += [
                Row(
                    candidate=Candidate(
                        backbone=subject.backbone.name,
                        weights=subject.backbone.weights,
                        image_height_px=height,
                        image_width_px=width,
                        coreset_ratio=ratio,
                        bank_rows=0,
                        bank_width=0,
                        precision=precision,
                        engine=engine,
                    ),
                    reason=_reason(error),
                )
                for engine in self.engines
            ]
        return refused

    def _measure(self, subject: Subject, bank: Bank, precision: str) -> list[Row]:
        """Return the rows of a bank at a precision, one an engine."""
        bundle = self.work / "bundle"
        rows = []
        exported: Exception | None = None
        try:
            export_bank(bank, precision, self.config, bundle, progress=self.progress)
        except _FAILURES as error:
            exported = error
        for engine in self.engines:
            candidate = _candidate(subject, bank, precision, engine)
            try:
                if exported is not None:
                    raise exported
                self.progress("timing", 0, 1)
                speed, accuracy = measure_candidate(bank, bundle, precision, engine, self.config, threads=self.threads)
                self.progress("timing", 1, 1)
                rows.append(Row(candidate=candidate, speed=speed, accuracy=accuracy))
            except _FAILURES as error:
                rows.append(Row(candidate=candidate, reason=_reason(error)))
        shutil.rmtree(bundle, ignore_errors=True)
        self.schedule.finish(_step(subject, precision))
        for row in rows:
            self.say(f"[{self.schedule.done}/{self.schedule.total}] {_said(row)} ({self.schedule.describe()})")
        return rows


def _candidate(subject: Subject, bank: Bank, precision: str, engine: str) -> Candidate:
    height, width = subject.size
    return Candidate(
        backbone=subject.backbone.name,
        weights=subject.backbone.weights,
        image_height_px=height,
        image_width_px=width,
        coreset_ratio=bank.coreset_ratio,
        bank_rows=bank.rows,
        bank_width=bank.width,
        precision=precision,
        engine=engine,
    )


def _step(subject: Subject, precision: str) -> Step:
    return Step(kind=precision, weight=float(subject.size[0] * subject.size[1]))


def _beaten(rows: Sequence[Row]) -> set[tuple[object, ...]]:
    """Return the banks of which another one is at least as accurate and clearly faster, in the best of its engines."""
    best: dict[tuple[object, ...], tuple[float, tuple[float, float]]] = {}
    for row in rows:
        if row.speed is not None and row.accuracy_rank is not None:
            key = _key(row.candidate)
            best[key] = min(best.get(key, (math.inf, row.accuracy_rank)), (row.all_ms, row.accuracy_rank))
    return {
        key
        for key, (time, rank) in best.items()
        if any(other_time <= _CLEARLY * time and other_rank >= rank for other_time, other_rank in best.values())
    }


def _key(candidate: Candidate) -> tuple[object, ...]:
    """Return what tells banks apart."""
    return candidate.backbone, candidate.image_height_px, candidate.image_width_px, candidate.bank_rows


def _reason(error: Exception) -> str:
    """Say in a line why something failed."""
    text = " ".join(str(error).split()).partition("; no bundle was written")[0]
    if isinstance(error, NutError):
        return text
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _said(row: Row) -> str:
    if row.speed is None:
        return f"{row.candidate.describe()}: {row.reason}"
    auroc = "" if row.auroc is None else f", image AUROC {row.auroc:.4f}"
    return f"{row.candidate.describe()}: {row.speed.p50_ms:.1f} ms p50, {row.speed.p95_ms:.1f} p95{auroc}"
