"""docs/plc.md says what the code does."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nut_runtime.plc.registers import COMMAND_BITS, STATUS_BITS, as_markdown
from nut_runtime.plc.server import PlcServer
from nut_runtime.station_file.config import PlcConfig

PAGE = (Path(__file__).parents[3] / "docs" / "plc.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("heading", as_markdown())
def test_the_page_has_the_register_tables_as_they_are(heading):
    assert as_markdown()[heading] in PAGE


def test_the_timing_diagram_and_the_steps_name_bits_that_exist():
    names = {bit.name for bit in (*COMMAND_BITS, *STATUS_BITS)}
    (diagram,) = re.findall(r"```\n(PLC .*?)```", PAGE, re.DOTALL)
    for line in diagram.splitlines()[:-1]:
        assert set(re.findall(r"[A-Za-z]{2,}", line)) - {"PLC", "station"} <= names


def test_the_example_of_the_page_runs_against_a_station():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with PlcServer(PlcConfig(port=0)) as server:

        def station():
            for trigger in server.triggers:
                trigger.answer({"label": "good", "pred_score": 0.415088, "sequence": 51, "reason": None})

        threading.Thread(target=station, daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-c", code.replace("1502", str(server.port))],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stderr == ""
        assert done.stdout == "part 4711 OK score 0.4151 record 51\n"
    assert len([line for line in code.splitlines() if line.strip()]) <= 11
