"""AUROC of one property for many labellings at once; ties count one half."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["category_auroc", "measure_auroc", "one_hot"]


def measure_auroc(values: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how well the size of a number tells the labelled ones from the others, in either direction.

    Args:
        values: One number for each picture, shape (N,).
        labels: Labellings, shape (B, N), each with at least one True and one False.

    Returns:
        AUROC or its complement, whichever is larger, shape (B,), 0.5..1.

    Example:
        >>> labels = np.array([[True, True, False, False], [True, False, True, False]])
        >>> measure_auroc(np.array([1.0, 2.0, 3.0, 4.0]), labels)
        array([1.  , 0.75])
    """
    _, level, size = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[level]  # (N,), from 1; equal values share their mean rank
    n_true = labels.sum(axis=1)  # (B,)
    above = labels @ ranks - n_true * (n_true + 1) / 2  # pairs in which the labelled one is larger
    auroc = above / (n_true * (labels.shape[1] - n_true))
    return np.maximum(auroc, 1 - auroc)


def category_auroc(members: NDArray[np.bool_], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how well the best guess from a category tells the labelled pictures from the others.

    The best guess ranks a picture by the share of labelled ones in its category.

    Args:
        members: Which category each picture is in, shape (N, C), one True a row.
        labels: Labellings, shape (B, N), each with at least one True and one False.

    Returns:
        AUROC of that ranking, shape (B,), 0.5..1.

    Example:
        >>> members = one_hot(["RGB", "RGB", "L", "L"])
        >>> category_auroc(members, np.array([[True, True, False, False], [True, False, True, False]]))
        array([1. , 0.5])
    """
    inside = labels.astype(np.float64) @ members  # (B, C): labelled pictures in each category
    outside = members.sum(axis=0) - inside
    order = np.argsort(inside / members.sum(axis=0), axis=1)
    inside, outside = np.take_along_axis(inside, order, 1), np.take_along_axis(outside, order, 1)
    below = np.cumsum(outside, axis=1) - outside / 2  # (B, C): others ranked lower, half of those ranked alike
    return (inside * below).sum(axis=1) / (inside.sum(axis=1) * outside.sum(axis=1))


def one_hot(words: Sequence[str]) -> NDArray[np.bool_]:
    """Return which category each word is in, shape (N, C); words that occur once share one category.

    Without that, a word of its own for every picture would "tell" all labels.
    """
    often = sorted(word for word, count in Counter(words).items() if count > 1)
    members = np.array([[word == category for category in often] for word in words], bool).reshape(len(words), -1)
    rare = ~members.any(axis=1, keepdims=True)
    return np.concatenate([members, rare], axis=1) if rare.any() else members
