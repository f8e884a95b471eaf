"""What a bundle says of its locator, the key `locator` of its manifest."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from nut_runtime.errors import InputError
from nut_runtime.locate.settings import CutoutSettings, FindSettings
from nut_runtime.locate.usable import UsableLimits

__all__ = ["GoldenTray", "LocatorEntry"]

_LARGEST_PX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTray:
    """A frame with what the reference found in it.

    Attributes:
        picture: PNG file in the bundle.
        map: NPZ file in it; its array `distance_map` is the reference's, float32 `[h, w]`.
        centres: Where the parts are, (x, y) in pixels of the frame.
    """

    picture: str
    map: str
    centres: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {"picture": self.picture, "map": self.map, "centres": [list(centre) for centre in self.centres]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            KeyError: If something is missing.
            ValueError: If a centre is not two finite numbers.
        """
        centres = tuple((float(x), float(y)) for x, y in data["centres"])
        if not all(math.isfinite(x) and math.isfinite(y) for x, y in centres):
            raise ValueError(f"a centre of {data['picture']} is not two numbers")
        return cls(picture=str(data["picture"]), map=str(data["map"]), centres=centres)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorEntry:
    """The locator of a bundle.

    Attributes:
        models: File that each engine loads, by engine name.
        precision: Inference precision that it was verified with, `fp32` or `int8`.
        long_side_px: What a frame's longer side is brought to inside the model.
        find: How parts are found in its distance map.
        cutout: How they are cut out for the judge of the same bundle.
        golden: Frames for the self-test.
        tolerances: Largest absolute difference of the distance map that the self-test lets pass, by engine.
        parity: Summary of the proof, by engine.
        provenance: Where it came from: run, data set, encoder, package versions.
        usable: What is asked of a view.
    """

    models: Mapping[str, str]
    precision: str
    long_side_px: int
    find: FindSettings
    cutout: CutoutSettings
    golden: tuple[GoldenTray, ...]
    tolerances: Mapping[str, float]
    parity: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    usable: UsableLimits = field(default_factory=UsableLimits)

    def __post_init__(self) -> None:
        """Check that the numbers make sense.

        Raises:
            InputError: If one does not, or there is no model.
        """
        if not self.models:
            raise InputError("the locator has no model")
        if not 1 <= self.long_side_px <= _LARGEST_PX:
            raise InputError(f"the locator's longer side is 1 to {_LARGEST_PX} px, got {self.long_side_px}")
        for engine in self.models:
            tolerance = self.tolerances.get(engine, math.nan)
            if not 0 <= tolerance < math.inf:
                raise InputError(f"the locator has the tolerance {tolerance} for {engine}")

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the bundle that it needs."""
        named = list(self.models.values())
        named += [f"{path.removesuffix('.xml')}.bin" for path in named if path.endswith(".xml")]
        for tray in self.golden:
            named += [tray.picture, tray.map]
        return tuple(named)

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return {
            "models": dict(self.models),
            "precision": self.precision,
            "long_side_px": self.long_side_px,
            "find": self.find.to_json(),
            "cutout": self.cutout.to_json(),
            "golden": [tray.to_json() for tray in self.golden],
            "tolerances": dict(self.tolerances),
            "parity": {engine: dict(figures) for engine, figures in self.parity.items()},
            "provenance": dict(self.provenance),
            "usable": self.usable.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave.

        Raises:
            InputError: If something is missing or makes no sense.
        """
        try:
            return cls(
                models={str(engine): str(path) for engine, path in data["models"].items()},
                precision=str(data["precision"]),
                long_side_px=int(data["long_side_px"]),
                find=FindSettings.from_json(data["find"]),
                cutout=CutoutSettings.from_json(data["cutout"]),
                golden=tuple(GoldenTray.from_json(tray) for tray in data["golden"]),
                tolerances={str(engine): float(value) for engine, value in data["tolerances"].items()},
                parity={str(engine): dict(figures) for engine, figures in data["parity"].items()},
                provenance=dict(data["provenance"]),
                usable=UsableLimits.from_json(data["usable"]),
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(f"the locator is incomplete: {reason}") from error
