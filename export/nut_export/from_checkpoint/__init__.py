"""A PatchCore checkpoint that anomalib alone trained, made into something `export_bundle` takes like a run of ours.

- `reading`: the file, without running anything that is in it
- `preparation`: how its pictures are resized and normalised
- `decision`: its thresholds, ranges and sensitivities
- `model`: the model, built anew by anomalib
- `recentred`: anomalib's post-processor where a sensitivity moves the verdict off 0.5
- `clearance`: a threshold that lies on a picture's score, moved off it
- `run`: all of it together
- `cli`: what the command checks first and says at the end
"""
