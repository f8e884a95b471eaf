"""A small plan that was really made, and plans put together from figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_benchmarks.planner.choice import Accuracy, Candidate, Row, Speed
from nut_benchmarks.planner.config import PlanConfig
from nut_benchmarks.planner.plan import Plan
from nut_runtime.machine import this_machine
from nut_train.config import TrainConfig
from nut_train.run import Run
from nut_train.train import train

MakeRow = Callable[..., Row]
MakePlan = Callable[..., Plan]


def _row(ms: float, auroc: float | None, **values: Any) -> Row:
    """Return a measured candidate: its time for one part, its image AUROC, and what else matters."""
    candidate = Candidate(
        backbone=values.get("backbone", "lite0"),
        weights=values.get("weights"),
        image_height_px=values.get("side", 256),
        image_width_px=values.get("side", 256),
        coreset_ratio=values.get("ratio", 0.01),
        bank_rows=values.get("bank_rows", 624),
        bank_width=152,
        precision=values.get("precision", "fp32"),
        engine=values.get("engine", "openvino"),
    )
    speed = Speed(
        p50_ms=0.9 * ms,
        p95_ms=ms,
        streams=values.get("streams", 1),
        all_ms=values.get("all_ms", ms),
        ways={1: values.get("all_ms", ms)},
        rejudged=values.get("rejudged"),
        twice_ms=values.get("twice_ms"),
        load_s=0.3,
        peak_mb=150.0,
    )
    accuracy = Accuracy(
        good=values.get("good", 25),
        defective=values.get("defective", 6),
        image_auroc=auroc,
        pixel_auroc=values.get("pixel_auroc"),
        recall=values.get("recall"),
        good_rejected=values.get("good_rejected", 0.04),
    )
    return Row(candidate=candidate, speed=speed, accuracy=accuracy)


def _plan(rows: list[Row], *, target_ms: float = 30.0, cameras: int = 1, **values: Any) -> Plan:
    """Return a plan that found these rows."""
    settled: dict[str, Any] = {
        "created": "2026-11-24T11:00:00+00:00",
        "machine": this_machine(),
        "threads": 2,
        "config": PlanConfig(target_ms=target_ms, cameras=cameras),
        "dataset": Path("parts"),
        "dataset_fingerprint": "0" * 64,
        "good_pictures": 60,
        "pictures": 60,
        "held_out": 15,
        "is_supported": True,
        "frame_size": (480, 640),
        "leaked": 0,
        "load": 0.1,
        "rows": tuple(rows),
        "versions": {"openvino": "2026.4"},
        "commit": "abc1234",
        "command": "nut plan parts",
    }
    return Plan(**{**settled, **values})


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """Make a measured candidate of its figures."""
    return _row


@pytest.fixture(scope="session")
def make_plan() -> MakePlan:
    """Make a plan of its rows."""
    return _plan


@pytest.fixture(scope="session")
def trained(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `nut train` makes of the drawn nuts at 64 px with a bank of 5%."""
    config = TrainConfig(image_height_px=64, image_width_px=64, coreset_ratio=0.05, device="cpu")
    return train(nuts, tmp_path_factory.mktemp("trained") / "run", config)


@pytest.fixture(scope="session")
def made(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A plan of drawn nuts for two cameras, made by the command: its folder and what the command printed.

    12 good pictures leave 7 for the bank, one too few for int8.
    """
    out = tmp_path_factory.mktemp("plan") / "plan"
    arguments = ["plan", str(nuts), "-o", str(out), "--target-ms", "1000", "--cameras", "2", "--image-size", "64"]
    arguments += ["--coreset-ratio", "0.05", "--precision", "fp32", "--precision", "int8", "--engine", "onnxruntime"]
    arguments += ["--backbone", "tf_efficientnet_lite0"]  # others may be installed
    arguments += ["--threads", "2", "--warm-up", "1", "--repeats", "3", "--device", "cpu"]
    return out, CliRunner().invoke(main, arguments, catch_exceptions=False)
