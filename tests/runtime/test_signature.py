"""A bundle is used only if a trusted key vouches for it, where a key is given."""

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from nut_runtime import Inspector, bundle, open_bundle
from nut_runtime.errors import BundleError, InputError
from nut_runtime.signature import Signature, fingerprint, signed_message, verify_manifest

# Keys from fixed seeds: a test that fails does so every time.
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2))


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def print_of(key) -> str:
    return fingerprint(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def sign(folder: Path, key=KEY) -> None:
    value = key.sign(signed_message((folder / "manifest.json").read_bytes()))
    (folder / "manifest.sig").write_text(Signature(key=print_of(key), value=value).to_text())


@pytest.fixture
def signed(bundle_folder, tmp_path) -> Path:
    """A signed copy of the bundle, to break."""
    folder = shutil.copytree(bundle_folder, tmp_path / "bundle")
    sign(folder)
    return folder


@pytest.fixture
def trusted(tmp_path) -> Path:
    """The public key that signed it."""
    path = tmp_path / "plant.pub.pem"
    path.write_bytes(public_pem(KEY))
    return path


def refuse(folder: Path, key: Path, message: str, error: type[Exception] = BundleError) -> None:
    with pytest.raises(error, match=message) as caught:
        open_bundle(folder, verify_key=key)
    assert "\n" not in str(caught.value)


def test_a_signed_bundle_opens_with_its_key_and_tells_which_one_vouches(signed, trusted):
    opened = open_bundle(signed, verify_key=str(trusted))
    assert opened.verified_by == print_of(KEY)
    assert opened.manifest == open_bundle(signed).manifest


def test_an_inspector_takes_the_key_too(signed, trusted):
    inspector = Inspector(signed, verify_key=trusted)
    assert inspector.bundle.verified_by == print_of(KEY)
    (signed / "manifest.sig").unlink()
    with pytest.raises(BundleError, match="is not signed"):
        Inspector(signed, verify_key=trusted)


def test_a_key_for_a_bundle_that_was_opened_without_is_not_passed_over(signed, trusted):
    with pytest.raises(InputError, match="is open already; give verify_key to open_bundle instead"):
        Inspector(open_bundle(signed), verify_key=trusted)


def test_an_unsigned_bundle_is_refused(bundle_folder, trusted):
    refuse(bundle_folder, trusted, r"is not signed \(manifest\.sig is missing\)")


def test_a_bundle_signed_by_another_key_is_refused_and_both_are_named(signed, trusted):
    sign(signed, OTHER)
    refuse(signed, trusted, f"is signed by the key {print_of(OTHER)}, .*plant.pub.pem has {print_of(KEY)}")


def test_a_signature_of_another_key_that_names_ours_is_refused(signed, trusted):
    value = OTHER.sign(signed_message((signed / "manifest.json").read_bytes()))
    (signed / "manifest.sig").write_text(Signature(key=print_of(KEY), value=value).to_text())
    refuse(signed, trusted, f"was altered: the key {print_of(KEY)} did not sign it")


def test_a_moved_threshold_is_refused(signed, trusted):
    manifest = json.loads((signed / "manifest.json").read_text())
    manifest["operating_point"]["image"]["threshold"] *= 1.5
    (signed / "manifest.json").write_text(json.dumps(manifest))
    assert open_bundle(signed).manifest.point.image.threshold == manifest["operating_point"]["image"]["threshold"]
    refuse(signed, trusted, r"manifest\.json or its signature was altered")


def test_one_more_space_in_the_manifest_is_refused(signed, trusted):
    with (signed / "manifest.json").open("ab") as file:
        file.write(b" ")
    refuse(signed, trusted, "was altered")


def test_the_signature_of_another_bundle_is_refused(signed, trusted, tmp_path):
    other = shutil.copytree(signed, tmp_path / "other")
    (other / "manifest.json").write_text((other / "manifest.json").read_text().replace('"fp32"', '"fp16"', 1))
    sign(other)
    shutil.copy(other / "manifest.sig", signed)
    refuse(signed, trusted, "was altered")


def test_a_signature_over_the_bare_manifest_does_not_pass(signed, trusted):
    """What the same key signed for another purpose must not pass as a bundle."""
    value = KEY.sign((signed / "manifest.json").read_bytes())
    (signed / "manifest.sig").write_text(Signature(key=print_of(KEY), value=value).to_text())
    refuse(signed, trusted, "was altered")


def test_an_altered_model_of_a_signed_bundle_is_still_found_by_its_digest(signed, trusted):
    data = bytearray((signed / "model.bin").read_bytes())
    data[100] ^= 1
    (signed / "model.bin").write_bytes(data)
    refuse(signed, trusted, r"model\.bin was altered")


def test_a_signature_is_judged_before_any_other_file_is_looked_at(signed, trusted):
    (signed / "manifest.json").write_bytes(b"not even JSON")
    (signed / "model.bin").unlink()
    refuse(signed, trusted, "or its signature was altered")


def test_every_character_of_the_signature_counts(signed, trusted):
    text = (signed / "manifest.sig").read_text()
    manifest = (signed / "manifest.json").read_bytes()
    assert verify_manifest(signed, manifest, trusted) == print_of(KEY)
    for place, letter in enumerate(text):
        other = "B" if letter == "A" else "A"
        (signed / "manifest.sig").write_text(text[:place] + other + text[place + 1 :])
        with pytest.raises(BundleError):
            verify_manifest(signed, manifest, trusted)
        (signed / "manifest.sig").write_text(text[:place] + text[place + 1 :])
        with pytest.raises(BundleError):
            verify_manifest(signed, manifest, trusted)


WHOLE = Signature(key=print_of(KEY), value=bytes(64)).to_text()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("no signature", id="text"),
        pytest.param("\x00\xff" * 100, id="binary"),
        pytest.param(WHOLE + "\n", id="one-more-line"),
        pytest.param(WHOLE[:-1], id="last-newline-missing"),
        pytest.param(WHOLE.replace("\n", "\r\n"), id="windows-line-ends"),
        pytest.param(WHOLE.replace("AA==\n", "AB==\n"), id="base64-spelt-otherwise"),
        pytest.param(WHOLE.replace("AA==\n", "====\n"), id="base64-broken"),
        pytest.param(WHOLE.replace(base64.b64encode(bytes(64)).decode(), "AAAA"), id="three-bytes"),
        pytest.param(WHOLE.replace("sha256:", "sha512:"), id="another-digest"),
        pytest.param(WHOLE + "x" * 1_000_000, id="a-megabyte"),
    ],
)
def test_what_is_no_signature_is_refused_with_a_key_and_ignored_without(signed, trusted, text):
    (signed / "manifest.sig").write_bytes(text.encode("latin-1"))
    refuse(signed, trusted, r"manifest\.sig is broken or not a signature")
    assert open_bundle(signed).verified_by is None


