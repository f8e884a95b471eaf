"""A process that loaded OpenVINO and let it go still has a stack for its signal handlers."""

import subprocess
import sys

import pytest

# Like `nut_runtime.engines.openvino.OpenVinoModel`, whose models come and go as bundles are exchanged.
_EXCHANGED = """
import signal
from nut_runtime.engines.import_openvino import new_core

signal.signal(signal.SIGTERM, lambda *_: print("heard"))
first, second = new_core(), new_core()
del first  # before the one that came after it
del second
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenVINO sets no signal stack")
@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")])
def test_a_signal_is_heard_after_openvino_was_loaded_twice_and_let_go(options):
    ended = subprocess.run([sys.executable, *options, "-c", _EXCHANGED], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "heard\n"), ended.stderr
