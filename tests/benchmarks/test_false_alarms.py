"""The false-alarm benchmark counts what it says."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nut_benchmarks.false_alarms import POLICIES, Parts, main, measure_false_alarms
from nut_runtime.errors import InputError

GOOD, DEFECTIVE, PATCHES, WIDTH = 60, 8, 50, 6


def _parts(late: int) -> Parts:
    """Return parts of which the last good ones have one patch far from all others, and the defective ones farther."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(GOOD + DEFECTIVE, PATCHES, WIDTH, generator=generator)
    patches[GOOD - late : GOOD, 0] += 30
    patches[GOOD:, 0] -= 60

    def judge(bank: torch.Tensor, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scores = torch.cdist(patches[torch.from_numpy(numbers)], bank[None]).min(dim=2).values.max(dim=1).values
        return scores.double().numpy(), scores.double().numpy()

    return Parts(
        patches=patches,
        judge=judge,
        good=np.arange(GOOD),
        early=np.arange(GOOD - late),
        defective=np.arange(GOOD, GOOD + DEFECTIVE),
    )


def test_parts_that_come_later_are_false_alarms_and_pass_once_some_of_them_are_given():
    found = measure_false_alarms(_parts(late=10), splits=2, rate=0.1)
    assert list(found) == list(POLICIES)
    for name, outcome in found.items():
        assert outcome.given[0] == outcome.alike[0] == 10
        assert outcome.passed == [0, 0]
        assert outcome.defects == [16, 16, 16]
        if name != "share only":  # which adds two rows, where five pictures have one patch each that needs one
            assert outcome.given[1] == 10
            assert outcome.alike[1] > 0
    rows = [outcome.rows for outcome in found.values()]
    assert rows == sorted(rows)
    assert rows[-1] == 10 * PATCHES  # every patch


def test_a_split_without_false_alarms_counts_for_nothing():
    parts = _parts(late=1)
    found = measure_false_alarms(parts, splits=2, rate=0.1)
    assert all(outcome.given == [0, 0] and not outcome.thresholds for outcome in found.values())
    assert "| 0.0% |" in found["share only"].row("share only")


def test_too_few_pictures_are_refused(nuts):
    with pytest.raises(InputError, match="25 good pictures to train on, at least 30"):
        measure_false_alarms(_parts(late=35), splits=1, rate=0.1)
    result = CliRunner().invoke(main, [str(nuts), "--image-size", "64"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
