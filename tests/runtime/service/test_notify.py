"""What a service tells its manager: heard by a real socket, and by a real systemd where one can be started."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from nut_runtime.service.notify import Notifier, Watchdog

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A socket as systemd's, and what `NOTIFY_SOCKET` would say of it."""
    name = f"nut-test-{os.getpid()}-{time.monotonic_ns()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        if request.param == "path":
            address = str(tmp_path / "notify")
            listener.bind(address)
        else:
            address = f"@{name}"
            listener.bind(f"\0{name}")
        listener.settimeout(5)
        yield listener, address


def drain(listener: socket.socket) -> None:
    """Hear everything until nothing comes any more."""
    while True:
        heard(listener)


def heard(listener: socket.socket) -> str:
    return listener.recv(4096).decode()


def test_ready_and_stopping_are_heard_with_their_status(manager):
    listener, address = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    assert notifier.ready("judging with nuts-1")
    assert heard(listener) == "READY=1\nSTATUS=judging with nuts-1"
    assert notifier.stopping()
    assert heard(listener) == "STOPPING=1\nSTATUS=stopping"


def test_a_status_brings_no_field_of_its_own(manager):
    listener, address = manager
    Notifier(address).status("camera gone\nREADY=1" + "x" * 1000)
    assert heard(listener).startswith("STATUS=camera gone READY=1xxx")


def test_nobody_listens_and_nothing_is_raised(tmp_path):
    assert not Notifier.from_environment({}).ready()
    assert not Notifier(str(tmp_path / "gone")).ready()
    assert not Notifier("vsock:2:1234").ready()


def test_a_manager_that_does_not_read_holds_up_for_a_second_at_most(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "deaf"))
        notifier = Notifier(str(tmp_path / "deaf"))
        started = time.monotonic()
        while notifier.beat():
            assert time.monotonic() - started < 20
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        pytest.param({"WATCHDOG_USEC": "30000000"}, 30.0, id="for-us"),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0, id="for-us-by-pid"),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None, id="for-another"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="no-number"),
        pytest.param({}, None, id="not-at-all"),
    ],
)
def test_the_watchdogs_limit_is_read_as_systemd_says_it(environment, expected):
    assert Notifier.from_environment(environment).watchdog_s == expected


def test_it_beats_for_as_long_as_there_is_progress_and_then_no_more(manager):
    listener, address = manager
    alive = threading.Event()
    alive.set()
    watchdog = Watchdog(Notifier(address, watchdog_s=1.0), alive.is_set, every_s=0.01)
    watchdog.start()
    assert {heard(listener) for _ in range(3)} == {"WATCHDOG=1"}
    alive.clear()
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        drain(listener)
    alive.set()
    listener.settimeout(5)
    assert heard(listener) == "WATCHDOG=1"
    watchdog.close()
    watchdog.close()


def test_a_question_for_progress_that_never_comes_back_stops_the_beats(manager):
    listener, address = manager
    hanging = threading.Event()
    watchdog = Watchdog(Notifier(address, watchdog_s=1.0), lambda: hanging.wait(10), every_s=0.01)
    watchdog.start()
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        heard(listener)
    hanging.set()
    watchdog.close()


def test_a_status_is_told_when_it_changed_and_not_again(manager):
    listener, address = manager
    status = ["all well"]
    watchdog = Watchdog(Notifier(address), lambda: True, status=lambda: status[0], every_s=0.01)
    watchdog.start()
    assert heard(listener) == "STATUS=all well"
    listener.settimeout(0.1)
    with pytest.raises(TimeoutError):
        heard(listener)
    status[0] = "camera front: gone"
    listener.settimeout(5)
    assert heard(listener) == "STATUS=camera front: gone"
    watchdog.close()


_STATION = """
import sys, time
from nut_runtime.service.notify import Notifier, Watchdog
notifier = Notifier.from_environment()
started = time.monotonic()
Watchdog(notifier, lambda: time.monotonic() - started < 1).start()
notifier.ready("judging with nuts-1")
time.sleep(60)
"""

# A manager of its own in name spaces of its own: nothing outside sees it, and it ends with them.
_MANAGER = """
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 HOME={home}
/usr/lib/systemd/systemd --user >/dev/null 2>&1 &
for _ in $(seq 50); do [ -S /run/user/0/systemd/private ] && break; sleep 0.1; done
systemctl --user start station || exit 1
systemctl --user show station --property=ActiveState,StatusText
for _ in $(seq 80); do
    [ "$(systemctl --user show station --property=NRestarts)" = NRestarts=0 ] || break; sleep 0.1
done
systemctl --user show station --property=NRestarts
systemctl --user stop station
systemctl --user exit
wait
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="name spaces of one's own are root's")
@pytest.mark.skipif(not Path("/usr/lib/systemd/systemd").is_file(), reason="systemd is not installed")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_real_systemd_waits_for_ready_and_restarts_a_station_that_makes_no_progress(tmp_path):
    units = tmp_path / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (tmp_path / "station.py").write_text(_STATION)
    (units / "station.service").write_text(
        textwrap.dedent(f"""
        [Service]
        Type=notify
        WatchdogSec=1
        WatchdogSignal=SIGKILL
        Restart=always
        RestartSec=100ms
        Environment=PYTHONPATH={os.environ.get("PYTHONPATH", "")}
        ExecStart={sys.executable} {tmp_path / "station.py"}
        """)
    )
    script = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]
    done = subprocess.run(
        [*script, _MANAGER.format(home=tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    if "ActiveState" not in done.stdout:
        pytest.skip(f"no manager of one's own can be started here: {done.stderr.strip()[:200]}")
    assert "ActiveState=active" in done.stdout
    assert "StatusText=judging with nuts-1" in done.stdout
    assert "NRestarts=0" not in done.stdout
    assert "NRestarts=" in done.stdout
