"""What `nut export --from-checkpoint` checks first and says at the end."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nut_runtime.errors import InputError
from nut_runtime.manifest import Manifest

if TYPE_CHECKING:
    from nut_train.run import Run

__all__ = ["choose_source", "say_of_checkpoint"]

_NEUTRAL = 0.5  # anomalib's sensitivity by default


def choose_source(run: Path | None, checkpoint: Path | None, dataset: Path | None, image_size: str | None) -> "Run":
    """Open what is to be exported.

    Raises:
        InputError: If there is not exactly one of the two, or an option is missing or out of place.
    """
    from nut_dataset.layout import open_dataset
    from nut_export.from_checkpoint.run import open_checkpoint
    from nut_train.config import parse_image_size
    from nut_train.run import open_run

    if run is not None and checkpoint is not None:
        raise InputError("got both RUN and --from-checkpoint; give one of them")
    if run is not None:
        if image_size is not None:
            raise InputError("--image-size goes with --from-checkpoint; a run knows its own, leave it out")
        if run.is_file():
            raise InputError(f"{run} is a file, expected a run folder; give --from-checkpoint {run} --dataset DIR")
        return open_run(run)
    if checkpoint is None:
        raise InputError("nothing to export; give a RUN folder, or --from-checkpoint FILE --dataset DIR")
    if dataset is None:
        raise InputError("a checkpoint does not say where its pictures lie; give a data set with --dataset")
    open_dataset(dataset)
    return open_checkpoint(checkpoint, image_size=None if image_size is None else parse_image_size(image_size))


def say_of_checkpoint(manifest: Manifest) -> None:
    """Print what decides in a bundle that came from a checkpoint."""
    facts = manifest.provenance.get("checkpoint")
    if facts is None:
        return
    image = manifest.point.image
    click.echo(f"decides above raw score {image.threshold:.6g}, false-reject rate not stated by the checkpoint")
    if facts["image_sensitivity"] != _NEUTRAL or facts["pixel_sensitivity"] != _NEUTRAL:
        click.echo(
            f"        sensitivity {facts['image_sensitivity']:g} (image), {facts['pixel_sensitivity']:g} (pixel): "
            "scores are moved so that the verdict changes at 0.5"
        )
    if facts["threshold_moved_by"]:
        share = abs(facts["threshold_moved_by"]) / (image.maximum - image.minimum)
        click.echo(f"        threshold moved by {share:.1e} of the score, off a picture that rounding would decide")
    if not facts["is_image_size_stated"]:
        click.echo(
            "warning: the checkpoint does not say how pictures are prepared; --image-size was taken, with anomalib's "
            "default normalisation and no crop",
            err=True,
        )
