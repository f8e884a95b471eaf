"""A delta of a grown bank is small, every kind of bundle is brought over, and a delta nobody could use is not made."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_export import delta as delta_module
from nut_export.delta import write_delta
from nut_export.export import ExportConfig, export_bundle
from nut_export.signing import generate_key, sign_bundle
from nut_runtime.bundle import open_bundle
from nut_runtime.delta.extend import extend_bundle, revert_bundle
from nut_runtime.engines import available_engines
from nut_runtime.errors import BundleError, InputError, OutputError
from nut_runtime.inspector import Inspector
from nut_train.run import open_run


@pytest.fixture
def grown(grown_folder, quick_export, tmp_path) -> Path:
    """The bundle of `run_folder` grown by two false alarms."""
    export_bundle(open_run(grown_folder), tmp_path / "grown", ExportConfig(name="nuts"))
    return tmp_path / "grown"


def test_a_grown_bank_is_brought_by_its_new_rows_and_little_else(bundle_folder, grown, nuts, tmp_path):
    facts = write_delta(bundle_folder, grown, tmp_path / "growth.nutdelta")
    before, after = (bundle.manifest.provenance["bank"] for bundle in (facts.old, facts.new))
    assert after["rows"] > before["rows"]
    row_bytes = (after["rows"] - before["rows"]) * after["width"] * 4
    # Both models hold the rows, and they travel once; tensors of golden frames, proof and the graph's text are new too.
    tensors = sum(entry.size_bytes for name, entry in facts.new.manifest.files.items() if name.startswith("golden/"))
    assert row_bytes <= facts.literal_bytes < 2 * row_bytes + tensors
    assert facts.size_bytes < 0.05 * facts.bundle_bytes
    line = Path(shutil.copytree(bundle_folder, tmp_path / "line"))
    done = extend_bundle(line, tmp_path / "growth.nutdelta")
    assert done.gated.engines == available_engines()
    picture = open_bundle(grown).golden_frame(open_bundle(grown).manifest.golden[-1])
    scores = [Inspector(folder, engine="onnxruntime").inspect(picture).raw_score for folder in (line, grown)]
    assert scores[0] == scores[1]
    revert_bundle(line)
    assert open_bundle(line).manifest == open_bundle(bundle_folder).manifest


def renamed(folder: Path, new: Path, name: str) -> Path:
    """Copy a bundle under another id, its threshold moved by a hair."""
    shutil.copytree(folder, new)
    data = json.loads((new / "manifest.json").read_text())
    data["bundle_id"] = name
    data["operating_point"]["image"]["threshold"] *= 1.001
    (new / "manifest.json").write_text(json.dumps(data))
    return new


def bring(folder: Path, tmp_path: Path) -> None:
    """Extend a copy of a bundle and take it back."""
    line = renamed(folder, tmp_path / "line", "nuts-old")
    write_delta(line, renamed(line, tmp_path / "new", "nuts-new"), tmp_path / "d.nutdelta")
    done = extend_bundle(line, tmp_path / "d.nutdelta")
    assert set(done.gated.engines) == set(open_bundle(line).manifest.models)
    assert done.bundle.manifest.bundle_id == open_bundle(line).manifest.bundle_id == "nuts-new"
    assert revert_bundle(line).bundle.manifest.bundle_id == "nuts-old"


@pytest.mark.slow
def test_a_bundle_for_trays_is_extended_and_its_locator_tested(tray_bundle_folder, tmp_path):
    bring(tray_bundle_folder, tmp_path)


@pytest.mark.slow
def test_a_cascade_is_extended(cascade_of_two, tmp_path):
    bring(cascade_of_two.bundle.folder, tmp_path)


@pytest.mark.slow
def test_an_int8_bundle_is_extended(int8, tmp_path):
    bring(int8.bundle.folder, tmp_path)


@pytest.mark.slow
def test_parts_of_trays_do_not_become_whole_frames(bundle_folder, tray_bundle_folder, tmp_path):
    with pytest.raises(BundleError, match=r"judges whole frames and .* the parts of trays; replace the bundle"):
        write_delta(bundle_folder, tray_bundle_folder, tmp_path / "d.nutdelta")


@pytest.fixture
def pair(bundle_folder, tmp_path) -> tuple[Path, Path]:
    old = Path(shutil.copytree(bundle_folder, tmp_path / "old"))
    return old, renamed(old, tmp_path / "new", "nuts-new")


def test_the_same_bundles_give_the_same_delta(pair, tmp_path):
    for name in ("a", "b"):
        write_delta(*pair, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_two_bundles_that_are_the_same_give_none(pair, tmp_path):
    with pytest.raises(InputError, match="are the same bundle"):
        write_delta(pair[0], pair[0], tmp_path / "d")


def test_a_signed_bundle_is_not_followed_by_an_unsigned_one(pair, tmp_path):
    key = generate_key(tmp_path / "plant.pem")
    sign_bundle(pair[0], key)
    with pytest.raises(InputError, match=r"old is signed and .*new is not, .*run nut bundle sign first"):
        write_delta(*pair, tmp_path / "d")
    sign_bundle(pair[1], key)
    assert write_delta(*pair, tmp_path / "d").new.folder == pair[1]


def test_an_older_delta_is_replaced_only_when_asked_and_nothing_else_ever(pair, tmp_path):
    out = tmp_path / "d.nutdelta"
    write_delta(*pair, out)
    with pytest.raises(OutputError, match="exists already; choose another file or give --force"):
        write_delta(*pair, out)
    write_delta(*pair, out, overwrite=True)
    (tmp_path / "photo.jpg").write_bytes(b"jpeg")
    with pytest.raises(OutputError, match="is not an older delta, so it is not replaced"):
        write_delta(*pair, tmp_path / "photo.jpg", overwrite=True)


@pytest.mark.parametrize(
    ("place", "says"),
    [("none/d", "does not exist; make it"), ("old/d", "lies in the bundle"), ("new/golden/d", "lies in")],
)
def test_a_place_where_no_delta_can_be_is_refused(pair, tmp_path, place, says):
    with pytest.raises(OutputError, match=says):
        write_delta(*pair, tmp_path / place)


def test_a_delta_that_does_not_give_the_new_bundle_is_not_kept(pair, tmp_path, monkeypatch):
    """A fault of the maker is found by the maker, with the code that the device runs."""
    honest = delta_module._spelt

    def off_by_one(piece, data):
        if isinstance(piece, delta_module.Copy) and piece.length > 1000:
            piece = delta_module.Copy(piece.source, piece.offset, piece.length - 1)
        yield from honest(piece, data)

    monkeypatch.setattr(delta_module, "_spelt", off_by_one)
    before = set(tmp_path.iterdir())
    with pytest.raises(BundleError):
        write_delta(*pair, tmp_path / "d.nutdelta")
    assert set(tmp_path.iterdir()) == before


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, ["bundle", *map(str, arguments)], env={"NO_COLOR": "1"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_command_says_what_it_wrote(pair, tmp_path):
    out = tmp_path / "growth.nutdelta"
    done = run("delta", *pair, "-o", out)
    assert done.exit_code == 0, done.output
    facts = dict(row.split(maxsplit=1) for row in done.stdout.splitlines())
    old = open_bundle(pair[0]).manifest.bundle_id
    files = len(open_bundle(pair[0]).manifest.files)
    assert facts["bundle"] == f"{old} -> nuts-new"
    assert facts["files"] == f"{files} of {files} as they were; 0 bytes are new"
    assert "of the bundle's" in facts["delta"]
    assert facts["signed"] == "none"
    assert facts["file"] == str(out)
    again = run("delta", *pair, "-o", out)
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr.startswith("error: ")
    assert run("delta", *pair, "-o", out, "--force").exit_code == 0
