"""Six kinds of defect, each a change of form or material before the light falls on it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.bore import AngleProfile, ThreadProfile
from nut_dataset.drawing.noise import clouds
from nut_dataset.drawing.shape import Ground, NutShape, Pose
from nut_dataset.drawing.strokes import distance_to_line, ragged, wander
from nut_dataset.drawing.surface import Surface

__all__ = ["Damage", "DefectKind", "damage_nut"]


class DefectKind(StrEnum):
    """Names of the kinds, as the folders are called."""

    SCRATCH = "scratch"
    DENT = "dent"
    MISSING_THREAD = "missing_thread"
    BURR = "burr"
    CONTAMINATION = "contamination"
    CRACK = "crack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What a defect changed.

    Attributes:
        changed: True where form or material of the height map was altered, bool `[H, W]`.
        lip: Material that sticks out into the bore, or None.
        thread: Where the thread is left, or None where all of it is.
    """

    changed: NDArray[np.bool_]
    lip: AngleProfile | None = None
    thread: ThreadProfile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workpiece:
    """All that a defect needs to know of the nut it damages."""

    shape: NutShape
    pose: Pose
    ground: Ground
    surface: Surface

    @property
    def steel(self) -> NDArray[np.bool_]:
        """True where the map shows the nut, without the closed bore."""
        return (self.surface.height > 0) & (self.ground.r > self.shape.bore_radius)


def damage_nut(
    kind: DefectKind,
    shape: NutShape,
    pose: Pose,
    ground: Ground,
    surface: Surface,
    *,
    rng: np.random.Generator,
) -> Damage:
    """Give a nut a defect; `surface` is changed in place.

    Args:
        kind: What to do to it.
        shape: The nut.
        pose: Where it lies.
        ground: Coordinates of the map.
        surface: Form and material of the good nut.
        rng: Draws place, size and severity.
    """
    piece = _Workpiece(shape=shape, pose=pose, ground=ground, surface=surface)
    return _KINDS[kind](piece, rng)


