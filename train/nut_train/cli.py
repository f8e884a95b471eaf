"""`nut train` and `nut evaluate`."""

from pathlib import Path
from typing import Any

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError
from nut_train.calibrate_cli import print_calibration, threshold_options
from nut_train.config import CALIBRATIONS, DEFAULT_BACKBONE, DEVICES, TrainConfig, parse_image_size

__all__ = ["evaluate", "train"]

_DEFAULTS = TrainConfig()


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "out", required=True, metavar="RUN", type=click.Path(path_type=Path), help="Run folder to write."
)
@click.option("--backbone", default=DEFAULT_BACKBONE, show_default=True, help="Any timm model with feature maps.")
@click.option("--layers", default="", metavar="A,B", help="Its feature blocks; those of strides 8 and 16 by default.")
@click.option(
    "--backbone-weights", metavar="FILE", help="A .safetensors or .pth file; else installed package, cache, hub."
)
@click.option("--image-size", default="256", show_default=True, metavar="PX|HxW", help="What pictures are brought to.")
@click.option(
    "--coreset-ratio",
    type=float,
    help=f"Share of patches kept in the bank.  [default: {_DEFAULTS.coreset_ratio}]",
)
@click.option("--bank-size", type=int, metavar="ROWS", help="Patches kept in the bank at most, instead of a share.")
@click.option("--bank-mb", type=float, metavar="MB", help="Size of the bank at most (10^6 bytes), instead of a share.")
@click.option(
    "--neighbours",
    type=int,
    default=_DEFAULTS.neighbours,
    show_default=True,
    help="Bank vectors that weigh the image score.",
)
@click.option(
    "--whiten/--no-whiten",
    default=_DEFAULTS.whiten,
    show_default=True,
    help="Compare patches in units of how good ones vary (Mahalanobis).",
)
@threshold_options()
@click.option(
    "--calibration",
    type=click.Choice(CALIBRATIONS),
    default=_DEFAULTS.calibration,
    show_default=True,
    help="Hold pictures out, or judge each by a model without it and put all into the bank.",
)
@click.option(
    "--holdout",
    type=float,
    default=_DEFAULTS.holdout,
    show_default=True,
    help="Share of train/good kept for calibration.",
)
@click.option(
    "--folds", type=int, default=_DEFAULTS.folds, show_default=True, help="Models that --calibration crossfit trains."
)
@click.option(
    "--batch-size",
    type=int,
    default=_DEFAULTS.batch_size,
    show_default=True,
    help="Pictures a step; changes speed only.",
)
@click.option("--workers", type=int, default=_DEFAULTS.workers, show_default=True, help="Processes that read pictures.")
@click.option(
    "--seed", type=int, default=_DEFAULTS.seed, show_default=True, help="Fixes the split and the coreset's start."
)
@click.option(
    "--device", type=click.Choice(DEVICES), default=_DEFAULTS.device, show_default=True, help="Where to compute."
)
@click.option(
    "--logger",
    type=click.Choice(["auto", "none", "tensorboard", "mlflow"]),  # nut_train.tracking.LOGGERS, whose import is slow
    default="auto",
    show_default=True,
    help="Experiment tracker to log the run to; auto is TensorBoard where it is installed.",
)
@click.option(
    "--extend",
    "base",
    metavar="BASE",
    type=click.Path(path_type=Path),
    help="Add DATASET, here a folder of good pictures, to the bank of this finished run instead of starting over.",
)
@click.option(
    "--base-dataset",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the data set of BASE lies now, if moved; with --extend.",
)
@click.option("--force", is_flag=True, help="Replace RUN if it exists.")
def train(
    dataset: Path,
    out: Path,
    layers: str,
    image_size: str,
    coreset_ratio: float | None,
    logger: str,
    base: Path | None,
    base_dataset: Path | None,
    force: bool,
    **options: Any,
) -> None:
    """Train PatchCore on the good pictures of DATASET, calibrate and evaluate it.

    A training that was stopped goes on from the features in RUN.unfinished when the same command is given again.

    With --extend the good pictures in DATASET, such as false alarms that were confirmed good, join the memory bank of
    the finished run BASE. What is not given is as in BASE; sizes of the bank count all of it.

    \b
    nut train nuts -o run
    nut train nuts -o run --backbone resnet18 --backbone-weights resnet18.safetensors
    nut train nuts -o run --image-size 192x320 --coreset-ratio 0.1 --false-reject-rate 0.005
    nut train nuts -o run --bank-mb 20
    nut train nuts -o run --calibration crossfit --folds 5 --review-rate 0.05
    nut train confirmed-good --extend run -o run-2
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    if base is not None:
        from nut_train.extend_cli import run_extension

        run_extension(dataset, base, out, base_dataset=base_dataset, logger=logger, force=force)
        return
    if base_dataset is not None:
        raise InputError("--base-dataset belongs to --extend; leave it out, or say which run to extend")
    height, width = parse_image_size(image_size)
    if coreset_ratio is not None and (options["bank_size"] is not None or options["bank_mb"] is not None):
        raise InputError("a coreset ratio and a size of the bank were given; give one of them")
    options["review_rate"] = options["review_rate"] or None  # off, of which only a run that is there has a use
    config = TrainConfig(
        layers=tuple(layer.strip() for layer in layers.split(",") if layer.strip()),
        image_height_px=height,
        image_width_px=width,
        coreset_ratio=_DEFAULTS.coreset_ratio if coreset_ratio is None else coreset_ratio,
        **options,
    )
    from nut_train.tracking import choose_logger, log_run
    from nut_train.train import train as train_run
    from nut_train.work_folder import WORK, unfinished

    chosen = choose_logger(logger)
    try:
        with progress_bars() as progress:
            run = train_run(dataset, out, config, overwrite=force, progress=progress)
    except KeyboardInterrupt:
        if (unfinished(out) / WORK).exists():
            click.echo(f"features are kept in {unfinished(out)}; the same command goes on from there", err=True)
        raise
    print_training(run.record)
    if place := log_run(run, chosen):
        click.echo(f"logged  {place}")
    click.echo(f"run     {out}\nreport  {out / 'report.html'}\nnext    nut export {out} -o bundle")


@click.command(cls=NutCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    "out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where to write; RUN-on-DATASET by default.",
)
@click.option(
    "--leakage/--no-leakage",
    default=False,
    show_default=True,
    help="Measure test pictures that repeat training pictures to the byte, too.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Train again with other seeds, and say how far the figures move; takes a training each.",
)
@click.option(
    "--device", type=click.Choice(DEVICES), default=_DEFAULTS.device, show_default=True, help="Where to compute."
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
def evaluate(
    run: Path, dataset: Path | None, out: Path | None, leakage: bool, seeds: int, device: str, force: bool
) -> None:
    """Evaluate a trained RUN on the test pictures of DATASET, by default the one it was trained on.

    \b
    nut evaluate run other-nuts
    nut evaluate run other-nuts -o evaluation --force
    nut evaluate run --seeds 3
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_train.run import open_run
    from nut_train.train import evaluate_run

    trained = open_run(run)
    dataset = dataset or Path(trained.record["dataset"]["path"])
    out = out or run.resolve().with_name(f"{run.resolve().name}-on-{dataset.resolve().name}")
    with progress_bars() as progress:
        record = evaluate_run(
            trained,
            dataset,
            out,
            keep_leakage=leakage,
            seeds=seeds,
            device=device,
            overwrite=force,
            progress=progress,
        )
    print_evaluation(record)
    click.echo(f"report  {out / 'report.html'}")


