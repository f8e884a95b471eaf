"""A finished run in the experiment tracker of the user's choice, by anomalib's own Lightning loggers.

Logged once, when the run folder is whole: PatchCore has no loss to follow, and a tracker that fails costs no training.
"""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.run import Run

__all__ = ["LOGGERS", "choose_logger", "log_run"]

LOGGERS = ("auto", "none", "tensorboard", "mlflow")
_TRACKING_URI = "MLFLOW_TRACKING_URI"


def choose_logger(name: str) -> str:
    """Return the logger to use: `none`, `tensorboard` or `mlflow`.

    Args:
        name: One of `LOGGERS`; `auto` is TensorBoard where it is installed, else none.

    Raises:
        InputError: If the logger is unknown or not installed.
    """
    if name not in LOGGERS:
        raise InputError(f"logger {name!r}, expected one of {', '.join(LOGGERS)}")
    if name == "auto":
        return "tensorboard" if find_spec("tensorboard") else "none"
    if name != "none" and not find_spec(name):
        raise InputError(f"{name} is not installed; run: pip install 'nut-toolchain[{name}]', or give --logger none")
    return name


def log_run(run: Run, name: str) -> str | None:
    """Log arguments, figures and charts of a finished run.

    TensorBoard's events go to `RUN/tensorboard`. MLflow's go to `RUN/mlflow.db` and `RUN/mlflow`, or to the server that
    the environment names (`MLFLOW_TRACKING_URI`); nothing else is written outside the run folder.

    Args:
        run: A run as `train` returns it.
        name: From `choose_logger`.

    Returns:
        Where it was logged; None for `none`.

    Raises:
        InputError: If the tracker cannot be reached or written; the run itself is complete.
    """
    if name == "none":
        return None
    folder = run.folder.resolve()
    values = _figures(run.record)
    try:
        logger, place = _open(name, folder)
        logger.log_hyperparams(_arguments(run.record))
        logger.log_metrics(values, step=0)
        for path in sorted((folder / "figures").glob("*.png")):
            rgb = read_picture(path)[:, :, ::-1].copy()
            # TensorBoard wants a step, MLflow a file name and no step.
            if name == "tensorboard":
                logger.add_image(rgb, name=path.stem, global_step=0)
            else:
                logger.add_image(rgb, name=path.name)
        logger.finalize("success")
    except Exception as error:
        # whatever a tracker raises: the training is done and must not look as if it had failed
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the run {run.folder} is complete, but {name} did not take it: {reason}") from error
    return place


def _open(name: str, folder: Path) -> tuple[Any, str]:
    """Return a logger, and where it writes."""
    if name == "tensorboard":
        from anomalib.loggers import AnomalibTensorBoardLogger

        logger = AnomalibTensorBoardLogger(
            save_dir=str(folder), name="", version="tensorboard", default_hp_metric=False
        )
        return logger, str(folder / "tensorboard")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would call home, unless somebody wants it to
    from anomalib.loggers import AnomalibMLFlowLogger

    server = os.environ.get(_TRACKING_URI)
    uri = server or f"sqlite:///{folder / 'mlflow.db'}"
    place = None if server else (folder / "mlflow").as_uri()
    logger = AnomalibMLFlowLogger(
        experiment_name="nut-toolchain", run_name=folder.name, tracking_uri=uri, artifact_location=place
    )
    return logger, uri


def _arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what reproduces the run, flat; lists as text, since a tracker has no lists."""
    arguments = {name: str(value) if isinstance(value, list) else value for name, value in record["arguments"].items()}
    facts = {"dataset": record["dataset"]["path"], "fingerprint": record["dataset"]["fingerprint"]}
    return arguments | facts | {"weights": record["backbone"]["weights"]}


def _figures(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures that are known, flat: `image/auroc`, `image/auroc/low` and so on."""
    evaluation = record["evaluation"] or {}
    found = {
        f"{part}/{name}": value for part in ("image", "pixel") for name, value in (evaluation.get(part) or {}).items()
    }
    for name, ends in evaluation.get("confidence", {}).get("intervals", {}).items():
        place = name.replace(".", "/") if "." in name else f"image/{name}"
        found |= {f"{place}/low": ends["low"], f"{place}/high": ends["high"]}
    found |= {
        "calibration/threshold": record["calibration"]["point"]["image"]["threshold"],
        "bank/rows": record["bank"]["rows"],
        **{f"seconds/{name}": value for name, value in record.get("seconds", {}).items()},
    }
    return {name: float(value) for name, value in found.items() if value is not None}
