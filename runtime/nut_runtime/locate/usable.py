"""Whether a view of a tray can be used at all: in focus, not washed out, not dark."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.locate.instance import Instance
from nut_runtime.opencv import quiet_opencv
from nut_runtime.verdict import Reason

__all__ = ["TrayView", "UsableLimits", "measure_view", "parts_sharpness", "view_fault"]

_WORKING_SIDE_PX = 320
_EDGES_PERCENTILE = 99.8
_PARTS_PERCENTILE = 95.0
_WHITE = 250
_MOST_WHITE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableLimits:
    """What is asked of a view of a tray; 0 asks for nothing.

    The usual limits lie between the sharp and the blurred views of a real rig and of photos from a phone; docs/trays.md
    has the figures.

    Attributes:
        least_sharpness: Of `TrayView.sharpness`, or else of `parts_sharpness` of what was found.
        least_brightness: Of `TrayView.brightness`.
    """

    least_sharpness: float = 75.0
    least_brightness: float = 15.0

    def __post_init__(self) -> None:
        """Check that the limits make sense.

        Raises:
            InputError: If one is negative or no number.
        """
        for name, limit in asdict(self).items():
            if not (math.isfinite(limit) and limit >= 0):
                raise InputError(f"{name} is a number of at least 0, got {limit}")

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; a limit that is not there is the usual one.

        Raises:
            InputError: If a limit makes no sense or is unknown.
        """
        try:
            return cls(**{str(name): float(limit) for name, limit in data.items()})
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"the limits of usable views make no sense: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TrayView:
    """Figures of a view, in grey levels.

    Attributes:
        sharpness: How steep its steepest edges are: what 0.2% of the pixels have more of, of the Laplacian's absolute
            value. Parts on a tray have edges that are much alike however many parts there are, so unlike the variance
            of the Laplacian (`cameras.quality`) this says little about how full the tray is.
        brightness: Mean, 0 to 255.
        white: Share of the pixels that are white or nearly so, 0 to 1.
    """

    sharpness: float
    brightness: float
    white: float


def measure_view(frame: NDArray[np.uint8]) -> TrayView:
    """Return the figures of a frame, uint8 `[H, W, 3]`, BGR; takes about a millisecond at 640x480.

    They are measured on a grey version whose longer side is 320 px at most, averaged down, after a median of 3x3 pixels
    that takes away single bright or dark ones, so that neither a sensor's noise nor a reflex passes for an edge.
    """
    grey, edges = _grey_and_edges(frame)
    levels = np.bincount(grey.ravel(), minlength=256)
    return TrayView(
        sharpness=float(np.percentile(edges, _EDGES_PERCENTILE, method="lower")),
        brightness=float(levels @ np.arange(256)) / grey.size,
        white=float(levels[_WHITE:].sum()) / grey.size,
    )


def parts_sharpness(frame: NDArray[np.uint8], parts: Iterable[Instance]) -> float:
    """Return how steep the edges of some parts are, as `TrayView.sharpness` is for the whole frame.

    A few parts on a bare tray are less than 0.2% of its pixels, and say nothing of `TrayView.sharpness`.

    Args:
        frame: What they were found in, uint8 `[H, W, 3]`, BGR.
        parts: The parts; 0 without any.
    """
    _, edges = _grey_and_edges(frame)
    factor = edges.shape[1] / frame.shape[1], edges.shape[0] / frame.shape[0]
    is_near = np.zeros(edges.shape, np.bool_)
    for one in parts:
        left, upper = int(one.x * factor[0]) - 2, int(one.y * factor[1]) - 2
        right, lower = (one.x + one.width) * factor[0] + 2, (one.y + one.height) * factor[1] + 2
        is_near[max(upper, 0) : math.ceil(lower), max(left, 0) : math.ceil(right)] = True
    return float(np.percentile(edges[is_near], _PARTS_PERCENTILE, method="lower")) if is_near.any() else 0.0


def _grey_and_edges(frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return the small grey version of a frame, and the absolute value of its Laplacian after the median."""
    cv2 = quiet_opencv()
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    factor = _WORKING_SIDE_PX / max(grey.shape)
    if factor < 1:
        size = (max(1, round(grey.shape[1] * factor)), max(1, round(grey.shape[0] * factor)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype(np.uint8), np.abs(cv2.Laplacian(cv2.medianBlur(grey, 3), cv2.CV_16S)).astype(np.int16)


def view_fault(frame: NDArray[np.uint8], limits: UsableLimits) -> tuple[Reason | None, str]:
    """Return why nothing can be found in a view, and the same in words; None and nothing where it can be used.

    A view in focus whose few parts are hardly 0.2% of it looks blurred to this; ask `parts_sharpness` of what is found.
    A blurred view that is mostly white counts as washed out: that is what to mend first, and its focus cannot be told.

    Args:
        frame: uint8 `[H, W, 3]`, BGR.
        limits: What is asked of it.
    """
    view = measure_view(frame)
    if view.brightness < limits.least_brightness:
        return Reason.DARK, (
            f"is too dark (brightness {view.brightness:.0f}, at least {limits.least_brightness:g} expected); "
            "check the lamp"
        )
    if view.sharpness < limits.least_sharpness:
        figures = f"sharpness {view.sharpness:.0f}, at least {limits.least_sharpness:g} expected"
        if view.white > _MOST_WHITE:
            return Reason.WASHED_OUT, (
                f"is washed out ({100 * view.white:.0f}% of it is white; {figures}); check exposure and light"
            )
        return Reason.BLURRED, f"is blurred, or shows nothing with edges ({figures}); check focus and lens"
    return None, ""
