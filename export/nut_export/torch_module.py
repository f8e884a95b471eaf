"""A torch module as ONNX, the way both the backbone and the locator are exported."""

import warnings
from typing import Any

import onnx
import torch
from onnx.compose import add_prefix
from torch import Tensor, nn

from nut_export.builder import OPSET

__all__ = ["export_module"]


def export_module(
    module: nn.Module, example: Tensor, *, source: str, target: str, prefix: str, dynamic_shapes: Any = None
) -> onnx.ModelProto:
    """Export a module of one input and one output.

    Args:
        module: What to export; it is put into evaluation mode.
        example: An input.
        source: Name of the input.
        target: Name of the output.
        prefix: Put before all inner names, so that they meet no others in a graph.
        dynamic_shapes: Which sides of the input vary, as `torch.onnx.export` takes it; None fixes all of them.
    """
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter deprecates parts of itself
        program: Any = torch.onnx.export(
            module.eval(),
            (example,),
            input_names=[source],
            output_names=[target],
            opset_version=OPSET,
            dynamic_shapes=dynamic_shapes,
            dynamo=True,
            verbose=False,
        )
    model = add_prefix(program.model_proto, prefix, rename_inputs=False, rename_outputs=False)
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces with this machine's paths
    return model
