"""`nut export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nut_dataset.progress import progress_bars
from nut_export.compat import COMPAT
from nut_export.from_checkpoint.cli import choose_source, say_of_checkpoint
from nut_export.ovms import LAYOUTS
from nut_runtime.atomic import check_output_folder
from nut_runtime.cli_errors import NutCommand
from nut_runtime.manifest import MANIFEST

if TYPE_CHECKING:
    from nut_export.export import Exported
    from nut_runtime.batch_models import BatchModels

__all__ = ["export"]


@click.command(cls=NutCommand)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Bundle folder to write.",
)
@click.option(
    "--dataset",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Data set for the proof; the run's own by default.",
)
@click.option("--name", metavar="NAME", help="Name of the part; the data set's folder by default.")
@click.option(
    "--precision",
    type=click.Choice(("fp32", "int8", "cascade")),
    default="fp32",
    show_default=True,
    help="fp32 is exact; int8 is fast; cascade is int8, and fp32 where int8 is too close to the threshold to tell.",
)
@click.option(
    "--tolerance",
    type=float,
    show_default="1e-3, 0.05 for int8 and cascade",
    help="Largest |d pred_score| the proof lets pass.",
)
@click.option("--components", type=int, metavar="K", help="Width of the fast search; chosen by default.")
@click.option("--candidates", type=int, metavar="C", help="Bank vectors measured exactly; chosen by default.")
@click.option(
    "--pictures", type=int, default=400, show_default=True, metavar="N", help="Pictures the proof uses at most."
)
@click.option(
    "--compat",
    multiple=True,
    type=click.Choice(tuple(COMPAT)),
    help="Write a variant for another tool as well; may be given again. As large as the model.",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="Write a model repository as well: ovms for OpenVINO Model Server. As large as the model.",
)
@click.option(
    "--frame-size",
    metavar="WxH",
    help="Take frames of this size only, such as 1920x1080, and refuse any other; any size by default.",
)
@click.option(
    "--batch",
    type=int,
    metavar="N",
    help="Write models that take N frames of one size at once as well. As large as the models for one.",
)
@click.option(
    "--locator",
    "locator_folder",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Add this locator (nut train-locator), which finds the parts of a tray for the judge.",
)
@click.option(
    "--locator-precision",
    type=click.Choice(("fp32", "int8")),
    default="fp32",
    show_default=True,
    help="Of the locator.",
)
@click.option(
    "--trays",
    "trays_root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Tray data set for the locator's proof; the locator's own by default.",
)
@click.option(
    "--sign",
    "sign_with",
    metavar="KEY.pem",
    type=click.Path(path_type=Path),
    help="Sign the bundle with this private key (nut bundle keygen makes one).",
)
@click.option(
    "--from-checkpoint",
    "checkpoint",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A .ckpt that anomalib alone trained, in place of RUN; needs --dataset.",
)
@click.option(
    "--image-size",
    metavar="SIZE",
    help="One side, or HEIGHTxWIDTH, in pixels; for checkpoints of anomalib before 2.7, which do not say.",
)
@click.option("--force", is_flag=True, help="Replace BUNDLE if it exists, and write it even if the proof fails.")
def export(
    run: Path | None,
    out: Path,
    dataset: Path | None,
    name: str | None,
    precision: str,
    tolerance: float | None,
    components: int | None,
    candidates: int | None,
    pictures: int,
    compat: tuple[str, ...],
    layout: str | None,
    frame_size: str | None,
    batch: int | None,
    locator_folder: Path | None,
    locator_precision: str,
    trays_root: Path | None,
    sign_with: Path | None,
    checkpoint: Path | None,
    image_size: str | None,
    force: bool,
) -> None:
    """Export a trained RUN as a bundle for the edge, and prove that no verdict changed.

    The bundle holds the same model for ONNX Runtime and OpenVINO. It is written only if both judge every
    picture as anomalib does; with --precision int8, every picture farther than 0.02 from the threshold.

    \b
    nut export run -o bundle
    nut export run -o bundle --precision cascade
    nut export run -o bundle --name m8-nut --dataset other-nuts
    nut export run -o bundle --compat anomalib --compat model-api --layout ovms
    nut export run -o bundle --frame-size 1920x1080
    nut export run -o bundle --batch 8
    nut export run -o bundle --locator locator-run --locator-precision int8
    nut export run -o bundle --sign plant.pem
    nut export --from-checkpoint model.ckpt --dataset nuts -o bundle
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_export.export import ExportConfig, export_bundle
    from nut_export.fast import FastConfig
    from nut_export.frame_size import parse_frame_size
    from nut_export.locator.attach import LocatorConfig
    from nut_export.locator.cli import say_of_locator
    from nut_export.passphrase import ask_passphrase
    from nut_export.signing import load_signing_key
    from nut_train.locator.run import open_locator_run

    config = ExportConfig(
        name=name,
        precision=precision,
        tolerance=tolerance,
        pictures=pictures,
        is_forced=force,
        compat=compat,
        layout=layout,
        fast=FastConfig(components=components, candidates=candidates),
        frame_px=None if frame_size is None else parse_frame_size(frame_size),
        batch=batch,
        locator=LocatorConfig(precision=locator_precision, is_forced=force),
    )
    locator = None if locator_folder is None else open_locator_run(locator_folder)
    key = None if sign_with is None else load_signing_key(sign_with, ask_passphrase)  # before the long work
    check_output_folder(out, marker=MANIFEST, overwrite=force)  # before a large checkpoint is read
    source = choose_source(run, checkpoint, dataset, image_size)
    with progress_bars() as progress:
        exported = export_bundle(
            source,
            out,
            config,
            dataset_root=dataset,
            locator=locator,
            trays_root=trays_root,
            signing_key=key,
            overwrite=force,
            progress=progress,
        )
    _print_export(exported, precision)
    say_of_checkpoint(exported.bundle.manifest)
    say_of_locator(exported.bundle.manifest)
    if key is not None:
        click.echo(f"signed  by {key.fingerprint}")
    click.echo(f"bundle  {out}\nproof   {out / 'parity.html'}\nnext    nut-runtime --model {out} PICTURES")


