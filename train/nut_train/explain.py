"""Why a part was judged so: its most unusual patch beside the good patch that it was compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.bank_origin import BankOrigin, read_origin
from nut_train.digests import digest
from nut_train.embedding import embed
from nut_train.extension_record import digests_by_name, locate
from nut_train.predict import accelerator
from nut_train.run import Run

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["Comparison", "Explainer", "Patch", "open_explainer", "try_explainer"]

_BASE = "train/good/"  # how the origin's names begin, and the split's do not, of pictures that a run was not grown with
_APART = 2  # patches between two places that are shown: nearer ones see much the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A place in a picture.

    Attributes:
        picture: The picture's file, or its name where it was given as pixels.
        row: Row in the grid of patches; 0 is the top.
        column: Column in the grid; 0 is the left.
        box: Left, top, width and height of the cell in pixels of the picture. What the backbone saw reaches further.
    """

    picture: Path
    row: int
    column: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A patch of a judged part and its nearest neighbour in the memory bank.

    Attributes:
        judged: The patch of the part.
        good: The good patch, in a picture of the training set.
        distance: Between their features, as anomalib computes it; the first comparison's is the largest of the part.
        bank_row: The good patch's place in the bank.
    """

    judged: Patch
    good: Patch
    distance: float
    bank_row: int

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "distance": self.distance,
            "bank_row": self.bank_row,
            **{
                name: {
                    "picture": str(patch.picture),
                    "row": patch.row,
                    "column": patch.column,
                    "box": [round(value, 1) for value in patch.box],
                }
                for name, patch in (("judged", self.judged), ("good", self.good))
            },
        }


class Explainer:
    """Finds the good patches that a part was compared with; made once, used for many pictures.

    Attributes:
        root: The folder of the data set that the bank was made from.
    """

    def __init__(
        self,
        model: "Patchcore",
        origin: BankOrigin,
        root: Path,
        *,
        known: Sequence[str] = (),
        record: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        """Take a model and what is known of its bank.

        Args:
            model: A trained model; moved to the device, in evaluation mode.
            origin: Of each row of its bank.
            root: The data set's folder, below which the good pictures lie.
            known: SHA-256 of the training pictures; a good picture that has changed since is then refused.
            record: The content of `run.json`, which says where the pictures lie that the run was grown with.
            device: `auto`, `cpu` or `cuda`.

        Raises:
            InputError: If the origin is of another number of rows.
        """
        if len(origin) != len(model.model.memory_bank):
            raise InputError(
                f"origins of {len(origin)} bank rows, expected {len(model.model.memory_bank)}; train again"
            )
        self.root = root
        self._record = record or {}
        self._model = model.eval().to("cuda" if accelerator(device) == "gpu" else "cpu")
        self._origin, self._known = origin, frozenset(known)
        self._digests = digests_by_name(self._record)
        self._good: dict[Path, tuple[int, int]] = {}

    def explain(self, frame: NDArray[np.uint8], *, picture: Path, places: int = 1) -> list[Comparison]:
        """Compare a part's most unusual patches with their nearest good ones.

        Args:
            frame: The part, uint8 `[H, W, 3]`, BGR.
            picture: What to call it.
            places: How many places at most, each some patches from the others.

        Returns:
            The most unusual one first.

        Raises:
            InputError: If a good picture is missing or is not the one that was trained on.
        """
        with torch.no_grad():
            embedding = embed(self._model, frame)  # (rows, columns, D)
            rows, columns, width = embedding.shape
            distances, nearest = self._model.model.nearest_neighbors(embedding.reshape(-1, width), n_neighbors=1)
        grid = distances.reshape(rows, columns).cpu().numpy().astype(np.float64)
        bank = nearest.reshape(rows, columns).cpu().numpy()
        found: list[Comparison] = []
        left = grid.copy()
        while len(found) < places and np.isfinite(left.max()):
            row, column = (int(place) for place in np.unravel_index(left.argmax(), left.shape))
            found.append(
                Comparison(
                    judged=_patch(picture, row, column, (rows, columns), frame.shape[:2]),
                    good=self._good_patch(int(bank[row, column])),
                    distance=float(grid[row, column]),
                    bank_row=int(bank[row, column]),
                )
            )
            left[max(row - _APART, 0) : row + _APART + 1, max(column - _APART, 0) : column + _APART + 1] = -np.inf
        return found

    def good_picture(self, comparison: Comparison) -> NDArray[np.uint8]:
        """Return the good picture of a comparison, BGR uint8 `[H, W, 3]`."""
        return read_picture(comparison.good.picture)

    def _good_patch(self, bank_row: int) -> Patch:
        name = self._origin.pictures[self._origin.picture[bank_row]]
        path = locate(self._record, name, self.root)
        if path not in self._good:
            if not path.is_file():
                advice = "say where it is with --dataset" if path.is_relative_to(self.root) else "put it back"
                raise InputError(f"{path}, which the bank was made from, is missing; {advice}")
            recorded = self._digests.get(name.removeprefix(_BASE))  # older records only say which there are
            known = self._known if recorded is None else {recorded}
            if known and digest(path) not in known:
                raise InputError(f"{path} is not the picture that was trained on; give the data set with --dataset")
            height, width = read_picture(path).shape[:2]
            self._good[path] = (height, width)
        row, column = int(self._origin.row[bank_row]), int(self._origin.column[bank_row])
        return _patch(path, row, column, self._origin.grid, self._good[path])


def open_explainer(run: Run, *, dataset: Path | None = None, device: str = "cpu") -> Explainer:
    """Return the explainer of a run.

    Args:
        run: A finished run.
        dataset: Where its data set lies now; where it lay when it was trained by default.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: If the run has no checkpoint, or none of where its bank came from, or the data set is not there.
    """
    root = Path(run.record["dataset"]["path"]) if dataset is None else dataset
    if not root.is_dir():
        raise InputError(f"the data set {root} is not there; say where it is with --dataset")
    model = run.load()
    origin = read_origin(run.folder, model.model.memory_bank)
    return Explainer(model, origin, root, known=run.record.get("train_sha256", ()), record=run.record, device=device)


def try_explainer(run: Run, *, dataset: Path | None = None, device: str = "cpu") -> Explainer | None:
    """Return the explainer of a run; None where it lacks what `open_explainer` needs, such as the data set."""
    try:
        return open_explainer(run, dataset=dataset, device=device)
    except InputError:
        return None


def _patch(picture: Path, row: int, column: int, grid: tuple[int, int], size: tuple[int, int]) -> Patch:
    """Return a place of the grid in pixels of its picture, which was stretched to the model's input."""
    height, width = size[0] / grid[0], size[1] / grid[1]
    return Patch(picture=picture, row=row, column=column, box=(column * width, row * height, width, height))
