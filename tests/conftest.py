"""What many tests share: a small data set, the run trained on it and its bundle, made once a session; and a browser."""

import faulthandler
import logging
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key  # the standard error that is not captured

# Before torch, OpenBLAS and OpenVINO start their pools: the tests are many and small. Whatever the caller set: the last
# bits of features, and with them the rows of a bank, hang on the number of threads.
os.environ["OMP_NUM_THREADS"] = "2"
# Threads that wait for work by spinning take it from the tests beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before a test imports ONNX Runtime by itself: its telemetry has a thread that can end the whole process.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
SHARED = Path(__file__).parents[1].parent / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Give each test, whatever its fixtures do, the signal stack that the process began with.

    Tests that hold other tools to ours, and some that look into a model, have cores of OpenVINO that are not ours
    (`nut_runtime.engines.import_openvino.new_core`). As they go, they leave a stack that is gone; the next signal, in
    a test of something else, ended the process.
    """
    from nut_runtime.engines.signal_stack import kept_signal_stack

    with kept_signal_stack():
        return (yield)


@pytest.fixture(autouse=True)
def _loud_again(request: pytest.FixtureRequest) -> None:
    """Undo what a command of `nut` did to its whole process, which here goes on to other tests.

    It silences logging; and Lightning, when it gives signals back, takes those of `faulthandler` away for good, so that
    a crash of native code leaves no trace of where it was.
    """
    logging.disable(logging.NOTSET)
    faulthandler.disable()
    faulthandler.enable(request.config.stash[fault_handler_stderr_fd_key])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures beside the project; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real pictures are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def nuts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set: 12 good nuts to train on, 3 good and 6 defective ones to test with, about 112 px wide."""
    from nut_dataset.synth import synthesise

    folder = tmp_path_factory.mktemp("data") / "nuts"
    synthesise(folder, train=12, good=3, defects=6, seed=1, size_px=112)
    return folder


@pytest.fixture(scope="session")
def run_folder(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained by anomalib on `nuts`, at 128x96 px (height x width) so that mixed-up sides show."""
    from nut_train.config import TrainConfig
    from nut_train.train import train

    folder = tmp_path_factory.mktemp("run") / "run"
    train(nuts, folder, TrainConfig(image_height_px=128, image_width_px=96, coreset_ratio=0.1, device="cpu"))
    return folder


@pytest.fixture(scope="session")
def alarms(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder of two false alarms: good nuts with a coloured stamp, such as `run_folder` has never seen."""
    import cv2

    folder = tmp_path_factory.mktemp("new") / "alarms"
    folder.mkdir()
    for number, name in enumerate(("0000.png", "0001.png")):
        picture = cv2.imread(str(nuts / "test/good" / name))
        height, width = picture.shape[:2]
        cv2.circle(picture, (width // 3, height // 2), 12, (100 * number, 255 - 100 * number, 40), -1)
        cv2.imwrite(str(folder / name), picture)
    return folder


@pytest.fixture(scope="session")
def grown_folder(run_folder: Path, alarms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run_folder` grown by `alarms`. Tests that alter it copy it first."""
    from nut_train.extend import extend
    from nut_train.extend_config import ExtendConfig
    from nut_train.run import open_run

    folder = tmp_path_factory.mktemp("grown") / "grown"
    extend(open_run(run_folder), alarms, folder, ExtendConfig(device="cpu"))
    return folder


@pytest.fixture(scope="session")
def bundle_folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle exported from `run_folder`. Tests that alter it copy it first."""
    from nut_export.export import export_bundle
    from nut_train.run import open_run

    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    export_bundle(open_run(run_folder), folder)
    return folder


@pytest.fixture(scope="session")
def batch_bundle(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like `bundle_folder`, with models for three frames at once. Tests that alter it copy it first."""
    from nut_export.export import ExportConfig, export_bundle
    from nut_train.run import open_run

    folder = tmp_path_factory.mktemp("batch") / "bundle"
    export_bundle(open_run(run_folder), folder, ExportConfig(batch=3))
    return folder


@pytest.fixture(scope="session")
def trays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tray data set: pictures of 160 px with a few large drawn nuts, 16 of them to train on."""
    from nut_dataset.synth_trays import SynthTraysSettings, synthesise_trays

    folder = tmp_path_factory.mktemp("trays") / "trays"
    settings = SynthTraysSettings(train=16, valid=3, test=3, seed=2, size_px=160, parts=(1, 4), nut_side=(120, 180))
    synthesise_trays(folder, settings)
    return folder


@pytest.fixture(scope="session")
def locator_folder(trays: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locator trained on `trays` for twelve epochs, at 96 px. Tests that alter it copy it first."""
    from nut_train.locator.config import LocatorConfig
    from nut_train.locator.train import train_locator

    folder = tmp_path_factory.mktemp("locator") / "run"
    config = LocatorConfig(
        long_side_px=96, crop_px=96, epochs=12, patience=12, batch_size=4, learning_rate=5e-3, device="cpu"
    )
    train_locator(trays, folder, config)
    return folder


@pytest.fixture(scope="session")
def tray_bundle_folder(bundle_folder: Path, locator_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bundle_folder` with the locator of `locator_folder`. Tests that alter it copy it first."""
    from nut_export.locator.attach import add_locator
    from nut_runtime.bundle import open_bundle
    from nut_train.locator.run import open_locator_run

    folder = tmp_path_factory.mktemp("tray-bundle") / "bundle"
    add_locator(open_bundle(bundle_folder), open_locator_run(locator_folder), folder)
    return folder


@pytest.fixture(scope="module")
def browser_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not (shutil.which(CHROMIUM) and shutil.which(CHROMEDRIVER)):
        pytest.skip(f"no {CHROMIUM} and {CHROMEDRIVER}; apt-get install chromium chromium-driver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        f"--disable-component-update --disable-sync --user-data-dir={profile}"
    ).split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    browser.set_page_load_timeout(30)
    yield browser
    browser.quit()


@pytest.fixture
def browser(browser_of_the_module: Any) -> Any:
    """A headless Chromium on a blank page, 1280x800, with nothing in its logs."""
    browser_of_the_module.get("about:blank")
    browser_of_the_module.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    for log in ("browser", "performance"):
        browser_of_the_module.get_log(log)
    return browser_of_the_module
