"""Training cut-outs: what the runtime would judge, as it would see it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from nut_benchmarks.cli import main
from nut_dataset.coco.trays import read_trays
from nut_dataset.cutouts import CUTOUTS, read_cutout_settings
from nut_export.locator.cutouts import cut_trays, open_map_source
from nut_runtime.bundle import open_bundle
from nut_runtime.errors import InputError
from nut_runtime.locate.cutout import cut_out
from nut_runtime.locate.finding import usual_area_px
from nut_runtime.locate.locator import Locator
from nut_runtime.locate.settings import CutoutSettings
from nut_runtime.pictures import list_pictures, read_picture, write_picture


def test_cut_outs_are_pixel_for_pixel_what_the_runtime_judges(tray_bundle_folder, trays, tmp_path):
    cut_trays(trays, tmp_path / "cutouts", open_map_source(tray_bundle_folder))
    locator = Locator(open_bundle(tray_bundle_folder))
    picture = read_trays(trays, "test")[0].path
    frame = read_picture(picture)
    found = locator.find(frame)
    area_px = usual_area_px(found, frame_px=frame.shape[:2], settings=locator.entry.find)
    complete = [one for one in found if one.is_complete]
    for one in complete:
        written = read_picture(tmp_path / "cutouts" / "train" / "good" / f"test-{picture.stem}_{one.number:03}.png")
        assert np.array_equal(written, cut_out(frame, one, locator.entry.cutout, area_px=area_px))


def test_a_run_and_the_bundle_of_it_cut_out_alike(tray_bundle_folder, locator_folder, trays, tmp_path):
    for name, folder in {"run": locator_folder, "bundle": tray_bundle_folder}.items():
        cut_trays(trays, tmp_path / name, open_map_source(folder))
    run, bundle = (list_pictures(tmp_path / name / "train" / "good") for name in ("run", "bundle"))
    assert [path.name for path in run] == [path.name for path in bundle]
    differences = [
        np.abs(read_picture(one).astype(int) - read_picture(other)).max()
        for one, other in zip(run, bundle, strict=True)
    ]
    # maps differ by 1e-5, which moves an antialiased edge by a grey value or two
    assert max(differences) <= 4


def test_the_command_writes_how_it_cut_and_the_export_would_read_it(trays, locator_folder, tmp_path):
    out = tmp_path / "cutouts"
    command = ["dataset", "cutout", str(trays), "-o", str(out), "--locator", str(locator_folder)]
    result = CliRunner().invoke(main, [*command, "--size", "96", "--upright"])
    assert result.exit_code == 0, result.output
    assert read_cutout_settings(out) == CutoutSettings(size_px=96, is_upright=True)
    pictures = list_pictures(out / "train" / "good")
    assert f"cut out {len(pictures)} parts of 22 trays" in result.output
    assert all(read_picture(path).shape == (96, 96, 3) for path in pictures)
    assert json.loads((out / CUTOUTS).read_text())["locator"]["dataset_fingerprint"]


def test_a_data_set_that_is_no_cut_outs_says_nothing_of_them(nuts, tmp_path):
    assert read_cutout_settings(nuts) is None
    (tmp_path / CUTOUTS).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        read_cutout_settings(tmp_path)


def test_pictures_without_parts_are_said_so_and_leave_no_data_set(locator_folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    command = ["dataset", "cutout", str(empty), "-o", str(tmp_path / "out"), "--locator", str(locator_folder)]
    assert "holds no pictures of trays" in CliRunner().invoke(main, command).output
    write_picture(empty / "white.png", np.full((64, 64, 3), 255, np.uint8))
    result = CliRunner().invoke(main, command)
    assert result.exit_code in (0, 2)  # a locator of three epochs may see a part in nothing
    assert (result.exit_code == 0) == (tmp_path / "out").exists()
