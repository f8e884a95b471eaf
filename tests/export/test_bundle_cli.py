"""`nut bundle`: what it prints, how it ends, and what a user's mistake looks like."""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main
from nut_export.signing import generate_key, public_path
from nut_runtime.bundle import open_bundle

SEVEN, EIGHT = ({"NUT_KEY_PASSPHRASE": word} for word in ("seven", "eight"))


def run(*arguments: object, is_terminal: bool = False, **environment: str | None) -> Result:
    variables = {"NO_COLOR": None, "NUT_KEY_PASSPHRASE": None, **environment}
    result = CliRunner().invoke(main, ["bundle", *map(str, arguments)], env=variables, color=is_terminal)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def assert_refused(result: Result, says: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


@pytest.fixture
def copy(bundle_folder, tmp_path) -> Path:
    return shutil.copytree(bundle_folder, tmp_path / "copy")


@pytest.fixture
def strict(bundle_folder, tmp_path) -> Path:
    """A copy of the bundle that rejects everything."""
    folder = shutil.copytree(bundle_folder, tmp_path / "strict")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["operating_point"]["image"]["threshold"] = 1.0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("command", ["keygen", "sign", "diff"])
def test_every_help_has_examples_that_name_options_that_exist(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    examples = [line.split() for line in result.stdout.splitlines() if line.startswith(f"  nut bundle {command}")]
    assert examples
    options = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)|^  (-\w), ", result.stdout, re.MULTILINE))
    known = {name for pair in options for name in pair if name} | {"-o"}
    assert {word for example in examples for word in example if word.startswith("-")} <= known


def test_a_key_is_made_a_bundle_signed_and_verified_with_three_commands(copy, tmp_path):
    key = tmp_path / "plant.pem"
    made = run("keygen", "-o", key)
    assert made.exit_code == 0
    fingerprint = made.stdout.splitlines()[-1].split()[1]
    assert str(public_path(key)) in made.stdout
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    signed = run("sign", copy, "--key", key)
    assert signed.exit_code == 0
    assert fingerprint in signed.stdout
    assert open_bundle(copy, verify_key=public_path(key)).verified_by == fingerprint


def test_a_protected_key_takes_its_passphrase_from_the_variable(copy, tmp_path):
    key = tmp_path / "safe.pem"
    assert run("keygen", "-o", key, "--passphrase", **SEVEN).exit_code == 0
    assert "seven" not in key.read_text()
    assert_refused(run("sign", copy, "--key", key), "there is no terminal to ask; set NUT_KEY_PASSPHRASE")
    assert_refused(run("sign", copy, "--key", key, **EIGHT), "does not open with this passphrase")
    assert run("sign", copy, "--key", key, **SEVEN).exit_code == 0


def test_mistakes_with_keys_are_one_line(copy, tmp_path):
    key = generate_key(tmp_path / "plant.pem").path
    assert_refused(run("keygen", "-o", key), "exists already; choose another file or give --force")
    assert_refused(run("keygen", "-o", tmp_path / "none" / "k.pem"), "does not exist; make it")
    assert_refused(run("keygen", "-o", tmp_path / "k.pem", "--passphrase"), "set NUT_KEY_PASSPHRASE")
    assert_refused(run("sign", copy, "--key", tmp_path / "none.pem"), "none.pem does not exist")
    assert_refused(run("sign", copy, "--key", public_path(key)), "holds a public key, which cannot sign")
    assert_refused(run("sign", tmp_path, "--key", key), "is not a bundle: manifest.json is missing")
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "plant.pem", "plant.pub.pem"}


@pytest.mark.usefixtures("quick_export")
def test_export_signs_and_says_so_and_looks_at_the_key_before_the_long_work(run_folder, tmp_path):
    out = tmp_path / "bundle"
    key = generate_key(tmp_path / "plant.pem")

    def export(key_file: Path) -> Result:
        arguments = ["export", run_folder, "-o", out, "--pictures", "1", "--sign", key_file]
        return CliRunner().invoke(main, list(map(str, arguments)))

    assert_refused(export(tmp_path / "none.pem"), "none.pem does not exist")
    assert_refused(export(public_path(key.path)), "holds a public key")
    done = export(key.path)
    assert done.exit_code == 0, done.output
    assert f"signed  by {key.fingerprint}" in done.stdout.splitlines()
    opened = open_bundle(out, verify_key=public_path(key.path))
    assert opened.verified_by == key.fingerprint
    assert "manifest.sig" not in opened.manifest.files
    assert opened.unlisted_files() == []


def test_equal_bundles_end_with_0_and_others_with_1(bundle_folder, copy, strict):
    same = run("diff", bundle_folder, copy)
    assert same.exit_code == 0
    assert "no fact differs" in same.stdout
    other = run("diff", bundle_folder, strict)
    assert other.exit_code == 1
    assert re.search(r"^  image threshold \(raw\)  \S+ -> 1  \(-\d+\.\d\d%\)$", other.stdout, re.MULTILINE)
    same_line = other.stdout.splitlines()[-1]
    assert same_line.startswith("the same: bundle, ")
    assert all(section in same_line for section in ("model", "memory bank", "data", "calibration", "versions", "files"))


