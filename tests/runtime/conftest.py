"""Parts as a station makes them, for tests of what takes them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from nut_runtime.parts import JudgedPart, Part, Trigger, View
from nut_runtime.records import part_record
from nut_runtime.regions import Box
from nut_runtime.sources.base import Frame
from nut_runtime.verdict import Label, Reason, Verdict

SIZE = 64


def _judged_part(
    sequence: int = 1,
    label: Label = Label.GOOD,
    *,
    reason: Reason | None = None,
    score: float | None = None,
    camera: str = "front",
    run: str = "run1",
    picture: str | None = None,
    trigger: str = "",
    answer: Callable[[Mapping[str, Any]], None] | None = None,
) -> JudgedPart:
    """Return a part of one view: a grey picture with a bright spot, judged as told."""
    pixels = np.full((SIZE, SIZE, 3), 90, np.uint8)
    pixels[10:20, 30:40] = 220
    frame = Frame(
        source=camera,
        name=camera,
        timestamp=datetime(2026, 11, 24, 12, 0, sequence % 60, tzinfo=UTC),
        capture_ms=1.0,
        picture=pixels,
        camera=camera,
    )
    verdict = None
    if label is not Label.NO_VERDICT:
        defective = label is Label.DEFECT
        anomaly_map = np.full((32, 32), 0.2, np.float32)
        anomaly_map[5:10, 15:20] = 0.9 if defective else 0.3
        usual = {Label.GOOD: 0.25, Label.REVIEW: 0.48, Label.DEFECT: 0.75}[label]
        verdict = Verdict(
            label=label,
            pred_score=usual if score is None else score,
            raw_score=(usual if score is None else score) * 40,
            anomaly_map=anomaly_map,
            pred_mask=anomaly_map >= 0.5,
            boxes=(Box(x=30, y=10, width=10, height=10, peak=0.9),) if defective else (),
            bundle_id="nuts-0123456789ab",
            milliseconds={"infer": 5.0, "decide": 0.1},
        )
    view = View(frame=frame, label=label, verdict=verdict, reason=reason, error=str(reason or ""))
    part = Part(sequence=sequence, trigger=Trigger(name=trigger, answer=answer), frames=(frame,))
    record = part_record(
        part,
        [view],
        label,
        reason,
        run=run,
        station="line 3",
        bundle="nuts-0123456789ab",
        milliseconds=6.5,
        picture=picture,
    )
    return JudgedPart(
        sequence=sequence,
        trigger=part.trigger,
        label=label,
        reason=reason,
        views=(view,),
        record=record,
        milliseconds=6.5,
    )


@pytest.fixture
def judged_part() -> Callable[..., JudgedPart]:
    """A function that makes a judged part: `judged_part(sequence, label, reason=, score=, camera=, picture=, ...)`."""
    return _judged_part
