"""A checkpoint is read without running what is in it, and what is none is named."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch

from nut_export.from_checkpoint.reading import BANK, read_checkpoint
from nut_runtime.errors import InputError


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.target),)


def test_tensors_and_settings_are_read(checkpoint):
    contents = read_checkpoint(checkpoint)
    assert contents.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert contents.state[BANK].shape[1] == 384
    assert contents.arguments["backbone"] == "resnet18"


def test_a_checkpoint_of_anomalib_is_not_readable_without_the_one_class_that_is_let_through(checkpoint):
    # Were this to pass, the list of what is let through could be empty.
    with pytest.raises(pickle.UnpicklingError, match=r"anomalib\.PrecisionType"):
        torch.load(checkpoint, weights_only=True)
    read_checkpoint(checkpoint)
    with pytest.raises(pickle.UnpicklingError, match=r"anomalib\.PrecisionType"):
        torch.load(checkpoint, weights_only=True)


def test_what_is_pickled_in_a_checkpoint_is_named_and_not_run(altered, tmp_path):
    target = tmp_path / "ran"
    path = altered(lambda content: content.update(callbacks={"Evil": Evil(target)}))
    with pytest.raises(InputError, match=r"holds pickled objects \(\w+\.mkdir\), .*can run code; where you trust it"):
        read_checkpoint(path)
    assert not target.exists()


def test_a_plain_pickle_is_not_run(tmp_path):
    target, path = tmp_path / "ran", tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps(Evil(target)))
    with pytest.raises(InputError, match="is broken, or no checkpoint"):
        read_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(b"", "is broken, or no checkpoint", id="empty"),
        pytest.param(b"a text\n", "is broken, or no checkpoint", id="text"),
        pytest.param(None, "is not a file; give the .ckpt", id="missing"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content, says):
    path = tmp_path / "model.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(checkpoint, tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(checkpoint.read_bytes()[:-5000])
    with pytest.raises(InputError, match="is broken, or no checkpoint; copy"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"weight": torch.zeros(2)}, torch.zeros(2), {"state_dict": {"a": 1}}, {}])
def test_tensors_without_a_state_dict_are_refused(tmp_path, content):
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"is not a Lightning checkpoint \(state_dict is missing\)"):
        read_checkpoint(path)


def test_a_checkpoint_of_another_model_is_refused(nuts, train_alone, tmp_path):
    from anomalib.models import Padim

    def build() -> Padim:
        return Padim(
            backbone="resnet18", pre_trained=False, n_features=8, pre_processor=Padim.configure_pre_processor((32, 32))
        )

    path = train_alone(nuts, tmp_path, build)
    with pytest.raises(InputError, match=r"is of another model than PatchCore \(it has model\.idx\)"):
        read_checkpoint(path)


def _set_state(name, value):
    return lambda content: content["state_dict"].update({name: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(_set_state(BANK, torch.empty(0)), r"memory bank of shape \[0\].*did not finish", id="empty-bank"),
        pytest.param(_set_state(BANK, torch.zeros(1, 384)), r"shape \[1, 384\], expected at least 2", id="one-row"),
        pytest.param(_set_state(BANK, torch.zeros(9, 384).half()), "was trained in float16", id="half"),
        pytest.param(_set_state(BANK, torch.full((9, 384), torch.nan)), "that are no numbers", id="nan"),
        pytest.param(lambda content: content["state_dict"].pop(BANK), "no memory bank", id="no-bank"),
        pytest.param(lambda content: content.update(hyper_parameters=[1]), "has list for hyper_parameters", id="list"),
    ],
)
def test_a_checkpoint_that_nothing_can_be_searched_in_is_refused(altered, change, says):
    path = altered(change)
    with pytest.raises(InputError, match=says):
        _ = read_checkpoint(path).arguments
