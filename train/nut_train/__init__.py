"""Trains PatchCore with anomalib, calibrates its threshold on good parts and evaluates it.

The modules, in the order of a training run:

- `config`: what `nut train` was asked for
- `backbone`, `weights`: the feature extractor, and where its ImageNet weights come from
- `patchcore`: anomalib's model, built, saved and loaded
- `fit`: the memory bank from pictures of good parts, with `feature_store` and `work_folder` (features on disk, taken up
  after an interruption), `projection` and `coreset` (which rows to keep), `bank_size` (how many), `bank_origin` (where
  they came from)
- `embedding`, `explain`: a patch of a part beside the good patch it was compared with
- `predict`: anomalib's own prediction, the reference that every exported model is held against
- `calibrate`: the threshold from held-out good parts
- `metrics`, `figures`, `report`: how well it tells good from bad, for people
- `evaluate`, `train`, `run`: the stages put together, and the run folder they write
"""
