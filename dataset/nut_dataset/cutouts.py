"""What a data set of cut-outs says of how its parts were cut out of their trays."""

import json
from pathlib import Path

from nut_runtime.errors import InputError
from nut_runtime.locate.settings import CutoutSettings

__all__ = ["CUTOUTS", "read_cutout_settings"]

CUTOUTS = "cutouts.json"
"""The file that every finished data set of cut-outs has."""


def read_cutout_settings(root: Path) -> CutoutSettings | None:
    """Return how the pictures of a data set were cut out; None where they are no cut-outs, or it is not known.

    Args:
        root: The data set.

    Raises:
        InputError: If the file that says it is damaged.
    """
    path = Path(root) / CUTOUTS
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return CutoutSettings.from_json(data["cutout"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); cut the parts out again with nut dataset cutout") from error
