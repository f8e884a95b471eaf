"""Listeners in threads of their own, so that none of them disturbs the line."""

import logging
import queue
import threading

from nut_runtime.errors import NutError
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart
from nut_runtime.sinks.base import Listener

__all__ = ["Teller"]

_log = logging.getLogger("nut_runtime")
_WAITING = 16
"""Parts that wait for a listener at most: their frames are in memory."""
_CLOSE_S = 2.0


class Teller:
    """Tells one listener of parts, from its own thread.

    Args:
        listener: The listener.
        health: Told how it is, as `output NAME`, and of parts that it missed.
        is_patient: Wait for a listener that is behind, and hand on what it raises, instead of passing it by: for runs
            over files, where no line waits.
    """

    def __init__(self, listener: Listener, health: Health, *, is_patient: bool) -> None:
        self.listener, self._health, self._is_patient = listener, health, is_patient
        self._parts: queue.Queue[JudgedPart | None] = queue.Queue(_WAITING)
        self._failure: NutError | None = None
        health.report(f"output {listener.name}", is_well=True)
        self._thread = threading.Thread(target=self._run, name=f"tell {listener.name}", daemon=True)
        self._thread.start()

    def tell(self, part: JudgedPart) -> None:
        """Hand a part over.

        Raises:
            NutError: If the listener is waited for and failed.
        """
        if self._is_patient:
            self._raise()
            self._parts.put(part)
            return
        try:
            self._parts.put_nowait(part)
        except queue.Full:
            self._health.count(f"parts_missed_by_{self.listener.name}")
            self._health.report(f"output {self.listener.name}", is_well=False, message="does not keep up; missed parts")

    def close(self) -> None:
        """Let it finish, at most two seconds where nobody waits for it, and close it.

        Raises:
            NutError: If the listener is waited for and failed.
        """
        if self._is_patient:
            self._parts.put(None)
            self._thread.join()
        else:
            try:
                self._parts.put(None, timeout=_CLOSE_S)
            except queue.Full:
                return  # it hangs; its thread ends with the process
            self._thread.join(_CLOSE_S)
            if self._thread.is_alive():
                return
        self.listener.close()
        self._raise()

    def _raise(self) -> None:
        if self._is_patient and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _run(self) -> None:
        while (part := self._parts.get()) is not None:
            try:
                if self._failure is None:
                    self.listener.hear(part)
            except NutError as error:
                if self._is_patient:
                    self._failure = error
                self._health.report(f"output {self.listener.name}", is_well=False, message=str(error))
            except Exception:  # noqa: BLE001 - the line goes on, whatever an output is wrong about
                _log.exception("a defect in the output %s", self.listener.name)
                self._health.report(f"output {self.listener.name}", is_well=False, message="a defect; see the log")
            else:
                self._health.report(f"output {self.listener.name}", is_well=True)
