"""`nut export`."""

from pathlib import Path

import click

from nut_dataset.progress import progress_bars
from nut_export.from_checkpoint.cli import choose_source, say_of_checkpoint
from nut_runtime.atomic import check_output_folder
from nut_runtime.cli_errors import NutCommand
from nut_runtime.manifest import MANIFEST

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
    "--tolerance", type=float, default=1e-3, show_default=True, help="Largest |d pred_score| the proof lets pass."
)
@click.option(
    "--pictures", type=int, default=400, show_default=True, metavar="N", help="Pictures the proof uses at most."
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
    tolerance: float,
    pictures: int,
    checkpoint: Path | None,
    image_size: str | None,
    force: bool,
) -> None:
    """Export a trained RUN as a bundle for the edge, and prove that no verdict changed.

    The bundle holds the same model for ONNX Runtime and OpenVINO. It is written only if both judge every
    picture as anomalib does.

    \b
    nut export run -o bundle
    nut export run -o bundle --name m8-nut --dataset other-nuts
    nut export --from-checkpoint model.ckpt --dataset nuts -o bundle
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_export.export import ExportConfig, export_bundle

    config = ExportConfig(name=name, tolerance=tolerance, pictures=pictures, is_forced=force)
    check_output_folder(out, marker=MANIFEST, overwrite=force)  # before a large checkpoint is read
    source = choose_source(run, checkpoint, dataset, image_size)
    with progress_bars() as progress:
        exported = export_bundle(source, out, config, dataset_root=dataset, overwrite=force, progress=progress)
    for parity in exported.parity.values():
        click.echo(
            f"{parity.engine:<12}max |d pred_score| {parity.max_d_score:.1e}, {len(parity.flips)} flips "
            f"on {parity.pictures} pictures of {parity.sizes} sizes"
        )
        if not parity.max_d_score <= tolerance or parity.flips:
            click.echo(
                f"warning: {parity.engine} does not hold the tolerance {tolerance:.0e}; written by force", err=True
            )
    say_of_checkpoint(exported.bundle.manifest)
    click.echo(f"bundle  {out}\nproof   {out / 'parity.html'}\nnext    nut-runtime --model {out} PICTURES")
