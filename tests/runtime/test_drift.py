"""A view that has changed is noticed, and one that has not is left alone."""

import logging
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from nut_dataset.layout import open_dataset
from nut_runtime.drift import BLURRED, BRIGHTER, DARKER, NOISIER, REJECTED, RISEN, WINDOWS, DriftWatch
from nut_runtime.health import Health
from nut_runtime.pictures import read_picture
from nut_runtime.view_calibration import Sample, ViewCalibration, view_figures

USUAL = {"brightness": 100.0, "sharpness": 0.02, "raw_score": 30.0}


def drawn(generator: np.random.Generator, name: str, count: int) -> np.ndarray:
    """Draw values of one figure as they usually are: a tenth around its middle."""
    return USUAL[name] * (1 + 0.1 * generator.standard_normal(count))


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def calibration(generator) -> ViewCalibration:
    return ViewCalibration(**{name: Sample.of(drawn(generator, name, 60)) for name in USUAL})


def run(watch: DriftWatch, generator: np.random.Generator, parts: int, *, rejects: float = 0.0, **factors: float):
    """Show parts, each figure times its factor; return the warnings after each."""
    figures = {name: drawn(generator, name, parts) * factors.get(name, 1.0) for name in USUAL}
    return [
        watch.note("front", *values, is_rejected=bool(generator.random() < rejects))
        for values in zip(*figures.values(), strict=True)
    ]


def test_parts_as_at_calibration_raise_no_warning(calibration, generator):
    """The bound: 5,000 parts times one in a million; a seed that fails by chance is one of two hundred."""
    assert set(run(DriftWatch(calibration), generator, 5_000, rejects=0.05)) == {()}


@pytest.mark.parametrize(
    ("factors", "warning"),
    [
        pytest.param({"brightness": 0.8}, DARKER, id="darker"),
        pytest.param({"brightness": 1.25}, BRIGHTER, id="brighter"),
        pytest.param({"sharpness": 0.7}, BLURRED, id="blurred"),
        pytest.param({"sharpness": 1.4}, NOISIER, id="noisier"),
        pytest.param({"raw_score": 1.3}, RISEN, id="scores"),
        pytest.param({"rejects": 0.6}, REJECTED, id="rejected"),
    ],
)
def test_a_change_is_noticed_named_and_over_when_it_is_undone(calibration, generator, factors, warning):
    watch = DriftWatch(calibration)
    run(watch, generator, 200)
    changed = run(watch, generator, 200, **factors)
    assert changed[-1] == (warning,)
    assert all(warnings == (warning,) for warnings in changed[changed.index((warning,)) :])
    assert changed.index((warning,)) < WINDOWS[0] + 8
    undone = run(watch, generator, 200)
    assert undone[-1] == ()
    assert undone.index(()) <= WINDOWS[1]
    assert set(undone[undone.index(()) :]) == {()}


def test_a_small_change_takes_the_longer_window(calibration, generator):
    watch = DriftWatch(calibration)
    run(watch, generator, 200)
    changed = run(watch, generator, 300, brightness=0.91)
    assert changed[-1] == (DARKER,)
    assert changed.index((DARKER,)) > WINDOWS[0]


def test_nothing_is_said_before_enough_parts_were_seen(calibration, generator):
    watch = DriftWatch(calibration)
    warnings = run(watch, generator, WINDOWS[0], brightness=0.1)
    assert set(warnings[:-1]) == {()}
    assert warnings[-1] == (DARKER,)


def test_one_defect_in_five_makes_no_score_warning(calibration, generator):
    watch = DriftWatch(calibration, usual_rejects=0.25)
    assert not any(RISEN in warnings for warnings in run(watch, generator, 2_000, rejects=0.2))


def test_scores_are_compared_with_the_calibrated_ones_below_the_threshold(calibration, generator):
    """A threshold that was moved into the good scores cuts the line's; cut alike, they have not fallen or risen."""
    threshold = float(np.quantile(calibration.raw_score.values, 0.7))
    watch = DriftWatch(calibration, threshold=threshold, usual_rejects=0.5)
    for _ in range(500):
        score = float(drawn(generator, "raw_score", 1)[0])
        figures = (float(drawn(generator, name, 1)[0]) for name in ("brightness", "sharpness"))
        assert watch.note("front", *figures, score, is_rejected=score >= threshold) == ()


def test_cameras_are_told_apart(calibration, generator):
    watch = DriftWatch(calibration)
    for _ in range(64):
        watch.note("left", 10.0, 0.02, 30.0, is_rejected=False)
        watch.note("right", *(float(drawn(generator, name, 1)[0]) for name in USUAL), is_rejected=False)
    assert DARKER in watch.warnings("left")
    assert DARKER not in watch.warnings("right")
    assert watch.warnings("nowhere") == ()


