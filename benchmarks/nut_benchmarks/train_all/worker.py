"""`python -m nut_benchmarks.train_all.worker`: does the part that a line on standard input names.

Standard input stays open for as long as whoever gave the line lives; when it ends, so does this process, as on Ctrl-C.
"""

import os
import signal
import sys
import threading

from nut_benchmarks.train_all.job import Job
from nut_benchmarks.train_all.work import do_part, limit_threads
from nut_runtime.errors import NutError

__all__ = ["main"]

_GIVE_UP_S = 20.0


def main() -> None:
    """Do the part; exit code 0 when its status was written, 2 when that cannot be, whatever else when it crashed."""
    line = b""
    while not line.endswith(b"\n"):
        if not (block := os.read(0, 1 << 16)):
            sys.exit("nobody gave a part to do")
        line += block
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = Job.from_text(line.decode())
    limit_threads(job)
    try:
        do_part(job)
    except NutError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        sys.exit(2)


def _end_with_parent() -> None:
    """When the parent is gone, stop like Ctrl-C, so that what is half made goes; and hard if that is slow."""
    while os.read(0, 1):
        pass
    if sys.platform == "win32":
        os._exit(1)
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(_GIVE_UP_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
