"""Experiment trackers: what is logged, where, and that none of it can spoil a run."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from nut_runtime.errors import InputError
from nut_train.cli import train
from nut_train.run import open_run
from nut_train.tracking import LOGGERS, choose_logger, log_run


@pytest.fixture
def run(run_folder, tmp_path, monkeypatch):
    """A copy of the run, and a working directory of its own to see what falls into it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return open_run(Path(shutil.copytree(run_folder, tmp_path / "run")))


def test_the_command_offers_the_loggers_there_are():
    (option,) = [parameter for parameter in train.params if parameter.name == "logger"]
    assert tuple(option.type.choices) == LOGGERS


def test_auto_is_tensorboard_where_it_is_installed():
    assert choose_logger("auto") == ("tensorboard" if find_spec("tensorboard") else "none")
    assert choose_logger("none") == "none"


def test_an_unknown_logger_is_refused():
    with pytest.raises(InputError, match="logger 'wandb', expected one of auto, none"):
        choose_logger("wandb")


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="mlflow is installed")
def test_a_logger_that_is_not_installed_names_what_to_install():
    with pytest.raises(InputError, match=r"mlflow is not installed; run: pip install 'nut-toolchain\[mlflow\]'"):
        choose_logger("mlflow")


def test_none_logs_nothing(run):
    before = sorted(run.folder.rglob("*"))
    assert log_run(run, "none") is None
    assert sorted(run.folder.rglob("*")) == before


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_arguments_figures_and_charts_inside_the_run_folder(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = log_run(run, "tensorboard")
    assert place == str(run.folder.resolve() / "tensorboard")
    events = EventAccumulator(place).Reload()
    stated = run.record["evaluation"]["image"]["auroc"]
    # TensorBoard keeps float32
    assert events.Scalars("image/auroc")[0].value == pytest.approx(stated, rel=1e-6)
    assert {"image/recall/low", "pixel/pro", "calibration/threshold", "bank/rows"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"scores", "kinds", "roc", "precision-recall"}
    assert "coreset_ratio: 0.1" in (run.folder / "tensorboard/hparams.yaml").read_text()
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of how MLflow uses SQLAlchemy, pydantic and its own older names
@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_gets_them_inside_the_run_folder(run, tmp_path):
    from mlflow import MlflowClient

    uri = log_run(run, "mlflow")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("nut-toolchain")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.data.params["coreset_ratio"] == "0.1"
    assert logged.data.metrics["image/auroc"] == run.record["evaluation"]["image"]["auroc"]
    assert {path.name for path in (run.folder / "mlflow").rglob("*.png")} == {
        f"{name}.png" for name in ("scores", "kinds", "roc", "precision-recall")
    }
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_a_tracker_that_cannot_write_says_that_the_run_is_complete(run):
    (run.folder / "tensorboard").write_text("in the way")
    with pytest.raises(InputError, match="is complete, but tensorboard did not take it"):
        log_run(run, "tensorboard")
