"""`compare.html`: two evaluations on one page, with the pictures whose verdict changed."""

from pathlib import Path

from nut_dataset.layout import list_dataset, read_mask
from nut_runtime.atomic import check_output_page, write_text
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.compare import Comparison
from nut_train.digests import digest
from nut_train.thumbnails import Album, fit_into, outline

__all__ = ["check_compare_path", "write_compare_report"]

_MARK = '<meta name="generator" content="nut compare">'
_SHOWN = 60


def check_compare_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a page that is in the way, before any work is done.

    Raises:
        OutputError: As `check_output_page`.
    """
    check_output_page(path, mark=_MARK, of="nut compare", overwrite=overwrite)


def write_compare_report(path: Path, comparison: Comparison) -> None:
    """Write the page, self-contained.

    Args:
        path: The file to write.
        comparison: What changed; the pictures are taken from B's data set where they still are what was judged.

    Raises:
        OutputError: If it cannot be written.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(loader=PackageLoader("nut_train", "templates"), autoescape=select_autoescape())
    page = environment.get_template("compare.html").render(
        mark=_MARK, comparison=comparison, thumbnails=_thumbnails(comparison)
    )
    write_text(path, page)


def _thumbnails(comparison: Comparison) -> dict[str, str]:
    """Return the pictures whose verdict changed as data URLs by their digest, as far as they are found."""
    root = comparison.b.root
    try:
        masks = list_dataset(root).masks
    except InputError:  # moved away; the figures do not need it
        return {}
    album = Album()
    drawn = {}
    for change in comparison.changes[:_SHOWN]:
        path = root / change.path
        try:
            if digest(path) != change.sha256:
                continue
            picture = fit_into(read_picture(path))
            picture = outline(picture, read_mask(masks[path]) if path in masks else None)
        except InputError:
            continue
        if (url := album.add(picture)) is not None:
            drawn[change.sha256] = url
    return drawn