def test_a_signature_of_a_newer_version_says_to_update(signed, trusted):
    (signed / "manifest.sig").write_text(WHOLE.replace("signature 1", "signature 2", 1))
    refuse(signed, trusted, r"manifest\.sig has version 2, this one reads 1; update nut-runtime")


def test_a_signature_that_is_a_folder_is_refused(signed, trusted):
    (signed / "manifest.sig").unlink()
    (signed / "manifest.sig").mkdir()
    refuse(signed, trusted, r"cannot read .*manifest\.sig: Is a directory")


def test_the_bytes_that_were_verified_are_the_ones_that_count(signed, trusted, monkeypatch):
    """Whoever swaps the manifest between the check and its use gains nothing."""
    wanted = open_bundle(signed).manifest
    swapped = (signed / "manifest.json").read_text().replace(wanted.bundle_id, "swapped")

    def verify_then_swap(folder: Path, manifest: bytes, key_file: Path) -> str:
        vouched = verify_manifest(folder, manifest, key_file)
        (folder / "manifest.json").write_text(swapped)
        return vouched

    monkeypatch.setattr(bundle, "verify_manifest", verify_then_swap)
    assert open_bundle(signed, verify_key=trusted).manifest == wanted
    assert open_bundle(signed).manifest.bundle_id == "swapped"


