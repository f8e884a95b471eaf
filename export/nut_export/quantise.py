"""The backbone in int8, by NNCF's post-training quantisation on training pictures.

Everything is quantised where the embeddings survive it, as those of ResNets do. Where they do not, only the
convolutions are: quantised additions and poolings were measured to cost OpenVINO's lite0 two thirds of its features'
accuracy. And where that is still off by more than is asked, each convolution is tried alone, and the worst stay in
float32 until it holds.

The weights' range is halved (NNCF's overflow fix), so that the sums of pairs of products fit the 16 bits in which CPUs
without VNNI add them: the same file is right on them too. Depthwise convolutions keep the full range; they have no
pairs of channels to add, and OpenVINO adds their products in 32 bits.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress, no_progress
from nut_runtime.engines.import_onnxruntime import import_onnxruntime
from nut_runtime.engines.import_openvino import hidden_telemetry, new_core
from nut_runtime.errors import InputError

__all__ = [
    "LEAST_PICTURES",
    "MOST_PICTURES",
    "QuantisedFeatures",
    "embeddings",
    "has_depthwise",
    "quantise_features",
    "quantise_nodes",
]

LEAST_PICTURES = 8
"""Pictures that the ranges of activations are taken from, at least."""

MOST_PICTURES = 100
"""And at most."""
_TESTED = 4  # pictures that the error is measured on
_ROUNDS = 3  # times that more layers are left in float32, at most


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantisedFeatures:
    """A quantised feature extractor.

    Attributes:
        model: The ONNX model, with QuantizeLinear and DequantizeLinear around its convolutions.
        error: How far its embeddings are off, as a share of their spread (root mean square).
        scope: `everything`, or `convolutions` alone.
        float_layers: Convolutions left in float32.
        layers: How many convolutions there are.
        pictures: Pictures it was calibrated with.
    """

    model: onnx.ModelProto
    error: float
    scope: str
    float_layers: tuple[str, ...]
    layers: int
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """Return what a manifest keeps."""
        facts = asdict(self)
        del facts["model"]
        return facts | {"float_layers": list(self.float_layers)}


def has_depthwise(features: onnx.ModelProto) -> bool:
    """Return whether there are depthwise convolutions, which ONNX Runtime computes more slowly in int8 than in float32.

    EfficientNet-Lite0 takes 20 ms there in int8 and 8 in float32 (one thread), ResNet18 11 and 33.
    """
    return any(_groups(node) > 1 for node in features.graph.node)


def quantise_features(
    features: onnx.ModelProto,
    pixels: Sequence[NDArray[np.float32]],
    *,
    error: float,
    progress: Progress = no_progress,
) -> QuantisedFeatures:
    """Quantise a feature extractor.

    Args:
        features: From `features.export_features`: one input, float32 `[1, 3, h, w]`, one output, float32 `[P, D]`.
        pixels: Normalised training pictures, float32 `[1, 3, h, w]` each; at most 100 are used, evenly.
        error: Largest error of the embeddings that is asked for, as a share of their spread.
        progress: Told of each step.

    Raises:
        InputError: If there are fewer than `LEAST_PICTURES` pictures.
    """
    if len(pixels) < LEAST_PICTURES:
        raise InputError(
            f"{len(pixels)} pictures to calibrate int8 with, at least {LEAST_PICTURES} are needed; add good pictures "
            "or export with --precision fp32"
        )
    chosen = evenly(pixels, MOST_PICTURES)
    tested = evenly(pixels, _TESTED)
    truth = embeddings(features, tested)

    def error_of(model: onnx.ModelProto) -> float:
        return _error(embeddings(model, tested), truth)

    convolutions = [node.name for node in features.graph.node if node.op_type == "Conv"]
    others = [node.name for node in features.graph.node if node.op_type != "Conv"]
    whitening = [node.name for node in features.graph.node if node.op_type in {"MatMul", "Gemm"}]
    kept: list[str] = []
    progress("quantising", 0, 1 + len(convolutions))
    # Directions in which good patches hardly differ are enlarged by the whitening, and so would its rounding be.
    model = quantise_nodes(features, chosen, whitening)
    found = error_of(model)
    scope = "everything"
    if found > error:
        scope = "convolutions"
        model = quantise_nodes(features, chosen, others)
        found = error_of(model)
    if found > error:
        alone = {}
        for done, name in enumerate(convolutions, start=1):
            alone[name] = error_of(_only(model, features, name))
            progress("quantising", done, 1 + len(convolutions))
        worst_first = sorted(alone, key=lambda name: -alone[name])
        budget = error
        for _ in range(_ROUNDS):
            # errors of single layers add up like independent noise, roughly
            while len(kept) < len(convolutions) and _together(alone, kept) > budget:
                kept.append(worst_first[len(kept)])
            model = quantise_nodes(features, chosen, [*others, *kept])
            found = error_of(model)
            if found <= error:
                break
            budget *= 0.75 * error / found
    progress("quantising", 1 + len(convolutions), 1 + len(convolutions))
    return QuantisedFeatures(
        model=model,
        error=found,
        scope=scope,
        float_layers=tuple(kept),
        layers=len(convolutions),
        pictures=len(chosen),
    )


def embeddings(features: onnx.ModelProto, pixels: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return a feature extractor's embeddings, computed in OpenVINO: the engine whose int8 is less forgiving.

    Args:
        features: Float or quantised.
        pixels: Normalised pictures, float32 `[1, 3, h, w]` each.

    Returns:
        Float32 `[P, D]` each.
    """
    core = new_core()
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(features.SerializeToString()), "CPU", config).create_infer_request()
    name = features.graph.input[0].name
    return [np.array(request.infer({name: picture})[0]) for picture in pixels]


