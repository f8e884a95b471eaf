"""A bundle's locator, loaded: a frame in, a distance map out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nut_runtime.bundle import Bundle, ModelFiles
from nut_runtime.engines import choose_engine
from nut_runtime.engines.base import check_precision
from nut_runtime.errors import EngineError
from nut_runtime.locate.entry import LocatorEntry
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.instance import Instance

__all__ = ["DISTANCE_MAP", "Locator"]

DISTANCE_MAP = "distance_map"
"""Output of a locator: float32 `[1, 1, h, w]`, 0 at outlines and outside, 1 at innermost points."""


class _Model(Protocol):
    name: str
    version: str

    def outputs(self, frames: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, NDArray[Any]]: ...


def _openvino(files: ModelFiles, threads: int | None, streams: int, cache: Path | None) -> _Model:
    from nut_runtime.engines.openvino import OpenVinoModel

    return OpenVinoModel(files, threads=threads, streams=streams, cache=cache)


def _onnxruntime(files: ModelFiles, threads: int | None, streams: int, cache: Path | None) -> _Model:
    from nut_runtime.engines.onnxruntime import OnnxRuntimeModel

    del cache  # it keeps nothing between starts
    return OnnxRuntimeModel(files, threads=threads, streams=streams)


_MODELS: Mapping[str, Callable[[ModelFiles, int | None, int, Path | None], _Model]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
}


class Locator:
    """Finds the parts in frames of trays. As many threads may use it as it has streams.

    Args:
        bundle: An opened bundle with a locator.
        engine: `openvino` or `onnxruntime`; None takes whichever is installed.
        threads: Threads to compute with; None leaves it to the engine.
        streams: Frames that may be looked at at the same time.
        cache: Folder for what OpenVINO compiled, as in `load_engine`.

    Raises:
        BundleError: If the bundle has no locator, or none for the engine.
        InputError: If there is no engine of that name.
        EngineError: If the engine is not installed, or does not load the model.

    Example:
        >>> locator = Locator(open_bundle("bundle"))  # doctest: +SKIP
        >>> [part.centre for part in locator.find(frame)]  # doctest: +SKIP
        [(70.2, 81.0), (201.5, 79.8)]
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        engine: str | None = None,
        threads: int | None = None,
        streams: int = 1,
        cache: Path | None = None,
    ) -> None:
        self.entry: LocatorEntry = bundle.locator_entry()
        check_precision(self.entry.precision)
        name = choose_engine(engine)
        files = bundle.locator_files(name)
        try:
            self._model = _MODELS[name](files, threads, streams, cache)
        except ImportError as error:
            raise EngineError(f"{name} is installed but does not load ({error}); install it again") from error

    @property
    def name(self) -> str:
        """Name of the engine."""
        return self._model.name

    def locate(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the distance map of a frame.

        Args:
            frame: uint8 `[H, W, 3]`, BGR, of any size.

        Returns:
            float32 `[h, w]`, smaller than the frame or larger.

        Raises:
            EngineError: If the engine fails, or gives a map that is none.
        """
        found = self._model.outputs(frame[None], (DISTANCE_MAP,))[DISTANCE_MAP]
        if found.ndim != 4 or found.shape[:2] != (1, 1) or not np.isfinite(found).all():  # noqa: PLR2004 - [1, 1, h, w]
            raise EngineError(
                f"the locator gave a map of the shape {list(found.shape)} that cannot be used; run nut-runtime doctor"
            )
        return np.asarray(found[0, 0], np.float32)

    def find(self, frame: NDArray[np.uint8]) -> tuple[Instance, ...]:
        """Return the parts in a frame, in reading order.

        Args:
            frame: uint8 `[H, W, 3]`, BGR.

        Raises:
            EngineError: If the engine fails.
        """
        return find_instances(self.locate(frame), frame_px=frame.shape[:2], settings=self.entry.find)
