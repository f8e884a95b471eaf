"""The live page on real pictures, to look at or to photograph: no test, and nothing that a station needs.

    python tests/runtime/serve/live_demo.py BUNDLE PICTURES --port 8080
    python tests/runtime/serve/live_demo.py BUNDLE PICTURES --screenshots FOLDER

`PICTURES` is a folder such as `test/` of the nuts: every picture below it is judged, over and over.
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nut_runtime import Inspector
from nut_runtime.health import Health
from nut_runtime.parts import JudgedPart, Part, Trigger, View
from nut_runtime.pictures import read_picture
from nut_runtime.records import part_record
from nut_runtime.serve.facts import bundle_facts
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.server import PageServer
from nut_runtime.sources.base import Frame, now
from nut_runtime.station_file.config import ServeConfig
from nut_runtime.verdict import Label, Reason, Verdict

REVIEW_FROM = 0.46


class Demo:
    """Judges each picture once, then feeds the page with the verdicts as a line would."""

    def __init__(self, bundle: Path, pictures: Path, *, cameras: tuple[str, ...] = ("top",), limit: int = 60) -> None:
        self.inspector = Inspector(bundle)
        paths = sorted(pictures.rglob("*.png"))
        random.Random(4).shuffle(paths)  # noqa: S311 - the same order each time
        self.judged: list[tuple[Path, Any, Verdict]] = []
        for path in paths[:limit]:
            picture = read_picture(path)
            self.judged.append((path, picture, self.inspector.inspect(picture)))
        self.cameras = cameras
        self.health = Health()
        self.live = LiveState(station="Line 3 nuts", cameras=cameras, review_from=lambda: REVIEW_FROM)
        for camera in cameras:
            self.health.report(f"camera {camera}", is_well=True, message="1280x960, 30 fps")
        self.health.report("output verdicts.sqlite", is_well=True)
        self.health.report("output mqtt", is_well=True, message="broker.line3:8883")
        self.health.report("model", is_well=True, message=self.inspector.bundle.manifest.bundle_id)
        self.health.gauge("queue_parts", lambda: 0.0)
        self.health.count("frames_skipped", 3)
        self._random = random.Random(7)  # noqa: S311
        self._numbers = itertools.count(1)

    def facts(self) -> dict[str, Any]:
        return bundle_facts(self.inspector.bundle.manifest, engine="openvino")

    def parts(self) -> Iterator[JudgedPart]:
        """Give judged parts without end; defective pictures seldom, now and then a part without a verdict."""
        good = itertools.cycle([one for one in self.judged if not one[2].is_defective])
        bad = itertools.cycle([one for one in self.judged if one[2].is_defective])
        for number in self._numbers:
            is_bad = self._random.random() < 0.05
            yield self.part(
                number, [next(bad if is_bad and not place else good) for place, _ in enumerate(self.cameras)]
            )

    def part(self, number: int, looks: list[tuple[Path, Any, Verdict]], reason: Reason | None = None) -> JudgedPart:
        views = []
        for camera, (path, picture, verdict) in zip(self.cameras, looks, strict=True):
            shown = None if reason is Reason.NO_FRAME else picture
            frame = Frame(
                source=path.name, name=path.stem, timestamp=now(), capture_ms=0.8, picture=shown, camera=camera
            )
            label = verdict.label
            if label is Label.GOOD and verdict.pred_score >= REVIEW_FROM:
                label = Label.REVIEW
            if reason is not None:
                views.append(View(frame=frame, label=Label.NO_VERDICT, reason=reason, error="the camera gave nothing"))
            else:
                views.append(View(frame=frame, label=label, verdict=verdict))
        order = (Label.NO_VERDICT, Label.DEFECT, Label.REVIEW, Label.GOOD)
        label = next(one for one in order if any(view.label is one for view in views))
        part = Part(
            sequence=number, trigger=Trigger(name=f"PLC-{number % 1000}"), frames=tuple(view.frame for view in views)
        )
        total = 8.2 + self._random.gammavariate(2, 0.5)
        bundle = self.inspector.bundle.manifest.bundle_id
        record = part_record(
            part, views, label, reason, run="demo", station=self.live.station, bundle=bundle, milliseconds=total
        )
        return JudgedPart(
            sequence=number,
            trigger=part.trigger,
            label=label,
            reason=reason,
            views=tuple(views),
            record=record,
            milliseconds=total,
        )


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a headless browser with an empty profile."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in (
            "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            f"--disable-component-update --disable-sync --hide-scrollbars --user-data-dir={profile}"
        ).split():
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            yield browser
        finally:
            browser.quit()


def size(browser: Any, width: int, height: int, *, is_phone: bool = False) -> None:
    """Set the size of the page, as a panel or a phone has it."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 2 if is_phone else 1, "mobile": is_phone},
    )