def print_training(record: dict[str, Any]) -> None:
    """Print what a run record says of training, calibration and evaluation."""
    bank = record["bank"]
    resumed = record.get("resumed_pictures", 0)
    click.echo(
        f"bank    {bank['rows']} x {bank['width']} from {len(record['split']['bank'])} pictures"
        + (f", {resumed} of which an interrupted training had done" if resumed else "")
    )
    print_calibration(record)
    print_evaluation(record)


def print_evaluation(record: dict[str, Any]) -> None:
    """Print the figures of an evaluation, and what it left out."""
    evaluation = record["evaluation"]
    if evaluation is None:
        click.echo("warning: no test pictures that are not in train/good too, so nothing was measured", err=True)
        return
    if evaluation["leaked"]:
        click.echo(
            f"warning: {len(evaluation['leaked'])} test pictures are byte-identical to training pictures; "
            + (
                "kept in, so the figures are not those of new parts"
                if evaluation.get("is_leakage_kept")
                else "left out"
            ),
            err=True,
        )
    image, pixel = evaluation["image"], evaluation["pixel"]

    def text(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    def interval(ends: dict[str, Any] | None) -> str:
        return "" if ends is None else f" ({ends['low']:.3f} to {ends['high']:.3f})"

    sure = evaluation.get("confidence", {}).get("intervals", {})
    click.echo(
        f"image   AUROC {text(image['auroc'])}{interval(sure.get('auroc'))}, F1 {text(image['f1'])}, "
        f"good rejected {text(image['false_reject_rate'])}, defects found {text(image['recall'])} "
        f"({image['good']} good, {image['defective']} defective)"
    )
    if pixel is not None:
        click.echo(
            f"pixel   AUROC {text(pixel['auroc'])}{interval(sure.get('pixel.auroc'))}, "
            f"PRO {text(pixel['pro'])}{interval(sure.get('pixel.pro'))} ({pixel['masks']} masks)"
        )
    if sure:
        click.echo("        in brackets the 95% interval")
    if stability := record.get("stability"):
        click.echo(
            f"seeds   {len(stability['seeds'])}: AUROC within {text(stability['spread']['auroc'])}, threshold within "
            f"{stability['spread']['threshold']:.4g}, {len(stability['unstable'])} of {stability['pictures']} pictures "
            "without the same verdict from all"
        )
