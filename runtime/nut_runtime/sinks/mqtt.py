"""An MQTT broker that is told of each part."""

import platform
import ssl
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from nut_runtime.errors import InputError, OutputError
from nut_runtime.sinks.delivery import RefusedError
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.sinks.secret_file import read_secret
from nut_runtime.station_file.config import MqttConfig

__all__ = ["MqttDestination"]

_CONNECT_S = 3.0
_ACKNOWLEDGE_S = 10.0
_KEEP_ALIVE_S = 15  # a broker says `offline` for us after one and a half of it
_IN_FLIGHT = 20  # messages without acknowledgement at a time; what mosquitto takes unless told otherwise
_GOODBYE_S = 1.0
_UNSUPPORTED_VERSION = 132
_REFUSED_FOR_GOOD = {0x95, 0x99}  # packet too large, payload format invalid


class MqttDestination:
    """A `Destination` that publishes each record to `TOPIC/verdict`.

    `TOPIC/status` says `online`, and `offline` when the station ends or is gone; both are retained. With QoS 1 and 2 a
    record counts as taken when the broker has acknowledged it. With QoS 0 it counts as taken when it was handed to the
    operating system, and what the network then loses is lost.

    MQTT 5, in which a broker says so when it does not take a message; 3.1.1 where the broker knows no better.

    One thread does everything, and each connection has a client of its own: paho's own thread and its memory of what
    was under way would send records a second time and out of order after a broken connection.

    Args:
        config: The broker.

    Raises:
        InputError: If paho-mqtt is missing, the topic is not one that can be published to, or a file cannot be read.
    """

    name = "mqtt"
    batch = 100

    def __init__(self, config: MqttConfig) -> None:
        try:
            import paho.mqtt.client  # noqa: F401 - so that the station says at its start what is missing
        except ImportError as error:
            raise InputError('paho-mqtt is not installed; run: pip install "nut-runtime[mqtt]"') from error
        if not config.topic or set(config.topic) & set("+#\0"):
            raise InputError(f"cannot publish to the topic {config.topic!r}; give one without + and #")
        if config.qos not in {0, 1, 2}:
            raise InputError(f"MQTT has no QoS {config.qos}; give 0, 1 or 2")
        if config.password_file is not None and config.username is None:
            raise InputError("a password for MQTT needs a username; give username too")
        self._config = config
        self._connection: _Connection | None = None
        self._knows_mqtt_5 = True
        self._secret()
        self._tls()

    def deliver(self, records: Sequence[StoredRecord]) -> int:
        """Publish records, and return how many the broker has acknowledged, from the first on.

        Raises:
            RefusedError: If the broker will never take the first one.
            OutputError: If the broker cannot be reached, refuses us, or has acknowledged none.
        """
        connection = self._connected()
        try:
            return connection.publish_all(records)
        except RefusedError:
            raise
        except OutputError:
            self._drop()
            raise

    def close(self) -> None:
        """Say `offline` and disconnect; safe to call twice."""
        if self._connection is not None:
            self._connection.say_goodbye()
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "_Connection":
        """Return the connection, a new one where there is none."""
        if self._connection is None:
            connection = _Connection(self._config, self._secret(), self._tls(), is_mqtt_5=self._knows_mqtt_5)
            try:
                connection.open()
            except _VersionError:
                self._knows_mqtt_5 = False
                connection.close()
                raise
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _secret(self) -> str | None:
        return None if self._config.password_file is None else read_secret(self._config.password_file)

    def _tls(self) -> ssl.SSLContext | None:
        """Return what the broker is checked with; read for each connection, for certificates are renewed."""
        config = self._config
        if config.ca_file is None:
            if config.cert_file is not None:
                raise InputError("a certificate for MQTT without ca_file would not be used; give ca_file too")
            return None
        try:
            context = ssl.create_default_context(cafile=str(config.ca_file))
            if config.cert_file is not None:
                context.load_cert_chain(config.cert_file, config.key_file, password=lambda: "")
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(str(path) for path in (config.ca_file, config.cert_file, config.key_file) if path)
            raise InputError(f"cannot use the certificates in {files}: {error.strerror or error}") from error
        return context


class _VersionError(OutputError):
    """The broker does not know this version of MQTT."""


