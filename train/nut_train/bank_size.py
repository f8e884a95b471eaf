"""How many rows the memory bank is to have: a share of the patches, a number, or what fits into so many megabytes."""

from nut_runtime.errors import InputError
from nut_train.config import TrainConfig
from nut_train.free_memory import free_memory_bytes, size_text

__all__ = ["bank_rows", "check_bank_fits", "check_rows"]

_LEAST_ROWS = 2  # a single vector is its own only neighbour, and anomalib's weight makes every score zero
_VALUE_BYTES = 4
_COPIES = 2  # the bank, and its copy while the checkpoint is written


def bank_rows(config: TrainConfig, *, patches: int, width: int) -> int:
    """Return how many of the patches to keep.

    Args:
        config: A ratio, rounded down as anomalib does; or `bank_size` rows or `bank_mb` megabytes, which are limits:
            where there are fewer patches, all are kept.
        patches: Patches of all pictures for the bank.
        width: Numbers a patch.

    Raises:
        InputError: If fewer than two are left, or the bank does not fit in memory.
    """
    if config.bank_size is not None:
        rows = min(config.bank_size, patches)
    elif config.bank_mb is not None:
        rows = min(int(config.bank_mb * 1e6 / (width * _VALUE_BYTES)), patches)
    else:
        rows = int(patches * config.coreset_ratio)
    check_rows(rows, config)
    check_bank_fits(rows, width)
    return rows


def check_rows(rows: int, config: TrainConfig) -> None:
    """Refuse a bank that is too small to score with.

    Args:
        rows: How many vectors it has.
        config: What asked for so few.

    Raises:
        InputError: If there are fewer than two.
    """
    if rows >= _LEAST_ROWS:
        return
    option, text = "--coreset-ratio", f"coreset ratio {config.coreset_ratio}"
    if config.bank_size is not None:
        option, text = "--bank-size", f"bank size {config.bank_size}"
    elif config.bank_mb is not None:
        option, text = "--bank-mb", f"bank of {config.bank_mb} MB"
    raise InputError(f"{text} keeps {rows} of all patches, at least {_LEAST_ROWS} are needed; raise {option}")


def check_bank_fits(rows: int, width: int) -> None:
    """Refuse a bank that memory cannot hold, before the minutes of work.

    Raises:
        InputError: If the bank and a copy of it need more than is free.
    """
    size = rows * width * _VALUE_BYTES
    free = free_memory_bytes()
    if free is not None and _COPIES * size > free:
        raise InputError(
            f"a bank of {rows} x {width} takes {size_text(size)}, twice while it is saved, and "
            f"{size_text(free)} of memory are free; lower --coreset-ratio, or give --bank-mb"
        )
