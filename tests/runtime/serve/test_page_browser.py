"""The page in a real browser."""

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from nut_runtime.verdict import Label, Reason

XSS = "<img src=x onerror=document.title='hit'><script>document.title='hit'</script>\"'&"


def text(browser, selector):
    return browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)


def is_true(browser, expression):
    return browser.execute_script(f"return Boolean({expression})")


def problems(browser):
    """Return what the console complained of."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


def requested(browser):
    """Return every address that was asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def keys(browser, *pressed: str):
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(browser)
    for key in pressed:
        actions.send_keys(key)
    actions.perform()


@pytest.fixture
def looked_at(served, browser, until):
    """The page, opened and connected."""
    browser.get(served.url)
    until(lambda: is_true(browser, "document.body.dataset.link === 'live'"))
    return served


def test_verdicts_arrive_as_they_are_told(looked_at, browser, judged_part, until):
    assert text(browser, "#verdict-word") == "READY"
    for number, label, word in (
        (1, Label.GOOD, "OK"),
        (2, Label.DEFECT, "NG"),
        (3, Label.REVIEW, "REVIEW"),
    ):
        looked_at.live.hear(judged_part(number, label))
        until(lambda word=word: text(browser, "#verdict-word") == word)
        assert text(browser, "#part-number") == f"No. {number}"
    looked_at.live.hear(judged_part(4, Label.NO_VERDICT, reason=Reason.DARK))
    until(lambda: text(browser, "#verdict-word") == "NO VERDICT")
    assert text(browser, "#verdict-reason") == "too dark"
    assert re.sub(r"\s", "", text(browser, "#count-rows tr[data-label=defect] .number")) == "1"
    assert text(browser, "#reject-rate") == "33.3"
    until(lambda: "REVIEW" in text(browser, "#announcer") or "NG" in text(browser, "#announcer"))
    until(lambda: is_true(browser, "document.querySelector('.tile img').naturalWidth > 0"))
    assert problems(browser) == []
    assert "threshold 0.5" in browser.execute_script(
        "return document.querySelector('#score-chart').getAttribute('aria-label')"
    )


def test_nothing_is_asked_for_elsewhere(looked_at, browser, judged_part, until):
    looked_at.live.hear(judged_part(1, Label.DEFECT))
    until(lambda: is_true(browser, "document.querySelector('#strip img')?.naturalWidth > 0"))
    urls = requested(browser)
    assert any("/api/events" in url for url in urls)
    assert [url for url in urls if not url.startswith((looked_at.url, "about:", "chrome"))] == []
    assert problems(browser) == []


def test_the_gallery_is_walked_along_and_opened_by_keyboard(looked_at, browser, judged_part, until):
    from selenium.webdriver.common.keys import Keys

    for number in (1, 2, 3):
        looked_at.live.hear(judged_part(number, Label.DEFECT, score=0.6 + number / 100))
        until(lambda: looked_at.live.album.listing()[0]["picture"] == "ready")
    until(lambda: is_true(browser, "document.querySelectorAll('#strip img:not([hidden])').length === 3"))
    for _ in range(30):
        keys(browser, Keys.TAB)
        if is_true(browser, "document.activeElement.matches('#strip button')"):
            break
    assert browser.execute_script("return document.activeElement.dataset.id") == "run1-3"
    assert browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    keys(browser, Keys.ARROW_RIGHT)
    assert browser.execute_script("return document.activeElement.dataset.id") == "run1-2"
    keys(browser, Keys.ENTER)
    until(lambda: is_true(browser, "document.querySelector('#viewer').open"))
    until(lambda: is_true(browser, "document.querySelector('#viewer-image').naturalWidth > 0"))
    assert text(browser, "#viewer-score") == "0.620"
    keys(browser, Keys.ARROW_LEFT)
    assert text(browser, "#viewer-score") == "0.630"
    keys(browser, "h")
    assert "kind=plain" in browser.execute_script("return document.querySelector('#viewer-image').src")
    keys(browser, Keys.ESCAPE)
    until(lambda: not is_true(browser, "document.querySelector('#viewer').open"))
    until(lambda: is_true(browser, "document.activeElement.dataset.id === 'run1-3'"))  # as it has closed, by an event
    assert problems(browser) == []


def test_the_heat_map_is_switched_off_by_a_key(looked_at, browser, judged_part, until):
    looked_at.live.hear(judged_part(1, Label.DEFECT))
    until(lambda: is_true(browser, "document.querySelector('.tile img').src.includes('kind=overlay')"))
    keys(browser, "h")
    assert is_true(browser, "document.querySelector('#heat').ariaChecked === 'false'")
    until(lambda: is_true(browser, "document.querySelector('.tile img').src.includes('kind=plain')"))


