"""`nut plan`: what a data set allows on this machine within a time a part.

The modules, in the order of a plan:

- `config`: what `nut plan` was asked for
- `banks`: one training for each backbone and image size, cut down to each bank size
- `candidates`: a bank exported at a precision, timed in an engine, and judged by its own results
- `streams`: several parts at once
- `choice`: the Pareto front and the proposal
- `walk`, `schedule`: the way through all candidates, and how long the rest of it takes
- `plan`: all of them put together, and the folder it writes
- `words`, `report`, `figure`: for people
"""
