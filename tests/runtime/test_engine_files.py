"""A loaded engine needs its bundle's files no more: what happens to them afterwards changes no verdict."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import sys
from pathlib import Path
from nut_runtime import Inspector
folder, engine, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
inspector = Inspector(folder, engine=engine, threads=1)
frame = inspector.bundle.golden_frame(inspector.bundle.manifest.golden[-1])
before = inspector.inspect(frame).raw_score
for path in folder.glob("model.*"):
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size)) if how == "overwritten" else file.truncate(0)
other = frame[:-8].copy()  # another size, for which the engine prepares anew
inspector.inspect(other)
assert inspector.inspect(frame).raw_score == before
"""


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("how", ["overwritten", "truncated"])
def test_a_bundle_that_is_copied_over_in_place_changes_no_verdict_of_a_running_engine(
    bundle_folder, tmp_path, engine, how
):
    folder = Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))
    # In a process of its own: where the weights were mapped from the file, cutting it ends the process (SIGBUS).
    command = [sys.executable, "-c", _PROGRAM, str(folder), engine, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
