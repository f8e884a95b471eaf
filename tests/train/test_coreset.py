"""The quick coreset: what anomalib alone would pick."""

import itertools

import numpy as np
import pytest
import torch
from anomalib.models.components.sampling import KCenterGreedy

from nut_runtime.errors import InputError
from nut_train.coreset import extend_coreset, select_coreset

ROWS = 2600  # more than two blocks, and not a multiple of one


def _anomalibs(features: torch.Tensor, count: int) -> tuple[int, list[int]]:
    """Return anomalib's start and picks; features of three dimensions it does not project."""
    torch.manual_seed(3)
    picks = KCenterGreedy(features[:, :, None], (count + 0.5) / len(features)).select_coreset_idxs()
    return picks[0], picks


def _draw(kind: str) -> torch.Tensor:
    torch.manual_seed(0)
    noise = torch.randn(ROWS, 24)
    centres = 5 * torch.randn(20, 24)[torch.randint(20, (ROWS,))]
    return {
        "noise": noise,
        "clusters": centres + torch.rand(ROWS, 1) * noise,
        "far-from-zero": 1000 + noise,  # where squared norms leave few digits for the distances
        "every-row-twice": torch.cat([noise[: ROWS // 2]] * 2),
        "few-values": torch.randint(0, 4, (ROWS, 24)).float(),  # many equal distances
        "outliers": torch.cat([noise[:-3], 1e4 * noise[-3:]]),
        "narrow": noise[:, :1].contiguous(),
    }[kind]


@pytest.mark.parametrize("count", [1, 2, 26, 700])
@pytest.mark.parametrize(
    "kind", ["noise", "clusters", "far-from-zero", "every-row-twice", "few-values", "outliers", "narrow"]
)
def test_the_picks_are_anomalibs_own_in_their_order(kind, count):
    features = _draw(kind)
    start, theirs = _anomalibs(features, count)
    assert select_coreset(features, count, start=start).picks.tolist() == theirs


def test_the_radius_is_the_largest_distance_to_a_pick():
    features = _draw("clusters")
    coreset = select_coreset(features, 40, start=7)
    distances = torch.cdist(features.double(), features[coreset.picks].double()).min(dim=1).values
    assert coreset.radius == pytest.approx(float(distances.max()), rel=1e-5)  # float32 against float64


def test_the_number_of_threads_does_not_change_a_pick():
    features = _draw("noise")
    before = torch.get_num_threads()
    picks = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            picks.append(select_coreset(features, 300, start=1).picks.tolist())
    finally:
        torch.set_num_threads(before)
    assert picks[0] == picks[1]


def test_a_smaller_coreset_is_the_beginning_of_a_larger_one():
    features = _draw("clusters")
    larger = select_coreset(features, 500, start=9).picks
    assert np.array_equal(select_coreset(features, 50, start=9).picks, larger[:50])


def test_it_ends_where_every_row_is_picked_or_equal_to_a_pick():
    features = torch.cat([_draw("noise")[:30]] * 3)
    coreset = select_coreset(features, 60, start=0)
    assert (len(coreset.picks), coreset.radius) == (30, 0.0)
    assert len(np.unique(coreset.picks)) == 30
    assert select_coreset(torch.ones(10, 3), 5, start=4).picks.tolist() == [4]


def test_every_row_can_be_picked():
    assert sorted(select_coreset(_draw("noise")[:100], 100, start=50).picks) == list(range(100))


def test_rows_that_lie_near_a_pick_are_not_compared_again(monkeypatch):
    """The point of it: anomalib compares every row with every pick."""
    from nut_train import coreset

    compared: list[int] = []
    original = coreset._Search._compare_block

    def count(self, own, centred, norms, nearest, picks):
        compared.append(len(own) * (picks.stop - picks.start))
        original(self, own, centred, norms, nearest, picks)

    monkeypatch.setattr(coreset._Search, "_compare_block", count)
    features = _draw("noise")
    features[20:] *= 0.001
    select_coreset(features, 15, start=0)
    # Each row once with the first pick; then only those among which the 20 far ones are.
    assert sum(compared) < 0.3 * ROWS * 15


def test_the_picks_are_reported_up_to_the_last():
    seen: list[tuple[str, int, int]] = []
    select_coreset(_draw("noise"), 300, start=0, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("selecting the coreset", 300, 300)
    assert all(before[1] < after[1] for before, after in itertools.pairwise(seen))


def test_lowered_precision_of_products_is_not_used_and_is_left_as_it_was():
    features = _draw("noise")
    torch.set_float32_matmul_precision("medium")
    try:
        picks = select_coreset(features, 200, start=0).picks
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert np.array_equal(picks, select_coreset(features, 200, start=0).picks)


@pytest.mark.parametrize(
    ("count", "start", "says"),
    [
        pytest.param(0, 0, "0 rows to pick out of 5", id="none"),
        pytest.param(6, 0, "6 rows to pick out of 5", id="more-than-there-are"),
        pytest.param(2, 5, "first pick 5, expected 0 to 4", id="start-outside"),
    ],
)
def test_what_cannot_be_picked_is_refused(count, start, says):
    with pytest.raises(InputError, match=says):
        select_coreset(torch.randn(5, 2), count, start=start)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_refused(value):
    features = torch.randn(5, 2)
    features[3, 1] = value
    with pytest.raises(InputError, match="not finite numbers"):
        select_coreset(features, 2, start=0)


def test_rows_far_apart_that_are_picked_all_at_once_do_not_end_the_selection():
    features = 0.1 * torch.randn(ROWS, 24, generator=torch.Generator().manual_seed(0))
    features[:64] *= 1e5  # as many as are looked at together
    start, theirs = _anomalibs(features, 300)
    assert select_coreset(features, 300, start=start).picks.tolist() == theirs


def _extended_one_by_one(features, given, least, most, radius):
    """Return the greedy picks, each row compared with each centre."""
    nearest = torch.full((len(features),), torch.inf)
    for row in given:
        nearest = torch.minimum(nearest, torch.linalg.norm(features - row, ord=2, dim=1))
    picks = []
    while len(picks) < most:
        best = int(nearest.argmax())
        if nearest[best] == 0 or (len(picks) >= least and nearest[best] <= radius):
            break
        picks.append(best)
        nearest = torch.minimum(nearest, torch.linalg.norm(features - features[best], ord=2, dim=1))
    return picks, float(nearest.max())


@pytest.mark.parametrize("given", [1, 30, 1500])
@pytest.mark.parametrize(
    ("least", "most", "radius"),
    [
        pytest.param(0, ROWS, 4.5, id="until-covered"),
        pytest.param(300, ROWS, 1e9, id="covered-but-a-few-at-least"),
        pytest.param(0, 25, 0.0, id="not-covered-but-no-more"),
        pytest.param(0, ROWS, 1e9, id="covered-already"),
    ],
)
@pytest.mark.parametrize("kind", ["noise", "clusters", "every-row-twice", "few-values"])
def test_from_given_rows_the_farthest_row_is_picked_each_time(kind, least, most, radius, given):
    features = _draw(kind)
    bank = 2 * torch.randn(given, 24, generator=torch.Generator().manual_seed(5))
    picks, left = _extended_one_by_one(features, bank, least, most, radius)
    coreset = extend_coreset(features, bank, least=least, most=most, radius=radius)
    assert coreset.picks.tolist() == picks
    assert coreset.radius == left


def test_from_its_own_beginning_a_selection_goes_on_as_it_would_have():
    features = _draw("clusters")
    whole = select_coreset(features, 400, start=9).picks
    coreset = extend_coreset(features, features[whole[:150]], least=250, most=250, radius=0)
    assert coreset.picks.tolist() == whole[150:].tolist()


def test_rows_that_are_given_are_not_picked_again():
    features = _draw("noise")[:40]
    coreset = extend_coreset(features, features.clone(), least=10, most=40, radius=0)
    assert (len(coreset.picks), coreset.radius) == (0, 0.0)


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        pytest.param(torch.ones(1, 2), {"least": 3, "most": 2}, "3 to 2 rows to pick out of 5", id="counts"),
        pytest.param(torch.ones(1, 2), {"least": 0, "most": 6}, "0 to 6 rows to pick out of 5", id="too-many"),
        pytest.param(torch.ones(1, 3), {"least": 0, "most": 2}, r"expected \[M, 2\]", id="width"),
        pytest.param(torch.ones(0, 2), {"least": 0, "most": 2}, r"expected \[M, 2\]", id="none-given"),
        pytest.param(torch.full((1, 2), torch.nan), {"least": 0, "most": 2}, "not finite numbers", id="nan"),
    ],
)
def test_a_bank_that_cannot_be_extended_is_refused(given, options, says):
    with pytest.raises(InputError, match=says):
        extend_coreset(torch.randn(5, 2), given, radius=0, **options)
