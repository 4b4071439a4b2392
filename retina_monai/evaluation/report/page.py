"""The report as one page: ``index.html`` holds its pictures and styles, runs no script and asks no network."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from shlex import quote
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from retina_monai.evaluation.report.page_style import STYLE
from retina_monai.files import write_text

__all__ = ["build_page", "flatten", "write_page"]

WIDEST = 1800  # pixels of a picture in the page; larger ones are in the folder beside it
HEAVY = 300_000  # bytes of a PNG beyond which a picture is stored as WebP
MOST_FIGURES = 400
WIDE = 9  # columns of a table beyond which paper takes smaller letters
PHONE, DESK = 40, 120  # characters of a table's row beyond which a phone, and a desk, may show a part of it only
NARROWEST = 11  # characters of a column of text on a phone
HINT = "Scroll sideways to see all of it."
ENLARGE = "Tap or click to enlarge."
NOTHING = "–"
TITLES = {
    "image": "Image quality",
    "distribution": "Realism",
    "faithfulness": "Faithfulness",
    "privacy": "Privacy",
    "usefulness": "Usefulness",
}
WORDS = {"green": "Good", "amber": "With reservations", "red": "Not good", "grey": "Not judged"}
SHAPES = {
    "green": "M12 1a11 11 0 1 0 0 22a11 11 0 0 0 0-22zM10.4 17.2 5.6 12.4l1.9-1.9 2.9 2.9 6.2-6.2 1.9 1.9z",
    "amber": "M12 1.5 23.5 22H.5zM10.7 9v6.6h2.6V9zm0 8.2v2.6h2.6v-2.6z",
    "red": "M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9zM7.1 8.9l3.1 3.1-3.1 3.1 1.8 1.8 3.1-3.1 3.1 3.1 1.8-1.8-3.1-3.1"
    " 3.1-3.1-1.8-1.8-3.1 3.1-3.1-3.1z",
    "grey": "M12 1a11 11 0 1 0 0 22a11 11 0 0 0 0-22zM6 10.6h12v2.8H6z",
}
"""A tick in a disc, an exclamation mark in a triangle, a cross in an octagon, a bar in a disc; 24 x 24."""


def write_page(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``index.html`` beside the report's pictures.

    Raises:
        RetinaError: it cannot be written.
    """
    write_text(folder / "index.html", build_page(report, folder))


def build_page(report: Mapping[str, Any], folder: Path) -> str:
    """The page of a report.

    Args:
        report: as ``report.json`` holds it.
        folder: that the paths of its pictures start from.
    """
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; "
        "frame-src 'none'"
    )
    body = [
        _header(report),
        _answers(report["answers"]),
        _compared(report["compared"], report["notes"]),
        *(_family(key, section, folder) for key, section in report["sections"].items()),
        _settings(report),
        "<footer><p>Photographs shown as synthetic were generated and are of no person. Real ones may be shown "
        "beside them: handle this page as the real set is to be handled. "
        f"Written by retina_monai {escape(report['versions']['retina_monai'])}.</p></footer>",
    ]
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        '<link rel="icon" href="data:,">',
        f"<title>{escape(_title(report))}</title>",
        f"<style>{STYLE}</style>",
    ]
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>"]
    return "\n".join(lines) + "\n"


