"""Frames of several sizes, dealt out to batches of one size each."""

from collections.abc import Hashable, Sequence

__all__ = ["deal_out", "is_worth_filling"]


def deal_out(sizes: Sequence[Hashable], most: int) -> list[list[int]]:
    """Return the places of frames, in groups of one size and of `most` at most, each in the order of the frames.

    Args:
        sizes: The size of each frame.
        most: Frames of a group, at least 1.

    Example:
        >>> deal_out(["small", "large", "small", "small"], 2)
        [[0, 2], [3], [1]]
    """
    alike: dict[Hashable, list[int]] = {}
    for place, size in enumerate(sizes):
        alike.setdefault(size, []).append(place)
    return [places[start : start + most] for places in alike.values() for start in range(0, len(places), most)]


def is_worth_filling(frames: int, size: int) -> bool:
    """Return whether so many frames are at least half a batch: fewer are judged sooner one by one.

    A batch always takes the time of a full one, which on a CPU is about that of its frames one after the other.
    """
    return 2 * frames >= size
