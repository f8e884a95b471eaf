"""One nut as a layer over a table: what a single picture and a tray of many are put together from.

Draw the table, let every nut shade it, then lay the nuts on it:

    table = draw_table(rng, canvas)
    for layer in layers:
        layer.shade_table(table)
    for layer in layers:
        layer.lay_on(table)
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nut_dataset.drawing.bore import BoreView, look_into_bore
from nut_dataset.drawing.defects import Damage, DefectKind, damage_nut
from nut_dataset.drawing.light import Room, Steel, steel_tables, tinted
from nut_dataset.drawing.shadow import SHRINK, light_in_bore, light_on_table
from nut_dataset.drawing.shape import WALL_SLOPE, Ground, NutShape, Pose
from nut_dataset.drawing.surface import forge, shade_paint, shade_surface
from nut_dataset.drawing.view import look, visible_rows
from nut_runtime.errors import InputError

__all__ = ["NutLayer", "draw_layer"]

_THREAD_ROUGHNESS = 0.12
"""Taps leave the thread brighter than the forged faces."""
_THREAD_LEFT = 0.98
"""Below this share of its thread a place on the wall counts as altered."""
_WHITE = (1.0, 1.0, 1.0)
_NUT_REACH = 1.42
"""Distance from the axis within which all of a nut lies, nut units."""
_BURR_REACH = 0.15
"""Height above the face within which all burrs lie, nut units."""
_SHADOW_REACH = 0.85
"""Distance from the nut's rectangle within which all of its shadow falls, nut units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NutLayer:
    """A nut without its table, on a rectangle of its own that may reach beyond the canvas.

    Attributes:
        top_px: Row of the canvas on which the arrays begin; may be negative.
        left_px: Column of the canvas on which the arrays begin; may be negative.
        light: From the steel, times `cover`; linear, float32 `[H, W, 3]`, BGR.
        cover: How much of each pixel is steel, float32 `[H, W]`, 0 to 1; 0 where the bore shows the table.
        outline: How much of each pixel is within the nut's outline, bore included, float32 `[H, W]`.
        defect: True where a defect changed what is seen, bool `[H, W]`.
        table_light: Light left on the table, 0 to 1, float32 `[H + 2 M, W + 2 M]`: M more on each side.
        margin_px: That M.
    """

    top_px: int
    left_px: int
    light: NDArray[np.float32]
    cover: NDArray[np.float32]
    outline: NDArray[np.float32]
    defect: NDArray[np.bool_]
    table_light: NDArray[np.float32]
    margin_px: int

    def shade_table(self, table: NDArray[np.float32]) -> None:
        """Darken `table`, linear light `[h, w, 3]`, in place, by the nut's shadow."""
        there, here = _overlap(
            table.shape, self.table_light.shape, self.top_px - self.margin_px, self.left_px - self.margin_px
        )
        part = table[there]
        if part.size == 0:
            return  # the shadow falls beyond the canvas
        part *= tinted(self.table_light[here], _WHITE)

    def lay_on(self, scene: NDArray[np.float32]) -> None:
        """Put the nut on `scene`, linear light `[h, w, 3]`, in place."""
        there, here = _overlap(scene.shape, self.cover.shape, self.top_px, self.left_px)
        part = scene[there]
        if part.size == 0:
            return  # the nut lies beyond the canvas
        part *= tinted(1 - self.cover[here], _WHITE)
        part += self.light[here]

    def on_canvas(self, field: NDArray[np.float32], canvas: tuple[int, int]) -> NDArray[np.float32]:
        """Return one of the layer's `[H, W]` arrays as float32 on the whole canvas, 0 around it."""
        whole = np.zeros(canvas, np.float32)
        there, here = _overlap(canvas, field.shape, self.top_px, self.left_px)
        whole[there] = field[here]
        return whole


