"""Pictures of parts with heat map and verdict, saved to a folder that never grows beyond what it is given."""

import re
from datetime import datetime
from pathlib import Path

from nut_runtime.atomic import write_bytes
from nut_runtime.errors import OutputError
from nut_runtime.parts import JudgedPart
from nut_runtime.pictures import encode_png
from nut_runtime.sinks.picture_folder import PictureFolder, usable_folder
from nut_runtime.sinks.picture_grid import draw_views
from nut_runtime.station_file.config import PicturesConfig, SavePolicy
from nut_runtime.verdict import Label

__all__ = ["PictureSink", "picture_path"]

_SAVED = {
    SavePolicy.ALL: frozenset(Label),
    SavePolicy.DEFECTS: frozenset({Label.DEFECT, Label.REVIEW}),
    SavePolicy.NONE: frozenset[Label](),
}


def picture_path(
    config: PicturesConfig | None, timestamp: datetime, sequence: int, label: Label, name: str
) -> Path | None:
    """Return where a part's picture goes, or None where it is not saved; nothing is read or written.

    Defects include what is to be reviewed. Parts without a verdict are saved only where all are.

    Args:
        config: Where, and which; None saves none.
        timestamp: When the part's frame was taken.
        sequence: The part's number.
        label: The verdict on it.
        name: A short name of the frame; what a file name cannot hold becomes `_`.
    """
    if config is None or label not in _SAVED[config.save]:
        return None
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-80:]
    return config.folder / f"{timestamp:%Y%m%dT%H%M%S}-{sequence:06}-{label}-{plain}.png"


class PictureSink:
    """A `Listener` that saves the picture that a part's record names.

    Several views make one picture, each with its own strip. Older pictures of this kind go first, by the limits of the
    configuration; no other file in the folder is touched. A picture that cannot be written is this output's health, and
    the next part's is tried again.

    Args:
        config: Where, which and how many.

    Raises:
        OutputError: If the folder cannot be made or written to.
    """

    def __init__(self, config: PicturesConfig) -> None:
        self.name = "pictures"
        usable_folder(config.folder)
        self._folder = PictureFolder(
            config.folder, keep=config.keep, keep_days=config.keep_days, least_free_bytes=config.least_free_mb * 1e6
        )

    def hear(self, part: JudgedPart) -> None:
        """Save one part's picture, if its record names one and there is a frame.

        Raises:
            OutputError: If it cannot be written, or the disk is too full.
        """
        named = part.record["picture"]
        if named is None or all(view.frame.picture is None for view in part.views):
            return
        path = Path(named)
        data = encode_png(draw_views(part.views))
        self._folder.make_room(len(data))
        try:
            write_bytes(path, data, is_durable=False)
        except OutputError as error:
            raise OutputError(f"the picture of part {part.sequence} is not saved: {error}") from error
        self._folder.add(path)

    def recent(self, limit: int) -> list[Path]:
        """Return the last pictures, the last one first; from any thread."""
        return self._folder.recent(limit)

    def close(self) -> None:
        """Do nothing; each picture is finished when it is written."""
