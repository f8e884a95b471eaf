"""`parity.html`: the proof on one page, for the person who approves the model."""

from collections.abc import Mapping
from pathlib import Path

from nut_export.parity import TOLERANCES, Parity, failure
from nut_runtime.atomic import write_text
from nut_runtime.manifest import Manifest

__all__ = ["write_parity_report"]


def write_parity_report(
    path: Path, manifest: Manifest, parities: Mapping[str, Parity], tolerance: float | None
) -> None:
    """Write the page.

    Args:
        path: The file to write.
        manifest: The bundle's manifest, as far as it is known.
        parities: The figures by engine.
        tolerance: Largest |d pred_score| that was asked for; None where each precision has its own.
    """
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(loader=PackageLoader("nut_export", "templates"), autoescape=select_autoescape())
    page = environment.get_template("parity.html").render(
        manifest=manifest, parities=parities, tolerance=tolerance, tolerances=TOLERANCES, failure=failure
    )
    write_text(path, page)
