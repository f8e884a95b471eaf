"""Runs an exported PatchCore bundle: frames in, verdicts out. No torch anywhere."""

__version__ = "0.1.0"
