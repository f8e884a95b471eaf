"""`nut-runtime --verify-key`: every command refuses a bundle that nobody trusted vouches for."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nut_runtime.cli import main
from nut_runtime.signature import Signature, fingerprint, signed_message

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
FINGERPRINT = fingerprint(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
PICTURE = "golden/00.png"


@pytest.fixture
def trusted(tmp_path) -> str:
    path = tmp_path / "plant.pub.pem"
    path.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(path)


@pytest.fixture
def signed(bundle_folder, tmp_path) -> Path:
    folder = shutil.copytree(bundle_folder, tmp_path / "bundle")
    value = KEY.sign(signed_message((folder / "manifest.json").read_bytes()))
    (folder / "manifest.sig").write_text(Signature(key=FINGERPRINT, value=value).to_text())
    return folder


def run(folder: Path, *arguments: str, **environment: str | None) -> Result:
    variables = {"NUT_MODEL": str(folder), "NUT_VERIFY_KEY": None, **environment}
    result = CliRunner().invoke(main, list(arguments), env=variables, prog_name="nut-runtime")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def assert_refused(result: Result, message: str) -> None:
    """The command ended with exit code 2 and one line, before it said anything else."""
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(rf"error: [^\n]*{message}[^\n]*\n", result.stderr), result.stderr


COMMANDS = [
    pytest.param(["run", "{picture}"], id="run"),
    pytest.param(["{picture}"], id="run-unnamed"),
    pytest.param(["info"], id="info"),
    pytest.param(["info", "--json"], id="info-json"),
    pytest.param(["doctor", "--engine", "onnxruntime"], id="doctor"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_verifies_with_the_option_and_with_the_variable(signed, trusted, command):
    arguments = [word.format(picture=signed / PICTURE) for word in command]
    assert run(signed, *arguments, "--verify-key", trusted).exit_code == 0
    assert run(signed, *arguments, NUT_VERIFY_KEY=trusted).exit_code == 0
    (signed / "manifest.sig").unlink()
    assert_refused(run(signed, *arguments, "--verify-key", trusted), "is not signed")
    assert_refused(run(signed, *arguments, NUT_VERIFY_KEY=trusted), "is not signed")
    assert run(signed, *arguments).exit_code == 0


def test_nothing_is_written_when_a_bundle_is_refused(bundle_folder, trusted, tmp_path):
    outputs = ["--output", str(tmp_path / "a.jsonl"), "--save-dir", str(tmp_path / "out")]
    result = run(bundle_folder, str(bundle_folder / PICTURE), "--verify-key", trusted, *outputs)
    assert_refused(result, "is not signed")
    assert {path.name for path in tmp_path.iterdir()} == {"plant.pub.pem"}


def test_the_option_wins_over_the_variable(signed, trusted):
    assert run(signed, "info", "--verify-key", trusted, NUT_VERIFY_KEY="none.pem").exit_code == 0
    assert_refused(run(signed, "info", "--verify-key", "none.pem", NUT_VERIFY_KEY=trusted), "none.pem does not exist")


def test_a_variable_that_is_set_to_nothing_does_not_turn_the_check_off(bundle_folder):
    assert_refused(run(bundle_folder, "info", NUT_VERIFY_KEY=""), "NUT_VERIFY_KEY is set but empty; name the file")


def signature_row(result: Result) -> str:
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("signature ")]
    return row.removeprefix("signature ").strip()


@pytest.mark.parametrize("command", [["info"], ["doctor", "--engine", "onnxruntime"]], ids=["info", "doctor"])
def test_it_is_told_who_signed_and_whether_that_was_verified(signed, trusted, command):
    assert signature_row(run(signed, *command)) == f"by {FINGERPRINT}, not verified (no --verify-key)"
    assert signature_row(run(signed, *command, "--verify-key", trusted)) == f"by {FINGERPRINT}, verified"
    (signed / "manifest.sig").write_text("scribble")
    assert signature_row(run(signed, *command)).startswith("unusable, not verified (")
    (signed / "manifest.sig").unlink()
    assert signature_row(run(signed, *command)) == "none"


def test_info_names_files_that_are_not_used(signed):
    assert "not used" not in run(signed, "info").stdout
    (signed / "notes.txt").touch()
    assert "not used, since the manifest does not list them: notes.txt" in run(signed, "info").stdout
