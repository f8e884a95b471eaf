"""Turns a trained run into a bundle: one deployment graph, in ONNX and OpenVINO, with proof that it decides alike.

The graph, piece by piece in the order a frame passes through it:

- `resize`: uint8 BGR frame of any size to normalised pixels, antialiased exactly as torch does it
- `features`: the backbone's feature maps to one embedding a patch
- `search`: the nearest bank vector of each patch, and the image score weighed by its neighbours
- `anomaly_map`: patch distances to a blurred map
- `graph`: all of them put together, with normalisation and threshold

And around it: `builder` (writes ONNX nodes), `writers` (files), `golden` (frames a device tests itself with),
`parity` (the proof), `export` (all of it, in order), `from_checkpoint` (a checkpoint of anomalib's in place of a run).

The fast profiles: `quantise` (the backbone in int8), `plan` and `coarse` (the search by candidates), `fast` (both
together), `guard` and `cascade` (when the exact model decides again).

Afterwards: `signing` (keys and signatures), `bundle_diff` and `verdict_diff` (what an update changes).
"""