class _Connection:
    """One connection to the broker, from CONNECT to its end."""

    def __init__(
        self, config: MqttConfig, password: str | None, tls: ssl.SSLContext | None, *, is_mqtt_5: bool
    ) -> None:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        self._config = config
        self._where = f"the MQTT broker {config.host}:{config.port}"
        self._status_topic, self._verdict_topic = f"{config.topic}/status", f"{config.topic}/verdict"
        # The same name from run to run, so that the broker ends the session of a run that was killed, with its
        # `offline`, before it lets the next one in.
        name = f"nut-{zlib.crc32(f'{platform.node()} {config.topic}'.encode()):08x}"
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=MQTTv5 if is_mqtt_5 else MQTTv311,
            clean_session=None if is_mqtt_5 else True,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = _CONNECT_S
        self._client.max_inflight_messages_set(_IN_FLIGHT)
        if config.username is not None:
            self._client.username_pw_set(config.username, password)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.will_set(self._status_topic, "offline", qos=1, retain=True)
        self._client.on_connect = self._note_connect
        self._client.on_disconnect = self._note_disconnect
        self._client.on_publish = self._note_publish
        self._is_mqtt_5 = is_mqtt_5
        self._is_connected = False
        self._failure = ""
        self._is_version_refused = False
        self._acknowledged: dict[int, str] = {}  # by message: empty, or why not
        self._refused_for_good: set[int] = set()
        self._largest_bytes: int | None = None

    def open(self) -> None:
        """Connect, and say `online`.

        Raises:
            OutputError: If the broker is not reached, or refuses.
        """
        try:
            self._client.connect(self._config.host, self._config.port, keepalive=_KEEP_ALIVE_S)
        except OSError as error:
            reason = getattr(error, "verify_message", "") or error.strerror or error
            raise OutputError(f"cannot reach {self._where}: {reason}") from error
        until = time.monotonic() + _CONNECT_S
        while not self._is_connected:
            self._turn(until, "it does not answer as an MQTT broker")
        status = self._publish(self._status_topic, "online", qos=1, retain=True)
        until = time.monotonic() + _ACKNOWLEDGE_S
        while status not in self._acknowledged:
            self._turn(until, "it does not acknowledge")
        if reason := self._acknowledged[status]:
            raise OutputError(f"{self._where} does not take {self._status_topic}: {reason}")

    def publish_all(self, records: Sequence[StoredRecord]) -> int:
        """Publish records; return how many were acknowledged, from the first on.

        Raises:
            RefusedError: If the broker will never take the first one.
            OutputError: If none was acknowledged.
        """
        self._acknowledged.clear()
        self._turn(time.monotonic(), "")  # what came meanwhile: pings, or that the broker has gone
        if records and self._is_too_large(records[0]):
            raise RefusedError(f"{self._where} takes {self._largest_bytes} bytes at most")
        records = list(takewhile(lambda record: not self._is_too_large(record), records))
        taken = 0
        try:
            for _ in self._acknowledged_in_order(records):
                taken += 1
        except OutputError:  # RefusedError is none, and comes only for the first
            if not taken:
                raise
        return taken  # the next delivery finds out what was wrong

    def _acknowledged_in_order(self, records: Sequence[StoredRecord]) -> Iterator[None]:
        """Publish records, and come back once for each that is acknowledged, in their order."""
        messages = [self._publish(self._verdict_topic, record.body, qos=self._config.qos) for record in records]
        for index, message in enumerate(messages):
            until = time.monotonic() + _ACKNOWLEDGE_S  # anew for each, for the broker is alive
            while message not in self._acknowledged:
                self._turn(until, "it does not acknowledge")
            reason = self._acknowledged[message]
            if reason and index == 0 and message in self._refused_for_good:
                raise RefusedError(f"{self._where} does not take it: {reason}")
            if reason:
                raise OutputError(f"{self._where} does not take {self._verdict_topic}: {reason}")
            yield

    def say_goodbye(self) -> None:
        """Say `offline` and disconnect, if the broker is there."""
        with suppress(OutputError):
            until = time.monotonic() + _GOODBYE_S
            status = self._publish(self._status_topic, "offline", qos=1, retain=True)
            while status not in self._acknowledged:
                self._turn(until, "it does not acknowledge")
            self._client.disconnect()
            while self._is_connected:
                self._turn(until, "it does not close the connection")

    def close(self) -> None:
        """Close the socket, whatever state it is in; without a goodbye, so that the broker says `offline` for us."""
        connection = self._client.socket()
        # Without these the client is freed now, and its other sockets with it.
        self._client.on_connect = self._client.on_disconnect = self._client.on_publish = None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _is_too_large(self, record: StoredRecord) -> bool:
        # The packet has topic and header besides.
        return (
            self._largest_bytes is not None and len(record.body) + len(self._verdict_topic) + 64 > self._largest_bytes
        )

    def _publish(self, topic: str, body: str, *, qos: int, retain: bool = False) -> int:
        """Hand a message over to be sent; return its number."""
        message = self._client.publish(topic, body, qos=qos, retain=retain)
        if message.rc:
            raise OutputError(self._failure or f"lost {self._where}")
        return message.mid

    def _turn(self, until: float, late: str) -> None:
        """Send and receive what there is, waiting for it until a moment at most.

        Raises:
            OutputError: If the connection ended, or the moment is over and there is something to say about it.
        """
        from paho.mqtt.client import error_string

        left = until - time.monotonic()
        if left <= 0 and late:
            raise OutputError(f"gave {self._where} up: {late}")
        code = self._client.loop(max(0.0, min(left, 1.0)))
        if self._is_version_refused:
            raise _VersionError(self._failure)
        if code or self._failure:
            raise OutputError(self._failure or f"lost {self._where}: {error_string(code).rstrip('.').lower()}")

    def _note_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failure = f"{self._where} refused the connection: {reason}"
            self._is_version_refused = reason.value == _UNSUPPORTED_VERSION and self._is_mqtt_5
            return
        allowed = getattr(properties, "ReceiveMaximum", None)
        if allowed is not None and allowed < _IN_FLIGHT:
            self._client.max_inflight_messages_set(allowed)
        self._largest_bytes = getattr(properties, "MaximumPacketSize", None)
        self._is_connected = True

    def _note_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._is_connected = False
        self._failure = self._failure or f"lost {self._where}: {reason}"

    def _note_publish(self, _client: Any, _data: Any, message: int, reason: Any, _properties: Any) -> None:
        self._acknowledged[message] = str(reason) if reason.is_failure else ""
        if reason.is_failure and reason.value in _REFUSED_FOR_GOOD:
            self._refused_for_good.add(message)