def quantise_nodes(
    features: onnx.ModelProto, pixels: Sequence[NDArray[np.float32]], ignored: Sequence[str]
) -> onnx.ModelProto:
    """Quantise all nodes but the ignored ones.

    Args:
        features: A model with one input.
        pixels: What its activations' ranges are taken from.
        ignored: Names of nodes that stay in float32.
    """
    import_onnxruntime()  # NNCF would, telemetry and all
    # it shows bars of its own on standard output
    with hidden_telemetry(), contextlib.redirect_stdout(io.StringIO()):
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

        with _quiet_nncf():
            name = features.graph.input[0].name
            quantised: onnx.ModelProto = nncf.quantize(
                features,
                nncf.Dataset(list(pixels), lambda picture: {name: picture}),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(pixels),
                ignored_scope=nncf.IgnoredScope(names=list(ignored)),
                advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
            )
    return quantised


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[None]:
    """Let only errors of NNCF through; it must be imported before, for its logger is of a class of its own.

    Its `set_log_level` would also set every handler of that logger, which others share, and for good.
    """
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _only(quantised: onnx.ModelProto, features: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the float model with one convolution as the quantised model has it."""
    model = onnx.ModelProto()
    model.CopyFrom(features)
    makers = {output: node for node in quantised.graph.node for output in node.output}
    convolution = next(node for node in quantised.graph.node if node.name == name)
    nodes: list[onnx.NodeProto] = []
    wanted = list(convolution.input)
    while wanted:  # everything that leads to this convolution and is not in the float model
        maker = makers.get(wanted.pop())
        if maker is not None and maker.op_type in {"QuantizeLinear", "DequantizeLinear"} and maker not in nodes:
            nodes.insert(0, maker)
            wanted.extend(maker.input)
    place = next(place for place, node in enumerate(model.graph.node) if node.name == name)
    target = model.graph.node[place]
    del target.input[:]
    target.input.extend(convolution.input)
    before = list(model.graph.node[:place])
    rest = list(model.graph.node[place:])
    del model.graph.node[:]
    model.graph.node.extend([*before, *_in_order(nodes), *rest])
    there = {tensor.name for tensor in model.graph.initializer}
    used = {source for node in (*nodes, convolution) for source in node.input}
    model.graph.initializer.extend(
        tensor for tensor in quantised.graph.initializer if tensor.name in used and tensor.name not in there
    )
    return model


def _in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Sort Quantize before the Dequantize that reads it."""
    return sorted(nodes, key=lambda node: node.op_type != "QuantizeLinear")


def _error(found: Sequence[NDArray[np.float32]], truth: Sequence[NDArray[np.float32]]) -> float:
    """Return the root mean square difference as a share of the embeddings' spread about their mean."""
    reference = np.concatenate(truth)
    difference = np.concatenate(found) - reference
    return float(np.linalg.norm(difference) / np.linalg.norm(reference - reference.mean(axis=0)))


def _together(alone: dict[str, float], kept: Sequence[str]) -> float:
    return float(np.sqrt(sum(value**2 for name, value in alone.items() if name not in set(kept))))


def _groups(node: onnx.NodeProto) -> int:
    """Return the number of groups of a convolution, 1 for anything else."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
