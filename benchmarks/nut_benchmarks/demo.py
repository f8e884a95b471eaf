"""The whole way in one command: pictures, check, training, export, verdicts, bench."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nut_benchmarks.bench import Bench, run_bench
from nut_dataset.check import CheckReport, check
from nut_dataset.layout import open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_dataset.synth import synthesise
from nut_export.export import Exported, export_bundle
from nut_runtime.errors import InputError, NutError, OutputError
from nut_train.config import TrainConfig
from nut_train.run import Run
from nut_train.train import train

__all__ = ["Demo", "DemoConfig", "run_demo"]

_FAILURES_ONLY = 1  # exit code of a run in which single pictures could not be judged


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """What the demo draws when it is given no pictures.

    Attributes:
        train: Good pictures to train on.
        good: Good pictures to test with.
        defects: Defective pictures, six kinds in turn.
        seed: Fixes the pictures and the training.
    """

    train: int = 60
    good: int = 20
    defects: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo made.

    Attributes:
        report: What the check said.
        run: The training run.
        exported: The bundle and its proof.
        overlays: Folder of the pictures with heat maps.
        verdicts: File of the verdict records.
        bench: The bench.
    """

    report: CheckReport
    run: Run
    exported: Exported
    overlays: Path
    verdicts: Path
    bench: Bench


def run_demo(
    out: Path,
    *,
    data: Path | None = None,
    config: DemoConfig | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda _: None,
) -> Demo:
    """Go from pictures to verdicts and proof.

    Args:
        out: Folder for everything the demo makes; each part appears as it is done.
        data: A data set of one's own; None draws one.
        config: What to draw; None takes the defaults.
        overwrite: Use a folder that holds an older demo.
        progress: Told of each step.
        say: Told which stage begins.

    Raises:
        NutError: As the stages do.
    """
    config = config or DemoConfig()
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise OutputError(f"{out} exists already; choose another output or give --force to use it")
    if data is None:
        data = out / "nuts"
        say("drawing weld nuts")
        synthesise(
            data,
            train=config.train,
            good=config.good,
            defects=config.defects,
            seed=config.seed,
            overwrite=overwrite,
            progress=lambda done, total: progress("drawing weld nuts", done, total),
        )
    say(f"checking {data}")
    report = check(data, progress=lambda done, total: progress("reading pictures", done, total))
    if not report.is_usable:
        raise InputError(f"{data} cannot be trained on: {report.conclusion}; see nut dataset check {data}")
    say("training with anomalib, calibrating, evaluating")
    run = train(data, out / "run", TrainConfig(seed=config.seed), overwrite=overwrite, progress=progress)
    say("exporting, and proving that no verdict changed")
    exported = export_bundle(run, out / "bundle", overwrite=overwrite, progress=progress)
    say("judging the test pictures with nut-runtime")
    dataset = open_dataset(data)
    judged = data / "test" if dataset.test_good or dataset.defects else data / "train" / "good"
    verdicts, overlays = out / "verdicts.jsonl", out / "overlays"
    _judge(out / "bundle", judged, verdicts, overlays)
    say("measuring all engines")
    bench = run_bench(
        out / "bundle", data, out / "bench", run_folder=out / "run", overwrite=overwrite, progress=progress
    )
    return Demo(report=report, run=run, exported=exported, overlays=overlays, verdicts=verdicts, bench=bench)


def _judge(bundle: Path, pictures: Path, verdicts: Path, overlays: Path) -> None:
    """Run the edge command, as a plant would, in a process that never sees torch."""
    verdicts.unlink(missing_ok=True)
    shutil.rmtree(overlays, ignore_errors=True)
    arguments = ["--model", bundle, pictures, "--output", verdicts, "--save-dir", overlays, "--save", "all"]
    done = subprocess.run([sys.executable, "-m", "nut_runtime", *map(str, arguments)], check=False)
    if done.returncode not in {0, _FAILURES_ONLY}:
        raise NutError(f"nut-runtime ended with code {done.returncode}; see its message above")