def test_views_without_a_verdict_count_for_the_picture_alone(calibration):
    watch = DriftWatch(calibration)
    dark = np.full((48, 64, 3), 5, np.uint8)
    for _ in range(64):
        warnings = watch.look("front", dark, None)
    assert DARKER in warnings
    assert REJECTED not in warnings
    assert watch.look("front", None, None) == warnings
    assert "rejected" not in watch.shares("front")


def test_a_warning_is_told_to_health_once_and_taken_back(calibration, generator, caplog):
    health = Health()
    watch = DriftWatch(calibration, health=health)
    with caplog.at_level(logging.WARNING, logger="nut_runtime"):
        run(watch, generator, 40)
        assert health.components()["view front"].is_well
        run(watch, generator, 100, brightness=0.8)
        assert not health.components()["view front"].is_well
        assert health.components()["view front"].message == DARKER
        run(watch, generator, 200)
        assert health.is_well
    assert [record.getMessage() for record in caplog.records] == [f"view front: {DARKER}", "view front: well again"]


def test_a_bundle_without_calibration_gives_no_warnings_and_says_so_once(caplog):
    with caplog.at_level(logging.WARNING, logger="nut_runtime"):
        watch = DriftWatch(None)
        for _ in range(64):
            assert watch.look("front", np.zeros((48, 64, 3), np.uint8), None) == ()
    assert [record.getMessage() for record in caplog.records] == [
        "drift of the views is not watched: the bundle does not say what they were like; export again"
    ]
    assert not watch.is_watching


def test_a_calibration_without_scores_still_watches_the_pictures(calibration, generator):
    watch = DriftWatch(replace(calibration, raw_score=Sample(count=0, values=())))
    assert run(watch, generator, 64, raw_score=9.0, brightness=0.5)[-1] == (DARKER,)


def test_a_camera_that_runs_freely_is_looked_at_now_and_then(calibration):
    watch = DriftWatch(calibration, every_s=3600)
    for _ in range(64):
        assert watch.look("front", np.zeros((48, 64, 3), np.uint8), None) == ()
    assert watch.shares("front") == {}


def test_shares_are_near_a_half_while_nothing_has_changed(calibration, generator):
    watch = DriftWatch(calibration)
    run(watch, generator, 64)
    shares = watch.shares("front")
    assert set(shares) == {"brightness", "sharpness", "raw_score", "rejected"}
    assert all(0.3 < shares[name] < 0.7 for name in USUAL)


def test_a_look_takes_less_than_a_millisecond(calibration):
    watch = DriftWatch(calibration)
    frame = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    for _ in range(WINDOWS[1] + 10):
        watch.look("front", frame, None)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        watch.look("front", frame, None)
        times.append(time.perf_counter() - started)
    assert min(times) < 1e-3  # the best, since others use this machine too


def test_several_threads_may_look(calibration, generator):
    watch = DriftWatch(calibration, health=Health())
    frames = [np.full((48, 64, 3), level, np.uint8) for level in (5, 6)]
    threads = [
        threading.Thread(target=lambda frame=frame: [watch.look("front", frame, None) for _ in range(200)])
        for frame in frames
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert DARKER in watch.warnings("front")


@pytest.mark.data
@pytest.mark.parametrize("name", ["nuts", "magnetic-tile"])
def test_real_pictures_darkened_or_blurred_are_noticed_and_unchanged_ones_are_not(real_data, name):
    """The pictures alone; `python -m nut_benchmarks.drift` has the scores as well."""
    dataset = open_dataset(real_data / name)
    train = [view_figures(read_picture(path)) for path in dataset.train_good]
    watch = DriftWatch(
        ViewCalibration(
            brightness=Sample.of(brightness for brightness, _ in train),
            sharpness=Sample.of(sharpness for _, sharpness in train),
            raw_score=Sample(count=0, values=()),
        )
    )
    pictures = [read_picture(path) for path in dataset.test_good]
    generator = np.random.default_rng(1)

    def show(change) -> list[tuple[str, ...]]:
        figures = [view_figures(change(picture)) for picture in pictures]
        order = generator.integers(len(figures), size=200)
        return [watch.note("front", *figures[place], None, is_rejected=False) for place in order]

    assert set(show(lambda picture: picture)) == {()}
    assert show(lambda picture: cv2.convertScaleAbs(picture, alpha=0.8))[-1] == (DARKER,)
    assert show(lambda picture: picture)[-1] == ()
    blurred = show(lambda picture: cv2.GaussianBlur(picture, (0, 0), 1.5))
    assert blurred[-1] == (BLURRED,)
    assert blurred.index((BLURRED,)) < WINDOWS[0]
