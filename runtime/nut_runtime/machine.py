"""What this machine is, for figures that must say where they were measured."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Machine", "this_machine"]

_TOLD = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A computer.

    Attributes:
        cpu: The processor's name.
        cores: Cores this process may use.
        instruction_sets: Those that matter to inference, such as `avx2` and `avx512_vnni`; empty if unknown.
        system: Operating system and architecture.
        python: Version of Python.
    """

    cpu: str
    cores: int
    instruction_sets: tuple[str, ...]
    system: str
    python: str

    @property
    def lacks_vnni(self) -> bool:
        """Whether an x86 processor is known to have no instructions for int8 products."""
        known = set(self.instruction_sets)
        return bool(known) and not known & {"avx512_vnni", "avx_vnni"}

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self) | {"instruction_sets": list(self.instruction_sets)}


def this_machine() -> Machine:
    """Describe the computer this process runs on."""
    facts = _cpuinfo()
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    return Machine(
        cpu=facts.get("model name", "") or platform.processor() or platform.machine(),
        cores=len(affinity(0)) if affinity is not None else os.cpu_count() or 1,
        instruction_sets=tuple(name for name in _TOLD if name in flags),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def _cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of Linux's /proc/cpuinfo; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
