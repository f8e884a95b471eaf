"""`python -m nut_benchmarks.soak`."""

from nut_benchmarks.soak.cli import main

main(prog_name="python -m nut_benchmarks.soak")
