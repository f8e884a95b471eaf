"""Capture, judging and outputs at the same time: what runs on the line.

source threads -> PartQueue -> judge threads -> the caller's thread: journals, answer, listeners
"""

from nut_runtime.pipeline.pipeline import Pipeline
from nut_runtime.pipeline.summary import Summary

__all__ = ["Pipeline", "Summary"]
