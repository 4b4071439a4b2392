"""The report as a single page: ``index.html`` contains its pictures and styles, runs no script and needs no network.

This module prepares the content of ``templates/page.html``, which is styled by ``templates/style.css``.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from retina_monai.files import write_text

__all__ = ["WORDS", "build_page", "flatten", "write_page"]

WIDEST = 1800  # pixels of a picture in the page; the full size is in the folder beside it
HEAVY = 300_000  # bytes above which a PNG is stored as WebP
NARROWEST = 11  # characters of a text column on a phone
NOTHING = "–"
WORDS = {"green": "Good", "amber": "With reservations", "red": "Not good", "grey": "Not judged"}


def write_page(report: Mapping[str, Any], folder: Path) -> None:
    """Write ``index.html`` beside the report's pictures.

    Raises:
        RetinaError: the file cannot be written.
    """
    write_text(folder / "index.html", build_page(report, folder))


def build_page(report: Mapping[str, Any], folder: Path) -> str:
    """The page of a report.

    Args:
        report: content of ``report.json``.
        folder: folder to which the paths of its pictures are relative.
    """
    templates = Environment(
        loader=PackageLoader("retina_monai.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(shown=_shown)
    templates.globals.update(WORDS=WORDS, NOTHING=NOTHING)
    style = templates.get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return templates.get_template("page.html").render(
        report,
        names={name: ", ".join(map(_last, _places(report, name))) for name in ("synthetic", "real")},
        style=style,
        digest=digest,
        command=_command(report),
        sections={key: _prepared(section, folder) for key, section in report["sections"].items()},
    )


def flatten(figures: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Figures with their slash-separated paths; a list of numbers stays one figure.

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


def _places(report: Mapping[str, Any], name: str) -> list[str]:
    return list(report["compared"][name]["place"])


def _last(place: str) -> str:
    return Path(place).name or place


def _prepared(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A section with the values that the template needs."""
    return dict(section) | {
        "tables": [_measured(table) for table in section["tables"]],
        "pictures": [dict(picture) | _inline(folder / picture["path"]) for picture in section["pictures"]],
        "figures": list(flatten(section["figures"])),
    }


def _measured(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table with ``numeric``, the columns of numbers and empty cells, and ``characters``, its minimum width.

    A column is as wide as its longest word. A text column is also at least as wide as its style requires.
    """
    columns = list(zip(*table["rows"], strict=True)) or [()] * len(table["columns"])
    numeric = [bool(cells) and all(cell is None or _is_number(cell) for cell in cells) for cells in columns]
    characters = 0
    for head, cells, number in zip(table["columns"], columns, numeric, strict=True):
        words = [len(word) for cell in (head, *cells) for word in _shown(cell).split()]
        characters += 2 + max([NARROWEST if cells and not number else 0, *words])
    return dict(table) | {"numeric": numeric, "characters": characters}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value for display: four significant digits, an en dash for ``None``, the length of a long list."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, list):
        return f"{len(value)} numbers" if len(value) > 8 else ", ".join(map(_shown, value))
    return str(value)


def _inline(path: Path) -> dict[str, Any]:
    """``width``, ``height`` and ``source`` of a picture. The source is a data URI: PNG, or WebP for a large PNG."""
    with Image.open(path) as stored:
        picture, texts = stored.convert("RGB"), getattr(stored, "text", {})
    if picture.width > WIDEST:
        size = (WIDEST, round(picture.height * WIDEST / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    content, kind = _as_png(picture, texts), "png"
    if len(content) > HEAVY:
        content, kind = _as_webp(picture), "webp"
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return {"source": source, "width": picture.width, "height": picture.height}


def _as_png(picture: Image.Image, texts: Mapping[str, str]) -> bytes:
    """A lossless PNG of minimal size. Text entries, such as the mark of synthetic pictures, are preserved."""
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