def photograph(page: PageServer, folder: Path) -> None:
    """Save the page on a panel PC in light and dark, on a phone, and with a reject enlarged."""
    with chromium() as browser:
        shoot(browser, page.url, folder)


def photograph_states(demo: Demo, page: PageServer, folder: Path) -> None:
    """Save the page with each verdict, with something wrong, and with the connection lost."""
    with chromium() as browser:
        size(browser, 1280, 800)
        browser.get(page.url)
        good = next(one for one in demo.judged if not one[2].is_defective)
        bad = max(demo.judged, key=lambda one: one[2].pred_score)
        number = 900
        for name, looks, reason in (
            ("ng", [bad, *[good] * (len(demo.cameras) - 1)], None),
            ("no-verdict", [good] * len(demo.cameras), Reason.NO_FRAME),
        ):
            number += 1
            if reason is not None:
                demo.health.report(
                    f"camera {demo.cameras[0]}", is_well=False, message="gives no frames; trying again every 2 s"
                )
            demo.live.hear(demo.part(number, looks, reason))
            time.sleep(2.5)
            browser.save_screenshot(str(folder / f"state-{name}-{len(demo.cameras)}.png"))
        page.close()
        time.sleep(1.5)
        browser.save_screenshot(str(folder / f"state-lost-{len(demo.cameras)}.png"))


def shoot(browser: Any, url: str, folder: Path) -> None:
    for name, theme, shape in (
        ("panel-light", "light", (1280, 800)),
        ("panel-dark", "dark", (1280, 800)),
        ("phone-light", "light", (390, 844)),
        ("phone-dark", "dark", (390, 844)),
    ):
        size(browser, *shape, is_phone=name.startswith("phone"))
        browser.get(url)
        browser.execute_script("localStorage.setItem('nut-theme', arguments[0])", theme)
        browser.get(url)
        time.sleep(2.0)
        browser.save_screenshot(str(folder / f"{name}.png"))
        if name.startswith("phone"):
            height = browser.execute_script("return document.documentElement.scrollHeight")
            size(browser, 390, height, is_phone=True)
            time.sleep(1.0)
            browser.save_screenshot(str(folder / f"{name}-whole.png"))
        else:
            browser.find_element("css selector", "#strip button").click()
            time.sleep(0.7)
            browser.save_screenshot(str(folder / f"{name}-reject.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--every-ms", type=float, default=300.0)
    parser.add_argument("--before", type=int, default=400, help="parts before the first look")
    parser.add_argument("--screenshots", type=Path)
    given = parser.parse_args()
    cameras = ("top",) if given.cameras == 1 else tuple(f"cam {number}" for number in range(1, given.cameras + 1))
    demo = Demo(given.bundle, given.pictures, cameras=cameras)
    page = PageServer(ServeConfig(port=given.port), demo.live, demo.health, facts=demo.facts)
    sys.stdout.write(f"{page.url}\n")
    sys.stdout.flush()
    parts = demo.parts()
    for part in itertools.islice(parts, given.before):
        demo.live.hear(part)
        if part.label in {Label.DEFECT, Label.REVIEW}:
            time.sleep(0.15)  # so that its pictures are made
    stop = threading.Event()

    def feed() -> None:
        while not stop.wait(given.every_ms / 1000):
            demo.live.hear(next(parts))

    threading.Thread(target=feed, daemon=True).start()
    try:
        if given.screenshots is None:
            stop.wait()
        else:
            given.screenshots.mkdir(parents=True, exist_ok=True)
            photograph(page, given.screenshots)
            stop.set()
            photograph_states(demo, page, given.screenshots)
    except KeyboardInterrupt:
        pass
    finally:
        stop.set()
        page.close()
        demo.live.close()


if __name__ == "__main__":
    main()
