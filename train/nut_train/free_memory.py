"""How much memory there is for what is about to be made."""

from pathlib import Path

__all__ = ["free_memory_bytes", "size_text"]

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # what a container may use
_GIGABYTE = 1e9


def free_memory_bytes() -> int | None:
    """Return the memory that can be had without swapping, in bytes; None where the system does not say."""
    known = [value for value in (_available(), _left_in_container()) if value is not None]
    return min(known) if known else None


def _available() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _left_in_container() -> int | None:
    try:
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or no limit ("max")
        return None
    return max(limit - used, 0)


def size_text(size_bytes: float) -> str:
    """Return a size for people.

    Example:
        >>> size_text(1_383_000_000), size_text(200_000)
        ('1.4 GB', '0.2 MB')
    """
    return f"{size_bytes / _GIGABYTE:.1f} GB" if size_bytes >= _GIGABYTE else f"{size_bytes / 1e6:.1f} MB"
