"""Whether a view of a tray can be used at all."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from nut_runtime.errors import InputError

__all__ = ["UsableLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsableLimits:
    """What is asked of a view of a tray; 0 asks for nothing.

    Attributes:
        least_sharpness: As `cameras.quality.sharpness` measures it.
    """

    least_sharpness: float = 0.0

    def __post_init__(self) -> None:
        """Check that the limits make sense.

        Raises:
            InputError: If one is negative or no number.
        """
        for name, limit in asdict(self).items():
            if not (math.isfinite(limit) and limit >= 0):
                raise InputError(f"{name} is a number of at least 0, got {limit}")

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave; a limit that is not there is the default's.

        Raises:
            InputError: If a limit makes no sense or is unknown.
        """
        try:
            return cls(**{str(name): float(limit) for name, limit in data.items()})
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"the limits of usable views make no sense: {error}") from error
