"""Real brokers and servers on loopback."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")


class Broker:
    """A mosquitto of its own, that can be killed and started again at the same port.

    It keeps what it was told in a file, as a broker in a plant does.
    """

    def __init__(self, folder: Path, lines: str = "", listener: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{listener}\nallow_anonymous true\nuser root\n"
            f"max_queued_messages 100000\n{lines}\n"
        )
        self._log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        wait_for(self._answers)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Certificates:
    """A certification authority made for a test, and what it signed."""

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        self._folder = folder
        folder.mkdir()
        keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server", "client")}
        names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {name}")]) for name in keys}
        now = datetime.now(UTC)
        for name, key in keys.items():
            certificate = (
                x509.CertificateBuilder()
                .subject_name(names[name])
                .issuer_name(names["ca"])
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(hours=1))
                .not_valid_after(now + timedelta(hours=1))
                .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
                .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
                .add_extension(
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["ca"].public_key()), critical=False
                )
                .sign(keys["ca"], hashes.SHA256())
            )
            (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            (folder / f"{name}.key").write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
            )

    def __getitem__(self, name: str) -> Path:
        return self._folder / name


@pytest.fixture
def make_certificates(tmp_path: Path) -> Callable[[str], Certificates]:
    """A function that makes an authority and certificates for 127.0.0.1, in a folder of that name."""
    pytest.importorskip("cryptography", reason="cryptography is not installed, which makes the certificates")
    return lambda name: Certificates(tmp_path / name)


def wait_for(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., None]:
    return wait_for


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """A function that makes a broker, which is killed at the end."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed, a real MQTT broker (Debian: apt install mosquitto)")
    made: list[Broker] = []

    def make(lines: str = "", listener: str = "") -> Broker:
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        made.append(Broker(folder, lines, listener))
        made[-1].start()
        return made[-1]

    yield make
    for broker in made:
        broker.kill()
