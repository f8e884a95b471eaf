"""Trains PatchCore with anomalib, calibrates its threshold on good parts and evaluates it.

The modules, in the order of a training run:

- `config`: what `nut train` was asked for
- `backbone`, `weights`: the feature extractor, and where its ImageNet weights come from
- `patchcore`: anomalib's model, built, saved and loaded
- `fit`, `coreset`: the memory bank from pictures of good parts
- `predict`: anomalib's own prediction, the reference that every exported model is held against
- `calibrate`: the threshold from held-out good parts
- `metrics`, `figures`, `report`: how well it tells good from bad, for people
- `evaluate`, `train`, `run`: the stages put together, and the run folder they write
"""
