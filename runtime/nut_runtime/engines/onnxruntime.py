"""ONNX Runtime on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nut_runtime.bundle import Bundle, ModelFiles
from nut_runtime.contract import INPUT, OUTPUTS, STAGES
from nut_runtime.engines.base import EngineResult, check_precision, to_result
from nut_runtime.engines.import_onnxruntime import import_onnxruntime
from nut_runtime.errors import EngineError
from nut_runtime.machine import this_machine

__all__ = ["OnnxRuntimeEngine", "OnnxRuntimeModel", "with_outputs"]

# Field numbers of ModelProto.graph, GraphProto.output and ValueInfoProto.name in onnx.proto.
_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 7, 12, 1
_LENGTH_DELIMITED = 2


class OnnxRuntimeModel:
    """An ONNX model of a bundle in a CPU session; as many threads may use it as it has streams.

    ONNX Runtime computes what is float32 in the file in float32.

    Args:
        files: The model's files.
        threads: Threads to compute with; None leaves it to ONNX Runtime.
        streams: Frames at the same time; they share the threads.
    """

    name = "onnxruntime"
    precision = "float32"

    def __init__(self, files: ModelFiles, *, threads: int | None = None, streams: int = 1) -> None:
        self._onnxruntime = import_onnxruntime()
        self.version = str(self._onnxruntime.__version__)
        self._path = files.path
        # A session is called from several threads at a time, and each call then uses so many of its own.
        cores = threads if threads is not None or streams == 1 else this_machine().cores
        self._threads = cores if cores is None else max(cores // streams, 1)
        self._session = self._load(str(self._path))

    def outputs(self, frames: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """Return what the model gives for frames, uint8 `[N, H, W, 3]`, by name.

        Raises:
            EngineError: If it fails.
        """
        return self._run(self._session, names, frames)

    def _load(self, model: str | bytes) -> Any:
        options = self._onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        try:
            return self._onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises classes of a private module
            raise EngineError(f"onnxruntime cannot load {self._path}: {_first_line(error)}") from error

    @staticmethod
    def _run(session: Any, names: tuple[str, ...], frames: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        try:
            outputs = session.run(list(names), {INPUT: np.ascontiguousarray(frames)})
        except Exception as error:  # ONNX Runtime raises classes of a private module
            shape = list(frames.shape[1:])
            raise EngineError(f"onnxruntime failed on a frame of shape {shape}: {_first_line(error)}") from error
        return dict(zip(names, outputs, strict=True))


class OnnxRuntimeEngine(OnnxRuntimeModel):
    """A bundle's judge; where asked for, a cascade's fast model or that for several frames."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        streams: int = 1,
        is_fast: bool = False,
        is_batch: bool = False,
    ) -> None:
        check_precision(bundle.manifest.precision)
        files = bundle.model_files(self.name, is_fast=is_fast, is_batch=is_batch)
        super().__init__(files, threads=threads, streams=streams)
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
            self._stages = self._load(with_outputs(self._path.read_bytes(), STAGES))
        return self._run(self._stages, STAGES, frame[None])


def with_outputs(model: bytes, names: tuple[str, ...]) -> bytes:
    """Return an ONNX model that also gives the named inner tensors, without the `onnx` package.

    Protocol Buffers merge a message whose bytes are appended to another's of the same type: a field that is
    there twice is merged, and repeated fields are concatenated. So a model that holds nothing but graph outputs,
    appended to the file's bytes, adds those outputs. ONNX Runtime infers their types.

    Args:
        model: A serialized `ModelProto`.
        names: Tensors inside its graph.
    """
    outputs = b"".join(_field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name.encode())) for name in names)
    return model + _field(_MODEL_GRAPH, outputs)


def _field(number: int, content: bytes) -> bytes:
    """Encode one length-delimited protobuf field."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encode a non-negative number, seven bits a byte, lowest first."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
