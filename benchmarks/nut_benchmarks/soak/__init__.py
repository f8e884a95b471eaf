"""What a station must survive, done to a real one: `python -m nut_benchmarks.soak`, or `make soak`."""
