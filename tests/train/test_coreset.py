"""The quick coreset: what anomalib alone would pick."""

import pytest
import torch
from anomalib.models.components.sampling import KCenterGreedy

from nut_train.coreset import quick_coreset


def _picks(features: torch.Tensor, ratio: float) -> list[int]:
    torch.manual_seed(3)  # of the first pick
    sampler = KCenterGreedy(embedding=features, sampling_ratio=ratio)
    sampler.model.random_state = 3  # of the projection
    return sampler.select_coreset_idxs()


@pytest.fixture(scope="module")
def features() -> torch.Tensor:
    """More patches than a block, not a multiple of it, many of them twice."""
    torch.manual_seed(0)
    once = torch.randn(1500, 24)
    return torch.cat([once, once[:1000]])


def test_the_picks_are_anomalibs_own_in_their_order(features):
    theirs = _picks(features, 0.2)
    with quick_coreset(lambda *_: None):
        ours = _picks(features, 0.2)
    assert ours == theirs
    assert len(ours) == 500


def test_a_smaller_coreset_is_the_beginning_of_a_larger_one(features):
    with quick_coreset(lambda *_: None):
        assert _picks(features, 0.2)[:50] == _picks(features, 0.02)


def test_each_pick_is_reported_and_anomalib_is_left_as_it_was(features):
    from anomalib.models.components.sampling import k_center_greedy

    before = (k_center_greedy.tqdm, KCenterGreedy.update_distances)
    seen: list[tuple[str, int, int]] = []
    with quick_coreset(lambda *step: seen.append(step)):
        _picks(features, 0.01)
    assert seen[-1] == ("selecting the coreset", 24, 24)
    assert (k_center_greedy.tqdm, KCenterGreedy.update_distances) == before
