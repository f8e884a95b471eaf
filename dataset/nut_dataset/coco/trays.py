"""A tray data set on the disk: what `nut dataset from-coco` and `synth --trays` write and `train-locator` reads.

    DIR/trays.json                      tells how the folder was made
    DIR/<split>/_annotations.coco.json  Roboflow's layout, the pictures beside it; splits train, valid, test
    DIR/<split>/NAME.jpg
    DIR/<split>/instances/NAME.png      uint16 labels: 0 background, i the picture's i-th annotation
    DIR/<split>/distance/NAME.png       uint16: the distance map times 65535

A split may lack. Of a part only the visible pixels bear its label: a later annotation lies on top of an earlier one.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nut_dataset.coco.distance_map import distance_map
from nut_dataset.layout import files_fingerprint
from nut_runtime.atomic import write_bytes
from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import encode_png, read_picture

__all__ = [
    "ANNOTATIONS",
    "MARKER",
    "SPLITS",
    "TrayPicture",
    "read_distance",
    "read_instances",
    "read_trays",
    "trays_fingerprint",
    "write_maps",
]

MARKER = "trays.json"
"""The file that every finished tray data set has."""
ANNOTATIONS = "_annotations.coco.json"
SPLITS = ("train", "valid", "test")

_INSTANCES, _DISTANCE = "instances", "distance"
_FULL = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class TrayPicture:
    """One picture of a tray and where the truth about it lies.

    Attributes:
        path: The picture.
        instances_path: Labels of its parts.
        distance_path: Its distance map.
    """

    path: Path
    instances_path: Path
    distance_path: Path

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float32]]:
        """Return the picture (uint8 `[H, W, 3]`, BGR), its labels (uint16 `[H, W]`) and its distance map.

        The distance map is float32 `[H, W]`, 0 to 1.

        Raises:
            PictureError: If one of the three cannot be read, or their sizes differ.
        """
        picture = read_picture(self.path)
        instances, distance = read_instances(self.instances_path), read_distance(self.distance_path)
        if not picture.shape[:2] == instances.shape == distance.shape:
            raise PictureError(f"{self.path} and its maps are of different sizes; make the data set again with --force")
        return picture, instances, distance


def read_trays(folder: Path, split: str) -> tuple[TrayPicture, ...]:
    """Return the pictures of one split, sorted by name; none where the data set lacks the split.

    Args:
        folder: The data set.
        split: `train`, `valid` or `test`.

    Raises:
        InputError: If the split is none of these, the folder is no tray data set, or files are missing from it.
    """
    if split not in SPLITS:
        raise InputError(f"a split is one of {', '.join(SPLITS)}, got {split!r}")
    folder = Path(folder)
    if not (folder / MARKER).is_file():
        raise InputError(
            f"{folder} is not a tray data set ({MARKER} is missing); make one with nut dataset from-coco or "
            "nut dataset synth --trays"
        )
    part = folder / split
    if not part.is_dir():
        return ()
    pictures = tuple(_tray_picture(part, name) for name in sorted(_picture_names(part / ANNOTATIONS)))
    for picture in pictures:
        for path in (picture.path, picture.instances_path, picture.distance_path):
            if not path.is_file():
                raise InputError(f"{path} is missing; make the data set again with --force")
    return pictures


def _tray_picture(part: Path, name: str) -> TrayPicture:
    """Return where the files of the picture called `name` lie in the folder of its split."""
    stem = Path(name).stem
    return TrayPicture(
        path=part / name,
        instances_path=part / _INSTANCES / f"{stem}.png",
        distance_path=part / _DISTANCE / f"{stem}.png",
    )


def _picture_names(annotations: Path) -> list[str]:
    """Return the file names that the annotations of a split list."""
    try:
        data = json.loads(annotations.read_text(encoding="utf-8"))
        names = [image["file_name"] for image in data["images"]]
    except OSError as error:
        raise InputError(f"cannot read {annotations}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{annotations} is damaged ({error}); make the data set again with --force") from error
    if not all(isinstance(name, str) and name == Path(name).name and name not in {"", ".."} for name in names):
        raise InputError(f"{annotations} names pictures outside its folder; make the data set again with --force")
    return names


def write_maps(part: Path, name: str, instances: NDArray[np.uint16]) -> None:
    """Write the label picture and the distance map of one picture.

    Args:
        part: Folder of the split.
        name: File name of the picture in it.
        instances: Labels, uint16 `[H, W]`: i for the visible pixels of the picture's i-th annotation.

    Raises:
        OutputError: If they cannot be written.
    """
    files = _tray_picture(part, name)
    depth = np.rint(distance_map(instances) * _FULL).astype(np.uint16)
    for path, values in ((files.instances_path, instances), (files.distance_path, depth)):
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, encode_png(values), is_durable=False)


def read_instances(path: Path) -> NDArray[np.uint16]:
    """Return a label picture, uint16 `[H, W]`.

    Raises:
        PictureError: If it is not one.
    """
    return _read_16_bits(path)


def read_distance(path: Path) -> NDArray[np.float32]:
    """Return a distance map, float32 `[H, W]`, 0 to 1.

    Raises:
        PictureError: If it is not one.
    """
    return _read_16_bits(path).astype(np.float32) / np.float32(_FULL)


def _read_16_bits(path: Path) -> NDArray[np.uint16]:
    """Return a 16-bit grey PNG; `read_picture` is for cameras' 8 bits."""
    try:
        data = path.read_bytes()
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except OSError as error:
        raise PictureError(f"cannot read {path}: {error.strerror or error}") from error
    except cv2.error as error:
        raise PictureError(f"{path} cannot be decoded: {error.err}") from error
    if values is None or values.dtype != np.uint16 or values.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise PictureError(f"{path} is not a grey picture of 16 bits; make the data set again with --force")
    return np.asarray(values, np.uint16)


def trays_fingerprint(folder: Path) -> str:
    """Return a SHA-256 over names and contents of all pictures and maps; it changes when any of them does.

    Raises:
        InputError: As `read_trays`, or if a file cannot be read.
    """
    folder = Path(folder)
    pictures = [picture for split in SPLITS for picture in read_trays(folder, split)]
    return files_fingerprint(
        folder, [path for one in pictures for path in (one.path, one.instances_path, one.distance_path)]
    )