def flatten(figures: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each figure with its path, parts parted by slashes; a list of numbers stays one.

    Example:
        >>> dict(flatten({"KID": {"encoder": 0.5}, "spectrum": [1, 2], "rows": [{"N": 3}]}))
        {'KID/encoder': 0.5, 'spectrum': [1, 2], 'rows/0/N': 3}
    """
    if isinstance(figures, Mapping):
        parts: Iterable[tuple[Any, Any]] = figures.items()
    elif isinstance(figures, list) and any(isinstance(entry, Mapping | list) for entry in figures):
        parts = enumerate(figures)
    else:
        yield path, figures
        return
    for key, value in parts:
        yield from flatten(value, f"{path}/{key}" if path else str(key))


def _title(report: Mapping[str, Any]) -> str:
    synthetic, real = (", ".join(_last(place) for place in _places(report, name)) for name in ("synthetic", "real"))
    return f"{synthetic} against {real}: evaluation of a synthetic set"


def _places(report: Mapping[str, Any], name: str) -> list[str]:
    return list(report["compared"][name]["place"])


def _last(place: str) -> str:
    return Path(place).name or place


def _header(report: Mapping[str, Any]) -> str:
    compared = report["compared"]
    counts = {name: f"{compared[name]['eyes']:,}" for name in ("synthetic", "real")}
    names = {name: escape(", ".join(_last(place) for place in _places(report, name))) for name in counts}
    size = report["settings"]["size"]
    links = "".join(f'<li><a href="#{key}">{TITLES[key]}</a></li>' for key in report["sections"])
    return (
        "<header>\n<h1>Is this synthetic set any good?</h1>\n"
        f'<p class="lead">{counts["synthetic"]} synthetic photographs (<b>{names["synthetic"]}</b>) against '
        f"{counts['real']} real ones (<b>{names['real']}</b>), compared at {size} x {size} pixels.</p>\n"
        f'<nav aria-label="Sections"><ul><li><a href="#compared">What was compared</a></li>{links}'
        '<li><a href="#settings">Settings</a></li></ul></nav>\n</header>\n<main>'
    )


def _answers(answers: Mapping[str, Mapping[str, str]]) -> str:
    cards = "\n".join(
        f'<article class="{_known(answer["light"])}" aria-labelledby="answer-{key}">\n{_light(answer["light"])}\n'
        f'<h3 id="answer-{key}">{escape(answer["question"])}</h3>\n<p>{escape(answer["answer"])}</p>\n'
        f'<p class="more"><a href="#{key}">{TITLES[key]} in detail</a></p>\n</article>'
        for key, answer in answers.items()
    )
    return f'<section id="answers" aria-label="The four answers">\n<div class="answers">\n{cards}\n</div>\n</section>'


def _known(light: str) -> str:
    return light if light in WORDS else "grey"


def _light(light: str) -> str:
    light = _known(light)
    shape = f'<path fill-rule="evenodd" d="{SHAPES[light]}"/>'
    return (
        f'<p class="light {light}"><svg viewBox="0 0 24 24" aria-hidden="true" focusable="false">{shape}</svg>'
        f"{WORDS[light]}</p>"
    )


def _compared(compared: Mapping[str, Any], notes: Sequence[str]) -> str:
    rows = {
        "place": "Given",
        "eyes": "Photographs",
        "patients": "Patients",
        "datasets": "Data sets",
        "conditions": "Made from",
        "splits": "Splits",
        "masks": "Masks",
        "sizes": "Pixels",
        "left_out": "Left out",
        "generator": "Generator",
        "fingerprint": "Fingerprint (SHA-256)",
    }
    sets = {"synthetic": compared["synthetic"], "real": compared["real"]}
    shown = {key: title for key, title in rows.items() if any(about.get(key) for about in sets.values())}
    lines = "\n".join(
        f'<tr><th scope="row">{title}</th>'
        + "".join(_about(name, _plain(about.get(key))) for name, about in sets.items())
        + "</tr>"
        for key, title in shown.items()
    )
    return (
        '<section id="compared">\n<h2>What was compared</h2>\n'
        '<div class="table"><table class="pairs"><thead><tr><th></th><th scope="col">synthetic</th>'
        f'<th scope="col">real</th></tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>\n{_notes(notes)}</section>'
    )


def _about(name: str, text: str) -> str:
    return f'<td class="long{" none" * (text == NOTHING)}" data-of="{name}">{text}</td>'


def _family(key: str, section: Mapping[str, Any], folder: Path) -> str:
    return "\n".join(
        [
            f'<section id="{key}" class="family" aria-labelledby="title-{key}">',
            f'<h2 id="title-{key}">{TITLES[key]}: {escape(section["question"])}</h2>',
            _light(section["light"]),
            f'<p class="answer">{escape(section["answer"])}</p>',
            *(_table(table) for table in section["tables"]),
            *(_picture(picture, folder) for picture in section["pictures"]),
            _notes(section["notes"]),
            _figures(section["figures"]),
            "</section>",
        ]
    )


def _table(table: Mapping[str, Any]) -> str:
    columns = list(zip(*table["rows"], strict=True)) or [()] * len(table["columns"])
    numeric = [all(_is_number(cell) or cell is None for cell in cells) and bool(cells) for cells in columns]
    heads = "".join(
        f'<th scope="col"{_number_class(number)}>{escape(str(column))}</th>'
        for column, number in zip(table["columns"], numeric, strict=True)
    )
    rows = "\n".join(f"<tr>{''.join(map(_cell, row, numeric))}</tr>" for row in table["rows"])
    note = f'\n<p class="note">{escape(table["note"])}</p>' if table.get("note") else ""
    title, wide = escape(table["title"]), " wide" * (len(table["columns"]) > WIDE)
    return (
        f'{_hint(_characters(table))}<div class="table" role="region" tabindex="0" aria-label="{title}">'
        f'<table class="rows{wide}">\n<caption><span>{title}</span></caption>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>{note}"
    )


def _characters(table: Mapping[str, Any]) -> int:
    """How wide the columns are together at least: each as its longest word, text as the style has it at least."""
    columns = zip(table["columns"], *table["rows"], strict=True)
    return sum(2 + max(NARROWEST if _is_text(cells) else 0, *map(_longest_word, cells)) for cells in columns)


def _is_text(cells: Sequence[Any]) -> bool:
    """Whether a column holds more than numbers and gaps, its head aside."""
    return not all(_is_number(cell) or cell is None for cell in cells[1:])


def _longest_word(cell: Any) -> int:
    return max(map(len, _text(cell).split()), default=0)


def _hint(characters: int) -> str:
    """Above what may be wider than the screen; shown where it is."""
    if characters <= PHONE:
        return ""
    return f'<p class="hint{" always" * (characters > DESK)}">{HINT}</p>\n'


def _cell(value: Any, numeric: bool = False) -> str:
    return f"<td{_number_class(numeric or _is_number(value))}>{escape(_text(value))}</td>"


def _number_class(number: bool) -> str:
    return ' class="number"' if number else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """A value as a person reads it: four digits of a fraction, an en dash for nothing."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def _plain(value: Any) -> str:
    """A value of the sets or the settings in a cell; of a dictionary, each entry on a line."""
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(str(key))}: {_plain(entry)}" for key, entry in value.items()) or NOTHING
    if isinstance(value, list):
        return "<br>".join(_plain(entry) for entry in value) or NOTHING
    return escape(_text(value if value != "" else None))


