"""What the locator is taught: every pixel counts, and those that keep touching parts apart count more."""

from torch import Tensor, nn

__all__ = ["distance_loss"]

_REACH = 9  # pixels of the map around a place in which a part makes it an outline or a valley
_LOW, _HIGH = 0.35, 0.6
_OUTLINE_WEIGHT = 4.0
_BCE_SHARE = 0.25


def distance_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean weighted difference of distance maps, a number of at least 0.

    The absolute difference, which leaves sharp valleys, and some cross-entropy, whose slope does not vanish where the
    network is sure and wrong. Low places near a part's middle are outlines and the valleys between parts.

    Args:
        logits: Before the sigmoid, `[B, 1, h, w]`.
        target: 0 to 1, `[B, 1, h, w]`.
    """
    near = nn.functional.max_pool2d(target, _REACH, stride=1, padding=_REACH // 2)
    weights = 1 + (_OUTLINE_WEIGHT - 1) * ((target < _LOW) & (near > _HIGH)).to(target.dtype)
    absolute = (logits.sigmoid() - target).abs()
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return ((absolute + _BCE_SHARE * entropy) * weights).sum() / weights.sum()
