"""Brightness and sharpness."""

import time

import cv2
import numpy as np
import pytest

from nut_runtime.cameras.quality import brightness, measure, sharpness


@pytest.fixture
def scene() -> np.ndarray:
    """A picture with soft and hard edges, 1280x960 px."""
    picture = np.full((960, 1280, 3), 70, np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(60):
        centre = tuple(int(value) for value in generator.integers(0, (1280, 960)))
        colour = tuple(int(value) for value in generator.integers(0, 255, 3))
        cv2.circle(picture, centre, int(generator.integers(10, 90)), colour, -1, cv2.LINE_AA)
    return picture


def test_brightness_is_the_mean_grey_level():
    assert brightness(np.full((480, 640, 3), 37, np.uint8)) == 37
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320] = 200
    assert brightness(picture) == 100


def test_a_flat_picture_has_no_sharpness():
    assert sharpness(np.full((480, 640, 3), 37, np.uint8)) == 0


def test_sharpness_falls_with_every_blur(scene):
    figures = [sharpness(scene)] + [sharpness(cv2.GaussianBlur(scene, (0, 0), sigma)) for sigma in (4, 8, 16)]
    assert figures == sorted(figures, reverse=True)
    assert figures[2] < figures[0] / 3


def test_the_figures_depend_little_on_the_resolution(scene):
    half = cv2.resize(scene, (640, 480), interpolation=cv2.INTER_AREA)
    assert sharpness(half) == pytest.approx(sharpness(scene), rel=0.05)
    assert brightness(half) == pytest.approx(brightness(scene), abs=0.5)


def test_noise_does_not_pass_for_sharpness(scene):
    blurred = cv2.GaussianBlur(scene, (0, 0), 16)
    noise = np.random.default_rng(0).normal(0, 5, scene.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    assert sharpness(noisy) < sharpness(scene) / 3


@pytest.mark.parametrize("shape", [(8, 8), (8, 4000), (4000, 8), (321, 320)])
def test_any_size_that_is_judged_can_be_measured(shape):
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    assert 0 < measure(picture).brightness < 255
    assert measure(picture).sharpness > 0


def test_a_640x480_frame_is_measured_within_a_millisecond(scene):
    frame = cv2.resize(scene, (640, 480), interpolation=cv2.INTER_AREA)
    times = []
    for _ in range(50):
        began = time.perf_counter()
        measure(frame)
        times.append(time.perf_counter() - began)
    assert min(times) < 1e-3  # the best one leaves out what others do on the machine
