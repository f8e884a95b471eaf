"""A few of many, spread evenly: pictures to measure on, without favouring the first ones."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["evenly"]

Item = TypeVar("Item")


def evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """Return at most `limit` of the items, in their order, the first and the last among them.

    Args:
        items: Any number of them, none included.
        limit: At least 1; a limit of 1 takes the first.

    Example:
        >>> evenly("abcdefg", 3)
        ['a', 'd', 'g']
    """
    places = np.unique(np.linspace(0, len(items) - 1, min(limit, len(items))).round().astype(int))
    return [items[place] for place in places]
