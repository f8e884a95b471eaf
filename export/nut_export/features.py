"""The backbone and anomalib's patch embedding, exported by torch at the model's fixed input size."""

import warnings
from typing import TYPE_CHECKING, Any

import onnx
import torch
from onnx.compose import add_prefix
from torch import Tensor, nn

from nut_export.builder import OPSET

if TYPE_CHECKING:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

__all__ = ["PatchEmbedding", "export_features"]


class PatchEmbedding(nn.Module):
    """The first half of anomalib's `PatchcoreModel.forward`: normalised pixels to patch embeddings.

    Args:
        model: anomalib's trained model; its own modules are used, none is written again.
    """

    def __init__(self, model: "PatchcoreModel") -> None:
        super().__init__()
        self.patchcore = model

    def forward(self, pixels: Tensor) -> Tensor:
        """Return embeddings `[P, D]` of pixels `[1, 3, h, w]`; patches run row by row."""
        features = self.patchcore.feature_extractor(pixels)
        features = {layer: self.patchcore.feature_pooler(values) for layer, values in features.items()}
        embedding = self.patchcore.generate_embedding(features)  # (1, D, h / 8, w / 8)
        return self.patchcore.reshape_embedding(embedding)


def export_features(
    model: "PatchcoreModel", *, size: tuple[int, int], source: str, target: str
) -> tuple[onnx.ModelProto, tuple[int, int]]:
    """Export the feature extractor as ONNX.

    Args:
        model: anomalib's trained model.
        size: Height and width of the input in pixels.
        source: Name of the input, float32 `[1, 3, height, width]`.
        target: Name of the output, float32 `[P, D]`.

    Returns:
        The model, its inner names prefixed with `features/`, and the grid of patches (rows, columns), P = rows x
        columns.
    """
    module = PatchEmbedding(model).eval()
    example = torch.zeros(1, 3, *size)
    with torch.no_grad():
        finest = model.feature_extractor(example)[model.layers[0]]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's exporter deprecates parts of itself
        program: Any = torch.onnx.export(
            module,
            (example,),
            input_names=[source],
            output_names=[target],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    prefixed = add_prefix(program.model_proto, "features/", rename_inputs=False, rename_outputs=False)
    for node in prefixed.graph.node:
        del node.metadata_props[:]  # stack traces with this machine's paths
    return prefixed, (int(finest.shape[-2]), int(finest.shape[-1]))
