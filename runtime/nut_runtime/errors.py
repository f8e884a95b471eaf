"""The exceptions of all five packages.

Every one means a mistake that a user can mend. The message says what was expected, what was got and what
to do, in one lower-case line without a full stop; the commands print it and exit with code 2. Anything that
is not a `NutError` is a bug and keeps its traceback.

    NutError
    +-- InputError (ValueError)      an argument, a picture, a folder or a file of the user's
    |   +-- PictureError             a picture that cannot be read or judged
    |   +-- OutputError (OSError)    a place that cannot be written
    +-- BundleError                  a bundle that is missing, altered, too new or not ours
    +-- EngineError (RuntimeError)   an inference engine that is missing or fails
    +-- SourceError (RuntimeError)   a camera or video that does not open or breaks off
    +-- ParityError (RuntimeError)   an exported model that does not decide as the trained one does
"""

__all__ = [
    "BundleError",
    "EngineError",
    "InputError",
    "NutError",
    "OutputError",
    "ParityError",
    "PictureError",
    "SourceError",
]


class NutError(Exception):
    """Base of all errors that a user can mend."""


class InputError(NutError, ValueError):
    """An argument, folder or file does not meet its contract."""


class PictureError(InputError):
    """A picture cannot be read, or is of a kind that is refused by name."""


class OutputError(InputError, OSError):
    """An output exists already or cannot be written."""


class BundleError(NutError):
    """A bundle is missing, incomplete, altered, too new or not a bundle."""


class EngineError(NutError, RuntimeError):
    """An inference engine is not installed or failed to load or run a model."""


class SourceError(NutError, RuntimeError):
    """A source of frames does not open, or ended before it should."""


class ParityError(NutError, RuntimeError):
    """An exported model's verdicts differ from the trained model's by more than was asked for."""
