"""Keys, and signatures on bundles: the maker's half of `nut_runtime.signature`.

Keys are Ed25519 in PEM files that openssl reads and writes too: the private one as PKCS#8, on request under a
passphrase, the public one as SubjectPublicKeyInfo.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nut_runtime.atomic import write_bytes, write_text
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.claims import claim
from nut_runtime.errors import BundleError, InputError, OutputError
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.signature import SIGNATURE, Signature, fingerprint, read_pem, signed_message

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "SigningKey",
    "check_new_key",
    "generate_key",
    "load_signing_key",
    "public_path",
    "sign_bundle",
    "sign_manifest",
]

Passphrase = Callable[[Path], str]
"""Asked for the passphrase of a key file, only where the key has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key that is ready to sign.

    Attributes:
        path: The file it came from.
        fingerprint: Of its public key, `sha256:` and 64 hex digits.
    """

    path: Path
    fingerprint: str
    _key: "Ed25519PrivateKey" = field(repr=False)

    def sign(self, manifest: bytes) -> Signature:
        """Return the signature of a manifest's bytes; the same bytes always give the same one."""
        return Signature(key=self.fingerprint, value=self._key.sign(signed_message(manifest)))


def public_path(private: Path) -> Path:
    """Return where the public key of a private one lies.

    Example:
        >>> public_path(Path("keys/plant.pem")).name
        'plant.pub.pem'
    """
    return private.with_name(f"{private.name.removesuffix('.pem')}.pub.pem")


def generate_key(path: Path, *, passphrase: str | None = None, overwrite: bool = False) -> SigningKey:
    """Make a key: the private one at `path`, readable by its owner alone, and the public one beside it.

    Args:
        path: File for the private key; `public_path` names the other.
        passphrase: Protects the private key; None leaves it readable to whoever has the file.
        overwrite: Replace older keys. What they signed can still be verified, but nothing more signed with them.

    Raises:
        InputError: If the passphrase is empty, or `cryptography` is not installed.
        OutputError: If a file exists and may not be replaced, is no key, or cannot be written.
    """
    check_new_key(path, overwrite=overwrite)
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if passphrase == "":
        raise InputError("the passphrase is empty; give one, or make a key without")
    public = public_path(path)
    key = Ed25519PrivateKey.generate()
    encryption: pem.KeySerializationEncryption = pem.NoEncryption()
    if passphrase is not None:
        encryption = pem.BestAvailableEncryption(passphrase.encode(errors="surrogateescape"))
    private_pem = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, encryption)
    public_pem = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    try:
        public.unlink(missing_ok=True)  # first, so that two files that do not belong together never lie side by side
    except OSError as error:
        raise OutputError(f"cannot replace {public}: {error.strerror or error}") from error
    write_bytes(path, private_pem, is_private=True)
    write_bytes(public, public_pem)
    return _signing_key(path, key)


def check_new_key(path: Path, *, overwrite: bool = False) -> None:
    """Refuse what `generate_key` would refuse, before a passphrase is asked for.

    Raises:
        InputError: If `cryptography` is not installed.
        OutputError: If a key file is in the way, or there is no such folder.
    """
    _require_cryptography()
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it, or choose another place for the key")
    for file, kind in ((path, "PRIVATE"), (public_path(path), "PUBLIC")):
        _check_replaceable(file, kind, overwrite=overwrite)


def load_signing_key(path: Path, passphrase: Passphrase | None = None) -> SigningKey:
    """Read a private key.

    Args:
        path: PEM file with one Ed25519 private key.
        passphrase: Asked where the key is protected; None refuses such a key.

    Raises:
        InputError: If the file is missing or not such a key, the passphrase is missing or wrong, or `cryptography` is
            not installed.
    """
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    blocks = read_pem(path)
    kinds = [kind for kind, _ in blocks]
    if "PUBLIC KEY" in kinds:
        raise InputError(f"{path} holds a public key, which cannot sign; give the private one beside it")
    if len(blocks) != 1 or kinds[0] not in {"PRIVATE KEY", "ENCRYPTED PRIVATE KEY"}:
        raise InputError(f"{path} holds {', '.join(kinds)}, expected one PRIVATE KEY as nut bundle keygen writes it")
    secret = None
    if kinds[0] == "ENCRYPTED PRIVATE KEY":
        if passphrase is None:
            raise InputError(f"{path} is protected by a passphrase and none was given")
        secret = passphrase(path).encode(errors="surrogateescape")
    try:
        key = load_pem_private_key(blocks[0][1], secret)
    except (ValueError, UnsupportedAlgorithm) as error:
        cause = "is broken" if secret is None else "does not open with this passphrase, or is broken"
        raise InputError(f"the key {path} {cause}; try again") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} holds a key of another kind, expected Ed25519; make one with nut bundle keygen")
    return _signing_key(path, key)


def sign_bundle(folder: Path, key: SigningKey, *, overwrite: bool = False) -> Bundle:
    """Sign a finished bundle, after comparing every file with its SHA-256.

    Args:
        folder: The bundle; only its `manifest.sig` is written.
        key: Signs it.
        overwrite: Replace another signature.

    Returns:
        The bundle that was signed.

    Raises:
        BundleError: If the bundle is not usable, or changes meanwhile.
        InputError: If the key lies in the bundle, which would go to the line with it, or the bundle is being extended
            or taken back just now.
        OutputError: If it has another signature that may not be replaced, or cannot be written.
    """
    bundle = open_bundle(folder)
    if key.path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the private key {key.path} lies in the bundle and would go to the line with it; move it")
    target = folder / SIGNATURE
    with claim(folder.resolve(), what=f"the bundle {folder}"):  # else nut-runtime extend could exchange it in between
        try:
            manifest = (folder / MANIFEST).read_bytes()
            older = target.read_bytes() if target.exists() else None
        except OSError as error:
            raise BundleError(f"cannot read {error.filename}: {error.strerror or error}") from error
        if Manifest.parse(manifest) != bundle.manifest:
            raise BundleError(f"{folder / MANIFEST} changed while it was being signed; try again")
        if older not in {None, key.sign(manifest).to_text().encode()} and not overwrite:
            raise OutputError(
                f"{target} exists already and is not this key's for this manifest; give --force to replace it"
            )
        sign_manifest(folder, manifest, key)
    return bundle


def sign_manifest(folder: Path, manifest: bytes, key: SigningKey) -> None:
    """Write the signature of a manifest's bytes into the bundle's folder.

    Raises:
        OutputError: If it cannot be written.
    """
    write_text(folder / SIGNATURE, key.sign(manifest).to_text())


def _signing_key(path: Path, key: "Ed25519PrivateKey") -> SigningKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public_der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(path=path, fingerprint=fingerprint(public_der), _key=key)


def _check_replaceable(path: Path, kind: str, *, overwrite: bool) -> None:
    """Refuse to write a key over anything but an older key, and over that only when asked."""
    if not path.exists():
        return
    if not overwrite:
        raise OutputError(f"{path} exists already; choose another file or give --force to replace it")
    try:
        is_key = any(kind in found for found, _ in read_pem(path))
    except InputError:
        is_key = False
    if not is_key:
        raise OutputError(f"{path} is not an older {kind.lower()} key, so it is not replaced; choose another file")


def _require_cryptography() -> None:
    """Say what to install where `cryptography` is missing.

    Raises:
        InputError: If it does not load.
    """
    try:
        import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401
    except ImportError as error:
        raise InputError(f"cryptography does not load ({error}); run: pip install 'nut-toolchain[sign]'") from error
