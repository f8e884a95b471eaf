"""MQTT, with a real broker: killed under load, with TLS, with passwords, and one that does not know MQTT 5."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nut_runtime.errors import InputError, OutputError
from nut_runtime.health import Health
from nut_runtime.sinks.delivery import RefusedError
from nut_runtime.sinks.mqtt import MqttDestination
from nut_runtime.sinks.outbox import Outbox
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.station_file.config import MqttConfig

mqtt = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (pip install nut-runtime[mqtt])")


class Subscriber:
    """Another client of the broker, with a session that the broker keeps while it is away."""

    def __init__(self, port: int, topic: str = "line3/#", context: ssl.SSLContext | None = None) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self.is_subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="reader", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        if context is not None:
            self._client.tls_set_context(context)
        self._client.on_connect = lambda *_: self._client.subscribe(topic, qos=2)
        self._client.on_subscribe = lambda *_: self.is_subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self.is_subscribed.wait(10)

    def sequences(self) -> list[int]:
        return [json.loads(body)["sequence"] for topic, body, _ in list(self.messages) if topic == "line3/verdict"]

    def status(self) -> list[str]:
        return [body for topic, body, _ in list(self.messages) if topic == "line3/status"]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    made: list[Subscriber] = []

    def subscriber(*arguments: Any, **options: Any) -> Subscriber:
        made.append(Subscriber(*arguments, **options))
        return made[-1]

    yield subscriber
    for one in made:
        one.close()


def config(port: int, **options: Any) -> MqttConfig:
    return MqttConfig(host="127.0.0.1", port=port, topic="line3", **options)


def record(number: int, body: str | None = None) -> StoredRecord:
    return StoredRecord(number=number, id=f"run1-{number}", body=body or json.dumps({"sequence": number}))


def in_first_order(sequences: list[int]) -> list[int]:
    """Return the numbers in the order they came for the first time; a repeat is allowed."""
    return list(dict.fromkeys(sequences))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_records_arrive_once_and_in_order_and_the_status_goes_on_and_off(make_broker, subscribe, wait_for, qos):
    broker = make_broker()
    reader = subscribe(broker.port)
    destination = MqttDestination(config(broker.port, qos=qos))
    assert destination.deliver([record(number) for number in range(1, 101)]) == 100
    assert destination.deliver([]) == 0
    wait_for(lambda: len(reader.sequences()) == 100)
    assert reader.sequences() == list(range(1, 101))
    destination.close()
    destination.close()
    wait_for(lambda: reader.status() == ["online", "offline"])


def test_the_status_is_there_for_who_comes_later_and_a_lost_station_is_offline(make_broker, subscribe, wait_for):
    broker = make_broker()
    destination = MqttDestination(config(broker.port))
    destination.deliver([])
    reader = subscribe(broker.port)
    wait_for(lambda: reader.messages == [("line3/status", "online", True)])
    destination._drop()  # no goodbye, as when the process is killed
    wait_for(lambda: reader.status() == ["online", "offline"])
    assert destination.deliver([record(1)]) == 1
    wait_for(lambda: reader.status() == ["online", "offline", "online"])
    destination.close()


def test_a_broker_that_is_killed_under_load_misses_nothing_and_order_is_kept(
    make_broker, subscribe, judged_part, tmp_path, wait_for
):
    folder = tmp_path / "persistent"
    folder.mkdir()
    broker = make_broker(
        f"persistence true\npersistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1"
    )
    reader = subscribe(broker.port)
    health = Health()
    box = Outbox(tmp_path / "outbox.sqlite", [MqttDestination(config(broker.port))], health, flush_s=20)
    count = 400

    def write() -> None:
        for number in range(1, count + 1):
            box.write(judged_part(number))
            time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    wait_for(lambda: len(reader.sequences()) > 30)
    broker.kill()
    wait_for(lambda: not health.components()["output mqtt"].is_well)
    assert "the MQTT broker 127.0.0.1" in health.components()["output mqtt"].message
    time.sleep(1)  # so that some hundred records wait
    broker.start()
    restarted = time.monotonic()
    wait_for(lambda: health.components()["output mqtt"].is_well)
    assert time.monotonic() - restarted < 5.5  # the longest pause, and the connection
    writer.join()
    box.close()
    wait_for(lambda: len(set(reader.sequences())) == count)
    assert in_first_order(reader.sequences()) == list(range(1, count + 1))
    assert "outbox_lost_mqtt" not in health.counters()


def test_a_broker_that_stops_answering_is_given_up_and_the_records_kept(make_broker, monkeypatch):
    monkeypatch.setattr("nut_runtime.sinks.mqtt_connection._ACKNOWLEDGE_S", 0.3)
    monkeypatch.setattr("nut_runtime.sinks.mqtt_connection._CONNECT_S", 0.3)
    broker = make_broker()
    destination = MqttDestination(config(broker.port))
    assert destination.deliver([record(1)]) == 1
    broker._process.send_signal(19)  # SIGSTOP: its connections stay, it answers no more
    try:
        with pytest.raises(OutputError, match="it does not acknowledge"):
            destination.deliver([record(2)])
        with pytest.raises(OutputError, match="it does not answer"):
            destination.deliver([record(2)])
    finally:
        broker._process.send_signal(18)
    assert destination.deliver([record(2)]) == 1
    destination.close()


def test_a_broker_that_is_not_there_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(OutputError, match=f"cannot reach the MQTT broker 127.0.0.1:{port}: Connection refused"):
        MqttDestination(config(port)).deliver([record(1)])


def test_a_password_is_needed_where_the_broker_wants_one_and_is_told_to_nobody(make_broker, tmp_path):
    passwords = tmp_path / "passwords"
    # mosquitto's own format, of the password "right": PBKDF2 with 101 rounds
    passwords.write_text(hashed("nut", "right"))
    passwords.chmod(0o600)
    broker = make_broker(f"password_file {passwords}", listener="").port
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    with pytest.raises(OutputError, match="refused the connection: Not authorized") as told:
        MqttDestination(config(broker, username="nut", password_file=secret)).deliver([record(1)])
    assert "wrong" not in str(told.value)
    secret.write_text("right\nand a second line")
    destination = MqttDestination(config(broker, username="nut", password_file=secret))
    assert destination.deliver([record(1)]) == 1
    destination.close()


def hashed(user: str, password: str) -> str:
    import base64
    import hashlib

    salt = b"123456789012"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@pytest.mark.parametrize("qos", [1, 2])
def test_a_topic_that_the_broker_forbids_is_said_and_nothing_counts_as_taken(make_broker, tmp_path, qos):
    rights = tmp_path / "rights"
    rights.write_text("topic write line3/status\n")
    broker = make_broker(f"acl_file {rights}")
    destination = MqttDestination(config(broker.port, qos=qos))
    with pytest.raises(OutputError, match="does not take line3/verdict"):
        destination.deliver([record(1)])
    destination.close()


def test_a_record_beyond_the_brokers_size_is_refused_and_those_before_it_are_taken(make_broker):
    broker = make_broker("max_packet_size 2000")
    destination = MqttDestination(config(broker.port))
    assert destination.deliver([record(1), record(2, "x" * 5000), record(3)]) == 1
    with pytest.raises(RefusedError, match="takes 2000 bytes at most"):
        destination.deliver([record(2, "x" * 5000), record(3)])
    assert destination.deliver([record(3)]) == 1
    destination.close()


# paho leaves the socket of a failed handshake to be closed when the error is forgotten.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_tls_checks_the_broker_and_shows_our_own_certificate(make_broker, make_certificates, subscribe, wait_for):
    ours, others = make_certificates("ours"), make_certificates("others")
    broker = make_broker(
        listener=f"cafile {ours['ca.crt']}\ncertfile {ours['server.crt']}\nkeyfile {ours['server.key']}\n"
        "require_certificate true"
    )
    own = {"cert_file": ours["client.crt"], "key_file": ours["client.key"]}
    context = ssl.create_default_context(cafile=str(ours["ca.crt"]))
    context.load_cert_chain(ours["client.crt"], ours["client.key"])
    reader = subscribe(broker.port, context=context)
    destination = MqttDestination(config(broker.port, ca_file=ours["ca.crt"], **own))
    assert destination.deliver([record(number) for number in range(1, 301)]) == 300
    wait_for(lambda: len(reader.sequences()) == 300)
    assert reader.sequences() == list(range(1, 301))
    destination.close()
    with pytest.raises(OutputError, match=r"cannot reach the MQTT broker .*certificate"):
        MqttDestination(config(broker.port, ca_file=others["ca.crt"], **own)).deliver([record(1)])
    with pytest.raises(OutputError, match="the MQTT broker"):
        MqttDestination(config(broker.port, ca_file=ours["ca.crt"])).deliver([record(1)])
    with pytest.raises(OutputError, match="the MQTT broker"):
        MqttDestination(config(broker.port)).deliver([record(1)])


def test_a_broker_that_does_not_know_mqtt_5_is_spoken_to_in_the_older_version():
    versions: list[int] = []

    def serve(server: socket.socket) -> None:
        for answer in (b"\x20\x02\x00\x01", b"\x20\x02\x00\x00"):  # unacceptable version; accepted
            connection, _ = server.accept()
            with connection:
                versions.append(connection.recv(200)[8])
                connection.sendall(answer)
                if answer[3] == 0:
                    while (data := connection.recv(4000)) and data[0] >> 4 == 3:  # PUBLISH, of less than 128 bytes
                        topic = int.from_bytes(data[2:4], "big")
                        connection.sendall(b"\x40\x02" + data[4 + topic : 6 + topic])

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        destination = MqttDestination(config(server.getsockname()[1]))
        with pytest.raises(OutputError, match="refused the connection"):
            destination.deliver([record(1)])
        assert destination.deliver([record(1)]) == 1
        destination.close()
        thread.join(5)
    assert versions == [5, 4]


def test_paho_is_needed_only_by_who_has_a_broker_and_a_missing_one_is_named():
    program = """
import sys
sys.modules["paho"] = None  # as if it were not installed
from nut_runtime.errors import InputError
from nut_runtime.sinks.mqtt import MqttDestination
from nut_runtime.station_file.config import MqttConfig
try:
    MqttDestination(MqttConfig(host="127.0.0.1"))
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == 'paho-mqtt is not installed; run: pip install "nut-runtime[mqtt]"\n'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"topic": "a/#"}, "without", id="wildcard"),
        pytest.param({"topic": ""}, "without", id="no-topic"),
        pytest.param({"qos": 3}, "no QoS 3", id="qos"),
        pytest.param({"username": "x", "password_file": Path("/none")}, "cannot read /none", id="password-file"),
        pytest.param({"password_file": Path("/none")}, "needs a username", id="password-without-user"),
        pytest.param({"ca_file": Path("/none")}, "cannot use the certificates in /none", id="ca-file"),
        pytest.param({"cert_file": Path("/none")}, "without ca_file", id="certificate-without-ca"),
    ],
)
def test_a_mistake_in_the_configuration_is_said_at_the_start(options, message):
    with pytest.raises(InputError, match=message):
        MqttDestination(MqttConfig(host="127.0.0.1", **options))