def test_names_that_are_markup_are_shown_as_text(serve, browser, judged_part, until):
    served = serve(station=XSS)
    part = judged_part(1, Label.DEFECT, camera=XSS, trigger=XSS)
    part.record["warnings"] = [XSS]
    part.record["error"] = part.record["source"] = XSS
    served.live.hear(part)
    served.health.report(f"camera {XSS}", is_well=False, message=XSS)
    browser.get(served.url)
    until(lambda: is_true(browser, "document.querySelector('#strip img:not([hidden])')"))
    browser.execute_script("document.querySelector('#strip button').click()")
    until(lambda: is_true(browser, "document.querySelector('.tile img').naturalWidth > 0"))
    for selector in (
        "#station",
        ".tile-name",
        "#part-trigger",
        "#viewer-camera",
        "#viewer-source",
        "#warnings .row-note",
    ):
        assert text(browser, selector) == XSS
    assert XSS in text(browser, "#components .row-name")
    assert browser.title != "hit"
    assert not is_true(browser, "document.querySelector('img[src=x]')")
    assert problems(browser) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_have_readable_text(looked_at, browser, judged_part, until, theme):
    looked_at.live.hear(judged_part(1, Label.DEFECT))
    looked_at.health.report("camera front", is_well=False, message="gone")
    until(lambda: text(browser, "#verdict-word") == "NG" and "problem" in text(browser, "#summary-text"))
    for _ in range(3):
        if is_true(browser, f"document.documentElement.dataset.theme === '{theme}'"):
            break
        browser.execute_script("document.querySelector('#theme').click()")
    ratios = browser.execute_script(
        """
        const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
          .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
          if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255,255,255)'; };
        return ['h1', '#bundle-id', '#verdict-word', '#score', '#summary-text', '.counts th span', '.share',
          '.tile-name', '.row-note', '#version', 'figcaption .quiet', '[data-span][aria-pressed=true]'].map((s) => {
          const e = document.querySelector(s), a = light(getComputedStyle(e).color), b = light(behind(e));
          return [s, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; });
        """
    )
    # 4.5 is what WCAG 2 asks of text (AA)
    assert [pair for pair in ratios if pair[1] < 4.5] == []
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", background)[0]) < 128) == (theme == "dark")


def test_the_chosen_theme_is_remembered_and_auto_follows_the_system(looked_at, browser, until):
    browser.execute_script("localStorage.setItem('nut-theme', 'dark')")
    browser.get(looked_at.url)
    assert is_true(browser, "document.documentElement.dataset.theme === 'dark'")
    browser.execute_script("localStorage.clear()")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    browser.get(looked_at.url)
    dark = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert int(re.findall(r"\d+", dark)[0]) < 128


@pytest.mark.parametrize("cameras", [1, 9])
def test_no_width_scrolls_sideways(serve, browser, judged_part, until, cameras):
    served = serve(station="A station with a rather long name, line 3")
    for number in range(cameras):
        served.live.hear(judged_part(number + 1, Label.NO_VERDICT, reason=Reason.NO_FRAME, camera=f"camera {number}"))
    served.live.hear(judged_part(99, Label.DEFECT, camera="camera 0", trigger="x" * 60))
    served.health.report("output mqtt", is_well=False, message="no-spaces-in-this-message-" * 6)
    browser.get(served.url)
    until(lambda: text(browser, "#verdict-word") == "NG")
    for width, height in ((390, 844), (320, 640), (800, 1280), (1280, 800), (1920, 1080)):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700},
        )
        assert browser.execute_script("return innerWidth") == width
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        out = browser.execute_script(
            "return [...document.querySelectorAll('#verdict-word, #score, .rate, #summary, #clock, #theme')]"
            ".filter((e) => { const r = e.getBoundingClientRect(); return r.left < 0 || r.right > innerWidth; })"
            ".map((e) => e.id || e.className)"
        )
        assert (width, out) == (width, [])


def test_a_lost_connection_is_said_and_recovers_by_itself(serve, browser, judged_part, until, tmp_path):
    from nut_runtime.serve.server import PageServer
    from nut_runtime.station_file.config import ServeConfig

    served = serve()
    served.live.hear(judged_part(1))
    browser.get(served.url)
    until(lambda: text(browser, "#verdict-word") == "OK")
    served.page.close()
    until(lambda: not is_true(browser, "document.querySelector('#lost').hidden"))
    assert is_true(browser, "getComputedStyle(document.querySelector('.old')).display === 'block'")
    again = PageServer(ServeConfig(port=served.page.port), served.live, served.health, facts=dict)
    try:
        served.live.hear(judged_part(2, Label.DEFECT))
        until(lambda: is_true(browser, "document.querySelector('#lost').hidden"), within_s=15)
        until(lambda: text(browser, "#verdict-word") == "NG")
        browser.get("about:blank")
    finally:
        again.close()


def test_a_part_that_is_old_is_shown_with_its_age(looked_at, browser, judged_part, until):
    part = judged_part(1)
    taken = datetime.now(UTC) - timedelta(minutes=5)
    frame = dataclasses.replace(part.views[0].frame, timestamp=taken)
    looked_at.live.hear(dataclasses.replace(part, views=(dataclasses.replace(part.views[0], frame=frame),)))
    until(lambda: text(browser, "#part-time") == "5 min ago")


def test_a_visitor_gives_the_token_and_sees_the_page(serve, browser, judged_part, until):
    from selenium.webdriver.common.keys import Keys

    served = serve(with_token=True, station="line 3")
    served.live.hear(judged_part(1))
    browser.get(served.url)
    until(lambda: is_true(browser, "document.activeElement.id === 'token'"))
    keys(browser, "not the token", Keys.ENTER)
    until(lambda: text(browser, "#message") == "this is not the token")
    browser.execute_script("document.querySelector('#token').value = ''")
    keys(browser, served.token, Keys.ENTER)
    until(lambda: text(browser, "#verdict-word") == "OK")
    assert served.token not in browser.current_url
    assert browser.execute_script("return document.cookie") == ""
    browser.execute_script("document.querySelector('#logout').click()")
    until(lambda: is_true(browser, "document.querySelector('#token')"))