def _print_export(exported: "Exported", wanted: str) -> None:
    """Say what was chosen and how the proof came out."""
    from nut_export.parity import failure

    width = max(map(len, exported.parity)) + 1
    if wanted == "cascade" and not exported.fast:
        click.echo(
            "note: with this bank no fast model beats the exact one on this machine; the bundle is fp32", err=True
        )
    for engine, chosen in exported.fast.items():
        click.echo(f"{engine:<{width}}{chosen.describe()}")
    for parity in exported.parity.values():
        line = f"{parity.engine:<{width}}max |d pred_score| {parity.max_d_score:.1e}, {len(parity.flips)} flips "
        if parity.precision == "int8":
            line += f"({parity.far_flips} farther than 0.02 from the threshold) "
        line += f"on {parity.pictures} pictures "
        size = parity.frame_px
        line += f"of {parity.sizes} sizes" if size is None else f"brought to {size[1]}x{size[0]}"
        if parity.recall is not None:
            line += f", recall {100 * parity.recall:.2f}%"
        if parity.rejudged is not None:
            line += f", {100 * parity.rejudged / parity.pictures:.0f}% judged twice"
        click.echo(line)
        reason = failure(parity, exported.tolerance)
        if reason is not None:
            click.echo(f"warning: {parity.engine} does not hold: {reason}; written by force", err=True)
    if exported.bundle.manifest.batch is not None:
        _print_batch(exported.bundle.manifest.batch)


def _print_batch(batch: "BatchModels") -> None:
    """Say how the proof of the models for several frames came out."""
    from nut_export.batch import batch_failure

    for engine, figures in batch.proof.items():
        click.echo(
            f"{engine}, {batch.size} frames at once against one: max |d score| {figures['max_d_score']:.1e}, "
            f"{figures['flips']} verdicts otherwise, on {figures['pictures']} pictures"
        )
        reason = batch_failure(figures)
        if reason is not None:
            click.echo(f"warning: {engine} together is not as alone: {reason}; written by force", err=True)
