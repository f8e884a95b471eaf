"""`nut dataset` with the commands that need more than the data set's own package: cut-outs need a locator."""

from nut_dataset.cli import dataset
from nut_export.locator.cli import cutout

__all__ = ["dataset"]

dataset.add_command(cutout)
