"""A real MQTT broker on loopback that can be taken away, and a subscriber that notes what arrives."""

import json
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

from nut_benchmarks.soak.station_process import wait_for

__all__ = ["Broker", "Subscriber", "find_mosquitto", "free_port"]


def find_mosquitto() -> str | None:
    """Return the broker's program, where there is one."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """Mosquitto, with what it promised kept on disk, as a plant would run it.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true\nmax_queued_messages 0\n",
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        program = find_mosquitto() or "mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._listens, within_s=10, why="the broker does not listen")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it; it keeps what it promised."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=10)
            self._process = None


class Subscriber:
    """Notes the ids of the records that arrive, in order.

    Args:
        port: The broker's.
        topic: Where the records go.
    """

    def __init__(self, port: int, topic: str) -> None:
        import paho.mqtt.client as mqtt

        self.ids: list[str] = []
        self._lock = threading.Lock()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        self._client.on_message = self._heard
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _heard(self, _client: Any, _data: Any, message: Any) -> None:
        with self._lock:
            self.ids.append(json.loads(message.payload)["id"])

    def first_of_each(self) -> list[str]:
        """Return the ids in the order in which each came first."""
        with self._lock:
            return list(dict.fromkeys(self.ids))

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
