"""SIGKILL at random moments; many more of them: `python tests/runtime/sinks/killing.py 500`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked, which this system cannot")
def test_no_kill_loses_doubles_or_halves_what_was_acknowledged():
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run([sys.executable, script, "20"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 kills" in done.stdout
