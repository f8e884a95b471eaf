"""`nut evaluate --seeds`: how far the figures move by chance."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_runtime.errors import InputError
from nut_train.config import TrainConfig
from nut_train.run import open_run
from nut_train.train import evaluate_run, train

SMALL = TrainConfig(image_height_px=64, image_width_px=64, coreset_ratio=0.05, device="cpu")


@pytest.fixture(scope="module")
def trained(nuts, tmp_path_factory) -> Path:
    """A run that takes little time to train again."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(nuts, folder, SMALL)
    return folder


def test_each_seed_is_what_training_with_it_gives(trained, nuts, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(
        main, ["evaluate", str(trained), "--seeds", "2", "--device", "cpu", "-o", str(out)], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "seeds   2: AUROC within" in result.stdout
    stability = json.loads((out / "evaluation.json").read_text())["stability"]
    first, second = stability["seeds"]
    other = train(nuts, tmp_path / "other", TrainConfig(**{**_fields(SMALL), "seed": 1})).record
    assert (first["seed"], first["changed"], second["seed"]) == (0, 0, 1)
    assert first["threshold"] == open_run(trained).point.image.threshold
    assert second["threshold"] == other["calibration"]["point"]["image"]["threshold"]
    assert second["auroc"] == other["evaluation"]["image"]["auroc"]
    assert stability["spread"]["threshold"] == abs(first["threshold"] - second["threshold"])
    assert len(stability["unstable"]) == second["changed"]
    assert "Stability over seeds" in (out / "report.html").read_text()


def _fields(config: TrainConfig) -> dict:
    return {**config.to_json(), "layers": config.layers}


def test_other_seeds_need_the_pictures_that_the_run_was_trained_on(trained, nuts, tmp_path):
    data = Path(shutil.copytree(nuts, tmp_path / "data"))
    run = open_run(trained)
    run.record["dataset"]["path"] = str(data)
    next((data / "train/good").iterdir()).unlink()
    with pytest.raises(InputError, match="has changed since the run was trained"):
        evaluate_run(run, data, tmp_path / "out", seeds=2, device="cpu")
    shutil.rmtree(data / "train")
    with pytest.raises(InputError, match="other seeds need the pictures that the run was trained on"):
        evaluate_run(run, data, tmp_path / "out", seeds=2, device="cpu")
    assert not (tmp_path / "out").exists()
