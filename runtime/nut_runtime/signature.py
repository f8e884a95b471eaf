"""Who vouches for a bundle: `manifest.sig`, an Ed25519 signature over the manifest's very bytes.

The manifest holds the SHA-256 of every file, so what signs the manifest signs them all. The file is text:

    nut-bundle-signature 1
    key sha256:<64 hex digits: SHA-256 of the public key as DER, SubjectPublicKeyInfo>
    signature <base64 of the 64 bytes>

It is not among the manifest's files, and it is read only here. The line `key` is a hint that tells which key to look
for; it is not signed, and nothing is believed for it. What is signed is `MESSAGE_PREFIX` followed by the manifest, so
that a signature that the same key gave to something else can never pass for one of a bundle.

`cryptography` is an extra and is imported only when a key is given.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nut_runtime.errors import BundleError, InputError
from nut_runtime.manifest import MANIFEST

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = [
    "MESSAGE_PREFIX",
    "SIGNATURE",
    "Signature",
    "fingerprint",
    "load_public_keys",
    "read_pem",
    "read_signature",
    "signed_message",
    "verify_manifest",
]

SIGNATURE = "manifest.sig"
"""Name of the file that holds a bundle's signature."""

MESSAGE_PREFIX = b"nut-toolchain bundle manifest 1\n"
"""What stands before the manifest in the message that is signed."""

_VERSION = 1
_SIGNATURE_BYTES = 64  # RFC 8032
_LARGEST_BYTES = 64 * 1024  # of a signature or a file of keys; theirs are some hundred
_HEADER = re.compile(r"nut-bundle-signature ([0-9]{1,9})\n")
_BODY = re.compile(r"key (sha256:[0-9a-f]{64})\nsignature ([A-Za-z0-9+/]+=*)\n")
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The content of `manifest.sig`.

    Attributes:
        key: Fingerprint of the key that is said to have signed, `sha256:` and 64 hex digits.
        value: The signature, 64 bytes.
    """

    key: str
    value: bytes

    def to_text(self) -> str:
        """Return the file's text."""
        value = base64.b64encode(self.value).decode()
        return f"nut-bundle-signature {_VERSION}\nkey {self.key}\nsignature {value}\n"

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the file's bytes, strictly: a signature has one spelling.

        Raises:
            BundleError: If they are not a signature, or one of a newer version.
        """
        text = data.decode("ascii", "replace")
        header = _HEADER.match(text)
        if header is not None and int(header[1]) > _VERSION:
            raise BundleError(f"{SIGNATURE} has version {header[1]}, this one reads {_VERSION}; update nut-runtime")
        body = _BODY.fullmatch(text, header.end()) if header is not None else None
        if body is not None:
            try:
                found = cls(key=body[1], value=base64.b64decode(body[2], validate=True))
            except ValueError:
                pass  # told below, with all that is no signature
            else:
                if len(found.value) == _SIGNATURE_BYTES and found.to_text() == text:
                    return found
        raise BundleError(f"{SIGNATURE} is broken or not a signature; get the bundle again, or sign it again")


def signed_message(manifest: bytes) -> bytes:
    """Return what is signed for a manifest of these bytes."""
    return MESSAGE_PREFIX + manifest


def fingerprint(public_der: bytes) -> str:
    """Return a public key's fingerprint.

    Args:
        public_der: The key as DER, SubjectPublicKeyInfo; `openssl pkey -pubin -outform DER` gives it too.

    Example:
        >>> fingerprint(b"abc")
        'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    return f"sha256:{hashlib.sha256(public_der).hexdigest()}"


def read_signature(folder: Path) -> Signature | None:
    """Return what a bundle's signature says, unverified; None where there is none.

    Raises:
        BundleError: If it cannot be read or is no signature.
    """
    path = folder / SIGNATURE
    try:
        with path.open("rb") as file:
            return Signature.parse(file.read(_LARGEST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}") from error
    except BundleError as error:
        raise BundleError(f"{folder}: {error}") from error


def verify_manifest(folder: Path, manifest: bytes, key_file: str | Path) -> str:
    """Check that one of the keys in a file vouches for a bundle's manifest; return that key's fingerprint.

    Args:
        folder: The bundle.
        manifest: The bytes of its manifest; the caller goes on with these and does not read the file again.
        key_file: PEM file with one or more Ed25519 public keys, any of which may have signed.

    Raises:
        BundleError: If the bundle is unsigned, signed by another key or altered since, or `cryptography` is not
            installed.
        InputError: If the key file cannot be used, or lies in the bundle it is to judge.
    """
    key_file = Path(key_file)
    keys = load_public_keys(key_file)
    if key_file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{key_file} lies in the bundle that it is to verify, so it proves nothing; keep it elsewhere")
    signature = read_signature(folder)
    if signature is None:
        raise BundleError(
            f"{folder} is not signed ({SIGNATURE} is missing) and a key to verify it was given; get a signed one"
        )
    key = keys.get(signature.key)
    if key is None:
        known = ", ".join(keys)
        raise BundleError(f"{folder} is signed by the key {signature.key}, {key_file} has {known}; do not use it")
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature.value, signed_message(manifest))
    except InvalidSignature as error:
        raise BundleError(
            f"{folder / MANIFEST} or its signature was altered: the key {signature.key} did not sign it; do not use it"
        ) from error
    return signature.key


def load_public_keys(path: Path) -> Mapping[str, "Ed25519PublicKey"]:
    """Return the public keys in a PEM file by fingerprint.

    Raises:
        InputError: If the file is missing, or holds a private key, a key of another kind, or none.
        BundleError: If `cryptography` is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
    except ImportError as error:
        raise BundleError(
            f"cannot verify with {path} without cryptography ({error}); run: pip install 'nut-runtime[sign]'"
        ) from error
    keys: dict[str, Ed25519PublicKey] = {}
    for kind, block in read_pem(path):
        if "PRIVATE" in kind:
            raise InputError(
                f"{path} holds a private key, which only the maker of bundles may have; give the public one (.pub.pem)"
            )
        if kind != "PUBLIC KEY":
            raise InputError(f"{path} holds a {kind}, expected a PUBLIC KEY as nut bundle keygen writes it")
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise InputError(f"{path} holds a broken public key; copy it again") from error
        if not isinstance(key, Ed25519PublicKey):
            raise InputError(f"{path} holds a key of another kind, expected Ed25519; make one with nut bundle keygen")
        keys[fingerprint(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))] = key
    return keys


def read_pem(path: Path) -> list[tuple[str, bytes]]:
    """Return the blocks of a PEM file, at least one, each with its kind, such as `PUBLIC KEY`.

    Raises:
        InputError: If the file cannot be read, or is not PEM, or a block is cut off.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"the key {path} does not exist") from error
    except OSError as error:
        raise InputError(f"cannot read the key {path}: {error.strerror or error}") from error
    if len(data) > _LARGEST_BYTES:
        raise InputError(f"{path} is larger than {_LARGEST_BYTES // 1024} KB, which no key file is; give a key file")
    blocks = [(match[1].decode(), match[0] + b"\n") for match in _PEM.finditer(data)]
    if not blocks:
        raise InputError(f"{path} is not a key file (no PEM block); make a key with nut bundle keygen")
    if data.count(b"-----BEGIN ") != len(blocks):
        raise InputError(f"{path} holds a key that is cut off; copy it again")
    return blocks
