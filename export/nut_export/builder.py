"""A small writer of ONNX nodes, so that the graph's modules read like the formulas they implement."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["OPSET", "GraphBuilder"]

# 18 is the first opset whose Reduce* operators all take axes as an input; both engines have had it for years.
OPSET = 18
_IR_VERSION = 9


class GraphBuilder:
    """Collects nodes and constants; each method returns the name of the tensor it makes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.scope = "graph"
        self._count = 0

    def op(self, op_type: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return that output's name."""
        output = name or self._unnamed(op_type)
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=f"node/{output}", **attributes))
        return output

    def split(self, source: str, sizes: list[int], *, axis: int = 0) -> list[str]:
        """Cut a tensor into pieces of these sizes along an axis and return their names."""
        pieces = [self._unnamed("Split") for _ in sizes]
        self.nodes.append(
            helper.make_node("Split", [source, self.constant(sizes)], pieces, name=f"node/{pieces[0]}", axis=axis)
        )
        return pieces

    def cut(self, source: str, pieces: int, size: int) -> list[str]:
        """Cut a tensor into so many pieces of one size along its first axis; a single piece is the tensor itself."""
        return self.split(source, [size] * pieces) if pieces > 1 else [source]

    def join(self, parts: list[str], *, name: str | None = None) -> str:
        """Put tensors together along their first axis; a single one stays as it is, under the name it has."""
        return self.op("Concat", *parts, axis=0, name=name) if len(parts) > 1 else parts[0]

    def smallest(self, values: str, count: int, *, axis: int = 1) -> tuple[str, str]:
        """Add the `count` smallest values along an axis and their places, the smallest first.

        `TopK` and not `ArgMin`: OpenVINO needs a quarter of the time for it.
        """
        found, places = self._unnamed("TopK"), self._unnamed("TopK_places")
        inputs = [values, self.constant([count])]
        self.nodes.append(helper.make_node("TopK", inputs, [found, places], name=f"node/{found}", axis=axis, largest=0))
        return found, places

    def constant(self, value: NDArray[Any] | np.generic | float | list[int], *, name: str | None = None) -> str:
        """Add a constant; a float becomes float32 and a list of ints int64.

        Equal small constants without a name of their own are stored once.
        """
        array = np.asarray(value, order="C")
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        if name is None and array.size <= 16:  # noqa: PLR2004 - shapes, axes and scalars
            name = f"constant/{array.dtype}/{'x'.join(map(str, array.shape))}/" + "_".join(
                map(str, array.ravel().tolist())
            )
        name = name or self._unnamed("Constant")
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def inline(self, model: onnx.ModelProto) -> None:
        """Add the nodes and constants of a model whose inputs and outputs already have the names we want."""
        self.nodes.extend(model.graph.node)
        self.initializers.update({tensor.name: tensor for tensor in model.graph.initializer})

    def inline_copies(self, model: onnx.ModelProto, sources: list[str], targets: list[str]) -> None:
        """Add the nodes of a model with one input and one output several times, and its constants once.

        Args:
            model: The model; its nodes hold no graphs of their own.
            sources: What each copy takes.
            targets: Names of what each copy gives.
        """
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.initializers.update(constants)
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            names = {model.graph.input[0].name: source, model.graph.output[0].name: target}
            for node in model.graph.node:
                copy = NodeProto()
                copy.CopyFrom(node)
                copy.name = f"picture_{number}/{node.name}"
                for tensors in (copy.input, copy.output):
                    for place, name in enumerate(tensors):
                        if name and name not in constants:  # an input that is left out has no name
                            tensors[place] = names.get(name, f"picture_{number}/{name}")
                self.nodes.append(copy)

    def model(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], *, name: str
    ) -> onnx.ModelProto:
        """Return everything collected as a checked model."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, list(self.initializers.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="nut-toolchain")
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model, full_check=True)
        return model

    def _unnamed(self, op_type: str) -> str:
        self._count += 1
        return f"{self.scope}/{op_type}_{self._count}"
