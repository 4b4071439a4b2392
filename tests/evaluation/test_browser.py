"""The report in a real browser: no error, no request to a network, nothing cut on a phone, on paper, in the dark."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, chromium
from hand_made import ANSWERS, HOSTILE
from test_page import made_report

from retina_monai.evaluation.report.page import write_page

PHONE, DESK = 360, 1280
OUTSIDE = ("http:", "https:", "ws:", "wss:", "ftp:")
CUT = """[...document.querySelectorAll('body *')]
    .filter(part => !part.closest('.table') && !part.closest('svg') && part.getClientRects().length)
    .filter(part => part.getBoundingClientRect().right > window.innerWidth + 1
                 || part.scrollWidth > part.clientWidth + 1 && getComputedStyle(part).display !== 'inline')
    .map(part => part.tagName + ' ' + part.className)"""
TITLES = "Math.max(...[...document.querySelectorAll('caption span')].map(title => title.getBoundingClientRect().right))"
PICTURES = "[...document.images].map(image => image.complete && image.naturalWidth > 0 && image.alt.length > 0)"
CONTRAST = """(() => {
    const bright = text => {
        const parts = text.match(/[\\d.]+/g).slice(0, 3)
            .map(value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const ground = part => {
        for (; part; part = part.parentElement) {
            const colour = getComputedStyle(part).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    return Math.min(...[...document.querySelectorAll('p, li, td, th, h1, h2, h3, a, figcaption, caption, summary')]
        .map(part => [bright(getComputedStyle(part).color), bright(ground(part))].sort((a, b) => b - a))
        .map(([light, dark]) => (light + 0.05) / (dark + 0.05)));
})()"""
"""The least contrast of any text, by WCAG 2.2, which asks for 4.5."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_page(made_report(folder), folder)
    return folder / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_renders_without_an_error_or_a_request(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page.as_uri(), width, dark=dark)
    assert [browser.evaluate(f"document.getElementById('{key}') !== null") for key in ANSWERS] == [True] * 5
    assert browser.evaluate(PICTURES) == [True] * 10
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate(CONTRAST) >= 4.5
    for reported in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed"):
        assert browser.reported(reported) == [], reported
    asked = [event["request"]["url"] for event in browser.reported("Network.requestWillBeSent")]
    assert asked[0] == page.as_uri()
    assert all(address.startswith("data:") for address in asked[1:])


def test_its_policy_holds_what_would_ask_the_network(browser: Browser, page: Path, tmp_path: Path) -> None:
    """Were there markup in a name that is not escaped, the browser would still neither fetch nor run it."""
    bad = '<img src="http://127.0.0.1:9/a.png"><script>document.title = "run"</script><p id="s" style="color:red">'
    (tmp_path / "index.html").write_text(page.read_text(encoding="utf-8").replace("<main>", f"<main>{bad}"), "utf-8")
    browser.open((tmp_path / "index.html").as_uri())
    told = " ".join(entry["entry"]["text"] for entry in browser.reported("Log.entryAdded"))
    assert told.count("Content Security Policy") == 3
    assert browser.evaluate("document.title") != "run"
    assert browser.reported("Network.responseReceivedExtraInfo") == []
    blocked = [event.get("blockedReason") for event in browser.reported("Network.loadingFailed")]
    assert blocked == ["csp"]


@pytest.mark.parametrize("width", [320, PHONE, 768, DESK])
def test_nothing_is_wider_than_the_screen(browser: Browser, page: Path, width: int) -> None:
    browser.open(page.as_uri(), width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(CUT) == []
    assert browser.evaluate(TITLES) <= width


@pytest.mark.parametrize("width", [400, DESK])
def test_what_is_cut_says_so_and_scrolls(browser: Browser, page: Path, width: int) -> None:
    browser.open(page.as_uri(), width)
    cut = browser.evaluate(
        """[...document.querySelectorAll('.table')].filter(part => part.scrollWidth > part.clientWidth + 1)
            .map(part => (hint => hint?.className.includes('hint') && hint.getClientRects().length > 0
                && getComputedStyle(part).overflowX === 'auto')(part.previousElementSibling))"""
    )
    assert len(cut) >= 5 and all(cut)


def test_plots_can_be_read_on_a_phone_and_enlarged_anywhere(browser: Browser, page: Path) -> None:
    width = "document.querySelector('.picture img').getBoundingClientRect().width"
    browser.open(page.as_uri(), 400)
    assert browser.evaluate(width) >= 600
    for screen in (400, DESK):
        browser.open(page.as_uri(), screen)
        before = browser.evaluate(width)
        browser.evaluate("document.querySelector('.picture').focus()")
        assert browser.evaluate(width) >= max(1200, 1.2 * before)
        assert browser.evaluate("document.documentElement.scrollWidth") == screen


def test_folded_figures_open_without_a_script(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri(), PHONE)
    before = browser.evaluate("document.documentElement.scrollHeight")
    browser.evaluate("document.querySelector('summary').click()")
    assert browser.evaluate("document.querySelector('details').open") is True
    assert browser.evaluate("document.documentElement.scrollHeight") > before
    assert browser.evaluate("document.documentElement.scrollWidth") == PHONE


def test_on_paper_no_table_is_cut_and_each_family_begins_a_page(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri(), 688, dark=True)  # what is between the margins of A4, at 96 dots an inch
    browser.call("Emulation.setEmulatedMedia", media="print")
    right = "Math.max(...[...document.querySelectorAll('td, th')].map(cell => cell.getBoundingClientRect().right))"
    assert browser.evaluate(right) <= 689
    assert browser.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    content = browser.print()
    assert content.startswith(b"%PDF-")
    assert pages(content) >= 7  # the answers, five families, the settings
    assert HOSTILE not in page.read_text(encoding="utf-8")


def pages(content: bytes) -> int:
    """How many pages a PDF has."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)
    texts = [content, *(zlib.decompressobj().decompress(part) for part in streams if part[:1] == b"x")]
    return sum(len(re.findall(rb"/Type\s*/Page\b", text)) for text in texts)
