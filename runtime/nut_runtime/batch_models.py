"""The models of a bundle that judge several frames at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["LEAST_BATCH", "BatchModels"]

LEAST_BATCH = 2
"""Frames that are more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchModels:
    """Models that take so many frames of one size at a time, exactly; of a cascade those of the fast one.

    Attributes:
        size: How many frames.
        models: File for each engine.
        proof: By engine, how far its scores and maps are from those of the models for one frame.
    """

    size: int
    models: Mapping[str, str]
    proof: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "size": self.size,
            "models": dict(self.models),
            "proof": {engine: dict(figures) for engine, figures in self.proof.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            KeyError: If something is missing.
            ValueError: If the size is not a whole number of at least 2, or there is no model.
        """
        size = data["size"]
        if type(size) is not int or size < LEAST_BATCH:
            raise ValueError(f"the batch is of {size!r} frames, expected at least {LEAST_BATCH}")
        models = {str(engine): str(path) for engine, path in data["models"].items()}
        if not models:
            raise ValueError("the batch names no model")
        proof = {str(engine): dict(figures) for engine, figures in data["proof"].items()}
        return cls(size=size, models=models, proof=proof)