def test_with_pictures_the_verdicts_decide_about_the_exit_code(bundle_folder, copy, strict, nuts):
    options = ["--pictures", nuts / "test", "--engine", "onnxruntime"]
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["created"] = "another day"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    renamed = run("diff", bundle_folder, copy, *options)
    assert renamed.exit_code == 0  # facts differ, verdicts do not
    assert "another day" in renamed.stdout
    assert "verdicts that flip  0" in renamed.stdout
    flipped = run("diff", bundle_folder, strict, *options)
    assert flipped.exit_code == 1
    counts = re.search(r"verdicts that flip  (\d+): (\d+) good -> DEFECT, (\d+) DEFECT -> good", flipped.stdout)
    assert counts is not None
    listed = re.findall(r"^    good -> DEFECT  0\.\d{4} -> 0\.\d{4}  (.+)$", flipped.stdout, re.MULTILINE)
    assert (len(listed), len(listed), 0) == tuple(map(int, counts.groups()))
    assert all(Path(path).is_file() for path in listed)


def test_json_holds_what_the_text_says_and_nothing_else_is_on_standard_output(bundle_folder, strict, nuts):
    options = ["--pictures", nuts / "test", "--engine", "onnxruntime", "--json"]
    result = run("diff", bundle_folder, strict, *options)
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["is_different"] is True
    (difference,) = data["differences"]
    assert (difference["key"], difference["b"]) == ("operating_point.image.threshold", 1.0)
    assert "provenance.bank.rows" in data["same"]
    verdicts = data["verdicts"]
    assert (verdicts["pictures"], verdicts["b_rejects"]) == (9, 9)
    assert verdicts["good_to_defect"] == len(verdicts["flips"]) == 9 - verdicts["a_rejects"]
    assert set(verdicts["flips"][0]) == {"source", "a_score", "b_score", "is_now_defective"}
    assert json.loads(run("diff", bundle_folder, strict, "--json").stdout)["verdicts"] is None


def test_a_picture_that_cannot_be_judged_ends_with_2_after_everything_was_said(bundle_folder, nuts, tmp_path):
    pictures = shutil.copytree(nuts / "test" / "good", tmp_path / "pictures")
    (pictures / "text.png").write_text("no picture")
    result = run("diff", bundle_folder, bundle_folder, "--pictures", pictures)
    assert result.exit_code == 2
    assert "3 pictures judged with both" in result.stdout
    assert re.fullmatch(r"error: \S*text\.png is not a picture[^\n]*\n", result.stderr)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["{bundle}", "none"], "none is not a bundle folder", id="no-bundle"),
        pytest.param(["{nuts}", "{bundle}"], "is not a bundle: manifest.json is missing", id="data-set"),
        pytest.param(["{bundle}", "{bundle}", "--pictures", "none"], "none does not exist", id="no-pictures"),
        pytest.param(["{bundle}", "{bundle}", "--pictures", "{bundle}/models"], "does not exist", id="no-folder"),
        pytest.param(
            ["{bundle}", "{bundle}", "--pictures", "{nuts}", "--engine", "magic"], "unknown engine 'magic'", id="engine"
        ),
        pytest.param(["{bundle}", "{bundle}", "-o", "none/diff.html"], "none does not exist; make it", id="page"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(bundle_folder, nuts, arguments, says):
    assert_refused(run("diff", *(word.format(bundle=bundle_folder, nuts=nuts) for word in arguments)), says)


def test_colour_is_for_terminals_and_no_color_takes_it_away(bundle_folder, strict):
    assert "\x1b[31m" in run("diff", bundle_folder, strict, is_terminal=True).stdout
    assert "\x1b[" not in run("diff", bundle_folder, strict, is_terminal=True, NO_COLOR="1").stdout
    assert "\x1b[" not in run("diff", bundle_folder, strict).stdout


def test_a_manifest_cannot_steer_the_terminal(bundle_folder, copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["created"] = "\x1b[2Jgone\nsigned by plant"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    result = run("diff", bundle_folder, copy, is_terminal=True)
    assert "\x1b[2J" not in result.stdout
    assert "?[2Jgone?signed by plant" in result.stdout


def test_the_page_shows_every_flip_twice_and_replaces_only_older_pages(bundle_folder, strict, nuts, tmp_path):
    page = tmp_path / "diff.html"
    options = ["--pictures", nuts / "test", "--engine", "onnxruntime", "-o", page]
    result = run("diff", bundle_folder, strict, *options)
    assert result.exit_code == 1
    assert result.stderr == f"page  {page}\n"
    text = page.read_text()
    flips = text.count('alt="as A sees it"')
    assert f"<b>{flips} of 9 verdicts flip</b>" in text
    assert text.count("data:image/jpeg;base64,") == 2 * flips
    assert "http" not in text  # self-contained
    assert_refused(run("diff", bundle_folder, strict, *options), "exists already; choose another file or give --force")
    assert run("diff", bundle_folder, bundle_folder, "-o", page, "--force").exit_code == 0
    assert "No fact differs." in page.read_text()
    page.write_text("my thesis")
    assert_refused(run("diff", bundle_folder, strict, "-o", page, "--force"), "is not an older page of nut bundle diff")
    assert page.read_text() == "my thesis"


def test_the_page_shows_markup_in_a_manifest_as_text(bundle_folder, copy, tmp_path):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["created"] = "<script>alert(1)</script>"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    run("diff", bundle_folder, copy, "-o", tmp_path / "diff.html")
    assert "<script" not in (tmp_path / "diff.html").read_text()


def test_a_diff_imports_nothing_heavy(bundle_folder):
    program = """
import sys
from nut_benchmarks.cli import main
try:
    main(["bundle", "diff", sys.argv[1], sys.argv[1]])
finally:
    heavy = {"torch", "anomalib", "onnx", "onnxruntime", "openvino", "cryptography", "matplotlib"} & set(sys.modules)
    print("imported:", *sorted(heavy))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle_folder)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("\nimported:\n")
