"""A grown run's model: what it has in common with that of the run it grew from is the same to the bit."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nut_export import search
from nut_export.export import export_bundle
from nut_export.proof_pictures import find_pictures
from nut_runtime.errors import InputError
from nut_train.run import Run, open_run

CHUNK = 32


@pytest.fixture(scope="module")
def grown(grown_folder) -> Run:
    return open_run(grown_folder)


@pytest.fixture(scope="module")
def bundles(run_folder, grown, tmp_path_factory) -> tuple[Path, Path]:
    """The run and the grown one as bundles, with several chunks in each bank; the proof of both held."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "CHUNK_ROWS", CHUNK)
        for name, run in (("base", open_run(run_folder)), ("grown", grown)):
            export_bundle(run, folder / name)
    return folder / "base", folder / "grown"


def _constants(folder: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(folder / "model.onnx").graph
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer if one.name.startswith("search/")}


def test_every_full_chunk_of_the_base_is_in_the_grown_model_to_the_byte(bundles, grown):
    before, after = (_constants(folder) for folder in bundles)
    rows = grown.record["extended"]["base"]["rows"]
    full = [start for start in range(0, rows, CHUNK) if start + CHUNK <= rows]
    assert len(full) >= 3
    names = ["search/mean", *(f"search/{what}_{start}" for what in ("bank", "half_norms") for start in full)]
    for name in names:
        assert before[name].tobytes() == after[name].tobytes(), name
    added = sum(len(value) for name, value in after.items() if name.startswith("search/bank_"))
    assert added == grown.record["bank"]["rows"]


def test_the_models_are_what_the_proof_compared_with_anomalib(bundles):
    from nut_runtime.bundle import open_bundle

    manifest = open_bundle(bundles[1]).manifest
    assert all(not parity["flips"] for parity in manifest.parity.values())
    assert manifest.provenance["bank"]["rows"] > open_bundle(bundles[0]).manifest.provenance["bank"]["rows"]


def test_a_grown_bank_is_centred_on_the_rows_of_the_first_base():
    bank = np.random.default_rng(0).normal(3, 1, (90, 8)).astype(np.float32)
    alone, within = search.prepare_bank(bank[:70], 3), search.prepare_bank(bank, 3, centred_on=70)
    assert alone.mean.tobytes() == within.mean.tobytes()
    assert alone.rows.tobytes() == within.rows[:70].tobytes()
    assert np.array_equal(within.neighbours, search.prepare_bank(bank, 3).neighbours)


def test_what_a_run_was_grown_with_takes_part_in_the_export(grown, alarms, nuts):
    found = find_pictures(grown, None, 400)
    assert {path.resolve() for path in alarms.iterdir()} <= set(found.training)
    assert {path.resolve() for path in alarms.iterdir()} <= set(found.good)
    assert {path.name for path in found.held_out} == set(grown.record["split"]["held_out"])
    elsewhere = find_pictures(grown, nuts, 400)
    assert {path.parent for path in elsewhere.good} == {nuts / "train/good"}


def test_a_picture_that_the_run_was_grown_with_is_named_when_it_is_gone(grown, alarms, tmp_path):
    lost = Path(shutil.copytree(alarms, tmp_path / "lost"))
    (lost / "0001.png").unlink()
    record = {**grown.record, "extended": {**grown.record["extended"], "dataset": {"path": str(lost)}}}
    with pytest.raises(InputError, match="which the run was grown with, is not there; put it back"):
        find_pictures(Run(folder=grown.folder, record=record), None, 400)
