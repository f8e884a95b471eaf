"""Where verdicts go."""

from nut_runtime.sinks.jsonl import JsonlSink
from nut_runtime.sinks.overlays import OverlaySink, SavePolicy

__all__ = ["JsonlSink", "OverlaySink", "SavePolicy"]