def _scratch(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Draw something hard across the face: a bright groove with raised sides."""
    shape, surface = piece.shape, piece.surface
    angle = rng.uniform(-math.pi, math.pi)
    radius = rng.uniform(shape.sink_radius + 0.02, shape.half_width)
    length = rng.uniform(0.40, 0.95)
    heading = angle + math.pi / 2 + rng.uniform(-0.7, 0.7)
    start = (
        radius * math.cos(angle) - 0.5 * length * math.cos(heading),
        radius * math.sin(angle) - 0.5 * length * math.sin(heading),
    )
    line = wander(rng, start, heading, length=length, steps=7, jitter_rad=0.05, bend_rad=rng.uniform(-0.3, 0.3))
    distance, position = distance_to_line(piece.ground.x, piece.ground.y, line)
    reach = np.float32(rng.uniform(0.026, 0.046)) * (0.35 + 0.65 * np.sin(math.pi * position))
    changed = (distance < reach) & piece.steel
    t = np.where(changed, distance / reach, 1)
    profile = np.square(1 - t * t)
    depth = rng.uniform(0.016, 0.032)
    surface.height -= np.float32(depth) * (profile - 2.2 * profile * t * t)
    surface.bump_px *= 1 - 0.8 * profile
    surface.albedo += np.float32(rng.uniform(0.8, 1.8)) * profile
    surface.roughness *= 1 - 0.6 * profile
    return Damage(changed=changed)


def _dent(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Knock the face or its edge: a crumpled hollow with a lip pushed up around it."""
    shape, surface, ground = piece.shape, piece.surface, piece.ground
    angle = rng.uniform(-math.pi, math.pi)
    radius = rng.uniform(shape.sink_radius + 0.02, shape.half_width)
    wide, long = rng.uniform(0.13, 0.22), rng.uniform(0.18, 0.36)
    turn = angle + math.pi / 2 + rng.uniform(-0.5, 0.5)
    dx, dy = ground.x - np.float32(radius * math.cos(angle)), ground.y - np.float32(radius * math.sin(angle))
    along = (dx * math.cos(turn) + dy * math.sin(turn)) / np.float32(long)
    across = (dy * math.cos(turn) - dx * math.sin(turn)) / np.float32(wide)
    uneven = clouds(rng, ground.r.shape, cell_px=0.09 * piece.pose.scale_px)
    reach = np.sqrt(along * along + across * across) + 0.10 * uneven
    changed = (reach < 1) & piece.steel
    t = np.where(changed, np.maximum(reach, 0), 1)
    profile = np.square(1 - t * t)
    crumple = clouds(rng, ground.r.shape, cell_px=0.085 * piece.pose.scale_px)
    depth = rng.uniform(0.06, 0.14)
    surface.height -= np.float32(depth) * (profile - 1.6 * profile * t * t) + 0.014 * profile * crumple
    surface.bump_px *= 1 - 0.6 * profile
    surface.roughness *= 1 - 0.55 * profile
    surface.albedo += 0.15 * profile * np.clip(crumple, -1, 1.5)
    return Damage(changed=changed)


def _missing_thread(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Leave out the tap: no thread at all, none from some depth on, or a stripped side."""
    nothing = np.zeros(piece.ground.r.shape, np.bool_)
    kind = rng.integers(3)
    if kind == 0:
        return Damage(changed=nothing, thread=lambda _angle, depth: np.zeros_like(depth))
    if kind == 1:
        end = rng.uniform(0.05, 0.35) * piece.shape.lip_height
        return Damage(
            changed=nothing,
            thread=lambda _angle, depth: np.clip((np.float32(end) - depth) / np.float32(0.05), 0, 1),
        )
    # The camera sees the far wall, which lies towards the picture's upper edge: strip the thread there.
    centre = -math.pi / 2 + rng.uniform(-0.6, 0.6) - piece.pose.angle_rad
    half = rng.uniform(0.45, 0.95)

    def stripped(angle: NDArray[np.float32], _depth: NDArray[np.float32]) -> NDArray[np.float32]:
        off = np.abs(np.mod(angle - np.float32(centre) + np.float32(math.pi), np.float32(2 * math.pi)) - math.pi)
        return np.clip((off - half) / 0.15, 0, 1).astype(np.float32)

    return Damage(changed=nothing, thread=stripped)


def _burr(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Leave torn metal standing at the lip of the bore or at the outer edge of the face."""
    return _lip_burr(piece, rng) if rng.uniform() < 0.5 else _edge_burr(piece, rng)  # noqa: PLR2004


def _lip_burr(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Let a ragged flake hang into the bore."""
    shape, surface, ground = piece.shape, piece.surface, piece.ground
    centre, half = rng.uniform(-math.pi, math.pi), rng.uniform(0.25, 0.6)
    size, root = rng.uniform(0.07, 0.17), 0.05
    teeth, key = int(rng.integers(4, 9)), int(rng.integers(2**32))

    def hump(angle: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.float32(size) * ragged(
            np.random.default_rng(key), angle, centre_rad=centre, half_width_rad=half, teeth=teeth
        )

    reach = hump(np.arctan2(ground.w, ground.u))
    inner, outer = shape.bore_radius - reach, shape.bore_radius + root
    changed = (reach > 0) & (ground.r > inner) & (ground.r < outer)
    t = np.where(changed, (outer - ground.r) / np.maximum(outer - inner, np.float32(1e-3)), 0)
    crumple = clouds(rng, ground.r.shape, cell_px=0.08 * piece.pose.scale_px)
    rise = np.float32(4) * t * (1 - t)
    surface.height = np.where(changed, np.maximum(surface.height, shape.lip_height), surface.height)
    surface.height += rise * (0.035 + 0.02 * crumple) * (reach / np.float32(size))
    surface.roughness = np.where(changed, 0.25, surface.roughness).astype(np.float32)
    surface.albedo += np.where(changed, np.float32(0.12), np.float32(0))
    return Damage(changed=changed, lip=hump)


def _edge_burr(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Let a ragged fin stand up and out along a side of the face."""
    shape, surface, ground = piece.shape, piece.surface, piece.ground
    side = int(rng.integers(4)) * math.pi / 2
    out = ground.u * math.cos(side) + ground.w * math.sin(side)
    along = ground.w * math.cos(side) - ground.u * math.sin(side)
    middle, half = rng.uniform(-0.25, 0.25), rng.uniform(0.18, 0.40)
    fin = ragged(rng, along, centre_rad=middle, half_width_rad=half, teeth=int(rng.integers(4, 9)))
    wide = np.float32(rng.uniform(0.05, 0.10)) * (0.4 + 0.6 * fin)
    t = (out - np.float32(shape.half_width)) / np.maximum(wide, np.float32(1e-3))
    changed = (fin > 0) & (np.abs(t) < 1)
    hill = np.where(changed, np.square(1 - t * t), 0) * fin
    crumple = clouds(rng, ground.r.shape, cell_px=0.08 * piece.pose.scale_px)
    top = np.float32(shape.height) + hill * (np.float32(rng.uniform(0.05, 0.12)) + 0.02 * crumple)
    surface.height = np.where(
        changed, surface.height + (top - surface.height) * np.minimum(hill * 3, 1), surface.height
    ).astype(np.float32)
    surface.roughness *= 1 - 0.7 * np.minimum(hill * 2, 1)
    surface.albedo += 0.3 * hill
    return Damage(changed=changed)


_STAINS_BGR = {
    "rust": (0.025, 0.065, 0.17),
    "grease": (0.018, 0.020, 0.022),
    "lime": (0.60, 0.63, 0.64),
    "paint": (0.26, 0.11, 0.035),
}
"""Colours of foreign matter in linear light."""
_THINNEST_COVER = 0.03
"""A thinner film would change the mask and nothing that can be seen."""


def _contamination(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Put something on the face that does not belong there."""
    surface, ground, scale = piece.surface, piece.ground, piece.pose.scale_px
    stain = list(_STAINS_BGR.values())[rng.integers(len(_STAINS_BGR))]
    angle, radius = rng.uniform(-math.pi, math.pi), rng.uniform(0.70, 0.95)
    size = rng.uniform(0.13, 0.30)
    dx, dy = ground.x - np.float32(radius * math.cos(angle)), ground.y - np.float32(radius * math.sin(angle))
    shape = ground.r.shape
    uneven = 0.28 * clouds(rng, shape, cell_px=0.16 * scale) + 0.12 * clouds(rng, shape, cell_px=0.05 * scale)
    inside = 1 - np.sqrt(dx * dx + dy * dy) / np.float32(size) + uneven
    near = dx * dx + dy * dy < (2 * size) ** 2
    cover = np.where(near & piece.steel, np.clip(inside * 4, 0, 1), 0) * np.float32(rng.uniform(0.65, 0.95))
    shades = 1 + 0.18 * clouds(rng, shape, cell_px=0.04 * scale)
    cover[cover < _THINNEST_COVER] = 0
    surface.paint = (np.maximum(shades, 0.3)[..., None] * np.array(stain, np.float32)).astype(np.float32)
    surface.cover = cover.astype(np.float32)
    return Damage(changed=cover > 0)


def _crack(piece: _Workpiece, rng: np.random.Generator) -> Damage:
    """Split the ring from the countersink outwards, sometimes with a branch."""
    shape, surface, ground = piece.shape, piece.surface, piece.ground
    angle = rng.uniform(-math.pi, math.pi)
    start = (shape.bore_radius * math.cos(angle), shape.bore_radius * math.sin(angle))
    length = rng.uniform(0.26, 0.48)
    heading = angle + rng.uniform(-0.6, 0.6)
    line = wander(rng, start, heading, length=length, steps=9, jitter_rad=0.45, bend_rad=rng.uniform(-0.5, 0.5))
    distance, position = distance_to_line(ground.x, ground.y, line)
    reach = np.float32(rng.uniform(0.018, 0.032)) * (1.0 - 0.65 * position)
    if rng.uniform() < 0.5:  # noqa: PLR2004 - every other crack has a branch
        fork = line[int(rng.integers(3, 7))]
        branch = wander(
            rng,
            (float(fork[0]), float(fork[1])),
            heading + rng.choice([-0.9, 0.9]),
            length=length * 0.5,
            steps=6,
            jitter_rad=0.45,
            bend_rad=0.0,
        )
        other, place = distance_to_line(ground.x, ground.y, branch)
        other_reach = np.float32(0.016) * (1.0 - 0.6 * place)
        nearer = other / other_reach < distance / reach
        distance, reach = np.where(nearer, other, distance), np.where(nearer, other_reach, reach)
    changed = (distance < reach) & piece.steel
    profile = np.where(changed, 1 - distance / reach, 0).astype(np.float32)
    surface.height -= 0.05 * profile
    surface.albedo *= 1 - 0.92 * np.minimum(profile * 1.8, 1)
    return Damage(changed=changed)


_KINDS: dict[DefectKind, Callable[[_Workpiece, np.random.Generator], Damage]] = {
    DefectKind.SCRATCH: _scratch,
    DefectKind.DENT: _dent,
    DefectKind.MISSING_THREAD: _missing_thread,
    DefectKind.BURR: _burr,
    DefectKind.CONTAMINATION: _contamination,
    DefectKind.CRACK: _crack,
}
