"""What size a locator brings a frame to: one rule for training, the exported graph and those who look at its map."""

from nut_runtime.errors import InputError

__all__ = ["STRIDE_PX", "network_size"]

STRIDE_PX = 32
"""A U-Net halves its input five times, so its sides are multiples of this."""


def network_size(height_px: int, width_px: int, *, long_side_px: int) -> tuple[int, int]:
    """Return height and width that a frame is brought to.

    Its longer side becomes `long_side_px`, both sides the nearest multiples of 32, a half upwards, and at least 32.
    In whole numbers, so that the graph, which computes the same, cannot round otherwise.

    Args:
        height_px: Of the frame, at least 1.
        width_px: Of the frame, at least 1.
        long_side_px: Of the network's input, a multiple of 32.

    Raises:
        InputError: If a side is under 1, or the longer side is no multiple of 32.

    Example:
        >>> network_size(480, 640, long_side_px=384), network_size(20, 900, long_side_px=384)
        ((288, 384), (32, 384))
    """
    longest = max(height_px, width_px)
    if min(height_px, width_px) < 1:
        raise InputError(f"a frame has at least one pixel a side, got {height_px}x{width_px}")
    if long_side_px < STRIDE_PX or long_side_px % STRIDE_PX:
        raise InputError(f"the locator's longer side must be a multiple of {STRIDE_PX}, got {long_side_px}")
    height, width = (
        STRIDE_PX * max(1, (2 * side * long_side_px + STRIDE_PX * longest) // (2 * STRIDE_PX * longest))
        for side in (height_px, width_px)
    )
    return height, width
