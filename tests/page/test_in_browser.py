"""The page in a headless Chromium: on light and dark screens, on a telephone, on paper, by keyboard
and by screen reader."""

from __future__ import annotations

import base64
import importlib.util
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batten.model.disk.records import CommitRecord, decode_record, encode_record
from batten.page.document import make_page

TIME = "2026-11-21 08:00:00 UTC"
HOSTILE = "\u202e<script>document.title='run'</script>\x1b[31m" + "https://example.com/" + "w" * 900


def load_browser() -> Any:
    path = Path(__file__).with_name("browser.py")
    spec = importlib.util.spec_from_file_location("batten_tests_browser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


browsers = load_browser()
WORDS = browsers.find_browser()
pytestmark = pytest.mark.skipif(WORDS is None, reason=browsers.OBSTACLE)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    opened = browsers.Browser(WORDS, tmp_path / "profile")
    yield opened
    opened.close()


@pytest.fixture
def address(work: Any, tmp_path: Path) -> str:
    """A page with everything on it, hostile texts among it."""
    keys = [f"k{number:02}" for number in range(24)]
    failing = {
        keys[1]: "ValueError: no video stream",
        keys[2]: f"KeyError: {HOSTILE}",
        HOSTILE: f"ValueError: {HOSTILE}",
    }
    work([*keys, HOSTILE], failing=failing, into="deep")
    work(keys[:8], failing={keys[3]: "OSError: none"})
    (tmp_path / "deep.batten/commits/000002.json").write_bytes(b"damaged")
    page = make_page(["deep", "out", "absent"], [], TIME)
    file = tmp_path / "page.html"
    file.write_text(page.html)
    # For people who change how it looks.
    if folder := os.environ.get("BATTEN_SCREENSHOTS"):
        (Path(folder) / "page.html").write_text(page.html)
    return file.as_uri()


def keep(browser: Any, name: str) -> bytes:
    data = base64.b64decode(
        browser.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
    )
    if folder := os.environ.get("BATTEN_SCREENSHOTS"):
        (Path(folder) / f"{name}.png").write_bytes(data)
    return data


TOO_WIDE = """
    [...document.querySelectorAll("body *")]
        .filter(each => each.getBoundingClientRect().right > WIDTH + 0.5)
        // What is there for screen readers alone is cut to a pixel.
        .filter(each => getComputedStyle(each.closest("thead") || each).position !== "absolute")
        .map(each => each.tagName + " " + each.textContent.slice(0, 40))
"""
LOW_CONTRAST = """
(() => {
    const read = text => (text.match(/[0-9.]+/g) || []).map(Number);
    const light = text => {
        const [r, g, b] = read(text).map(each => {
            const part = each / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = each => {
        for (; each; each = each.parentElement) {
            const color = getComputedStyle(each).backgroundColor;
            if ((read(color)[3] ?? 1) > 0) return color;
        }
        return "rgb(255, 255, 255)";
    };
    const found = [];
    for (const each of document.querySelectorAll("body *")) {
        const own = [...each.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || each.closest("svg")) continue;
        const pair = [light(getComputedStyle(each).color), light(behind(each))];
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        if (ratio < 4.5) found.push([each.className, each.textContent.slice(0, 30), ratio]);
    }
    return found;
})()
"""
OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"


WIDTH_OF = """
(text => {
    const drawn = document.body.appendChild(document.createElement("span"));
    drawn.textContent = text;
    const width = drawn.getBoundingClientRect().width;
    drawn.remove();
    return width;
})
"""


def test_letters_are_drawn(browser: Any, address: str) -> None:
    """Without a font all texts have room everywhere, and the other tests here say nothing."""
    browser.open(address)
    narrow, wide = (browser.run(f"{WIDTH_OF}('{each * 9}')") for each in "im")
    assert 0 < narrow < wide


def test_nothing_is_asked_for_and_nothing_is_forbidden(browser: Any, address: str) -> None:
    browser.open(address)
    assert browser.list_requests() == [address]
    assert browser.list_complaints() == []
    assert browser.run("document.title").startswith("3 outputs")
    assert browser.run("document.styleSheets.length") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(browser: Any, address: str, scheme: str) -> None:
    browser.show(scheme=scheme)
    browser.open(address)
    browser.run(OPEN_ALL)
    assert browser.run(LOW_CONTRAST) == []
    shade = browser.run("getComputedStyle(document.body).backgroundColor")
    assert shade == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert keep(browser, scheme)


@pytest.mark.parametrize("width", [320, 360, 768, 1024])
def test_nothing_is_wider_than_the_screen(browser: Any, address: str, width: int) -> None:
    browser.show(width=width)
    browser.open(address)
    browser.run(OPEN_ALL)
    assert browser.run(TOO_WIDE.replace("WIDTH", str(width))) == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    keep(browser, f"telephone-{width}")


CUT_WORDS = r"""
[...document.querySelectorAll(".wide td, .wide th")]
    .flatMap(each => {
        const texts = document.createTreeWalker(each, NodeFilter.SHOW_TEXT);
        const found = [];
        while (texts.nextNode()) {
            // What is longer, or is a name, may have to go on in the next line.
            if (texts.currentNode.parentElement.closest(".key, code")) continue;
            for (const word of texts.currentNode.data.matchAll(/(?<!\S)[A-Za-z]{2,12}(?!\S)/g)) {
                const range = document.createRange();
                range.setStart(texts.currentNode, word.index);
                range.setEnd(texts.currentNode, word.index + word[0].length);
                if (range.getClientRects().length > 1) found.push(word[0]);
            }
        }
        return found;
    })
"""


@pytest.mark.parametrize("width", [320, 768, 897, 900, 1024])
def test_no_word_of_a_table_is_cut(browser: Any, address: str, width: int) -> None:
    browser.show(width=width)
    browser.open(address)
    browser.run(OPEN_ALL)
    assert browser.run("document.querySelectorAll('.wide td').length") > 20
    assert browser.run(CUT_WORDS) == []
    assert browser.run(TOO_WIDE.replace("WIDTH", str(width))) == []


APART = """
[...document.querySelectorAll(".axis .swatch")]
    .filter(each => {
        const range = document.createRange();
        range.selectNodeContents(each.parentElement);
        return new Set([...range.getClientRects()].map(rect => Math.round(rect.bottom))).size > 2;
    })
    .map(each => each.parentElement.textContent)
"""


def test_a_colour_stands_beside_its_name(browser: Any, work: Any, tmp_path: Path) -> None:
    work([f"k{number:02}" for number in range(16)])
    for number, path in enumerate(sorted(Path("out.batten/commits").iterdir())):
        record = decode_record(CommitRecord, path.read_bytes())
        later = datetime.fromisoformat(record.time) + timedelta(seconds=20 * number)
        path.write_bytes(encode_record(replace(record, time=later.isoformat())))
    (tmp_path / "page.html").write_text(make_page(["out"], [], TIME).html)
    browser.show(width=320)
    browser.open((tmp_path / "page.html").as_uri())
    assert browser.run("document.querySelectorAll('.axis .swatch').length") > 0
    assert browser.run(APART) == []


LEFT_OF_WORDS = """
[...document.querySelectorAll("dd")]
    .filter(each => {
        const words = [...each.parentElement.querySelectorAll("dt")];
        const right = Math.max(...words.map(word => word.getBoundingClientRect().right));
        return each.getBoundingClientRect().left < right;
    })
    .map(each => each.textContent.slice(0, 40))
"""


def test_each_of_several_facts_stands_beside_its_word(browser: Any, address: str) -> None:
    browser.show(width=1024)
    browser.open(address)
    browser.run(OPEN_ALL)
    browser.run(
        "document.querySelectorAll('dl').forEach(each => each.append(...['a', 'b'].map("
        "text => { const made = document.createElement('dd'); made.textContent = text; "
        "return made; })))"
    )
    assert browser.run("document.querySelectorAll('dd').length") > 2
    assert browser.run(LEFT_OF_WORDS) == []


def test_on_paper_all_is_open_and_dark_on_light(browser: Any, address: str) -> None:
    browser.show(scheme="dark", medium="print")
    browser.open(address)
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run(LOW_CONTRAST) == []
    assert browser.run("document.querySelectorAll('pre').length") > 0
    seen = "[...document.querySelectorAll('pre')].every(each => each.getClientRects().length > 0)"
    assert browser.run(seen)
    paper = base64.b64decode(browser.call("Page.printToPDF")["data"])
    assert paper.startswith(b"%PDF")
    if folder := os.environ.get("BATTEN_SCREENSHOTS"):
        (Path(folder) / "paper.pdf").write_bytes(paper)


def test_by_keyboard(browser: Any, address: str) -> None:
    browser.open(address)
    reached = []
    for _ in range(60):
        browser.press("Tab", 9)
        found = browser.run("document.activeElement.tagName + document.activeElement.textContent")
        if found in reached:
            break
        reached.append(found)
        if found.startswith("SUMMARYtraceback"):
            browser.press("Enter", 13)
            assert browser.run("document.activeElement.parentElement.open")
            return
    pytest.fail(f"no traceback was reached: {reached}")


def test_by_screen_reader(browser: Any, address: str) -> None:
    browser.open(address)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    told = [
        (each["role"]["value"], each.get("name", {}).get("value", ""))
        for each in nodes
        if not each.get("ignored") and "role" in each
    ]
    roles = {role for role, _ in told}
    assert {"main", "banner", "heading", "table", "columnheader", "rowheader", "article"} <= roles
    assert ("image", "What became of the items") in told
    assert ("heading", "out") in told
    assert "" not in {name for role, name in told if role in ("table", "image", "article")}


def test_a_live_page_refreshes_itself(browser: Any, work: Any) -> None:
    import threading

    from batten.page.serving import LivePages, PageServer

    work(["a"])
    with PageServer(LivePages(["out"])) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            browser.open(server.url)
            assert browser.run("document.title") == "COMPLETE · out"
            complaints = [each for each in browser.list_complaints() if "favicon" not in each]
            assert complaints == []
            still = browser.run("document.querySelector('header a').pathname")
            browser.open(server.url.rstrip("/") + still)
            assert browser.run("location.pathname") == "/still"
            assert browser.run("document.querySelector('meta[http-equiv=refresh]')") is None
        finally:
            server.shutdown()
            thread.join()
