"""A journal that may fail for a while: what it could not keep is kept in memory until it can."""

import time
from collections import deque
from dataclasses import replace

from nut_runtime.errors import OutputError
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.base import Journal

__all__ = ["Keeper"]

_RETRY_S = 1.0
_AT_ONCE_S, _LAST_S = 0.05, 2.0
_BACKLOG = 10_000
"""Records that wait at most; of about 1 kB each."""


class Keeper:
    """Writes to one journal, in order, and holds back what it cannot take.

    Args:
        journal: The journal.
        health: Told how it is, as `output NAME`.
        is_strict: Raise instead of holding back.
    """

    def __init__(self, journal: Journal, health: Health, *, is_strict: bool) -> None:
        self.journal, self._health, self._is_strict = journal, health, is_strict
        self._backlog: deque[JudgedPart] = deque()
        self._retry_at = 0.0
        self.lost = 0
        """Records that no longer fitted into memory."""
        health.report(self._component, is_well=True)

    @property
    def _component(self) -> str:
        return f"output {self.journal.name}"

    def __len__(self) -> int:
        return len(self._backlog)

    def keep(self, part: JudgedPart) -> bool:
        """Keep one record; return whether it is kept now, else it waits.

        Raises:
            OutputError: If it cannot be, and the keeper is strict.
        """
        if not self._backlog:
            try:
                self.journal.write(part)
            except OutputError as error:
                if self._is_strict:
                    raise
                self._failed(error)
            else:
                return True
        # Without the views: a journal keeps records, and the frames of a thousand parts would fill the memory.
        self._backlog.append(replace(part, views=()))
        if len(self._backlog) > _BACKLOG:
            self._backlog.popleft()
            self.lost += 1
            self._health.count("records_lost")
        self.retry()
        return not self._backlog

    def retry(self, *, is_last: bool = False) -> None:
        """Try to keep what waits: once a second while that fails, and a little at a time so that the line goes on.

        Args:
            is_last: Try now, whenever the last attempt was.
        """
        if not self._backlog or (time.monotonic() < self._retry_at and not is_last):
            return
        until = time.monotonic() + (_LAST_S if is_last else _AT_ONCE_S)
        try:
            while self._backlog and time.monotonic() < until:
                self.journal.write(self._backlog[0])
                self._backlog.popleft()
        except OutputError as error:
            self._failed(error)
            return
        if not self._backlog:
            self._health.report(self._component, is_well=True)

    def close(self) -> int:
        """Try once more and close the journal; return how many records were never kept."""
        self.retry(is_last=True)
        self.journal.close()
        return self.lost + len(self._backlog)

    def _failed(self, error: OutputError) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        waiting = f"; {len(self._backlog)} records wait in memory" if self._backlog else ""
        self._health.report(self._component, is_well=False, message=f"{error}{waiting}")
