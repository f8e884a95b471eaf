"""Patch features on disk: what comes back, and what an interrupted training finds."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nut_runtime.errors import InputError
from nut_train.feature_store import FeatureStore

PICTURES = [Path(f"{number}.png") for number in range(5)]
PATCHES, WIDTH = 6, 4


def _new(folder: Path, key: str = "key") -> FeatureStore:
    return FeatureStore(folder, key=key, pictures=PICTURES, patches=PATCHES, width=WIDTH)


@pytest.fixture
def opened() -> Iterator[Callable[..., FeatureStore]]:
    """Open stores that are closed after the test."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(_new(*arguments))


def _features(pictures: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(pictures * PATCHES, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def interrupted(tmp_path) -> torch.Tensor:
    """The features of the first two pictures, which lie in a store that was left then."""
    features = _features(2)
    with _new(tmp_path) as store:
        store.append(features)
        store.save()
    return features


def test_the_rows_come_back_as_they_were_written(opened, tmp_path, monkeypatch):
    monkeypatch.setattr("nut_train.feature_store._BLOCK_ROWS", 7)  # in the midst of pictures
    store = opened(tmp_path)
    features = _features(5)
    for part in features.split(2 * PATCHES):
        store.append(part)
    store.save()
    assert torch.equal(torch.cat(list(store.blocks())), features)
    assert np.array_equal(store.features(), features.numpy())
    assert (store.rows, store.done, store.resumed) == (30, 5, 0)


def test_the_next_training_goes_on_behind_what_is_done(opened, tmp_path, interrupted):
    store = opened(tmp_path)
    assert (store.done, store.resumed) == (2, 2)
    rest = _features(3, seed=1)
    store.append(rest)
    store.save()
    assert np.array_equal(store.features(), torch.cat([interrupted, rest]).numpy())


def _other_key(folder: Path) -> str:
    return "other"


def _shorter(folder: Path) -> str:
    path = folder / "features.npy"
    path.write_bytes(path.read_bytes()[:-1])
    return "key"


def _no_record(folder: Path) -> str:
    (folder / "work.json").unlink()
    return "key"


def _more_than_there_are(folder: Path) -> str:
    record = json.loads((folder / "work.json").read_text())
    (folder / "work.json").write_text(json.dumps(record | {"done": 3}))
    return "key"


def _pickled(folder: Path) -> str:
    np.save(folder / "features.npy", np.array([{}] * 100, object), allow_pickle=True)
    return "key"


def _newer(folder: Path) -> str:
    record = json.loads((folder / "work.json").read_text())
    (folder / "work.json").write_text(json.dumps(record | {"schema": 2}))
    return "key"


@pytest.mark.parametrize("spoil", [_other_key, _shorter, _no_record, _more_than_there_are, _pickled, _newer])
@pytest.mark.usefixtures("interrupted")
def test_what_does_not_fit_is_begun_anew(opened, tmp_path, spoil):
    store = opened(tmp_path, spoil(tmp_path))
    assert (store.done, store.resumed) == (0, 0)
    features = _features(5, seed=2)
    store.append(features)
    store.save()
    assert np.array_equal(store.features(), features.numpy())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_picture_whose_features_are_no_numbers_is_named(opened, tmp_path, value):
    store = opened(tmp_path)
    store.append(_features(2))
    features = _features(3)
    features[PATCHES + 1, 2] = value
    with pytest.raises(InputError, match=r"^3\.png: its features are not finite numbers"):
        store.append(features)


def _disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))


def test_half_precision_is_taken_where_the_disk_is_short(opened, tmp_path, monkeypatch):
    _disk(monkeypatch, 3 * 30 * WIDTH)
    store = opened(tmp_path)
    features = _features(5)
    store.append(features)
    store.save()
    assert store.features().dtype == np.float16
    blocks = torch.cat(list(store.blocks()))
    assert blocks.dtype == torch.float32
    assert torch.equal(blocks, features.half().float())


def test_features_that_fit_on_no_disk_are_refused_before_the_work(tmp_path, monkeypatch):
    _disk(monkeypatch, 2 * 30 * WIDTH)  # of which some must stay free
    with pytest.raises(InputError, match=r"features of 5 pictures take .* in half precision and .* free; write RUN to"):
        _new(tmp_path)
