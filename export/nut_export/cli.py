"""`nut export`."""

from pathlib import Path

import click

from nut_dataset.progress import progress_bars
from nut_export.compat import COMPAT
from nut_export.ovms import LAYOUTS
from nut_runtime.cli_errors import NutCommand

__all__ = ["export"]


@click.command(cls=NutCommand)
@click.argument("run", type=click.Path(path_type=Path))
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
@click.option("--force", is_flag=True, help="Replace BUNDLE if it exists, and write it even if the proof fails.")
def export(
    run: Path,
    out: Path,
    dataset: Path | None,
    name: str | None,
    tolerance: float,
    pictures: int,
    compat: tuple[str, ...],
    layout: str | None,
    frame_size: str | None,
    force: bool,
) -> None:
    """Export a trained RUN as a bundle for the edge, and prove that no verdict changed.

    The bundle holds the same model for ONNX Runtime and OpenVINO. It is written only if both judge every
    picture as anomalib does.

    \b
    nut export run -o bundle
    nut export run -o bundle --name m8-nut --dataset other-nuts
    nut export run -o bundle --compat anomalib --compat model-api --layout ovms
    nut export run -o bundle --frame-size 1920x1080
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_export.export import ExportConfig, export_bundle
    from nut_export.frame_size import parse_frame_size
    from nut_train.run import open_run

    config = ExportConfig(
        name=name,
        tolerance=tolerance,
        pictures=pictures,
        is_forced=force,
        compat=compat,
        layout=layout,
        frame_px=None if frame_size is None else parse_frame_size(frame_size),
    )
    with progress_bars() as progress:
        exported = export_bundle(open_run(run), out, config, dataset_root=dataset, overwrite=force, progress=progress)
    width = max(map(len, exported.parity)) + 1
    for parity in exported.parity.values():
        sizes = f"of {parity.sizes} sizes" if parity.frame_px is None else f"brought to {frame_size}"
        click.echo(
            f"{parity.engine:<{width}}max |d pred_score| {parity.max_d_score:.1e}, {len(parity.flips)} flips "
            f"on {parity.pictures} pictures {sizes}"
        )
        if not parity.max_d_score <= tolerance or parity.flips:
            click.echo(
                f"warning: {parity.engine} does not hold the tolerance {tolerance:.0e}; written by force", err=True
            )
    click.echo(f"bundle  {out}\nproof   {out / 'parity.html'}\nnext    nut-runtime --model {out} PICTURES")
