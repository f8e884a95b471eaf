"""Keys are made with care, and only a whole bundle is signed."""

import json
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nut_export.export import export_bundle
from nut_export.signing import generate_key, load_signing_key, public_path, sign_bundle
from nut_runtime.bundle import open_bundle
from nut_runtime.claims import claim
from nut_runtime.errors import BundleError, InputError, OutputError
from nut_runtime.signature import load_public_keys
from nut_train.run import open_run


@pytest.fixture
def key_file(tmp_path) -> Path:
    path = tmp_path / "keys" / "plant.pem"
    path.parent.mkdir()
    generate_key(path)
    return path


@pytest.fixture
def copy(bundle_folder, tmp_path) -> Path:
    """A copy of the unsigned bundle."""
    return shutil.copytree(bundle_folder, tmp_path / "bundle")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_two_files_and_the_private_one_is_for_its_owner_alone(tmp_path):
    key = generate_key(tmp_path / "plant.pem")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plant.pem", "plant.pub.pem"]
    assert mode(tmp_path / "plant.pem") == 0o600
    assert mode(tmp_path / "plant.pub.pem") & 0o444
    assert list(load_public_keys(tmp_path / "plant.pub.pem")) == [key.fingerprint]
    assert load_signing_key(tmp_path / "plant.pem").fingerprint == key.fingerprint


def test_two_keys_are_never_the_same(tmp_path):
    assert generate_key(tmp_path / "a.pem").fingerprint != generate_key(tmp_path / "b.pem").fingerprint


def test_a_key_does_not_show_its_secret_when_printed(key_file):
    assert "PrivateKey" not in repr(load_signing_key(key_file))


@pytest.mark.parametrize("missing", ["plant.pem", "plant.pub.pem"])
def test_a_key_is_not_replaced_unasked_not_even_half(key_file, missing):
    (key_file.parent / missing).unlink()
    before = {path.name: path.read_bytes() for path in key_file.parent.iterdir()}
    with pytest.raises(OutputError, match="exists already; choose another file or give --force"):
        generate_key(key_file)
    assert {path.name: path.read_bytes() for path in key_file.parent.iterdir()} == before


def test_asked_for_both_halves_are_replaced_together(key_file):
    old = load_signing_key(key_file).fingerprint
    new = generate_key(key_file, overwrite=True).fingerprint
    assert new != old
    assert load_signing_key(key_file).fingerprint == new
    assert list(load_public_keys(public_path(key_file))) == [new]


@pytest.mark.parametrize("name", ["plant.pem", "plant.pub.pem"])
def test_what_is_no_key_is_never_replaced(key_file, name):
    (key_file.parent / name).write_text("my thesis")
    with pytest.raises(OutputError, match=r"is not an older \w+ key, so it is not replaced"):
        generate_key(key_file, overwrite=True)
    assert (key_file.parent / name).read_text() == "my thesis"


def test_a_private_key_is_not_written_over_the_public_one(key_file):
    shutil.copy(public_path(key_file), key_file)
    with pytest.raises(OutputError, match="is not an older private key"):
        generate_key(key_file, overwrite=True)


def test_a_key_for_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OutputError, match="none does not exist; make it"):
        generate_key(tmp_path / "none" / "plant.pem")


def test_a_passphrase_protects_the_key_and_is_asked_for_only_then(tmp_path, key_file):
    words = "größe 7"
    made = generate_key(tmp_path / "safe.pem", passphrase=words)
    assert b"ENCRYPTED" in (tmp_path / "safe.pem").read_bytes()
    asked = []

    def answer(path: Path) -> str:
        asked.append(path)
        return words

    assert load_signing_key(tmp_path / "safe.pem", answer).fingerprint == made.fingerprint
    load_signing_key(key_file, answer)
    assert asked == [tmp_path / "safe.pem"]
    with pytest.raises(InputError, match="does not open with this passphrase"):
        load_signing_key(tmp_path / "safe.pem", lambda _: "wrong")
    with pytest.raises(InputError, match="is protected by a passphrase and none was given"):
        load_signing_key(tmp_path / "safe.pem")
    with pytest.raises(InputError, match="the passphrase is empty"):
        generate_key(tmp_path / "empty.pem", passphrase="")


