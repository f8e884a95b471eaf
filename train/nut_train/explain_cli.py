"""`nut explain`."""

from pathlib import Path

import click

from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError, OutputError
from nut_train.config import DEVICES

__all__ = ["explain"]


@click.command(cls=NutCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("image", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "out", required=True, metavar="PICTURE", type=click.Path(path_type=Path), help="PNG to write."
)
@click.option("--places", type=click.IntRange(1, 20), default=1, show_default=True, help="Unusual places to show.")
@click.option(
    "--dataset", metavar="DIR", type=click.Path(path_type=Path), help="Where the training pictures lie, if moved."
)
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to compute.")
@click.option("--force", is_flag=True, help="Replace an older PNG.")
def explain(run: Path, image: Path, out: Path, places: int, dataset: Path | None, device: str, force: bool) -> None:
    """Show the most unusual place of IMAGE beside the good patch of RUN's bank that it was compared with.

    \b
    nut explain run part.png -o why.png
    nut explain run part.png -o why.png --places 3 --dataset /new/place/of/nuts
    """
    _check_output(out, (image,), overwrite=force)
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_runtime.pictures import read_picture, write_picture
    from nut_train.explain import open_explainer
    from nut_train.explain_picture import draw_comparisons
    from nut_train.run import open_run

    trained = open_run(run)
    frame = read_picture(image)
    explainer = open_explainer(trained, dataset=dataset, device=device)
    comparisons = explainer.explain(frame, picture=image, places=places)
    threshold = trained.point.pixel.threshold
    drawn = draw_comparisons(frame, [(one, explainer.good_picture(one)) for one in comparisons], threshold=threshold)
    write_picture(out, drawn)
    for one in comparisons:
        judged, good = one.judged.box, one.good.box
        click.echo(
            f"distance {one.distance:.4g} ({one.distance / threshold:.2f} x pixel threshold) at "
            f"{judged[0]:.0f},{judged[1]:.0f} px; nearest good: {one.good.picture} at {good[0]:.0f},{good[1]:.0f} px"
        )
    click.echo(f"picture  {out}")


def _check_output(out: Path, inputs: tuple[Path, ...], *, overwrite: bool) -> None:
    """Refuse a picture that is in the way, before any work is done."""
    if out.suffix.lower() != ".png":
        raise InputError(f"{out} does not end in .png; the picture is written as PNG")
    if not out.parent.is_dir():
        raise OutputError(f"the folder {out.parent} does not exist; make it, or choose another place")
    if any(out.resolve() == given.resolve() for given in inputs):
        raise OutputError(f"{out} is what is being explained; choose another output")
    if out.is_dir() or (out.exists() and not overwrite):
        raise OutputError(f"{out} exists already; choose another file or give --force to replace it")
