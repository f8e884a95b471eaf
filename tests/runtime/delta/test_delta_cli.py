"""`extend` and `revert`: the same below `nut-runtime` and `nut bundle`, in a line for each fact."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nut_benchmarks.cli import main as nut
from nut_export.delta import write_delta
from nut_runtime.bundle import open_bundle
from nut_runtime.cli import main as nut_runtime

Run = Callable[..., Result]


@pytest.fixture(params=["nut-runtime", "nut bundle"])
def program(request) -> str:
    return request.param


@pytest.fixture
def run(program) -> Run:
    """A function that runs a command of the program."""

    def run(*arguments: object, **environment: str | None) -> Result:
        main, before = (nut_runtime, []) if program == "nut-runtime" else (nut, ["bundle"])
        variables = {"NUT_VERIFY_KEY": None, "NO_COLOR": "1", **environment}
        result = CliRunner().invoke(main, [*before, *map(str, arguments)], env=variables, prog_name=program.split()[0])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def assert_refused(result: Result, says: str) -> None:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert re.fullmatch(rf"error: [^\n]*{says}[^\n]*\n", result.stderr), result.stderr


@pytest.fixture
def line(bundle_folder, tmp_path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


def next_version(line: Path, *, threshold: float) -> Path:
    new = Path(shutil.copytree(line, line.with_name("new")))
    data = json.loads((new / "manifest.json").read_text())
    data["bundle_id"] = "nuts-new"
    data["operating_point"]["image"]["threshold"] *= threshold
    (new / "manifest.json").write_text(json.dumps(data))
    write_delta(line, new, line.with_name("growth.nutdelta"))
    return line.with_name("growth.nutdelta")


def test_a_bundle_is_extended_and_taken_back_by_two_commands(run, program, line):
    old = open_bundle(line).manifest.bundle_id
    delta = next_version(line, threshold=1.01)
    done = run("extend", line, "--with", delta, "--engine", "onnxruntime", "--threads", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    facts = dict(row.split(maxsplit=1) for row in done.stdout.splitlines())
    assert facts["bundle"] == f"{old} -> nuts-new"
    files = len(open_bundle(line).manifest.files)
    assert re.fullmatch(rf"\d+\.\d KB; {files} of {files} files as they were", facts["delta"])
    assert facts["signed"] == "none"
    assert facts["tested"] == "3 golden frames as the reference, in onnxruntime"
    assert re.fullmatch(r"\d good and [1-3] defective frames: verdicts kept", facts["before"])
    assert facts["kept"].endswith(f"MB, for {program} revert {line}")
    assert open_bundle(line).manifest.bundle_id == "nuts-new"
    back = run("revert", line)
    assert back.exit_code == 0
    assert back.stdout.splitlines()[0].split(maxsplit=1) == ["bundle", f"nuts-new -> {old}"]
    assert open_bundle(line).manifest.bundle_id == old
    assert_refused(run("revert", line), "has nothing to go back to")


def test_changed_verdicts_are_refused_in_one_line_and_told_where_they_are_forced(run, line):
    delta = next_version(line, threshold=50.0)
    command = ["extend", line, "--with", delta, "--engine", "onnxruntime"]
    assert_refused(run(*command), "was rejected, now accepted .onnxruntime..*give --force")
    (line / "notes.txt").touch()
    forced = run(*command, "--force")
    assert forced.exit_code == 0
    assert re.search(r"verdicts changed \(--force\)", forced.stdout)
    assert re.search(r"warning: golden/\d\d\.png was rejected, now accepted \(onnxruntime\)", forced.stderr)
    assert "warning: not taken along, since the manifest does not list them: notes.txt" in forced.stderr


def test_frames_that_are_for_review_are_counted_as_such(run, line):
    data = json.loads((line / "manifest.json").read_text())
    data["operating_point"]["review_from"] = min(frame.raw_score for frame in open_bundle(line).manifest.golden) / 2
    (line / "manifest.json").write_text(json.dumps(data))
    done = run("extend", line, "--with", next_version(line, threshold=1.0), "--engine", "onnxruntime")
    assert re.search(
        r"^before +0 good, [12] for review and [12] defective frames: verdicts kept$", done.stdout, re.MULTILINE
    )


def test_the_key_counts_as_an_option_and_as_a_variable(run, line, tmp_path):
    delta = next_version(line, threshold=1.01)
    command = ["extend", line, "--with", delta]
    assert_refused(run(*command, "--verify-key", tmp_path / "none.pem"), "is not signed")
    assert_refused(run(*command, NUT_VERIFY_KEY=str(tmp_path / "none.pem")), "is not signed")
    assert_refused(run(*command, NUT_VERIFY_KEY=""), "NUT_VERIFY_KEY is set but empty")
    assert_refused(run("revert", line, NUT_VERIFY_KEY=""), "NUT_VERIFY_KEY is set but empty")


@pytest.mark.parametrize("command", ["extend", "revert"])
def test_the_help_has_examples_that_begin_with_the_program(run, program, command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"  {program} {command} bundle" in result.stdout
