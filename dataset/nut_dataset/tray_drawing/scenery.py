"""The kinds of place where trays are photographed, from a sheet of paper to a lit glass tray in a rig."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

__all__ = ["Scenery", "random_scenery"]


class _Kind(Enum):
    """Which real place a scenery is like."""

    PAPER = "paper"
    RIG_FAR = "rig-far"
    RIG_NEAR = "rig-near"
    ANY = "any"


_SHARES = {_Kind.PAPER: 0.32, _Kind.RIG_FAR: 0.28, _Kind.RIG_NEAR: 0.25, _Kind.ANY: 0.15}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """What decides the look of one picture. Lengths are for a picture whose longer side is 640 px.

    Attributes:
        brightness: Of the table, linear light; above 1.3 it is white whatever lies on it.
        tint_bgr: Colour of the table.
        side: Least and largest side of a nut, as shares of the way from the smallest to the largest asked for.
        tilt_rad: Lean of nuts in the picture's corners; the middle is seen from above.
        is_radial: Whether nuts lean away from the picture's middle, as they do before a near camera.
        shadow: Strength of shadows, 1 for the usual lamp, 0 for light from everywhere.
        steel: Factor on the light of the nuts.
        barrel: Distortion of the lens, 0 for none.
        walls: Whether the tray's rim is seen.
        tape: How many strips of tape are seen.
        sheets: How many edges of paper are seen.
        clutter: How many things that are no nuts are seen.
        contrast: Factor on the levels' distance from their middle; 1 leaves them.
        sharpening: Strength of the camera's sharpening, 0 for none.
        blur_px: Sigma of the lens.
        noise: Deviation in grey levels.
        vignette: Light lost in the corners.
    """

    brightness: float
    tint_bgr: tuple[float, float, float]
    side: tuple[float, float]
    tilt_rad: float
    is_radial: bool
    shadow: float
    steel: float
    barrel: float
    walls: bool
    tape: int
    sheets: int
    clutter: int
    contrast: float
    sharpening: float
    blur_px: float
    noise: float
    vignette: float


def random_scenery(rng: np.random.Generator) -> Scenery:
    """Return a place: mostly one of three that are known, sometimes anything between them."""
    kind = list(_SHARES)[int(rng.choice(len(_SHARES), p=list(_SHARES.values())))]
    blurred = rng.random() < 0.12  # noqa: PLR2004 - one in eight is out of focus, though not beyond use
    blur = float(rng.uniform(1.2, 2.4) if blurred else rng.uniform(0.4, 0.9))
    clutter = int(rng.choice(4, p=[0.5, 0.25, 0.15, 0.10]))
    return {_Kind.PAPER: _paper, _Kind.RIG_FAR: _rig_far, _Kind.RIG_NEAR: _rig_near, _Kind.ANY: _any}[kind](
        rng, blur, clutter
    )


def _tint(rng: np.random.Generator, blue: float, red: float, play: float) -> tuple[float, float, float]:
    """Return a colour near the one given, with some play."""
    return (
        1 + blue + float(rng.uniform(-play, play)),
        1.0,
        1 + red + float(rng.uniform(-play, play)),
    )


def _paper(rng: np.random.Generator, blur_px: float, clutter: int) -> Scenery:
    """A phone above paper, daylight or a lamp."""
    return Scenery(
        brightness=float(rng.uniform(0.28, 0.95)),
        tint_bgr=_tint(rng, -0.04, 0.0, 0.08),
        side=(0.35, 1.0),
        tilt_rad=float(rng.uniform(0.04, 0.22)),
        is_radial=bool(rng.random() < 0.6),  # noqa: PLR2004 - both are seen
        shadow=float(rng.uniform(0.4, 1.2)),
        steel=float(rng.uniform(0.5, 1.1)),
        barrel=float(rng.uniform(0, 0.04)),
        walls=False,
        tape=int(rng.random() < 0.1),  # noqa: PLR2004 - now and then
        sheets=int(rng.integers(0, 3)),
        clutter=clutter,
        contrast=float(rng.uniform(0.85, 1.2)),
        sharpening=float(rng.uniform(0, 0.8)),
        blur_px=blur_px,
        noise=float(rng.uniform(0.8, 3.0)),
        vignette=float(rng.uniform(0, 0.3)),
    )


def _rig_far(rng: np.random.Generator, blur_px: float, clutter: int) -> Scenery:
    """The camera above the middle of a lit tray: whole tray, small nuts, rim and tape in view."""
    return Scenery(
        brightness=float(rng.uniform(0.55, 1.2)),
        tint_bgr=_tint(rng, 0.02, 0.01, 0.05),
        side=(0.0, 0.3),
        tilt_rad=float(rng.uniform(0.1, 0.6)),
        is_radial=True,
        shadow=float(rng.uniform(0, 0.3)),
        steel=float(rng.uniform(0.5, 1.3)),
        barrel=float(rng.uniform(0.06, 0.22)),
        walls=bool(rng.random() < 0.85),  # noqa: PLR2004 - mostly
        tape=int(rng.integers(0, 3)),
        sheets=0,
        clutter=clutter,
        contrast=float(rng.uniform(1.0, 1.5)),
        sharpening=float(rng.uniform(0.4, 1.8)),
        blur_px=blur_px,
        noise=float(rng.uniform(1.0, 4.0)),
        vignette=float(rng.uniform(0, 0.4)),
    )


def _rig_near(rng: np.random.Generator, blur_px: float, clutter: int) -> Scenery:
    """A near camera, exposed so long that the tray is white."""
    return Scenery(
        brightness=float(rng.uniform(1.1, 1.9)),
        tint_bgr=_tint(rng, -0.02, 0.0, 0.05),
        side=(0.2, 0.65),
        tilt_rad=float(rng.uniform(0.3, 0.75)),
        is_radial=True,
        shadow=float(rng.uniform(0, 0.2)),
        steel=float(rng.uniform(0.9, 3.0)),
        barrel=float(rng.uniform(0.05, 0.2)),
        walls=bool(rng.random() < 0.5),  # noqa: PLR2004 - half of them
        tape=int(rng.integers(0, 2)),
        sheets=0,
        clutter=clutter,
        contrast=float(rng.uniform(1.0, 1.6)),
        sharpening=float(rng.uniform(0.6, 2.5)),
        blur_px=blur_px,
        noise=float(rng.uniform(0.8, 3.0)),
        vignette=float(rng.uniform(0, 0.25)),
    )


def _any(rng: np.random.Generator, blur_px: float, clutter: int) -> Scenery:
    """Nothing in particular, so that the locator does not rely on the three."""
    return Scenery(
        brightness=float(rng.uniform(0.06, 1.5)),
        tint_bgr=_tint(rng, 0.0, 0.0, 0.35),
        side=(0.0, 1.0),
        tilt_rad=float(rng.uniform(0, 0.6)),
        is_radial=bool(rng.random() < 0.5),  # noqa: PLR2004 - both
        shadow=float(rng.uniform(0, 1.4)),
        steel=float(rng.uniform(0.4, 2.5)),
        barrel=float(rng.uniform(0, 0.2)),
        walls=bool(rng.random() < 0.3),  # noqa: PLR2004 - some
        tape=int(rng.integers(0, 3)),
        sheets=int(rng.integers(0, 3)),
        clutter=clutter + int(rng.integers(0, 3)),
        contrast=float(rng.uniform(0.5, 1.5)),
        sharpening=float(rng.uniform(0, 2.0)),
        blur_px=blur_px,
        noise=float(rng.uniform(0.5, 6.0)),
        vignette=float(rng.uniform(0, 0.5)),
    )
