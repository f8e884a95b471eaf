"""`nut dataset check`: what it reports, how it prints, and how it ends."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import nut_dataset.check
from nut_dataset.check import check
from nut_dataset.check_report import CheckReport
from nut_dataset.cli import dataset as command
from nut_dataset.findings import Severity
from nut_dataset.layout import fingerprint, open_dataset
from nut_runtime.errors import InputError

DATA = Path(__file__).parents[2].parent / "shared" / "data"
real = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real pictures are not at {DATA}"),
]

RED = "\x1b[1;31m"
YELLOW = "\x1b[33m"


class Set:
    """A data set under construction; every picture is unlike the others and of the same distribution."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rng = np.random.default_rng(21)

    def pixels(self, width: int = 40, height: int = 32) -> np.ndarray:
        layers = [
            cv2.resize(self.rng.normal(0, 60 / cells**0.5, (cells, cells, 3)), (width, height))
            for cells in (2, 4, 8, 16)
        ]
        return np.clip(128 + sum(layers), 0, 255).astype(np.uint8)

    def add(self, name: str, pixels: np.ndarray | None = None, *, mode: str = "RGB") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels() if pixels is None else pixels).convert(mode).save(path)
        return path

    def mask(self, name: str, *, size: tuple[int, int] = (40, 32), value: int = 255, full: bool = False) -> None:
        path = self.root / "ground_truth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.new("L", size, value if full else 0)
        mask.paste(value, (3, 3, 9, 9))
        mask.save(path)

    def check(self) -> CheckReport:
        return check(self.root)


@pytest.fixture
def clean(tmp_path) -> Set:
    """24 training pictures, 6 good ones, 6 scratched ones with masks: nothing to complain of."""
    clean = Set(tmp_path / "set")
    for i in range(24):
        clean.add(f"train/good/{i:02}.png")
    for i in range(6):
        clean.add(f"test/good/{i}.png")
        clean.add(f"test/scratch/{i}.png")
        clean.mask(f"scratch/{i}_mask.png")
    return clean


@pytest.fixture
def run(clean, monkeypatch) -> Callable[..., Result]:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(*options: str, root: Path = clean.root) -> Result:
        return CliRunner().invoke(command, ["check", str(root), *options])

    return run


def codes(report: CheckReport, severity: Severity | None = None) -> list[str]:
    return [f.code for f in report.findings if severity in {None, f.severity}]


def finding(report: CheckReport, code: str):
    (only,) = (f for f in report.findings if f.code == code)
    return only


# ---------------------------------------------------------------- what is counted


def test_a_sound_set_has_nothing_to_complain_of(clean):
    report = clean.check()
    assert report.findings == ()
    assert report.is_usable
    assert report.conclusion == "usable, nothing to complain of"


def test_pictures_are_counted_by_split_and_kind(clean):
    clean.add("test/dent/0.jpg", clean.pixels(48, 32), mode="L")
    counts = {f"{f.split}/{f.kind}": f for f in clean.check().folders}
    assert {name: f.n_pictures for name, f in counts.items()} == {
        "train/good": 24,
        "test/good": 6,
        "test/dent": 1,
        "test/scratch": 6,
    }
    assert counts["test/scratch"].n_masks == 6
    assert (counts["test/dent"].sizes, counts["test/dent"].modes) == ({"48x32": 1}, {"L": 1})
    assert counts["test/dent"].formats == {"JPEG": 1}


def test_the_fingerprint_is_that_of_the_layout(clean):
    assert clean.check().fingerprint == fingerprint(open_dataset(clean.root))


def test_progress_is_told_for_every_picture(clean):
    calls: list[tuple[int, int]] = []
    check(clean.root, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i + 1, 36) for i in range(36)]


# ---------------------------------------------------------------- files that cannot be used


def broken(root: Path, kind: str) -> None:
    path = root / "test/good" / "bad.png"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a picture")
    elif kind == "16-bit":
        cv2.imwrite(str(path), np.full((32, 40), 40_000, np.uint16))
    elif kind == "cmyk":
        Image.new("CMYK", (40, 32)).save(path, "JPEG")
    elif kind == "1x1":
        Image.new("RGB", (1, 1)).save(path)
    elif kind == "lost-link":
        path.symlink_to(root / "nowhere.png")


