"""The commands about locators: `nut bundle add-locator`, `nut dataset cutout`, and what `nut export` says of one."""

from pathlib import Path

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.manifest import Manifest

__all__ = ["add_locator_command", "cutout", "say_of_locator"]


@click.command("add-locator", cls=NutCommand)
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.argument("run", metavar="LOCATOR_RUN", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "out",
    required=True,
    metavar="NEW",
    type=click.Path(path_type=Path),
    help="Bundle folder to write.",
)
@click.option(
    "--precision", type=click.Choice(("fp32", "int8")), default="fp32", show_default=True, help="Of the locator."
)
@click.option(
    "--trays",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Tray data set for the proof; the locator's own by default.",
)
@click.option("--force", is_flag=True, help="Replace NEW if it exists, and write it even if the proof fails.")
def add_locator_command(folder: Path, run: Path, out: Path, precision: str, trays: Path | None, force: bool) -> None:
    """Write a copy of BUNDLE with the locator of LOCATOR_RUN, and prove that it finds the same parts.

    A locator that BUNDLE had is replaced. A signature is left behind: sign NEW again.

    \b
    nut bundle add-locator bundle locator-run -o tray-bundle --precision int8
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_export.locator.attach import LocatorConfig, add_locator
    from nut_runtime.bundle import open_bundle
    from nut_train.locator.run import open_locator_run

    judge, locator = open_bundle(folder), open_locator_run(run)
    config = LocatorConfig(precision=precision, is_forced=force)
    with progress_bars() as progress:
        bundle = add_locator(judge, locator, out, config, trays=trays, overwrite=force, progress=progress)
    say_of_locator(bundle.manifest)
    click.echo(f"bundle  {out}\nnext    nut-runtime --model {out} TRAYS")


@click.command(cls=NutCommand)
@click.argument("trays", metavar="TRAYS", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Data set to write."
)
@click.option(
    "--locator",
    "locator_folder",
    required=True,
    metavar="RUN|BUNDLE",
    type=click.Path(path_type=Path),
    help="What finds the parts: a locator's run, or a bundle with a locator.",
)
@click.option("--size", "size_px", type=int, metavar="PX", help="Side of a cut-out; the bundle's, else 128.")
@click.option("--fill", type=float, metavar="TIMES", help="Side over that of the usual part; the bundle's, else 1.6.")
@click.option("--upright/--as-it-lies", "is_upright", default=None, help="Turn parts so that all lie alike, or do not.")
@click.option("--force", is_flag=True, help="Replace DIR if it is an older data set of cut-outs.")
def cutout(
    trays: Path,
    out: Path,
    locator_folder: Path,
    size_px: int | None,
    fill: float | None,
    is_upright: bool | None,
    force: bool,
) -> None:
    """Cut single parts out of TRAYS, on white, for a judge to learn from: DIR/train/good.

    It is the code that the runtime cuts with, so that training and running see the same. Parts that the runtime would
    not judge are left out. Look the pictures through: move defective ones to DIR/test/KIND.

    \b
    nut dataset cutout trays -o cutouts --locator locator-run
    nut dataset cutout photos -o cutouts --locator tray-bundle
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from dataclasses import replace

    from nut_export.locator.cutouts import cut_trays, open_map_source
    from nut_runtime.locate.settings import CutoutSettings

    source = open_map_source(locator_folder)
    given = {"size_px": size_px, "fill": fill, "is_upright": is_upright}
    changes = {name: value for name, value in given.items() if value is not None}
    settings = replace(source.cutout or CutoutSettings(), **changes)  # type: ignore[arg-type] # options by their names
    with progress_bars() as progress:
        found = cut_trays(trays, out, source, settings, overwrite=force, progress=progress)
    click.echo(f"cut out {found.parts} parts of {found.trays} trays; {found.incomplete} incomplete ones left out")
    click.echo(f"next    nut train {out} -o run")


def say_of_locator(manifest: Manifest) -> None:
    """Say how the proof of a bundle's locator came out; nothing where it has none."""
    entry = manifest.locator
    if entry is None:
        return
    for engine, parity in entry.parity.items():
        click.echo(
            f"locator in {engine} ({parity['precision']}): maps differ by {parity['max_d_map']:.1e} at most, "
            f"{parity['mean_d_map']:.1e} on average; of {parity['parts']} parts {parity['missed']} missed and "
            f"{parity['invented']} invented, on {parity['pictures']} trays of {parity['sizes']} sizes"
        )
        if parity["failure"] is not None:
            click.echo(
                f"warning: the locator does not hold in {engine}: {parity['failure']}; written by force", err=True
            )
