"""`nut train-locator`."""

from pathlib import Path
from typing import Any

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_train.config import DEVICES
from nut_train.locator.config import LocatorConfig

__all__ = ["train_locator"]

_DEFAULTS = LocatorConfig()


@click.command("train-locator", cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "out", required=True, metavar="RUN", type=click.Path(path_type=Path), help="Run folder to write."
)
@click.option("--encoder", default=_DEFAULTS.encoder, show_default=True, help="Any convolutional timm model.")
@click.option(
    "--encoder-weights", metavar="FILE", help="A .safetensors or .pth file; else installed package, cache, hub."
)
@click.option(
    "--long-side",
    "long_side_px",
    type=int,
    default=_DEFAULTS.long_side_px,
    show_default=True,
    metavar="PX",
    help="What a frame's longer side is brought to; a multiple of 32.",
)
@click.option(
    "--crop",
    "crop_px",
    type=int,
    default=_DEFAULTS.crop_px,
    show_default=True,
    metavar="PX",
    help="Side of the pieces it learns from; a multiple of 32.",
)
@click.option("--epochs", type=int, default=_DEFAULTS.epochs, show_default=True, help="Passes, at most.")
@click.option(
    "--patience", type=int, default=_DEFAULTS.patience, show_default=True, help="Passes without a better one."
)
@click.option("--batch-size", type=int, default=_DEFAULTS.batch_size, show_default=True, help="Pieces a step.")
@click.option(
    "--learning-rate", type=float, default=_DEFAULTS.learning_rate, show_default=True, help="Of the decoder, at most."
)
@click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True, help="Fixes order and augmentation.")
@click.option(
    "--device", type=click.Choice(DEVICES), default=_DEFAULTS.device, show_default=True, help="Where to compute."
)
@click.option("--force", is_flag=True, help="Replace RUN if it is an older run of a locator.")
def train_locator(dataset: Path, out: Path, force: bool, **options: Any) -> None:
    """Train a locator, which finds the single parts in a tray, on the marked pictures of DATASET.

    DATASET comes from nut dataset from-coco or nut dataset synth --trays.

    \b
    nut train-locator trays -o locator-run
    nut train-locator trays -o locator-run --long-side 384 --epochs 10
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_train.locator.train import train_locator as train

    config = LocatorConfig(**options)
    with progress_bars() as progress:
        run = train(dataset, out, config, overwrite=force, progress=progress)
    print_figures(run.record)
    click.echo(f"run     {out}\nreport  {out / 'report.html'}\nnext    nut export JUDGE_RUN -o bundle --locator {out}")


def print_figures(record: dict[str, Any]) -> None:
    """Print what a record says of finding parts."""
    data, find = record["dataset"], record["find"]
    click.echo(f"trays   {data['train']} to learn from, {data['valid']} to validate, {data['test']} to test")
    click.echo(f"epochs  {len(record['epochs'])} in {record['seconds']['fit']:.0f} s")
    area = "each frame's own" if find["area_px"] is None else f"{find['area_px']:.0f} px at {find['long_side_px']} px"
    click.echo(f"find    peaks from {find['peak']}, parts from {find['level']}, usual area {area}")
    for split, figures in record["figures"].items():
        scores = ", ".join(f"F1 {value:.3f} at IoU {iou}" for iou, value in figures["f1"].items())
        click.echo(
            f"{split:<8}{scores}, count off by {100 * figures['count_error']:.1f}%, map by {figures['map_error']:.4f} "
            f"({figures['pictures']} pictures, {figures['true']} parts)"
        )
    if "test" not in record["figures"]:
        click.echo("warning: no test split, so nothing was measured on pictures that chose nothing", err=True)