@pytest.mark.parametrize(
    ("kind", "code", "line"),
    [
        ("empty", "empty-file", "test/good/bad.png is empty (0 bytes)"),
        ("text", "unusable-picture", "test/good/bad.png is not a picture that can be read, or is broken"),
        ("16-bit", "unusable-picture", "test/good/bad.png has uint16 pixels, expected 8 bits"),
        ("cmyk", "unusable-picture", "test/good/bad.png is a CMYK picture; convert it to RGB first"),
        ("1x1", "unusable-picture", "test/good/bad.png: 1x1 px is too small"),
        ("lost-link", "unusable-picture", "test/good/bad.png cannot be opened"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(clean, run, kind, code, line):
    broken(clean.root, kind)
    report = clean.check()
    assert codes(report, Severity.ERROR) == [code]
    assert finding(report, code).details[0].startswith(line)
    assert not report.is_usable
    result = run()
    assert result.exit_code == 2
    assert line in result.stdout


def test_all_bad_files_are_listed_in_the_json_and_ten_in_the_table(clean, run):
    for i in range(14):
        (clean.root / f"train/good/bad{i:02}.png").touch()
    assert run().stdout.count("is empty (0 bytes)\n") == 10
    assert "and 4 more" in run().stdout
    (error,) = (f for f in json.loads(run("--json").stdout)["findings"] if f["severity"] == "error")
    assert len(error["details"]) == 14


def test_training_pictures_of_which_none_can_be_used_are_an_error(clean):
    for path in (clean.root / "train/good").iterdir():
        path.write_bytes(b"")
    assert set(codes(clean.check(), Severity.ERROR)) == {"no-usable-training-picture", "empty-file"}


# ---------------------------------------------------------------- folders


def test_an_empty_folder_is_an_error_that_says_what_to_do(tmp_path):
    report = check(tmp_path)
    assert codes(report) == ["no-training-pictures"]
    assert report.findings[0].what == "train/good is missing"
    assert report.findings[0].action.startswith("put pictures of good parts")


def test_where_training_pictures_are_missing_it_says_where_pictures_are(clean):
    (clean.root / "train").rename(clean.root / "training")
    assert finding(clean.check(), "no-training-pictures").what == (
        "train/good is missing; pictures are in training/good (24)"
    )


def test_a_path_that_is_no_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        check(tmp_path / "nowhere")


def test_few_training_pictures_are_a_warning(clean):
    for path in sorted((clean.root / "train/good").iterdir())[19:]:
        path.unlink()
    assert codes(clean.check(), Severity.WARNING) == ["few-training-pictures"]


def test_pictures_that_are_not_read_are_named_with_their_number(clean):
    clean.add("train/defect/0.png")
    clean.add("test/scratch/more/0.png")
    clean.add("validation/good/0.png")
    assert finding(clean.check(), "unread-folder").details == (
        "test/scratch/more (1 picture)",
        "train/defect (1 picture)",
        "validation/good (1 picture)",
    )


def test_files_that_are_no_pictures_are_named_and_the_litter_of_systems_is_not(clean):
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "clip.gif"):
        (clean.root / "train/good" / name).touch()
    (clean.root / "license.txt").touch()
    assert finding(clean.check(), "not-a-picture").details == (
        "train/good/clip.gif",
        "train/good/notes.txt",
    )


@pytest.mark.parametrize("name", ["Good", "OK"])
def test_a_kind_of_defect_that_is_called_good_is_a_warning(clean, name):
    clean.add(f"test/{name}/0.png")
    assert finding(clean.check(), "good-named-otherwise").what == f"test/{name} counts as a kind of defect"


def test_without_test_pictures_it_says_what_cannot_be_measured(tmp_path):
    only_training = Set(tmp_path)
    for i in range(20):
        only_training.add(f"train/good/{i}.png")
    report = only_training.check()
    assert codes(report) == ["no-good-test-pictures", "no-defects"]
    assert report.is_usable


# ---------------------------------------------------------------- masks


def test_a_picture_without_mask_is_a_warning_where_others_of_its_kind_have_one(clean):
    (clean.root / "ground_truth/scratch/3_mask.png").unlink()
    assert finding(clean.check(), "picture-without-mask").details == ("test/scratch/3.png",)


def test_a_kind_without_any_mask_is_a_note(clean):
    clean.add("test/dent/0.png")
    report = clean.check()
    assert codes(report) == ["no-masks"]
    assert report.findings[0].severity is Severity.NOTE


@pytest.mark.parametrize("name", ["scratch/9_mask.png", "scratch/0.png", "dent/0_mask.png", "scratch/0_mask.bmp"])
def test_a_mask_without_picture_is_a_warning(clean, name):
    clean.mask(name)
    assert finding(clean.check(), "mask-without-picture").details == (f"ground_truth/{name}",)


def test_a_mask_of_another_size_is_a_warning(clean):
    clean.mask("scratch/0_mask.png", size=(20, 32))
    assert finding(clean.check(), "mask-size").details == (
        "ground_truth/scratch/0_mask.png is 20x32 px, its picture 40x32 px",
    )


@pytest.mark.parametrize(
    ("options", "code"), [({"value": 0}, "empty-mask"), ({"full": True}, "full-mask")], ids=["empty", "full"]
)
def test_a_mask_of_nothing_or_of_everything_is_a_warning(clean, options, code):
    clean.mask("scratch/0_mask.png", **options)
    assert codes(clean.check()) == [code]


def test_a_mask_that_cannot_be_read_is_an_error(clean):
    (clean.root / "ground_truth/scratch/0_mask.png").write_text("no mask")
    assert codes(clean.check(), Severity.ERROR) == ["unreadable-mask"]


def test_a_mask_that_two_pictures_share_is_a_warning(clean):
    clean.add("test/scratch/0.bmp")
    assert codes(clean.check()) == ["shared-mask"]


# ---------------------------------------------------------------- leaks and confounds


def test_leaked_files_are_left_out_before_properties_are_compared(clean):
    for i in range(10):  # without them, all good pictures are grey and all defective ones in colour
        clean.add(f"test/good/{i}.png", mode="L")
        (clean.root / f"test/good/leak{i}.png").write_bytes((clean.root / f"train/good/{i:02}.png").read_bytes())
    report = clean.check()
    assert finding(report, "leaked-test-files").what.startswith("10 of 20 test/good files are byte-identical")
    assert report.confounds.n_good == 10
    assert "channel mode" in finding(report, "file-confound").what
    assert report.conclusion == "usable to train on, but no AUROC measured on it means much"


def test_training_pictures_stand_in_where_no_good_test_picture_is_left(clean):
    for path in (clean.root / "test/good").iterdir():
        path.unlink()
    report = clean.check()
    assert (report.confounds.good_from, report.confounds.n_good) == ("train/good", 24)


def test_a_mixed_training_set_is_a_warning_with_an_example_of_each_group(clean):
    for i in range(8):
        clean.add(f"train/good/white{i}.png", np.maximum(clean.pixels(), 250))
    details = finding(clean.check(), "mixed-training-set").details
    assert details[0].startswith("24 pictures: RGB, 40 x 32 px, no plain background")
    assert details[1].startswith("8 pictures: RGB, 40 x 32 px, white background")
    assert details[1].endswith("train/good/white0.png")


# ---------------------------------------------------------------- the command


def test_json_alone_is_on_stdout(clean, run):
    clean.add("train/defect/0.png")
    result = run("--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report == json.loads(json.dumps(clean.check().to_json()))
    assert (report["schema_version"], report["is_usable"]) == (1, True)
    assert len(report["files"]) == 36
    assert result.stderr.startswith("warning: 1 folder whose pictures are not read; ")


def test_a_sound_set_prints_nothing_on_stderr_and_ends_with_0(run):
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].endswith("set: usable, nothing to complain of")


def test_findings_come_errors_first_then_warnings_then_notes(clean, run):
    (clean.root / "train/good/bad.png").touch()
    clean.add("train/defect/0.png")
    clean.add("test/dent/0.png")
    heads = [line.split()[0] for line in run().stdout.splitlines() if line[:4] in {"erro", "warn", "note"}]
    assert heads == ["error", "warning", "note"]


def test_a_missing_folder_is_one_line_on_stderr_and_exit_code_2(clean, run):
    result = run(root=clean.root / "nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: {clean.root}/nowhere is not a folder; give the folder that holds train/good\n"


def test_there_are_no_escapes_in_a_pipe(clean, run):
    (clean.root / "train/good/bad.png").touch()
    assert "\x1b" not in run().stdout


def test_no_color_takes_the_colour_away_where_a_terminal_would_have_it(clean, run, monkeypatch):
    (clean.root / "train/good/bad.png").touch()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert RED in run().stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert RED not in run().stdout
    assert "error" in run().stdout


def test_names_with_brackets_and_odd_characters_are_printed_as_they_are(clean, run):
    (clean.root / "test/good/[red]Größe[bold] \x1b.png").touch()
    assert "test/good/[red]Größe[bold] ?.png is empty" in run().stdout


def test_ctrl_c_ends_with_130_and_soon(clean, run, monkeypatch):
    read = nut_dataset.check.read_facts
    calls = []

    def slow(root, path, **options: str):
        calls.append(path)
        time.sleep(0.02)
        return read(root, path, **options)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nut_dataset.check, "read_facts", slow)
    monkeypatch.setattr("rich.progress.Progress.update", interrupt)  # Ctrl-C arrives in the main thread
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "stopped\n")
    assert len(calls) < 36


# ---------------------------------------------------------------- real pictures


@pytest.fixture(scope="module")
def nuts() -> CheckReport:
    return check(DATA / "nuts")


class TestNuts:
    """The provided nuts, whose faults are known."""

    pytestmark = real

    def test_the_counts_are_76_45_and_6(self, nuts):
        assert [f.n_pictures for f in nuts.folders] == [76, 45, 6]

    def test_20_good_test_files_are_training_files(self, nuts):
        leak = finding(nuts, "leaked-test-files")
        assert leak.what.startswith("20 of 45 test/good files are byte-identical to training files")
        assert len(leak.details) == 20

    def test_file_size_and_channel_mode_alone_reach_an_auroc_of_1(self, nuts):
        aurocs = {s.name: s.auroc for s in nuts.confounds.separations}
        assert (nuts.confounds.n_good, nuts.confounds.n_defective) == (25, 6)
        assert aurocs["mode"] == aurocs["file_bytes"] == aurocs["size"] == aurocs["pixels"] == 1
        assert "no AUROC on this set means much" in finding(nuts, "file-confound").action
        assert nuts.conclusion == "usable to train on, but no AUROC measured on it means much"

    def test_cut_outs_and_close_ups_are_told_apart(self, nuts):
        (split,) = nuts.splits
        assert [len(group) for group in split.groups] == [56, 20]
        assert all(file.path.name.startswith("IMG") for file in split.groups[0])
        assert all(file.path.name.startswith("Screenshot") for file in split.groups[1])

    def test_cut_outs_of_different_nuts_are_not_called_alike(self, nuts):
        # Two pairs were looked at: the same nut, cut out twice. The next pair, at 16 bits, is of two nuts.
        assert [pair.distance_bits for pair in nuts.near_duplicates.pairs] == [0, 4]

    def test_the_set_is_usable(self, nuts):
        assert nuts.is_usable


class TestMagneticTiles:
    """Tiles of many sizes: no file gives the answer away."""

    pytestmark = real

    def test_freely_varying_sizes_raise_no_alarm(self):
        report = check(DATA / "magnetic-tile")
        assert report.splits == ()
        assert not any(s.is_confound for s in report.confounds.separations)
        # The one warning is true: the same tile at two exposures, one in train and one in test.
        assert codes(report, Severity.WARNING) == ["near-duplicates-across"]
        assert codes(report, Severity.ERROR) == []
