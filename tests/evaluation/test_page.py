"""The page: what it says, that names stay names, that it holds all that it shows."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_made import ANSWERS, HOSTILE, LIGHTS, made_section
from PIL import Image

from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.families.registry import QUESTIONS
from retina_monai.evaluation.report.kept import as_plain
from retina_monai.evaluation.report.page import build_page, flatten

VOID = {"meta", "link", "img", "br", "path"}
SETTINGS = {"mode": "quick", "size": 256, "seed": 3, "families": list(LIGHTS), "skip_unreadable": False}


def made_report(folder: Path) -> dict[str, Any]:
    """As ``report.json`` holds it."""
    sections: dict[str, Any] = {}
    for key in LIGHTS:
        (folder / "pictures" / key).mkdir(parents=True)
        section = made_section(key, folder / "pictures" / key)
        pictures = [vars(picture) | {"path": f"pictures/{key}/{picture.path.name}"} for picture in section.pictures]
        tables = [vars(table) for table in section.tables]
        sections[key] = {name: value for name, value in vars(section).items() if name != "key"}
        sections[key] |= {"pictures": pictures, "tables": tables}
    about = {"eyes": 12_345, "patients": 14, "masks": {"vessel": 28}, "sizes": {"256 x 256": 28}, "splits": {}}
    about |= {"datasets": {"CHASE_DB1": 28}, "left_out": [], "fingerprint": "0123456789abcdef" * 4}
    real = about | {"place": ["data/CHASE_DB1", "data/HRF"], "splits": {"training": 18}, "left_out": ["CHASE_DB1_01L"]}
    synthetic = about | {"place": [f"made by {HOSTILE}"], "conditions": {"test eyes": 28}, "generator": {"seed": 0}}
    report = {
        "what": "retina_monai evaluation",
        "answers": {key: {name: sections[key][name] for name in ("question", "light", "answer")} for key in QUESTIONS},
        "compared": {"synthetic": synthetic, "real": real},
        "notes": ["The synthetic photographs are of 2 sizes."],
        "settings": SETTINGS,
        "networks": {"judge": "iternet_vessel 0.1.0", "extractors": ["retina_encoder 0.1.0"], "given": {}},
        "versions": {"retina_monai": "0.1.0", "code": "fedcba9876543210" * 4},
        "sections": sections,
    }
    return dict(as_plain(report))


class Outline(HTMLParser):
    """Elements with their attributes, and the text in them; refuses elements that are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.texts.append(text)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    return build_page(made_report(folder), folder)


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_the_four_answers_stand_first_with_light_and_reason(page: str) -> None:
    top = page[page.index('<div class="answers">') : page.index('id="compared"')]
    cards = re.findall(r'<article class="(\w+)".*?</svg>([^<]+)</p>.*?<p>(.*?)</p>', top, re.DOTALL)
    words = {"green": "Good", "amber": "With reservations", "red": "Not good", "grey": "Not judged"}
    expected = [(LIGHTS[key], words[LIGHTS[key]], ANSWERS[key]) for key in QUESTIONS]
    assert cards == expected
    shapes = re.findall(r'<path fill-rule="evenodd" d="([^"]+)"', top)
    assert len(set(shapes)) == 4  # not by colour alone


def test_names_are_text_and_not_markup(page: str, outline: Outline) -> None:
    assert HOSTILE not in page
    assert outline.all("script") == []
    assert "".join(outline.texts).count(HOSTILE) == 2 + 2 * 5  # what was given, how to repeat it; tables and notes
    assert not [attributes for _, attributes in outline.elements if any(key.startswith("on") for key in attributes)]


def test_it_holds_all_that_it_shows(page: str, outline: Outline) -> None:
    sources = [attributes["src"] or "" for attributes in outline.all("img")]
    assert len(sources) == 2 * 5
    assert all(re.match(r"data:image/(png|webp);base64,", source) for source in sources)
    assert outline.all("link") == [{"rel": "icon", "href": "data:,"}]
    addresses = [attributes["href"] or "" for attributes in outline.all("a")]
    identities = {attributes["id"] for _, attributes in outline.elements if "id" in attributes}
    assert all(address.startswith("#") and address[1:] in identities for address in addresses)
    assert "url(" not in page


def test_its_policy_names_its_style_and_nothing_else(page: str, outline: Outline) -> None:
    (policy,) = [
        str(attributes["content"])
        for attributes in outline.all("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; ")
    assert not [attributes for _, attributes in outline.elements if "style" in attributes]


def test_pictures_and_tables_can_be_read_aloud(outline: Outline) -> None:
    alts = [attributes["alt"] for attributes in outline.all("img")]
    assert alts == ["Power. Lower is softer.", "Nearest pairs"] * 5
    assert all(attributes["width"] and attributes["height"] for attributes in outline.all("img"))
    assert outline.all("html") == [{"lang": "en"}]
    tags = [tag for tag, _ in outline.elements]
    assert [tags.count(tag) for tag in ("h1", "main", "header", "nav", "footer")] == [1] * 5
    assert tags.count("caption") >= 2 * 5
    assert all(attributes.get("scope") in ("col", "row", None) for attributes in outline.all("th"))


def test_numbers_as_a_person_reads_them(page: str) -> None:
    row = page[page.index("<tr><td>HRF</td>") :].partition("</tr>")[0]
    cells = re.findall(r">([^<]*)</td>", row)
    assert cells == ["HRF", "12,346", "0.01235", "0.01", "–", "45.68", "0.75", "0.5", "1.25", "1"]
    assert "<td>yes</td>" in page
    assert '<tr><th scope="row">infinite</th><td>–</td></tr>' in page


def test_it_says_how_to_do_it_again(page: str) -> None:
    command = html.unescape(re.findall(r"<pre>(.*?)</pre>", page)[0])
    assert "--mode quick --size 256 --seed 3" in command
    words = shlex.split(command)
    assert words[words.index("--real_dir") + 1] == "['data/CHASE_DB1', 'data/HRF']"


def test_a_picture_is_what_its_file_is_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    report = made_report(tmp_path)
    array = np.random.default_rng(0).integers(0, 4, (3, 40, 60), dtype=np.uint8) * 80
    write_png(tmp_path / "pictures" / "image" / "grid.png", array)
    source = re.findall(
        r'<img src="data:image/png;base64,([^"]+)" width="60" height="40"', build_page(report, tmp_path)
    )
    (tmp_path / "shown.png").write_bytes(base64.b64decode(source[0]))
    with Image.open(tmp_path / "shown.png") as picture:
        assert picture.info["SyntheticData"] == "YES"
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")).transpose(2, 0, 1), array)


def test_flatten_keeps_lists_of_numbers() -> None:
    figures = {"a": {"b": [1, 2], "c": [{"d": None}, {"d": [[1], [2]]}]}, "e": []}
    assert dict(flatten(figures)) == {"a/b": [1, 2], "a/c/0/d": None, "a/c/1/d/0": [1], "a/c/1/d/1": [2], "e": []}


def test_no_figures_and_no_tables_make_a_page_too(tmp_path: Path) -> None:
    report = made_report(tmp_path)
    for section in report["sections"].values():
        section |= {"tables": [], "pictures": [], "notes": [], "figures": {}, "light": "grey"}
    report["sections"]["image"]["tables"] = [{"title": "none", "columns": ["a", "b"], "rows": [], "note": ""}]
    page = build_page(report, tmp_path)
    Outline(page)
    assert "<details>" not in page