def _overlap(
    canvas: tuple[int, ...], patch: tuple[int, ...], top: int, left: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part that a canvas and a patch at `top`, `left` share, as slices of each."""
    rows = slice(max(top, 0), max(min(top + patch[0], canvas[0]), 0))
    columns = slice(max(left, 0), max(min(left + patch[1], canvas[1]), 0))
    return (rows, columns), (
        slice(rows.start - top, max(rows.stop - top, 0)),
        slice(columns.start - left, max(columns.stop - left, 0)),
    )


def draw_layer(
    shape: NutShape,
    pose: Pose,
    room: Room,
    metal: np.random.Generator,
    *,
    defect: DefectKind | None = None,
    damage: np.random.Generator | None = None,
) -> NutLayer:
    """Draw one nut.

    Args:
        shape: Its dimensions.
        pose: Where it lies on the canvas.
        room: The lights.
        metal: Draws the grain of the metal.
        defect: Kind of defect, or None for a good nut.
        damage: Draws the defect; needed where there is one. It is apart from `metal`, so that a nut with
            and without its defect are equal everywhere else.

    Raises:
        InputError: If there is a defect and no `damage`.
    """
    top, left, size, pose = _own_rectangle(shape, pose)
    ground = Ground.of(pose, size)
    surface = forge(shape, ground, pose, metal)
    good_height = surface.height.copy()
    done: Damage | None = None
    if defect is not None:
        if damage is None:
            raise InputError("a defect needs a random generator of its own; give damage")
        done = damage_nut(defect, shape, pose, ground, surface, rng=damage)
    steel = steel_tables(room, pose.tilt_rad)
    rows = visible_rows(surface.height * np.float32(pose.scale_px), pose.tilt_rad)
    height_px = look(rows, surface.height * np.float32(pose.scale_px), border=-WALL_SLOPE)
    # At its foot the wall rises by its slope from pixel to pixel, and so covers a pixel by a part of that.
    outline = np.clip(height_px * np.float32(1 / WALL_SLOPE) + np.float32(0.5), 0, 1)
    grey = look(rows, shade_surface(surface, steel, pose)) * outline
    light = tinted(grey, room.tint_bgr)
    if surface.cover is not None:
        paint = look(rows, shade_paint(surface, room, pose)) * outline[..., None]
        light = light * (1 - paint[..., 3:]) + paint[..., :3]
    cover = outline.copy()
    margin = SHRINK * math.ceil(_SHADOW_REACH * pose.scale_px / SHRINK)
    table_light = light_on_table(good_height, shape, pose, room, margin_px=margin)
    bore = look_into_bore(
        shape,
        pose,
        size,
        lip=None if done is None else done.lip,
        thread=None if done is None else done.thread,
    )
    inner = table_light[margin : margin + size[0], margin : margin + size[1]]
    _put_bore(bore, shape, room, steel, light=light, cover=cover, table_light=inner)
    changed = np.zeros(size, np.bool_)
    if done is not None:
        changed = _changed_in_picture(done, rows, good_height, surface.height, pose)
        if done.thread is not None:
            lost = (bore.inside * bore.wall > 0) & (done.thread(bore.angle, bore.depth) < _THREAD_LEFT)
            changed[bore.rows, bore.columns] |= lost
    return NutLayer(
        top_px=top,
        left_px=left,
        light=light,
        cover=cover,
        outline=outline,
        defect=changed,
        table_light=table_light,
        margin_px=margin,
    )


def _own_rectangle(shape: NutShape, pose: Pose) -> tuple[int, int, tuple[int, int], Pose]:
    """Return the top, left and size of the rectangle that holds the nut, and the pose within it."""
    reach = _NUT_REACH * pose.scale_px
    flat = reach * math.cos(pose.tilt_rad)
    top = math.floor(pose.y_px - flat - (shape.height + _BURR_REACH) * pose.scale_px * math.sin(pose.tilt_rad))
    left = math.floor(pose.x_px - reach)
    rows = SHRINK * math.ceil((pose.y_px + flat - top) / SHRINK)
    columns = SHRINK * math.ceil((pose.x_px + reach - left) / SHRINK)
    return top, left, (rows, columns), replace(pose, x_px=pose.x_px - left, y_px=pose.y_px - top)


def _put_bore(
    bore: BoreView,
    shape: NutShape,
    room: Room,
    steel: Steel,
    *,
    light: NDArray[np.float32],
    cover: NDArray[np.float32],
    table_light: NDArray[np.float32],
) -> None:
    """Put thread and hole into the layer's arrays, in place."""
    window = bore.rows, bore.columns
    wall = steel.shade(bore.nx, bore.ny, np.full(bore.nx.shape, _THREAD_ROUGHNESS, np.float32)) * bore.openness
    share = (bore.inside * bore.wall)[..., None]
    outside = (1 - bore.inside)[..., None]
    light[window] = light[window] * outside + tinted(wall, room.tint_bgr) * share
    cover[window] = cover[window] * outside[..., 0] + share[..., 0]
    hole = bore.inside > 0
    table_light[window] = np.where(hole, light_in_bore(bore, shape, room), table_light[window])


def _changed_in_picture(
    done: Damage,
    rows: NDArray[np.float32],
    good_height: NDArray[np.float32],
    height: NDArray[np.float32],
    pose: Pose,
) -> NDArray[np.bool_]:
    """Return where the picture shows a changed place, or no longer shows a place that was changed."""
    changed = done.changed.astype(np.float32)
    seen = look(rows, changed) > 0
    columns = np.flatnonzero(done.changed.any(axis=0))
    if columns.size and not np.array_equal(good_height, height):
        part = slice(int(columns[0]), int(columns[-1]) + 1)  # columns do not mix
        before = visible_rows(good_height[:, part] * np.float32(pose.scale_px), pose.tilt_rad)
        seen[:, part] |= look(before, np.ascontiguousarray(changed[:, part])) > 0
    return np.asarray(seen, np.bool_)
