"""JSON that every browser reads, whatever a record holds."""

import json
import math
from typing import Any

__all__ = ["plain_json"]


def plain_json(data: Any) -> bytes:
    """Return `data` as JSON on one line, in ASCII; what is no finite number becomes null, other objects their text.

    Example:
        >>> plain_json({"score": float("nan"), "source": "part 7"})
        b'{"score":null,"source":"part 7"}'
    """
    # ASCII also carries what a file name cannot say in UTF-8.
    return json.dumps(_finite(data), separators=(",", ":"), allow_nan=False, default=str).encode("ascii")


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
