"""OpenVINO on the CPU, at the precision the bundle was verified with."""

import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.bundle import Bundle, ModelFiles
from nut_runtime.contract import INPUT, OUTPUTS, STAGES
from nut_runtime.engines.base import EngineResult, check_precision, to_result
from nut_runtime.engines.import_openvino import import_openvino, new_core
from nut_runtime.errors import BundleError, EngineError

__all__ = ["OpenVinoEngine", "OpenVinoModel"]

_SIZES_KEPT = 64


class _ReplacedError(BundleError, EngineError):
    """The model's files were replaced: the bundle's fault, and to who judges frames an engine that fails."""


class OpenVinoModel:
    """An IR of a bundle compiled for the CPU; as many threads may use it as it has streams.

    Left alone, OpenVINO computes in bf16 on CPUs that have it, which moves scores by up to 3% of their range;
    the precision is therefore pinned and read back.

    For every new frame size OpenVINO prepares anew and keeps what it prepared; a camera has one size, but a folder of
    pictures has many, so after `_SIZES_KEPT` sizes the model is compiled afresh (0.2 s), and its cache is bounded
    (`import_openvino`). Its files are compared with their SHA-256 again before. Where they were replaced, frames of a
    new size fail with an error that is a `BundleError` and an `EngineError`; sizes seen before are judged on.

    Args:
        files: The model's files.
        threads: Threads to compute with; None leaves it to OpenVINO.
        streams: Frames at the same time; they share the threads.
        cache: Folder for what OpenVINO compiled.
    """

    name = "openvino"

    def __init__(
        self, files: ModelFiles, *, threads: int | None = None, streams: int = 1, cache: Path | None = None
    ) -> None:
        openvino = import_openvino()
        self.version = str(openvino.__version__)
        self._files = files
        self._path = files.path
        self._config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if streams > 1:
            self._config["NUM_STREAMS"] = streams
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        if cache is not None:
            # OpenVINO tells models apart by path and time of change; a bundle that replaced another one may have both
            # of the old one, so each model gets a folder of its own, named after its content.
            self._config["CACHE_DIR"] = str(cache / files.digest)
        self._core = new_core()
        # Weights that are mapped from the file change with it: a bundle copied over another one in place would have
        # defects pass as good, or end the process (SIGBUS), under a model that was verified long ago.
        self._core.set_property({"ENABLE_MMAP": False})
        self._streams = streams
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()  # requests that nobody uses at the moment
        self._compiled, requests = self._start()
        for request in requests:
            self._free.put(request)
        self._sizes: set[tuple[int, ...]] = set()
        self._sizes_lock = threading.Lock()

    @property
    def precision(self) -> str:
        """What the compiled model says: `f32`, in OpenVINO's spelling."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())

    def outputs(self, frames: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """Return what the model gives for frames, uint8 `[N, H, W, 3]`, by name.

        Raises:
            EngineError: If it fails.
        """
        with self._sizes_lock:
            if frames.shape[1:] not in self._sizes:
                if len(self._sizes) >= _SIZES_KEPT:
                    self._restart()
                self._sizes.add(frames.shape[1:])
        request = self._free.get()
        try:
            found = self._run(request, frames)
            return {name: np.array(found[name]) for name in names}  # the request's own memory is used again
        finally:
            self._free.put(request)

    def _start(self) -> tuple[Any, list[Any]]:
        """Return the compiled model and a request for each stream."""
        compiled = self._compile(())
        try:
            return compiled, [compiled.create_infer_request() for _ in range(self._streams)]
        except RuntimeError as error:
            raise EngineError(f"openvino cannot start {self._path}: {_last_line(error)}") from error

    def _restart(self) -> None:
        """Compile the model afresh and take it up once no frame is being judged; if that fails, the old one stays."""
        try:
            self._files.check()  # they may have been replaced in the months since
        except BundleError as error:
            raise _ReplacedError(str(error)) from error
        compiled, requests = self._start()  # before the old one goes: without requests, `infer` would wait for ever
        for _ in requests:
            self._free.get()
        self._compiled = compiled
        self._sizes.clear()
        for request in requests:
            self._free.put(request)

    def _compile(self, exposed: tuple[str, ...]) -> Any:
        """Compile the model, with some inner tensors as outputs."""
        try:
            model = self._core.read_model(self._path)
            if exposed:
                model.add_outputs(list(exposed))
            return self._core.compile_model(model, "CPU", self._config)
        except RuntimeError as error:
            raise EngineError(f"openvino cannot load {self._path}: {_last_line(error)}") from error

    @staticmethod
    def _run(request: Any, frames: NDArray[np.uint8]) -> Any:
        try:
            return request.infer({INPUT: np.ascontiguousarray(frames)}, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            raise EngineError(
                f"openvino failed on a frame of shape {list(frames.shape[1:])}: {_last_line(error)}"
            ) from error


class OpenVinoEngine(OpenVinoModel):
    """A bundle's judge; where asked for, a cascade's fast model or that for several frames."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        streams: int = 1,
        is_fast: bool = False,
        is_batch: bool = False,
        cache: Path | None = None,
    ) -> None:
        check_precision(bundle.manifest.precision)
        files = bundle.model_files(self.name, is_fast=is_fast, is_batch=is_batch)
        super().__init__(files, threads=threads, streams=streams, cache=cache)
        self._stages: Any = None

    def infer(self, frame: NDArray[np.uint8]) -> EngineResult:
        """Judge one frame."""
        return self.infer_batch(frame[None])[0]

    def infer_batch(self, frames: NDArray[np.uint8]) -> list[EngineResult]:
        """Judge as many frames as the model takes."""
        outputs = self.outputs(frames, tuple(OUTPUTS))
        return [to_result(outputs, place) for place in range(len(frames))]

    def stages(self, frame: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Return the tensors inside the graph."""
        if self._stages is None:
            self._stages = self._compile(STAGES).create_infer_request()
        outputs = self._run(self._stages, frame[None])
        return {name: np.array(outputs[name]) for name in STAGES}


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