def _picture(picture: Mapping[str, str], folder: Path) -> str:
    source, width, height = _inline(folder / picture["path"])
    title, caption = escape(picture["title"]), escape(picture.get("caption") or "")
    alt = f"{title}. {caption}" if caption else title
    return (
        f'<figure>{_hint(PHONE + 1)}<div class="table picture" role="region" tabindex="0" aria-label="{title}">'
        f'<img src="{source}" width="{width}" height="{height}" alt="{alt}"></div>\n'
        f'<figcaption><b>{title}.</b> {caption} <span class="zoom">{ENLARGE}</span></figcaption></figure>'
    )


def _inline(path: Path) -> tuple[str, int, int]:
    """A picture as an address that holds it: PNG, or WebP where that would be heavy; width and height."""
    with Image.open(path) as stored:
        picture, texts = stored.convert("RGB"), getattr(stored, "text", {})
    if picture.width > WIDEST:
        size = (WIDEST, round(picture.height * WIDEST / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    content, kind = _as_png(picture, texts), "png"
    if len(content) > HEAVY:
        content, kind = _as_webp(picture), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}", picture.width, picture.height


def _as_png(picture: Image.Image, texts: Mapping[str, str]) -> bytes:
    """As small as it gets without loss; what its file says of itself (that it is synthetic, say) stays."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, str(text))
    colours = picture.getcolors(256)
    small = picture.quantize(len(colours), dither=Image.Dither.NONE) if colours else picture
    exact = small.convert("RGB").tobytes() == picture.tobytes()
    content = io.BytesIO()
    (small if exact else picture).save(content, "PNG", optimize=True, pnginfo=info)
    return content.getvalue()


def _as_webp(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=88, method=4)
    return content.getvalue()


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def _figures(figures: Mapping[str, Any]) -> str:
    """All figures, folded away; lists of numbers are told by their length."""
    flat = list(flatten(figures))
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>{_figure(value)}</tr>' for name, value in flat[:MOST_FIGURES]
    )
    rest = f'<p class="note">and {len(flat) - MOST_FIGURES} more in report.json</p>' if len(flat) > MOST_FIGURES else ""
    if not flat or not rows:
        return ""
    return (
        f"<details><summary>All figures ({len(flat)})</summary>\n"
        f'<div class="table"><table><tbody>\n{rows}\n</tbody></table></div>{rest}</details>'
    )


def _figure(value: Any) -> str:
    return _cell(f"{len(value)} numbers" if isinstance(value, list) and len(value) > 8 else _listed(value))


def _listed(value: Any) -> Any:
    return ", ".join(map(_text, value)) if isinstance(value, list) else value


def _settings(report: Mapping[str, Any]) -> str:
    groups = {"Settings": report["settings"], "Networks": report["networks"], "Versions": report["versions"]}
    tables = "\n".join(
        f'<div class="table"><table class="pairs"><caption><span>{title}</span></caption>\n'
        f"<tbody>\n{_pairs(values)}\n</tbody></table></div>"
        for title, values in groups.items()
    )
    command = escape(_command(report))
    return (
        f'<section id="settings" class="family">\n<h2>Exact settings</h2>\n{tables}\n'
        f"<p>The same again, and figures to compute with in <code>report.json</code>:</p>\n<pre>{command}</pre>\n"
        "</section>\n</main>"
    )


def _pairs(values: Mapping[str, Any]) -> str:
    return "\n".join(
        f'<tr><th scope="row">{escape(key.replace("_", " "))}</th><td class="long">{_plain(value)}</td></tr>'
        for key, value in values.items()
    )


def _command(report: Mapping[str, Any]) -> str:
    real = _places(report, "real")
    settings = report["settings"]
    options = {
        "synthetic_dir": _places(report, "synthetic")[0],
        "real_dir": real[0] if len(real) == 1 else str(real),
        "output_dir": "report",
        **{key: settings[key] for key in ("mode", "size", "seed")},
        **report.get("options", {}),
    }
    return "python -m retina_monai evaluate " + " ".join(
        f"--{key} {quote(_option(value))}" for key, value in options.items()
    )


def _option(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
