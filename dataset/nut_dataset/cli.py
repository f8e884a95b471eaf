"""`nut dataset`: commands about data sets."""

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutGroup
from nut_runtime.errors import InputError

__all__ = ["dataset"]


@click.group(cls=NutGroup)
def dataset() -> None:
    """Check data sets and draw synthetic ones."""


@dataset.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON instead of a table.")
@click.pass_context
def check(context: click.Context, folder: Path, as_json: bool) -> None:
    """Say what is wrong with the data set in DIR, or with figures measured on it.

    DIR holds train/good and, to measure with, test/good, test/KIND and ground_truth/KIND. Reported are
    counts, unreadable files, duplicates across and within the splits, masks that do not fit, groups of
    pictures, and properties of the files that give the answer away.

    \b
    Exit code 0: usable, warnings allowed. 2: errors to mend first.
    """
    from rich.console import Console

    from nut_dataset.check import check as check_dataset
    from nut_dataset.render import print_report, report_lines

    with progress_bars() as progress:
        report = check_dataset(folder, progress=lambda done, total: progress("reading pictures", done, total))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2, allow_nan=False))
        for line in report_lines(report):
            click.echo(line, err=True)
    else:
        print_report(report, Console())
    context.exit(0 if report.is_usable else 2)


@dataset.command("from-coco")
@click.argument("source", metavar="ANNOTATIONS.json|EXPORT_DIR", type=click.Path(path_type=Path))
@click.argument("images", metavar="[IMAGES]", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="The new data set.")
@click.option(
    "--split", type=click.Choice(["train", "valid", "test"]), help="What a single file becomes.  [default: train]"
)
@click.option("--skip-invalid", is_flag=True, help="Leave out entries with faults and go on.")
@click.option("--force", is_flag=True, help="Replace DIR if it is an older tray data set.")
def from_coco(source: Path, images: Path | None, out: Path, split: str | None, skip_invalid: bool, force: bool) -> None:
    """Make a tray data set from COCO annotations, for nut train-locator.

    Give a JSON file and the folder of its pictures, or the folder of an export in Roboflow's layout, with
    train/_annotations.coco.json beside its pictures, and likewise valid and test. Outlines are polygons or run
    lengths. Crowd annotations are left out. Entries with faults are listed by their ids.

    \b
    nut dataset from-coco trays.v1i.coco-segmentation -o trays
    nut dataset from-coco instances.json photos -o trays --split train
    """
    from nut_dataset.coco.convert import convert
    from nut_dataset.coco.export_layout import find_sources
    from nut_dataset.coco.faults import AnnotationError
    from nut_dataset.findings import counted

    try:
        with progress_bars() as progress:
            splits = convert(
                find_sources(source, images, split=split),
                out,
                skip_invalid=skip_invalid,
                overwrite=force,
                progress=progress,
            )
    except AnnotationError as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise
    for counts in splits:
        for fault in counts.faults:
            click.echo(f"left out: {fault}", err=True)
        if counts.crowds:
            click.echo(f"left out: {counted(counts.crowds, 'crowd annotation')} in {counts.split}", err=True)
        for name in counts.incomplete:
            click.echo(f"warning: {counts.split}/{name} may show parts that are marked nowhere; look at it", err=True)
        click.echo(f"{counts.split}: {counted(counts.pictures, 'picture')}, {counted(counts.parts, 'part')}")
    click.echo(f"wrote {out}")


class _Range(click.ParamType):
    """Two numbers, least and largest: `10-60`."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Return the two numbers."""
        if isinstance(value, tuple):
            return value
        low, dash, high = str(value).partition("-")
        try:
            return float(low), float(high if dash else low)
        except ValueError:
            self.fail(f"expected two numbers such as 10-60, got {value!r}", param, ctx)


_OF_TRAYS = ("valid", "test", "parts", "nut_side", "cutouts", "cutout_share", "defect_share", "backgrounds")
_OF_NUTS = ("good", "defects")


@dataset.command()
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--train",
    type=int,
    default=30,
    metavar="N",
    help="Good pictures to train on; with --trays, trays.  [default: 30, or 200 trays]",
)
@click.option("--good", type=int, default=12, show_default=True, metavar="N", help="Good pictures to test with.")
@click.option(
    "--defects", type=int, default=18, show_default=True, metavar="N", help="Defective ones, six kinds in turn."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Same seed, same bytes.")
@click.option(
    "--size",
    "size_px",
    type=int,
    default=320,
    metavar="PX",
    help="Side of a picture; with --trays, the longer one.  [default: 320, or 640]",
)
@click.option("--trays", is_flag=True, help="Draw trays of many nuts, for nut train-locator.")
@click.option("--valid", type=int, default=40, show_default=True, metavar="N", help="Trays to choose by.")
@click.option("--test", type=int, default=40, show_default=True, metavar="N", help="Trays to measure with.")
@click.option("--parts", type=_Range(), default="0-80", show_default=True, metavar="N-N", help="Nuts on a tray.")
@click.option(
    "--nut-side",
    type=_Range(),
    default="22-70",
    show_default=True,
    metavar="PX-PX",
    help="Side of a nut, where the tray's picture has 640 px.",
)
@click.option("--cutouts", type=click.Path(path_type=Path), metavar="DIR", help="Paste these nuts, photos on white.")
@click.option(
    "--cutout-share", type=float, default=0.5, show_default=True, metavar="S", help="Share of trays with them."
)
@click.option(
    "--defect-share",
    type=float,
    default=0.15,
    show_default=True,
    metavar="S",
    help="Share of drawn nuts with a defect.",
)
@click.option(
    "--backgrounds", type=click.Path(path_type=Path), metavar="DIR", help="Photos of empty tables, for half the trays."
)
@click.option("--force", is_flag=True, help="Replace OUT if it is an older output of the same kind.")
@click.pass_context
def synth(context: click.Context, out: Path, trays: bool, force: bool, **numbers: Any) -> None:
    """Draw a data set of weld nuts: single ones with defects, or with --trays many in each picture; exact masks.

    \b
    nut dataset synth nuts --train 40 --good 20 --defects 30 --seed 7
    nut dataset synth trays --trays --train 200 --valid 40 --test 40 --parts 5-40
    """
    given = {
        name: value
        for name, value in numbers.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    strange = [name for name in (_OF_NUTS if trays else _OF_TRAYS) if name in given]
    if strange:
        option = f"--{strange[0].replace('_', '-')}"
        raise InputError(f"{option} is for single nuts; leave it out" if trays else f"{option} needs --trays")
    if trays:
        _synth_trays(out, given, force=force)
        return
    from nut_dataset.synth import synthesise

    train, good, defects = numbers["train"], numbers["good"], numbers["defects"]
    with progress_bars() as progress:
        synthesise(
            out,
            train=train,
            good=good,
            defects=defects,
            seed=numbers["seed"],
            size_px=numbers["size_px"],
            overwrite=force,
            progress=lambda done, total: progress("drawing nuts", done, total),
        )
    click.echo(f"drew {train + good + defects} pictures in {out}")


def _synth_trays(out: Path, given: dict[str, Any], *, force: bool) -> None:
    """Draw trays as the options say."""
    from nut_dataset.synth_trays import SynthTraysSettings, synthesise_trays

    if "parts" in given:
        given["parts"] = tuple(int(side) for side in given["parts"])
    settings = SynthTraysSettings(**given)
    with progress_bars() as progress:
        synthesise_trays(out, settings, overwrite=force, progress=progress)
    click.echo(f"drew {settings.train + settings.valid + settings.test} trays in {out}")
