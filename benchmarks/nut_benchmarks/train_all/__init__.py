"""`nut train-all`: every data set below a folder trained, evaluated and exported.

- `parts`: which data sets there are
- `config`: what each of them is asked for
- `job`, `status`: one part's work as plain text, and what came of it
- `standing`: whether a part is to be done, or was done already
- `changed_bundle`: a bundle that somebody changed after its export
- `work`: does one part; the same for both ways
- `processes`, `worker`: the parts as processes of this machine
- `cluster`, `cluster_address`: the parts as tasks of a Ray cluster
- `every_part`: the bookkeeping, and `summary` the table
"""
