"""One connection to an MQTT broker. Needs paho-mqtt."""

import platform
import ssl
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

from paho.mqtt.client import Client, MQTTErrorCode, MQTTv5, MQTTv311, error_string
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from nut_runtime.errors import OutputError
from nut_runtime.sinks.delivery import RefusedError
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.station_file.config import MqttConfig

__all__ = ["MqttConnection"]

_CONNECT_S = 3.0
_ACKNOWLEDGE_S = 10.0
_KEEP_ALIVE_S = 15  # a broker says `offline` for us after one and a half of it
_IN_FLIGHT = 20  # messages without acknowledgement at a time; what mosquitto takes unless told otherwise
_GOODBYE_S = 1.0
_FAILURES_FROM = 0x80  # reason codes of MQTT 5
_UNSUPPORTED_VERSION = 0x84
_REFUSED_FOR_GOOD = {0x95, 0x99}  # packet too large, payload format invalid


class _Client(Client):
    """paho's client, which with QoS 2 does not look whether the first of the two acknowledgements is a refusal.

    The second one then says that all is well, though the broker has thrown the message away.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.refused_early: dict[int, ReasonCode] = {}
        super().__init__(*arguments, **options)

    def _handle_pubrec(self) -> MQTTErrorCode:
        packet = bytes(self._in_packet["packet"])  # number of the message, two bytes, and the reason where it is not 0
        if len(packet) > 2 and packet[2] >= _FAILURES_FROM:  # noqa: PLR2004 - the two bytes of the number
            self.refused_early[int.from_bytes(packet[:2], "big")] = ReasonCode(PacketTypes.PUBREC, identifier=packet[2])
        return super()._handle_pubrec()


class MqttConnection:
    """One connection to a broker, from CONNECT to its end; used by one thread.

    Args:
        config: The broker.
        password: For its user name.
        tls: What its certificate is checked with; None speaks without TLS.
        is_mqtt_5: The version to speak; else 3.1.1.

    Attributes:
        is_version_refused: Whether the broker said that it does not know MQTT 5.
    """

    def __init__(
        self, config: MqttConfig, password: str | None, tls: ssl.SSLContext | None, *, is_mqtt_5: bool
    ) -> None:
        self._config = config
        self._where = f"the MQTT broker {config.host}:{config.port}"
        self._status_topic, self._verdict_topic = f"{config.topic}/status", f"{config.topic}/verdict"
        # The same name from run to run, so that the broker ends the session of a run that was killed, with its
        # `offline`, before it lets the next one in.
        name = f"nut-{zlib.crc32(f'{platform.node()} {config.topic}'.encode()):08x}"
        self._client = _Client(
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
        self.is_version_refused = False
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
        left = until - time.monotonic()
        if left <= 0 and late:
            raise OutputError(f"gave {self._where} up: {late}")
        code = self._client.loop(max(0.0, min(left, 1.0)))
        if code or self._failure:
            raise OutputError(self._failure or f"lost {self._where}: {error_string(code).rstrip('.').lower()}")

    def _note_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._failure = f"{self._where} refused the connection: {reason}"
            self.is_version_refused = reason.value == _UNSUPPORTED_VERSION and self._is_mqtt_5
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
        refusal = self._client.refused_early.pop(message, None)
        reason = reason if refusal is None else refusal
        self._acknowledged[message] = str(reason) if reason.is_failure else ""
        if reason.is_failure and reason.value in _REFUSED_FOR_GOOD:
            self._refused_for_good.add(message)
