"""Normalisation layers folded into the convolutions before them, where torch's exporter left some."""

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["fold_normalisation"]


def fold_normalisation(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model in which each BatchNormalization that follows a convolution alone is part of it.

    The quantisation then sees weights as they are used. Torch's exporter does the same, but not where padding was
    folded into the convolution before.

    Args:
        model: In evaluation: means and variances are constants.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    graph = folded.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    gone = []
    for node in list(graph.node):
        if node.op_type != "BatchNormalization":
            continue
        convolution = makers.get(node.input[0])
        if convolution is None or convolution.op_type != "Conv" or readers[node.input[0]] != 1:
            continue
        scale, shift, mean, variance = (tensors[name] for name in node.input[1:5])
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + np.float32(epsilon))
        bias = tensors[convolution.input[2]] if convolution.input[2:] else np.zeros_like(mean)
        values = {
            "weight": tensors[convolution.input[1]] * factor.reshape(-1, 1, 1, 1),
            "bias": shift + (bias - mean) * factor,
        }
        names = [f"{convolution.output[0]}/{name}" for name in values]
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in zip(names, values.values(), strict=True)
        )
        source = convolution.input[0]
        del convolution.input[:]
        convolution.input.extend([source, *names])
        convolution.output[0] = node.output[0]
        gone.append(node)
    for node in gone:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return folded
