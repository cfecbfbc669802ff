"""A report in a real browser, headless Chromium: silent, whole at any width, usable by keyboard and by
screen readers, and on paper."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from report_samples import measured_store

from vitscale import cli

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ,
    reason="no Chromium on this machine: apt-get install chromium, or Google Chrome",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("browser")
    store = measured_store(folder / "runs")
    out = folder / "report.html"
    assert cli.run(["report", str(store), "--out", str(out), "--no-backtest"]) == 0
    return out.as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def shown(chromium, address, request) -> Iterator[Page]:
    """The page at a width and in a colour scheme; in the end it must have said and asked for nothing."""
    width, scheme = request.param
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request",
        lambda request: (
            said.append(request.url[:80])
            if not request.url.startswith(("data:", "file:"))
            else None
        ),
    )
    page.goto(address)
    yield page
    page.close()
    assert said == []


every_way = pytest.mark.parametrize(
    "shown", [(w, s) for w in (380, 1440) for s in ("light", "dark")], indirect=True, ids=str
)
once = pytest.mark.parametrize("shown", [(1440, "light")], indirect=True, ids=str)


@every_way
def test_nothing_overflows_and_the_answer_is_on_the_first_screen(shown):
    assert shown.evaluate("document.documentElement.scrollWidth") <= shown.viewport_size["width"]
    for details in shown.query_selector_all("details"):
        details.evaluate("part => { part.open = true; }")
    assert shown.evaluate("document.documentElement.scrollWidth") <= shown.viewport_size["width"]
    for name in ("h1", ".confidence", "#answer table"):
        box = shown.locator(name).first.bounding_box()
        assert box is not None and box["y"] + 60 < 900, name


BROKEN_WORDS = """
() => [...document.querySelectorAll("th, td")].flatMap(cell => {
  const broken = [];
  const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    for (const word of walker.currentNode.data.matchAll(/\\w+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, word.index);
      range.setEnd(walker.currentNode, word.index + word[0].length);
      if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) broken.push(word[0]);
    }
  }
  return broken;
})
"""


@once
def test_tables_take_the_room_that_there_is(shown):
    for details in shown.query_selector_all("details"):
        details.evaluate("part => { part.open = true; }")
    tables = shown.locator(".scroll:has(table)")
    assert tables.count() >= 4
    for k in range(tables.count()):
        assert tables.nth(k).evaluate("part => part.scrollWidth <= part.clientWidth")


@every_way
def test_the_rules_of_accessibility_hold(shown):
    found = Axe().run(shown)
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found.response["violations"]] == []


@every_way
def test_pictures_are_those_of_the_scheme(shown, request):
    scheme = "dark" if "dark" in request.node.name else "light"
    seen = shown.locator(".picture img:visible")
    assert seen.count() == shown.locator("figure").count() >= 6
    for k in range(seen.count()):
        assert seen.nth(k).get_attribute("class") == f"on-{scheme}"
        assert seen.nth(k).evaluate("image => image.complete && image.naturalWidth > 300")


@once
def test_the_keyboard_reaches_the_answer_the_configs_and_the_commands(shown):
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "Skip to the answer"
    reached = []
    for _ in range(80):
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate("document.activeElement.tagName"))
    assert {"A", "SUMMARY", "BUTTON", "PRE"} <= set(reached)
    shown.locator("summary").first.focus()
    shown.keyboard.press("Enter")
    assert shown.locator("details").first.evaluate("part => part.open")


@once
def test_a_command_is_copied(shown):
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    block = shown.locator("#again .copyable").first
    block.locator("button").click()
    block.locator("button", has_text=re.compile("Copied|Selected")).wait_for()
    copied = shown.evaluate("navigator.clipboard.readText().catch(() => getSelection().toString())")
    assert copied.strip() == block.locator("pre").inner_text().strip()


@pytest.mark.parametrize("shown", [(1440, "dark")], indirect=True, ids=str)
def test_paper_is_white_and_holds_everything(shown):
    assert shown.pdf(format="A4").startswith(b"%PDF")
    shown.emulate_media(media="print")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.locator(".on-dark:visible").count() == 0
    assert shown.locator("nav:visible").count() == 0
    shown.set_viewport_size({"width": 700, "height": 900})  # about the width of A4 in CSS pixels
    for details in shown.query_selector_all("details"):
        details.evaluate("part => { part.open = true; }")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 700
    assert shown.evaluate(BROKEN_WORDS) == []
