"""anomalib's post-processor with the scores moved so that its verdict changes at 0.5, whatever its sensitivity.

Imported only where it is needed, since it brings anomalib.
"""

from typing import Any

from anomalib.post_processing import PostProcessor

__all__ = ["Recentred"]


class Recentred(PostProcessor):
    """anomalib's verdicts and masks as they are; scores and maps normalised around the thresholds these have.

    anomalib calls defective what is above `1 - sensitivity` after normalisation; the same holds for what is above
    0.5 once the threshold is moved by `(0.5 - sensitivity) * (max - min)`.
    """

    def post_process_batch(self, batch: Any) -> None:
        """Decide as anomalib does, then normalise anew."""
        raw_score, raw_map = batch.pred_score, batch.anomaly_map
        super().post_process_batch(batch)
        batch.pred_score = self._moved(raw_score, "image")
        batch.anomaly_map = self._moved(raw_map, "pixel")

    def _moved(self, raw: Any, part: str) -> Any:
        threshold, minimum, maximum = (getattr(self, f"{part}_{name}") for name in ("threshold", "min", "max"))
        threshold = threshold.where(~threshold.isnan(), (maximum + minimum) / 2)
        threshold = threshold + (0.5 - getattr(self, f"{part}_sensitivity")) * (maximum - minimum)
        return self._normalize(raw, minimum, maximum, threshold)
