"""anomalib's projection, block by block."""

import numpy as np
import pytest
import torch
from anomalib.models.components import SparseRandomProjection

from nut_train.projection import project

FEATURES = torch.randn(500, 60, generator=torch.Generator().manual_seed(0))


def _project(folder, seed=5, rows=64):
    return project(FEATURES.split(rows), rows=500, width=60, seed=seed, folder=folder)


def test_it_is_as_wide_as_anomalibs_and_keeps_distances(tmp_path):
    projected, start = _project(tmp_path)
    assert projected.shape[1] == SparseRandomProjection._johnson_lindenstrauss_min_dim(500, 0.9)
    assert 0 <= start < 500
    ratio = torch.pdist(projected) / torch.pdist(FEATURES)
    assert 0.97 < float(ratio.square().mean()) < 1.03  # it is right on the average; that of 124,750 pairs is near it


def test_the_size_of_the_blocks_changes_no_more_than_rounding(tmp_path):
    # Sums of 60 products of float32: a few units of the last place of numbers up to some tens.
    torch.testing.assert_close(_project(tmp_path, rows=500)[0], _project(tmp_path, rows=7)[0], rtol=1e-5, atol=1e-5)


def test_the_seed_alone_fixes_it_and_other_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the state that anomalib's projection would draw from
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first, start = _project(tmp_path)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002
    second, again = _project(tmp_path)
    assert torch.equal(first, second)
    assert start == again
    assert not torch.equal(first, _project(tmp_path, seed=6)[0])


def test_the_components_do_not_share_their_places(tmp_path):
    """With a plain number as its seed anomalib's projection puts the non-zeros of every component alike."""
    matrix, _ = project([torch.eye(60)], rows=60, width=60, seed=0, folder=tmp_path)
    places = {tuple(torch.nonzero(column)[:, 0].tolist()) for column in matrix.T}
    assert len(places) > 0.9 * matrix.shape[1]


@pytest.mark.parametrize("free", [1000, 10**9], ids=["mapped-to-a-file", "in-memory"])
def test_a_matrix_that_memory_cannot_hold_is_mapped_to_a_file(tmp_path, monkeypatch, free):
    wanted = _project(tmp_path)[0]
    monkeypatch.setattr("nut_train.projection.free_memory_bytes", lambda: free)
    assert torch.equal(_project(tmp_path)[0], wanted)
    assert any(tmp_path.iterdir()) == (free == 1000)
