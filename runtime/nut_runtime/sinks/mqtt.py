"""An MQTT broker that is told of each part."""

import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nut_runtime.errors import InputError, OutputError
from nut_runtime.sinks.outbox_store import StoredRecord
from nut_runtime.sinks.secret_file import read_secret
from nut_runtime.station_file.config import MqttConfig

if TYPE_CHECKING:
    from nut_runtime.sinks.mqtt_connection import MqttConnection

__all__ = ["MqttDestination"]


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
            # Here, so that only a station that has a broker needs it, and says at its start that it is missing.
            from nut_runtime.sinks.mqtt_connection import MqttConnection
        except ImportError as error:
            raise InputError('paho-mqtt is not installed; run: pip install "nut-runtime[mqtt]"') from error
        if not config.topic or set(config.topic) & set("+#\0"):
            raise InputError(f"cannot publish to the topic {config.topic!r}; give one without + and #")
        if config.qos not in {0, 1, 2}:
            raise InputError(f"MQTT has no QoS {config.qos}; give 0, 1 or 2")
        if config.password_file is not None and config.username is None:
            raise InputError("a password for MQTT needs a username; give username too")
        self._config = config
        self._connection: MqttConnection | None = None
        self._connection_class = MqttConnection
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
        except OutputError:  # RefusedError is none: the connection is good
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

    def _connected(self) -> "MqttConnection":
        """Return the connection, a new one where there is none."""
        if self._connection is None:
            connection = self._connection_class(self._config, self._secret(), self._tls(), is_mqtt_5=self._knows_mqtt_5)
            try:
                connection.open()
            except BaseException:
                self._knows_mqtt_5 &= not connection.is_version_refused  # the next try is made in the older one
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
