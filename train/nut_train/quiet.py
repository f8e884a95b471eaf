"""What the heavy libraries say on import and at every run, kept off the user's screen."""

import logging
import warnings

__all__ = ["hush_libraries"]


def hush_libraries() -> None:
    """Let only errors of anomalib, Lightning and their kin through.

    Commands call it first; a library does not. Our own code says what it has to say through return values and
    exceptions, so nothing of it is lost. The whole of logging is told, since Lightning sets its own loggers'
    levels anew when it is imported.
    """
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
