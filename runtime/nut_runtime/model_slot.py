"""The model of a running station, exchanged between two frames when its bundle folder is replaced."""

import functools
import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nut_runtime.bundle import open_bundle
from nut_runtime.bundle_watch import FolderState, look_at
from nut_runtime.errors import BundleError, EngineError, NutError
from nut_runtime.health import Health
from nut_runtime.inspector import Inspector
from nut_runtime.selftest import run_selftest

__all__ = ["ModelSlot"]

_log = logging.getLogger("nut_runtime")

_COMPONENT = "model"
_SIZES_KEPT = 16


class ModelSlot:
    """Holds the inspector that judges, and takes in the bundle that replaces its bundle.

    A new bundle is verified, tested and warmed up while the old one goes on judging. One that fails is refused, and
    not tried again until its files change or `request` asks for it. A frame that is being judged ends on the model that
    it began with; that one's memory is given back after the last of them. While both are loaded, both take memory.

    Args:
        path: The bundle folder, or a link to it.
        engine: As in `Inspector`; so are the next four.
        threads: Threads to compute with.
        streams: Frames judged at a time.
        cache: Folder for what OpenVINO compiled.
        verify_key: Refuses a bundle, now and later, that no key in this file has signed.
        locate: Whether frames show trays, as in `Inspector`. With None the first bundle decides, and one that would
            decide otherwise is refused later: a station does not change from parts to trays while it runs.
        is_tested: Whether the first model, too, is tested on its golden frames before it judges, as each later one is.
        health: Told how the model is, as `model`.
        on_switch: Told of each inspector that replaced another one, from the watching thread.
        every_s: How often the folder is looked at.
        settle_s: How long a bundle that is all there must not have changed, before it is read.
        patience_s: How long one that is not all there, such as one that is being copied, must not have changed before
            it is refused.

    Raises:
        BundleError: If the bundle is not usable, or `verify_key` does not vouch for it.
        InputError: If `verify_key` cannot be used.
        EngineError: If the engine does not load it, or does not judge as the reference did.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        engine: str | None = None,
        threads: int | None = None,
        streams: int = 1,
        cache: Path | None = None,
        verify_key: str | Path | None = None,
        locate: bool | None = None,
        is_tested: bool = True,
        health: Health | None = None,
        on_switch: Callable[[Inspector], None] | None = None,
        every_s: float = 2.0,
        settle_s: float = 1.0,
        patience_s: float = 30.0,
    ) -> None:
        self._path = Path(path)
        self._open = functools.partial(
            Inspector, engine=engine, threads=threads, streams=streams, cache=cache, locate=locate
        )
        self._verify_key = verify_key
        self._health, self._on_switch = health or Health(), on_switch
        self._every_s, self._settle_s, self._patience_s = every_s, settle_s, patience_s
        self._sizes: dict[tuple[int, int], None] = {}  # in the order they were seen first
        self._loaded = look_at(self._path)
        self._is_locating: bool | None = None
        self._inspector = self._load(self._path, is_tested=is_tested)
        self._is_locating = self._inspector.locator is not None
        self._refused: FolderState | None = None
        self._waiting: tuple[FolderState, float] | None = None  # a change, and since when it has not changed again
        self._checking = threading.Lock()
        # Unlike an event's, its `put` may interrupt itself, so that a signal handler can call `request`.
        self._requests: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._report_well()

    @property
    def inspector(self) -> Inspector:
        """The inspector to judge the next frame with. Ask for it anew for each frame, and keep no other reference."""
        return self._inspector

    def saw(self, height: int, width: int) -> None:
        """Remember a frame's size in pixels; the next model is warmed up with the last sixteen, and must take them."""
        if (height, width) not in self._sizes:
            if len(self._sizes) >= _SIZES_KEPT:
                self._sizes.pop(next(iter(self._sizes)), None)
            self._sizes[height, width] = None

    def start(self) -> None:
        """Begin to watch the folder."""
        self._thread.start()

    def request(self) -> None:
        """Have the folder looked at now, and a bundle that was refused tried again; a signal handler may call this."""
        self._requests.put("look")

    def close(self) -> None:
        """Stop watching; the inspector stays. Safe to call twice, and before `start`."""
        self._is_closed = True
        self._requests.put("end")
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)  # one that is loading a bundle ends by itself, and switches nothing

    def check(self, *, is_requested: bool = False) -> bool:
        """Look at the folder once; return whether another model judges from now on.

        Args:
            is_requested: Whether somebody asked: a bundle that is all there is read at once, a refused one too.
        """
        with self._checking:
            state = look_at(self._path)
            if state == self._loaded:
                if self._refused is not None or self._waiting is not None:  # a change was taken back
                    self._refused = self._waiting = None
                    self._report_well()
                return False
            if state == self._refused and not is_requested:
                return False
            if not self._is_settled(state, is_requested=is_requested):
                return False
            self._waiting = None
            return self._take_in(state)

    def _is_settled(self, state: FolderState, *, is_requested: bool) -> bool:
        """Return whether a change has ended, so that nobody is still copying."""
        now = time.monotonic()
        if self._waiting is None or self._waiting[0] != state:
            self._waiting = (state, now)
        if is_requested and not state.lacks:
            return True
        return now - self._waiting[1] >= (self._patience_s if state.lacks else self._settle_s)

    def _take_in(self, state: FolderState) -> bool:
        """Load what lies in the folder and switch to it, or refuse it."""
        is_same = (state.folder, state.manifest_digest) == (self._loaded.folder, self._loaded.manifest_digest)
        try:
            if is_same:  # written again, or altered: it would not load at the next start
                open_bundle(state.folder, verify_key=self._verify_key)
                inspector = self._inspector
            else:
                inspector = self._load(state.folder)
        except (NutError, OSError, MemoryError) as error:
            if look_at(self._path) == state:  # else it was changed while it was read, and is looked at again
                self._refuse(state, str(error) or type(error).__name__)
            return False
        if look_at(self._path) != state or self._is_closed:
            return False  # what was tested may not be what was read, and may not be what is there
        self._loaded, self._refused = state, None
        if is_same:
            self._report_well()
            return False
        before = self._inspector.bundle.manifest.bundle_id
        self._inspector = inspector
        self._health.count("model_switches")
        _log.warning("model: %s judges from now on, in place of %s", inspector.bundle.manifest.bundle_id, before)
        self._report_well()
        if self._on_switch is not None:
            self._on_switch(inspector)
        return True

    def _load(self, folder: Path, *, is_tested: bool = True) -> Inspector:
        """Return an inspector that has shown that it judges as the reference did, ready for the frames that come."""
        # The folder itself, not a link to it: the link may be switched while the files are read one after the other.
        bundle = open_bundle(folder.resolve() if folder.is_dir() else folder, verify_key=self._verify_key)
        inspector = self._open(bundle)
        if self._is_locating not in (None, inspector.locator is not None):
            has, does = ("a", "whole frames") if inspector.locator is not None else ("no", "the parts of trays")
            raise BundleError(f"{folder} has {has} locator, but the station judges {does}; restart it")
        if is_tested:
            drift = run_selftest(bundle, inspector.engine, inspector.locator).first_drift
            if drift is not None:
                raise EngineError(
                    f"{folder} does not judge here as the reference did: {drift.stage} is off by {drift.deviation:.1e} "
                    f"(tolerance {drift.tolerance:.1e}); run nut-runtime doctor"
                )
        for height, width in tuple(self._sizes):
            inspector.warm_up(height, width)
        return inspector

    def _refuse(self, state: FolderState, why: str) -> None:
        self._refused = state
        self._health.count("model_refusals")
        bundle_id = self._inspector.bundle.manifest.bundle_id
        # Its own line even where one was refused just before: `Health` logs only the first.
        _log.warning("model: refused %s: %s", self._path, why)
        self._health.report(_COMPONENT, is_well=False, message=f"{bundle_id} goes on; refused the new one: {why}")

    def _report_well(self) -> None:
        manifest = self._inspector.bundle.manifest
        message = f"{manifest.bundle_id} ({manifest.precision}, {self._inspector.engine.name})"
        self._health.report(_COMPONENT, is_well=True, message=message)

    def _run(self) -> None:
        try:
            while not self._is_closed:
                request = ""
                with suppress(queue.Empty):
                    request = self._requests.get(timeout=self._every_s)
                if not self._is_closed:
                    self.check(is_requested=request == "look")
        finally:
            if not self._is_closed:  # a mistake of ours, whose traceback is printed
                self._health.report(_COMPONENT, is_well=False, message="its folder is not watched any more; restart")
