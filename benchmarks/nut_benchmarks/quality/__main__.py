"""`python -m nut_benchmarks.quality`."""

from nut_benchmarks.quality.cli import quality

quality(prog_name="python -m nut_benchmarks.quality")
