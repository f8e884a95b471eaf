"""What is timed of a candidate: the middle-sized good frame, and of a cascade both ways."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from nut_benchmarks.measure import Timing
from nut_benchmarks.planner import candidates as module
from nut_benchmarks.planner.banks import Bank
from nut_benchmarks.planner.candidates import measure_candidate, middle_sized
from nut_benchmarks.planner.config import PlanConfig
from nut_benchmarks.planner.streams import RoundsJob, run_rounds
from nut_runtime.engines.base import EngineResult

CONFIG = PlanConfig(target_ms=30)


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(24)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.zeros((20 + number, 30, 3), np.uint8))
    return paths


def _bank(pictures: list[Path]) -> Bank:
    """20 good pictures in the test, two of each other kind, two held out."""
    kinds = dict.fromkeys(pictures[:20], "good") | dict.fromkeys(pictures[20:22], "burr")
    return Bank(
        run=SimpleNamespace(),
        coreset_ratio=0.01,
        rows=10,
        width=4,
        kinds=kinds,
        held_out=tuple(pictures[22:]),
        pixel_auroc=None,
    )


@pytest.fixture
def timed(monkeypatch):
    """Stands in for the process that measures: a frame takes 5 ms, one judged twice 12."""
    calls: list[Path] = []

    def give(rejudged: set[Path]):
        def measure(engine, bundle, paths, frame, threads, config):
            calls.append(frame)
            ms = 12.0 if frame in rejudged else 5.0
            timing = Timing(
                engine=engine, version="", precision="", load_s=1, first_ms=ms, p50_ms=ms, p95_ms=ms, p99_ms=ms,
                frames_per_s=1e3 / ms, mixed_p50_ms=ms, peak_mb=100,
            )  # fmt: skip
            nothing = np.zeros((2, 2), np.float32)
            results = [
                EngineResult(
                    raw_score=1.0 + place,
                    pred_score=0.1,
                    pred_label=place >= 21,
                    anomaly_map=nothing,
                    pred_mask=nothing > 0,
                    is_rejudged=path in rejudged,
                )
                for place, path in enumerate(paths)
            ]
            return timing, results

        monkeypatch.setattr(module, "measure_in_process", measure)
        return calls

    return give


def test_the_middle_sized_picture_is_found_by_its_pixels(pictures):
    assert middle_sized(pictures) == pictures[12]


def test_the_accuracy_is_that_of_the_engines_own_results_on_test_pictures(pictures, timed):
    timed(set())
    speed, accuracy = measure_candidate(_bank(pictures), Path("b"), "int8", "openvino", CONFIG, threads=2)
    assert (accuracy.good, accuracy.defective) == (20, 2)
    assert accuracy.image_auroc == 1.0  # the two defective ones were given the highest scores
    assert (accuracy.recall, accuracy.good_rejected) == (0.5, 0.0)
    assert (speed.p95_ms, speed.all_ms, speed.streams, speed.rejudged, speed.twice_ms) == (5.0, 5.0, 1, None, None)


def test_a_cascade_that_seldom_judges_twice_takes_the_time_of_once(pictures, timed):
    calls = timed({pictures[3]})
    speed, _ = measure_candidate(_bank(pictures), Path("b"), "cascade", "openvino", CONFIG, threads=2)
    assert speed.rejudged == pytest.approx(1 / 22)
    assert (speed.p95_ms, speed.twice_ms) == (5.0, 12.0)
    assert len(calls) == 2


def test_a_cascade_that_judges_more_than_a_twentieth_twice_takes_the_time_of_twice(pictures, timed):
    calls = timed(set(pictures[9:13]))
    speed, _ = measure_candidate(_bank(pictures), Path("b"), "cascade", "openvino", CONFIG, threads=2)
    assert speed.rejudged == pytest.approx(4 / 22)
    assert (speed.p95_ms, speed.twice_ms) == (12.0, 12.0)
    assert calls[0] in pictures[9:13]  # the middle-sized one was among them, so another one was timed besides
    assert calls[1] not in pictures[9:13]


def test_a_cascade_that_judges_only_a_defective_part_twice_is_timed_on_it(pictures, timed):
    timed({pictures[20]})
    speed, _ = measure_candidate(_bank(pictures), Path("b"), "cascade", "openvino", CONFIG, threads=2)
    assert (speed.rejudged, speed.p95_ms, speed.twice_ms) == (0.0, 5.0, 12.0)


def test_a_cascade_that_judges_nothing_twice_has_no_such_time(pictures, timed):
    timed(set())
    speed, _ = measure_candidate(_bank(pictures), Path("b"), "cascade", "openvino", CONFIG, threads=2)
    assert (speed.rejudged, speed.p95_ms, speed.twice_ms) == (0.0, 5.0, None)


@pytest.mark.parametrize("streams", [1, 3])
def test_a_round_takes_the_parts_of_all_cameras(bundle_folder, nuts, streams):
    frame = str(next((nuts / "test" / "good").iterdir()))
    job = RoundsJob(
        engine="onnxruntime",
        model=str(bundle_folder),
        frame=frame,
        cameras=3,
        streams=streams,
        threads=1,
        warm_up=1,
        rounds=4,
    )
    took = run_rounds(job)
    assert len(took) == 4
    assert min(took) > 0
