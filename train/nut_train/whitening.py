"""Whitening of patch features: the directions in which good parts hardly differ count as much as all others.

PatchCore (Roth et al. 2022) compares patch features by their Euclidean distance, so that the channels that vary most
among good parts decide what is far. With the inverse square root of the good patches' covariance in between (zero-phase
whitening; Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", 2018) it is the Mahalanobis distance that
PaDiM and others use (Defard et al. 2021), to the nearest bank row instead of to a mean. docs/quality.md has what it
gains.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

__all__ = ["SHRINKAGE", "WhitenedPatchcoreModel", "Whitening", "find_whitening"]

SHRINKAGE = 0.01
"""Share of the mean variance that is added to each direction's, so that one without any does not count without end."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Whitening:
    """A linear map of patch features.

    Attributes:
        mean: Of the good patches, float32 `[D]`.
        matrix: Symmetric, float32 `[D, D]`; whitened features are `(features - mean) @ matrix`.
    """

    mean: Tensor
    matrix: Tensor

    def apply(self, features: Tensor) -> Tensor:
        """Return whitened features, float32 `[N, D]`."""
        return (features - self.mean) @ self.matrix


def find_whitening(blocks: Iterable[Tensor], *, width: int, shrinkage: float = SHRINKAGE) -> Whitening:
    """Find the whitening of features that come in blocks; only sums are kept of them.

    Args:
        blocks: Float32 `[n, D]` each; at least two rows that differ in all.
        width: D.
        shrinkage: Share of the mean variance added to each direction's, above 0.
    """
    rows, first = 0, torch.zeros(width, dtype=torch.float64)
    total, products = torch.zeros(width, dtype=torch.float64), torch.zeros(width, width, dtype=torch.float64)
    for block in blocks:
        if not rows:
            first = block.double().mean(dim=0)  # sums about it cancel hardly at all
        centred = block.double() - first
        rows += len(block)
        total += centred.sum(dim=0)
        products += centred.T @ centred
    offset = total / rows
    variances, directions = torch.linalg.eigh(products / rows - torch.outer(offset, offset))
    variances = variances.clamp_min(0)  # rounding can put one a little below
    scale = (variances + shrinkage * variances.mean()).rsqrt()
    return Whitening(mean=(first + offset).float(), matrix=((directions * scale) @ directions.T).float())


class WhitenedPatchcoreModel(PatchcoreModel):
    """anomalib's model with a whitening between embedding and search.

    In training mode, in which anomalib collects features, they stay as the backbone gives them: the whitening is found
    from them. The checkpoint holds it beside the memory bank.
    """

    whitening_mean: Tensor
    whitening_matrix: Tensor

    def __init__(self, layers: list[str], backbone: str, *, pre_trained: bool, num_neighbors: int) -> None:
        super().__init__(layers=layers, backbone=backbone, pre_trained=pre_trained, num_neighbors=num_neighbors)
        width = sum(self.feature_extractor.out_dims)
        self.register_buffer("whitening_mean", torch.zeros(width))
        self.register_buffer("whitening_matrix", torch.eye(width))

    @property
    def whitening(self) -> Whitening:
        """The whitening; one that changes nothing at first."""
        return Whitening(mean=self.whitening_mean, matrix=self.whitening_matrix)

    @whitening.setter
    def whitening(self, whitening: Whitening) -> None:
        self.whitening_mean = whitening.mean.to(self.whitening_mean.device)
        self.whitening_matrix = whitening.matrix.to(self.whitening_matrix.device)

    def reshape_embedding(self, embedding: Tensor) -> Tensor:
        """Return the patches of `[B, D, rows, columns]` as `[B * rows * columns, D]`, whitened unless in training."""
        rows = PatchcoreModel.reshape_embedding(embedding)
        return rows if self.training else self.whitening.apply(rows)