def test_any_of_several_keys_in_a_file_may_have_signed(signed, trusted):
    """How a key is rotated: both are trusted until the last bundle of the old one is gone."""
    trusted.write_bytes(b"# until 2027\n" + public_pem(OTHER) + b"# from 2027\n" + public_pem(KEY))
    assert open_bundle(signed, verify_key=trusted).verified_by == print_of(KEY)
    sign(signed, OTHER)
    assert open_bundle(signed, verify_key=trusted).verified_by == print_of(OTHER)
    sign(signed, Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32))
    refuse(signed, trusted, f"has {print_of(OTHER)}, {print_of(KEY)}; do not use it")


def broken_pem() -> bytes:
    return public_pem(KEY).replace(b"MCow", b"AAAA")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", r"is not a key file \(no PEM block\)", id="empty"),
        pytest.param(b"garbage\n", "is not a key file", id="garbage"),
        pytest.param(bytes(range(256)), "is not a key file", id="binary"),
        pytest.param(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI plant", "is not a key file", id="ssh"),
        pytest.param(public_pem(KEY)[:-10], "is not a key file", id="cut-off"),
        pytest.param(public_pem(KEY) + public_pem(OTHER)[:-10], "holds a key that is cut off", id="second-cut-off"),
        pytest.param(broken_pem(), "holds a broken public key", id="broken"),
        pytest.param(public_pem(KEY) * 1000, "is larger than 64 KB", id="large"),
        pytest.param(private_pem(KEY), "holds a private key, which only the maker", id="private"),
        pytest.param(private_pem(KEY, b"secret"), "holds a private key", id="private-protected"),
        pytest.param(public_pem(KEY) + private_pem(KEY), "holds a private key", id="both"),
        pytest.param(
            public_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
            "holds a key of another kind, expected Ed25519",
            id="rsa",
        ),
        pytest.param(public_pem(ec.generate_private_key(ec.SECP256R1())), "of another kind", id="ec"),
        pytest.param(public_pem(ed448.Ed448PrivateKey.generate()), "of another kind", id="ed448"),
        pytest.param(public_pem(x25519.X25519PrivateKey.generate()), "of another kind", id="x25519"),
        pytest.param(
            public_pem(KEY).replace(b"PUBLIC KEY", b"CERTIFICATE"), "holds a CERTIFICATE, expected a", id="certificate"
        ),
    ],
)
def test_a_file_that_is_no_public_ed25519_key_is_refused(signed, trusted, content, message):
    trusted.write_bytes(content)
    refuse(signed, trusted, message, InputError)


def test_a_key_file_that_is_not_there_is_named(signed, tmp_path):
    refuse(signed, tmp_path / "none.pem", "the key .*none.pem does not exist", InputError)
    refuse(signed, tmp_path, "cannot read the key .*: Is a directory", InputError)


def test_a_key_that_came_with_the_bundle_proves_nothing(signed, trusted, tmp_path):
    inside = Path(shutil.copy(trusted, signed / "plant.pub.pem"))
    refuse(signed, inside, "lies in the bundle that it is to verify", InputError)
    (tmp_path / "link.pem").symlink_to(inside)
    refuse(signed, tmp_path / "link.pem", "lies in the bundle", InputError)


WITHOUT_CRYPTOGRAPHY = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "cryptography":
            raise ModuleNotFoundError("No module named 'cryptography'")

sys.meta_path.insert(0, Missing())
from nut_runtime.cli import main
main()
"""


def test_without_cryptography_a_key_is_refused_with_what_to_install_and_no_key_works(signed, trusted):
    def info(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY, "info", "--model", str(signed), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    refused = info("--verify-key", str(trusted))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: cannot verify with {trusted} without cryptography")
    assert refused.stderr.endswith("run: pip install 'nut-runtime[sign]'\n")
    assert info().returncode == 0


def test_files_that_the_manifest_does_not_list_are_told_and_never_opened(signed, trusted):
    """Each is a pipe: whoever opened one for reading would wait for a writer until the time is out."""
    strangers = ["config.json", "golden/03.png", "manifest.json.bak", "model.onnx.data", "model2.bin", "plugins.xml"]
    for name in strangers:
        os.mkfifo(signed / name)
    opened = open_bundle(signed, verify_key=trusted)
    assert opened.unlisted_files() == strangers
    program = """
import sys
from nut_runtime.cli import main
main(["doctor", "--strict", "--model", sys.argv[1], "--verify-key", sys.argv[2]])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(signed), str(trusted)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("this device judges as the reference did") == 2
