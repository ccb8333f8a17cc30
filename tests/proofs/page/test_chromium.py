"""The page in a real browser: ``make page-test``, which needs a Chromium on the machine.

Pictures of a ready, a repaired and a failed run are left in ``reports/page/``: look at them.
"""

import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sample_hub.server import Hub, sample_repos
from tests.proofs.page.browser import Browser, browser, found
from tests.support.paths import ROOT
from tests.support.runs import TINY, copy_home, read_summary, sample, summary
from tests.support.small_homes import flip

PICTURES = ROOT / "reports" / "page"
HEADLINES = {
    "ready": "All 3 models are ready",
    "repaired": "All 3 models are ready, 1 of them repaired",
    "failed": "1 of 3 models failed",
    "consumer": "The model failed",
}
SCREENS = {
    "light": (1100, "light"),
    "dark": (1100, "dark"),
    "narrow": (1000, "light"),
    "phone": (360, "light"),
}
# Words of tables that stand on two lines; a hyphen or another mark may end a line.
BROKEN = """
(() => {
  const broken = [];
  for (const cell of document.querySelectorAll('th, td')) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      for (const word of texts.currentNode.textContent.matchAll(/[\\p{L}\\p{N}_]+/gu)) {
        const range = document.createRange();
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (tops.size > 1) broken.push(word[0]);
      }
    }
  }
  return broken;
})()
"""
# How far each element that shows text stands out from what is behind it, as it is really drawn.
CONTRASTS = """
(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const color = channels(getComputedStyle(one).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode, one = node.parentElement;
    if (!node.textContent.trim() || one.closest('svg')) continue;
    const pair = [light(channels(getComputedStyle(one).color)), light(ground(one))];
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < 4.5) low.push(`${contrast.toFixed(2)} ${node.textContent.trim().slice(0, 40)}`);
  }
  return low;
})()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The page of each kind of run: real ones, of all sample models."""
    top = tmp_path_factory.mktemp("pages")
    home = top / "home"
    with Hub(sample_repos()) as hub:
        ready = sample(home, hub=hub.url, models=None, timeout=900)
        assert ready.code == 0, ready.out
        repairing = copy_home(home, top / "repairing")
        damage(repairing)
        repaired = sample(repairing, hub=hub.url)
        assert repaired.code == 0, repaired.out
        assert summary(repairing)["models"][TINY]["status"] == "repaired"
    broken = copy_home(home, top / "broken")
    damage(broken)
    where = ("--summary", top / "summary.json", "--report", top / "failed.html")
    failed = sample(broken, "--offline", "-m", "pins or layout or conversion", *where)
    assert failed.code == 1, failed.out
    assert read_summary(top / "summary.json")["models"][TINY]["status"] == "failed"
    # A failed run into the same summary as the ready one shows the others' verdicts as well.
    reports = ("--summary", broken / "model-prep" / "summary.json", "--report", top / "failed.html")
    assert sample(broken, "--offline", "-m", "pins", *reports).code == 1
    # A service's Python in which libraries are broken: each of its loads fails, for one cause.
    torn = top / "torn"
    venv.create(torn, symlinks=True)
    [packages] = (torn / "lib").glob("python*/site-packages")
    for name in ("torch", "transformers"):
        (packages / f"{name}.py").write_text("raise ImportError('torn apart')\n")
    own = ("--summary", top / "own.json", "--report", top / "consumer.html")
    python = ("--consumer-python", torn / "bin" / "python", "-k", "python")
    assert sample(home, "--offline", *python, *own).code == 1
    return {
        "consumer": top / "consumer.html",
        "ready": home / "model-prep" / "report.html",
        "repaired": repairing / "model-prep" / "report.html",
        "failed": top / "failed.html",
    }


def damage(home: Path) -> None:
    """One changed bit in the weights."""
    [weights] = home.glob(f"hub/models--*{TINY}/snapshots/*/model.safetensors")
    flip(weights.resolve())


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = found()
    if program is None:
        pytest.fail("needs a Chromium: apt install chromium", pytrace=False)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with browser(program, tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.mark.parametrize("kind", HEADLINES)
@pytest.mark.parametrize("screen", SCREENS)
def test_page_is_quiet_whole_and_readable(
    chromium: Browser, pages: Mapping[str, Path], kind: str, screen: str
) -> None:
    width, scheme = SCREENS[screen]
    chromium.show(pages[kind], width=width, scheme=scheme)
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    chromium.picture(PICTURES / f"{kind}-{screen}-open.png")
    assert chromium.run("document.querySelector('h1').textContent") == HEADLINES[kind]
    assert chromium.run("document.documentElement.scrollWidth") == width, "it scrolls sideways"
    assert chromium.run(CONTRASTS) == []
    assert chromium.run(BROKEN) == [], "words are broken"
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = false })")
    chromium.picture(PICTURES / f"{kind}-{screen}.png")
    assert [request for request in chromium.requests if request != "data:,"] == [
        pages[kind].as_uri()
    ]
    assert chromium.said == []


def test_keyboard_reaches_everything_in_order(chromium: Browser, pages: Mapping[str, Path]) -> None:
    chromium.show(pages["ready"], width=1100)
    chromium.press("Tab")
    assert chromium.run("document.activeElement.className") == "skip"
    assert chromium.run("document.activeElement.getBoundingClientRect().left") >= 0
    chromium.press("Enter")
    chromium.press("Tab")  # the table, which scrolls where it is wider than the screen
    chromium.press("Tab")
    assert chromium.run("document.activeElement.textContent") == TINY
    reached = set()
    for _ in range(60):
        chromium.press("Tab")
        reached.add(chromium.run("document.activeElement.tagName"))
        shown = chromium.run("getComputedStyle(document.activeElement).outlineWidth")
        if chromium.run("document.activeElement.tagName") != "BODY":
            assert shown == "3px", chromium.run("document.activeElement.outerHTML.slice(0, 80)")
    assert {"SUMMARY", "DIV"} <= reached


def test_printed_page_hides_nothing(chromium: Browser, pages: Mapping[str, Path]) -> None:
    chromium.show(pages["failed"], width=800, scheme="dark", media="print")
    ground = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    height = "document.querySelector('details table').getBoundingClientRect().height"
    assert chromium.run(height) > 20, "what is folded on the screen is printed"


def test_consumer_whose_loads_failed_has_one_banner_and_a_row(
    chromium: Browser, pages: Mapping[str, Path]
) -> None:
    chromium.show(pages["consumer"], width=1100)
    banners = chromium.run("document.querySelectorAll('.problem').length")
    failed = chromium.run("[...document.querySelectorAll('.bad')].map((one) => one.textContent)")
    assert banners == 1
    assert failed and all(text.startswith("✗ 0 of ") for text in failed)
