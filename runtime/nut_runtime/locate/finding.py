"""From a distance map to the parts in it: a watershed whose basins are joined where they are one part."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nut_runtime.errors import InputError
from nut_runtime.locate.instance import Flaw, Instance
from nut_runtime.locate.settings import FindSettings
from nut_runtime.locate.watershed import basins_of, join_basins
from nut_runtime.opencv import quiet_opencv

__all__ = ["find_instances", "usual_area_px"]

_SMOOTHING_PX = 1.0
"""Sigma, in pixels of the map: the noise of single pixels is no peak."""
_VALLEY = 0.8
"""Two peaks are two parts where the way between them leads below this share of the lower one."""
_LARGEST = 1.6
"""A part is too large above this many times the usual area; two parts taken for one have about 2."""
_LESS_SOLID = 0.08
"""A part fills its convex hull less, by this, than the usual part does: something has bitten a dent into it."""
_LESS_ALIKE = 0.12
"""A part turned by half covers itself less, by this, than the usual part does: something lies on one side of it."""
_ROW = 0.5
"""Parts are in one row while their centres are within this share of the usual height."""


def find_instances(
    distance_map: NDArray[np.float32], *, frame_px: tuple[int, int], settings: FindSettings
) -> tuple[Instance, ...]:
    """Return the parts in a distance map, in reading order; the same map always gives the same.

    Every pixel of at least `settings.level` climbs to its highest neighbour until it stands on a peak (`basins_of`).
    Basins are joined, over the highest pass first, where one of the two peaks is under `settings.peak`, or where the
    pass is nearly as high as the lower peak (`join_basins`). As the map is 0 at a part's outline and `level` at the
    edge of what was found, each part is then grown by what is missing, where no other part is in the way.

    Args:
        distance_map: What the locator gave, float32 `[h, w]`, 0 at outlines and 1 at innermost points; what is no
            number counts as 0.
        frame_px: Height and width of the frame that it shows.
        settings: How to find.

    Raises:
        InputError: If the map is not 2-D, or it or the frame has no pixels.
    """
    if distance_map.ndim != 2 or not distance_map.size or min(frame_px) < 1:  # noqa: PLR2004 - height and width
        shapes = f"{list(distance_map.shape)} for a frame of {list(frame_px)}"
        raise InputError(f"a distance map and its frame have height and width, got the shape {shapes}")
    cv2 = quiet_opencv()
    heights = np.nan_to_num(np.asarray(distance_map, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    heights = cv2.GaussianBlur(heights, (0, 0), _SMOOTHING_PX, borderType=cv2.BORDER_REPLICATE)
    labels, peaks = join_basins(*basins_of(heights, settings.level), heights, least_peak=settings.peak, valley=_VALLEY)
    found = list(_in_frame(labels, peaks, settings.level, frame_px))
    whole = [(one, shape) for one, shape in found if not _is_at_border(one, frame_px)]
    usual = _Shape(
        solidity=_median([shape.solidity for _, shape in whole]),
        likeness=_median([shape.likeness for _, shape in whole]),
    )
    area_px = usual_area_px([one for one, _ in found], frame_px=frame_px, settings=settings)
    judged = [
        replace(one, flaw=_flaw(one, shape, usual, one.area_px / area_px, frame_px, settings.least_area))
        for one, shape in found
    ]
    return tuple(replace(one, number=number) for number, one in enumerate(_in_reading_order(judged), 1))


def usual_area_px(instances: Sequence[Instance], *, frame_px: tuple[int, int], settings: FindSettings) -> float:
    """Return the area that a part usually has, in pixels of this frame.

    It is what the settings say, or else the median of the parts that no edge cuts (of all, where every one is cut).

    Args:
        instances: The parts of the frame.
        frame_px: Its height and width.
        settings: How they were found.

    Returns:
        The area; NaN where the settings say nothing and there are no parts.
    """
    if settings.area_px is not None:
        return settings.area_px * (max(frame_px) / settings.long_side_px) ** 2
    areas = [one.area_px for one in instances if not _is_at_border(one, frame_px)]
    areas = areas or [one.area_px for one in instances]
    return _median(areas)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What of a part's shape does not depend on its size and turn.

    Attributes:
        solidity: Share of its convex hull that it fills, 0 to 1.
        likeness: How much of it and of itself turned by half, about its centre, is in both, 0 to 1. A square, a hexagon
            and a disc have 1. What has less by its nature has it in the usual part, too.
    """

    solidity: float
    likeness: float


