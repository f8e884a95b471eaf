"""A bundle brought to its next version by a small file, and back: `extend`, `revert`.

- `contents`: the file format; `reading`: the file, checked; `rebuild`: the next bundle from the one that is there
- `gate`: what the next bundle must show before it judges; `exchange`: the two folders, exchanged at one instant
- `extend`: all of it in order; `delta_cli`: the commands

`nut_export.delta` makes such files.
"""
