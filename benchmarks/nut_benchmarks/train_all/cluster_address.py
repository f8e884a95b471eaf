"""Whether a Ray cluster answers at an address, asked by a process of its own: Ray's client would wait for minutes."""

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys

from nut_runtime.errors import InputError

__all__ = ["LOCAL", "RAY_SETTINGS", "check_address", "check_cluster"]

LOCAL = "local"
RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the plant
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what it would warn of otherwise
}
_CONNECT_S = 5.0
_ANSWER_S = 30.0
_PROBE = (
    "import sys, logging, ray\n"
    "ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)\n"
    "ray.cluster_resources()\n"
)
_REFUSES = ("AuthenticationError", "InvalidAuthToken", "Unauthenticated")


def check_address(address: str) -> None:
    """Refuse what is neither `local`, nor `auto`, nor HOST:PORT; and all where Ray is not installed.

    Raises:
        InputError: If it is refused.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("ray is not installed; run: pip install 'nut-toolchain[ray]'")
    if address in {LOCAL, "auto"}:
        return
    found = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", address)
    if found is None or not 0 < int(found[1]) < 1 << 16:
        raise InputError(f"address {address!r}, expected local, auto or HOST:PORT such as 10.0.0.5:6379")


def check_cluster(address: str, *, connect_s: float = _CONNECT_S, answer_s: float = _ANSWER_S) -> None:
    """Join a cluster and leave it again, in a process that is killed if that takes too long.

    Args:
        address: `auto` or HOST:PORT; of `local` there is nothing to check.
        connect_s: How long the port may take to answer.
        answer_s: How long Ray may take.

    Raises:
        InputError: If no cluster is there, or it does not take us.
    """
    if address == LOCAL:
        return
    start = "start one with ray start --head, or give --address local"
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=connect_s).close()
        except OSError as error:
            raise InputError(f"no Ray cluster at {address} ({error.strerror or error}); {start}") from error
    probe = subprocess.Popen(
        [sys.executable, "-c", _PROBE, address],
        env={**os.environ, **RAY_SETTINGS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, said = probe.communicate(timeout=answer_s)
    except subprocess.TimeoutExpired:
        raise InputError(f"no Ray cluster answers at {address} within {answer_s:g} s; {start}") from None
    finally:
        if probe.poll() is None:
            if sys.platform == "win32":
                probe.kill()
            else:
                os.killpg(probe.pid, signal.SIGKILL)
            probe.communicate()
    if probe.returncode != 0:
        where = "no Ray cluster was found on this machine" if address == "auto" else f"no Ray cluster at {address}"
        if any(word in said for word in _REFUSES):
            raise InputError(
                f"the Ray cluster at {address} asks for its token; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to "
                "the file with the token that the cluster was started with"
            )
        lines = [line.strip() for line in said.splitlines() if "Version mismatch" in line]
        raise InputError(f"{where}{f' ({lines[-1][:300]})' if lines else ''}; {start}")