def pem(key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is not a key file", id="empty"),
        pytest.param(b"garbage", "is not a key file", id="garbage"),
        pytest.param(pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)), "expected Ed25519", id="rsa"),
        pytest.param(pem(x25519.X25519PrivateKey.generate()), "expected Ed25519", id="x25519"),
        pytest.param(2 * pem(x25519.X25519PrivateKey.generate()), "expected one PRIVATE KEY", id="two"),
        pytest.param(pem(x25519.X25519PrivateKey.generate())[:-9], "is not a key file", id="cut-off"),
        pytest.param(
            pem(x25519.X25519PrivateKey.generate()).replace(b"PRIVATE", b"OPENSSH PRIVATE"),
            "holds OPENSSH PRIVATE KEY, expected one PRIVATE KEY",
            id="ssh",
        ),
        pytest.param(pem(x25519.X25519PrivateKey.generate()).replace(b"MC", b"AA"), "is broken", id="broken"),
    ],
)
def test_a_file_that_is_no_private_ed25519_key_is_refused(tmp_path, content, message):
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_signing_key(tmp_path / "key.pem")


def test_a_public_key_cannot_sign(key_file):
    with pytest.raises(InputError, match="holds a public key, which cannot sign; give the private one"):
        load_signing_key(public_path(key_file))


def test_a_signed_bundle_opens_with_the_public_key_and_only_gained_a_file(copy, key_file):
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    sign_bundle(copy, load_signing_key(key_file))
    after = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {copy / "manifest.sig"}
    assert {path: after[path] for path in before} == before
    assert open_bundle(copy, verify_key=public_path(key_file)).verified_by == load_signing_key(key_file).fingerprint


def test_a_broken_bundle_is_not_signed(copy, key_file):
    (copy / "model.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"model\.bin has 1 bytes"):
        sign_bundle(copy, load_signing_key(key_file))
    assert not (copy / "manifest.sig").exists()


def test_signing_again_with_the_same_key_changes_nothing(copy, key_file):
    sign_bundle(copy, load_signing_key(key_file))
    first = (copy / "manifest.sig").read_bytes()
    sign_bundle(copy, load_signing_key(key_file))
    assert (copy / "manifest.sig").read_bytes() == first


def test_another_signature_is_replaced_only_when_asked(copy, key_file, tmp_path):
    other = generate_key(tmp_path / "other.pem")
    sign_bundle(copy, load_signing_key(key_file))
    with pytest.raises(OutputError, match="is not this key's for this manifest; give --force"):
        sign_bundle(copy, other)
    sign_bundle(copy, other, overwrite=True)
    assert open_bundle(copy, verify_key=public_path(other.path)).verified_by == other.fingerprint


def test_after_a_moved_threshold_the_bundle_is_signed_again_when_asked(copy, key_file):
    key = load_signing_key(key_file)
    sign_bundle(copy, key)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["operating_point"]["image"]["threshold"] *= 1.1
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match="give --force"):
        sign_bundle(copy, key)
    sign_bundle(copy, key, overwrite=True)
    assert open_bundle(copy, verify_key=public_path(key_file)).verified_by == key.fingerprint


def test_a_bundle_that_is_being_extended_is_not_signed(copy, key_file):
    with claim(copy.resolve()), pytest.raises(InputError, match=r"the bundle .* is in use by process"):
        sign_bundle(copy, load_signing_key(key_file))
    assert not (copy / "manifest.sig").exists()


def test_a_private_key_in_the_bundle_would_go_to_the_line_and_is_refused(copy):
    key = generate_key(copy / "plant.pem")
    with pytest.raises(InputError, match="lies in the bundle and would go to the line with it; move it"):
        sign_bundle(copy, key)


def test_a_signature_that_is_a_folder_is_one_line(copy, key_file):
    (copy / "manifest.sig").mkdir()
    with pytest.raises(BundleError, match=r"cannot read .*manifest\.sig: Is a directory"):
        sign_bundle(copy, load_signing_key(key_file))


def test_an_export_does_not_replace_the_folder_its_key_lies_in(run_folder, copy):
    key = generate_key(copy / "plant.pem")
    with pytest.raises(OutputError, match=r"plant\.pem, which is in use"):
        export_bundle(open_run(run_folder), copy, signing_key=key, overwrite=True)
    assert (copy / "plant.pem").exists()


def test_without_cryptography_it_is_said_what_to_install(tmp_path):
    program = """
import sys
sys.modules["cryptography"] = None
from nut_benchmarks.cli import main
main(["bundle", "keygen", "-o", sys.argv[1]])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "plant.pem")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cryptography does not load (")
    assert done.stderr.endswith("run: pip install 'nut-toolchain[sign]'\n")
    assert list(tmp_path.iterdir()) == []