def _in_frame(
    labels: NDArray[np.int32], peaks: NDArray[np.float32], level: float, frame_px: tuple[int, int]
) -> Iterator[tuple[Instance, _Shape]]:
    """Give the parts of a label picture of the map's size in pixels of the frame, not numbered yet."""
    cv2 = quiet_opencv()
    owner, field = _field(labels, len(peaks), level)
    boxes = _boxes(owner, len(peaks)).tolist()
    across, down = frame_px[1] / labels.shape[1], frame_px[0] / labels.shape[0]
    for label, peak in enumerate(peaks.tolist(), 1):
        left, upper, right, lower = boxes[label]
        # One pixel more on each side: there the field falls below 0.
        own = np.full((lower - upper + 2, right - left + 2), -1.0, np.float32)
        inside = np.s_[upper:lower, left:right]
        np.copyto(own[1:-1, 1:-1], field[inside], where=owner[inside] == label)
        own = _extended(own, left, upper, right, lower, labels.shape)
        x, y = max(math.floor((left - 0.5) * across), 0), max(math.floor((upper - 0.5) * down), 0)
        size = (
            min(math.ceil((right + 0.5) * across), frame_px[1]) - x,
            min(math.ceil((lower + 0.5) * down), frame_px[0]) - y,
        )
        # Pixel centres lie at halves: the frame's x is (map x + 0.5) * across - 0.5.
        matrix = np.array(
            [
                [1 / across, 0, (x + 0.5) / across - 0.5 - (left - 1)],
                [0, 1 / down, (y + 0.5) / down - 0.5 - (upper - 1)],
            ]
        )
        warped = cv2.warpAffine(
            own, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
        one = _instance((warped > 0).view(np.uint8), (x, y), peak)
        if one is not None:
            yield one


def _extended(
    own: NDArray[np.float32], left: int, upper: int, right: int, lower: int, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Return a part's field with its margin at the map's edges as the edge is: the frame ends there, not the part."""
    if upper == 0:
        own[0] = own[1]
    if lower == shape[0]:
        own[-1] = own[-2]
    if left == 0:
        own[:, 0] = own[:, 1]
    if right == shape[1]:
        own[:, -1] = own[:, -2]
    return own


def _field(labels: NDArray[np.int32], count: int, level: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return whose each pixel is once the parts are grown, and a field that is above 0 in a part, -1 to 1.

    A part whose innermost point is `depth` from its outline was found up to `level * depth` from it, and what was found
    is `found = depth - level * depth` deep: close to half the square root of its area (a square 0.5, a disc 0.56). A
    distance transform gives the first pixel inside an outline 1, though its middle is half a pixel from it; so the
    map's `depth` is half a pixel more than it is, and the outline half a pixel nearer.
    """
    cv2 = quiet_opencv()
    areas = np.bincount(labels.ravel(), minlength=count + 1).astype(np.float32)
    areas[0] = 0
    reach = np.maximum((level * (0.5 * np.sqrt(areas) + 0.5) - 0.5) / (1 - level), 0)
    distance = cv2.distanceTransform((labels == 0).astype(np.uint8), cv2.DIST_L2, 5)
    grown = labels.astype(np.float32)  # of the types that cv2.dilate takes, the one that holds any number of parts
    for _ in range(math.ceil(float(reach.max()) + 0.5)):
        np.copyto(grown, cv2.dilate(grown, np.ones((3, 3), np.uint8)), where=grown == 0)
    owner = grown.astype(np.int32)
    # The middle of the first pixel outside is half a pixel from the edge.
    return owner, np.where(labels > 0, np.float32(1), np.clip(reach[owner] + 0.5 - distance, -1, 1))


def _boxes(owner: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return left, upper, right and lower edge of each label, int64 `[count + 1, 4]`; right and lower are beyond it."""
    height, width = owner.shape
    boxes = np.zeros((count + 1, 4), np.int64)
    for axis, (first, last) in enumerate(((1, 3), (0, 2))):
        length = (height, width)[axis]
        at = np.arange(length).reshape((-1, 1) if axis == 0 else (1, -1)) * (count + 1)
        is_there = np.zeros(length * (count + 1), np.bool_)
        is_there[(owner + at).ravel()] = True
        by_line = is_there.reshape(length, count + 1)
        boxes[:, first] = by_line.argmax(axis=0)
        boxes[:, last] = length - by_line[::-1].argmax(axis=0)
    return boxes


def _instance(mask: NDArray[np.uint8], corner: tuple[int, int], peak: float) -> tuple[Instance, _Shape] | None:
    """Return a part whose box is drawn tightly around its mask, and its shape; None where the mask is empty."""
    cv2 = quiet_opencv()
    left, upper, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    mask = mask[upper : upper + height, left : left + width]
    x, y = corner[0] + left, corner[1] + upper
    moments = cv2.moments(mask, binaryImage=True)
    area = moments["m00"]
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(contours))
    # The hull goes through the middles of pixels; half a pixel more on all sides is what pixels cover.
    hull_area = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
    one = Instance(
        number=0,
        mask=mask.astype(np.bool_),
        x=x,
        y=y,
        centre=(x + moments["m10"] / area, y + moments["m01"] / area),
        angle_deg=float(cv2.minAreaRect(hull)[2] % 90.0),
        area_px=round(area),
        peak=peak,
    )
    return one, _Shape(solidity=area / hull_area, likeness=_likeness(one))


def _flaw(
    one: Instance, shape: _Shape, usual: _Shape, area: float, frame_px: tuple[int, int], least_area: float
) -> Flaw | None:
    """Return why a part is not to be judged; the edge comes first, since it explains a small area.

    What lies on a part bites a dent out of it, which its hull tells, or cuts a corner off straight, which turning it by
    half tells.

    Args:
        one: The part.
        shape: Its shape.
        usual: That of the usual part; NaN where all are at the edge.
        area: Its area over the usual one.
        frame_px: Height and width of the frame.
        least_area: What `area` must be at least.
    """
    if _is_at_border(one, frame_px):
        return Flaw.AT_BORDER
    if area < least_area:
        return Flaw.TOO_SMALL
    if area > _LARGEST:
        return Flaw.TOO_LARGE
    is_bitten = shape.solidity < usual.solidity - _LESS_SOLID or shape.likeness < usual.likeness - _LESS_ALIKE
    return Flaw.OVERLAPPED if is_bitten else None


def _likeness(one: Instance) -> float:
    """Return how alike a part is to itself turned by half."""
    height, width = one.mask.shape
    # Turned about its middle the mask has its centre mirrored; so much is it moved back, in whole pixels.
    right, down = round(2 * (one.centre[0] - one.x) - (width - 1)), round(2 * (one.centre[1] - one.y) - (height - 1))
    turned = one.mask[::-1, ::-1]
    here = one.mask[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    there = turned[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
    both = int(np.count_nonzero(here & there))
    return both / (2 * one.area_px - both)


def _median(values: Sequence[float]) -> float:
    """Return the median; NaN of nothing, which is neither above nor below anything."""
    return float(np.median(values)) if values else math.nan


def _is_at_border(one: Instance, frame_px: tuple[int, int]) -> bool:
    return one.x <= 0 or one.y <= 0 or one.x + one.width >= frame_px[1] or one.y + one.height >= frame_px[0]


def _in_reading_order(instances: Sequence[Instance]) -> list[Instance]:
    """Return the parts by rows, and from left to right in each."""
    if not instances:
        return []
    least_step = _ROW * float(np.median([one.height for one in instances]))
    row_from = -math.inf
    row = -1
    rows: list[tuple[int, float, float, Instance]] = []
    for one in sorted(instances, key=lambda one: (one.centre[1], one.centre[0])):
        if one.centre[1] - row_from > least_step:
            row, row_from = row + 1, one.centre[1]
        rows.append((row, one.centre[0], one.centre[1], one))
    return [one for *_, one in sorted(rows, key=lambda place: place[:3])]
