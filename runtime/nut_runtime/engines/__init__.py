"""Inference engines behind one interface; each is an optional extra and imported only when chosen."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from nut_runtime.bundle import Bundle
from nut_runtime.engines.base import BatchEngine, Engine, EngineResult, ModelEngine
from nut_runtime.engines.cascade import CascadeEngine
from nut_runtime.errors import EngineError, InputError

__all__ = [
    "ENGINES",
    "BatchEngine",
    "Engine",
    "EngineResult",
    "available_engines",
    "choose_engine",
    "load_batch_engine",
    "load_engine",
]


def _openvino(
    bundle: Bundle,
    threads: int | None,
    streams: int,
    *,
    cache: Path | None,
    is_fast: bool = False,
    is_batch: bool = False,
) -> ModelEngine:
    from nut_runtime.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(bundle, threads=threads, streams=streams, is_fast=is_fast, is_batch=is_batch, cache=cache)


def _onnxruntime(
    bundle: Bundle,
    threads: int | None,
    streams: int,
    *,
    cache: Path | None,
    is_fast: bool = False,
    is_batch: bool = False,
) -> ModelEngine:
    del cache  # it keeps nothing between starts
    from nut_runtime.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(bundle, threads=threads, streams=streams, is_fast=is_fast, is_batch=is_batch)


ENGINES: Mapping[str, Callable[..., ModelEngine]] = {
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
}
"""What makes each engine of a bundle, the preferred one first; `is_fast` asks for a cascade's fast model, `is_batch`
for that of several frames at once."""


def available_engines() -> tuple[str, ...]:
    """Return the names of the engines that are installed, the preferred one first."""
    return tuple(name for name in ENGINES if importlib.util.find_spec(name) is not None)


def choose_engine(name: str | None) -> str:
    """Return `name` if that engine is installed, or the preferred one that is.

    Raises:
        InputError: If there is no engine of that name.
        EngineError: If it, or any, is not installed; the message says what to install.
    """
    if name is not None and name not in ENGINES:
        raise InputError(f"unknown engine {name!r}, expected one of {', '.join(ENGINES)}")
    installed = available_engines()
    if name is None:
        if not installed:
            raise EngineError("no inference engine is installed; run: pip install 'nut-runtime[openvino]'")
        return installed[0]
    if name not in installed:
        raise EngineError(f"{name} is not installed; run: pip install 'nut-runtime[{name}]'")
    return name


def load_engine(
    bundle: Bundle,
    name: str | None = None,
    *,
    threads: int | None = None,
    streams: int = 1,
    cache: Path | None = None,
) -> Engine:
    """Load a bundle's model into an engine, at the precision the bundle was verified with.

    Args:
        bundle: An opened bundle.
        name: `openvino` or `onnxruntime`; None takes whichever is installed.
        threads: Threads to compute with; None leaves it to the engine.
        streams: Frames that may be judged at the same time, from threads of their own; they share `threads`.
        cache: Folder in which OpenVINO keeps what it compiled, for a quicker start; nobody else may write there,
            since what lies there is believed unchecked.

    Raises:
        InputError: If the name is unknown, or the number of threads or streams is under one.
        EngineError: If the engine is not installed, is broken or does not load the model.
        BundleError: If the bundle has no model for it.
    """
    _check_counts(threads, streams)
    chosen = choose_engine(name)
    if name is None:  # the preferred one that the bundle has a model for
        chosen = next((one for one in available_engines() if one in bundle.manifest.models), chosen)
    cascade = bundle.manifest.cascade
    try:
        exact = ENGINES[chosen](bundle, threads, streams, cache=cache)
        if cascade is None or chosen not in cascade.models:
            return exact
        return CascadeEngine(
            ENGINES[chosen](bundle, threads, streams, cache=cache, is_fast=True),
            exact,
            threshold=bundle.manifest.point.image.threshold,
            guard=cascade.guard[chosen],
            review_from=bundle.manifest.point.review_from,
        )
    except ImportError as error:
        raise EngineError(f"{chosen} is installed but does not load ({error}); install it again") from error


def load_batch_engine(
    bundle: Bundle, name: str, *, threads: int | None = None, streams: int = 1, cache: Path | None = None
) -> BatchEngine:
    """Load the model that judges `bundle.manifest.batch.size` frames of one size at once.

    It is a second model in memory, beside that of `load_engine`. Of a cascade it is the fast one's alone;
    `CascadeEngine.settle` has the exact model decide where that is too near the threshold.

    Args:
        bundle: An opened bundle.
        name: `openvino` or `onnxruntime`.
        threads: As in `load_engine`.
        streams: Batches that may be judged at the same time, from threads of their own; they share `threads`.
        cache: As in `load_engine`.

    Raises:
        InputError: If the name is unknown, or the number of threads or streams is under one.
        EngineError: If the engine is not installed, is broken or does not load the model.
        BundleError: If the bundle has no such model for it.
    """
    _check_counts(threads, streams)
    chosen = choose_engine(name)
    try:
        return ENGINES[chosen](bundle, threads, streams, cache=cache, is_batch=True)
    except ImportError as error:
        raise EngineError(f"{chosen} is installed but does not load ({error}); install it again") from error


def _check_counts(threads: int | None, streams: int) -> None:
    if threads is not None and threads < 1:
        raise InputError(f"{threads} threads, expected at least 1")
    if streams < 1:
        raise InputError(f"{streams} streams, expected at least 1")
