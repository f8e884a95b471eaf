"""Settings tried on folds: defects that are drawn, distances that are the product's own, and a table."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from nut_benchmarks.quality import cli
from nut_benchmarks.quality.cli import quality
from nut_benchmarks.quality.features import Extractor, embed
from nut_benchmarks.quality.spoil import KINDS, spoil
from nut_benchmarks.quality.trial import gain, try_on_folds
from nut_benchmarks.quality.variant import TRIED, Variant
from nut_dataset.layout import open_dataset
from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train.backbone import describe_backbone
from nut_train.config import TrainConfig
from nut_train.embedding import embed as embed_of_the_product
from nut_train.patchcore import build_model
from nut_train.weights import find_weights


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_spoiled_picture_differs_in_a_small_part_alone(nuts, kind):
    good = open_dataset(nuts).train_good
    frame, other = read_picture(good[0]), read_picture(good[1])
    for seed in range(5):
        spoiled = spoil(frame, other, kind=kind, seed=seed)
        assert (spoiled.shape, spoiled.dtype) == (frame.shape, np.uint8)
        share = (spoiled != frame).any(axis=2).mean()
        assert 0 < share < 0.2
        np.testing.assert_array_equal(spoiled, spoil(frame, other, kind=kind, seed=seed))


def test_patches_are_embedded_as_training_does(nuts):
    frame = read_picture(open_dataset(nuts).train_good[0])
    maps = Extractor("tf_efficientnet_lite0", 96).maps([frame], "one")
    found, widths = embed(maps, TRIED[0])
    backbone = describe_backbone("tf_efficientnet_lite0", image_size=(96, 96))
    model = build_model(backbone, image_size=(96, 96), weights=find_weights(backbone.name)).eval()
    assert widths == (40, 112)
    # maps are kept in half precision, 2^-11 of a value, and values lie within some tens
    torch.testing.assert_close(found[0], embed_of_the_product(model, frame), rtol=2e-3, atol=2e-2)


def _maps(seed: int, *, off: float = 0.0) -> list[torch.Tensor]:
    """Maps of 8 pictures: noise, with one patch moved off where asked."""
    values = torch.randn(8, 4, 6, 6, generator=torch.Generator().manual_seed(seed))
    values[:, :, 2, 2] += off
    return [values]


def test_what_lies_far_off_is_told_in_full_and_what_does_not_by_chance():
    variant = Variant(name="noise", layers=(0,), pool=1, ratio=1.0)
    assert try_on_folds(_maps(0), _maps(1, off=50.0), variant, folds=2).auroc == (1.0, 1.0, 1.0)
    # 8 against 8 of the same kind
    assert 0.1 < try_on_folds(_maps(0), _maps(1), variant, folds=2).auroc[0] < 0.9


@pytest.mark.parametrize("scale", ["standardise", "balance", "whiten-layers", "whiten"])
def test_a_loud_channel_that_says_nothing_does_not_drown_a_quiet_one_once_scaled(scale):
    loud, quiet = torch.randn(2, 8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    good = [100 * loud, quiet]
    spoiled = [good[0], quiet.clone()]
    spoiled[1][:, :, 3, 3] = 6.0
    plain = Variant(name="plain", layers=(0, 1), pool=1, ratio=1.0)
    scaled = Variant(name="scaled", layers=(0, 1), pool=1, ratio=1.0, scale=scale)
    assert try_on_folds(good, spoiled, scaled, folds=2).auroc[0] > try_on_folds(good, spoiled, plain, folds=2).auroc[0]


def test_a_gain_is_told_from_chance_and_none_from_itself():
    variant = Variant(name="noise", layers=(0,), pool=1, ratio=1.0)
    told, by_chance = (try_on_folds(_maps(0), _maps(1, off=off), variant, folds=2) for off in (50.0, 0.0))
    found = gain(told, by_chance)
    assert 0 < found.low < told.auroc[0] - by_chance.auroc[0] < found.high
    assert gain(told, told) is None


def test_two_sizes_together_tell_what_either_tells():
    """Half of the defects show at one size alone, the others at the other."""
    variant = Variant(name="two", layers=(0,), pool=1, ratio=1.0)
    good, second = _maps(0), _maps(2)
    spoiled, also = [good[0].clone()], [1000 * second[0]]
    spoiled[0][::2, :, 2, 2] += 50
    also[0][1::2, :, 2, 2] += 50_000
    alone = try_on_folds(good, spoiled, variant, folds=2).auroc[0]
    both = try_on_folds(good, spoiled, variant, folds=2, also=([1000 * second[0]], also)).auroc[0]
    assert alone < 1
    assert both == 1


def test_every_setting_that_is_offered_is_one_that_training_takes():
    from nut_train.cli import train

    for variant in TRIED:
        if variant.option.startswith("-"):
            train.make_context("train", ["data", "-o", "run", *variant.option.split()])
    assert TrainConfig().whiten is False


def test_the_table_has_a_line_for_each_setting_and_says_what_it_was_made_from(nuts):
    result = CliRunner().invoke(quality, [str(nuts), "--only", "as anomalib", "--only", "quarter turns"])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "as anomalib does",
        "whitened, quarter turns in the bank",
    ]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines[2:]]
    assert all(0 <= float(row[place]) <= 1 for row in cells for place in (4, 6, 7, 8))
    assert cells[0][5] == ""
    assert re.fullmatch(r"[+-]\d\.\d{3}( \([+-]\d\.\d{3} to [+-]\d\.\d{3}\))?", cells[1][5])
    assert "12 good pictures in 2 folds" in result.output


def test_without_good_test_pictures_no_defect_stands_in_for_them(nuts, tmp_path):
    data = Path(shutil.copytree(nuts, tmp_path / "data"))
    shutil.rmtree(data / "test/good")
    result = CliRunner().invoke(quality, [str(data), "--only", "as anomalib does"])
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("| as anomalib")]
    assert line.split("|")[8].strip() == ""


def test_test_pictures_that_are_in_the_bank_are_left_out_and_counted(nuts, tmp_path):
    data = Path(shutil.copytree(nuts, tmp_path / "data"))
    before = len(open_dataset(data).test_good)
    for path in open_dataset(data).train_good[:2]:
        shutil.copy(path, data / "test/good" / f"again-{path.name}")
    result = CliRunner().invoke(quality, [str(data), "--only", "as anomalib does"])
    assert result.exit_code == 0, result.output
    assert f"test: {before} good, " in result.output
    assert "(2 more, which are in train/good too, left out)" in result.output


def test_weights_that_are_not_there_are_told_before_any_work(nuts, monkeypatch):
    def find(backbone: str) -> None:
        if backbone == "tf_efficientnet_lite2":
            raise InputError(f"no weights for backbone {backbone}")

    monkeypatch.setattr(cli, "find_weights", find)
    monkeypatch.setattr(cli, "Extractor", lambda *_: pytest.fail("work was begun"))
    result = CliRunner().invoke(quality, [str(nuts), "--only", "as anomalib does", "--only", "Lite2"])
    assert result.exit_code == 2
    assert result.stderr.strip() == "error: no weights for backbone tf_efficientnet_lite2"


def test_words_that_no_setting_has_are_refused_with_those_that_there_are(nuts):
    result = CliRunner().invoke(quality, [str(nuts), "--only", "nonsense"])
    assert result.exit_code == 2
    assert "no setting has nonsense in its name; there are as anomalib does" in result.output
