"""Arrange pictures in a grid: one row per eye, one titled column per kind (vessel map, generated, real)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["image_grid"]

GAP = 4
PAPER, INK = 255, 0
SMALLEST_FONT = 6


def image_grid(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> np.ndarray:
    """Arrange pictures of the same size in a grid under column titles.

    The font is Pillow's own, so that the result is the same on every machine. It shrinks until the longest title fits.

    Args:
        rows: lists of uint8 pictures ``(3, H, W)`` or ``(1, H, W)`` (shown in grey), one per title, all of the same
            size, in [0, 255]. Multiply masks in {0, 1} by 255 first.
        titles: one per column.

    Returns:
        uint8 ``(3, height, width)``: black titles on white, with 4 pixels between and around the pictures.

    Raises:
        ValueError: there are no rows or titles, a row has another length, or a picture has another shape or type.

    Example:
        >>> vessel, image = np.zeros((1, 64, 64), np.uint8), np.full((3, 64, 64), 200, np.uint8)
        >>> image_grid([[vessel, image], [vessel, image]], ["vessel map", "real"]).shape
        (3, 158, 140)
    """
    _check(rows, titles)
    height, width = rows[0][0].shape[1:]
    font, head = _fitting_font(titles, width)
    size = (GAP + len(titles) * (width + GAP), GAP + head + GAP + len(rows) * (height + GAP))
    page = Image.new("RGB", size, (PAPER,) * 3)
    draw = ImageDraw.Draw(page)
    for column, title in enumerate(titles):
        left = GAP + column * (width + GAP)
        draw.text((left + width // 2, GAP + head // 2), title, fill=(INK,) * 3, font=font, anchor="mm")
        for line, row in enumerate(rows):
            page.paste(_rgb(row[column]), (left, GAP + head + GAP + line * (height + GAP)))
    return np.ascontiguousarray(np.asarray(page).transpose(2, 0, 1))


def _check(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str]) -> None:
    if not rows or not titles:
        raise ValueError("a grid needs at least one row and one title")
    if wrong := [line for line, row in enumerate(rows) if len(row) != len(titles)]:
        raise ValueError(f"row {wrong[0]} has {len(rows[wrong[0]])} pictures for {len(titles)} titles")
    size = rows[0][0].shape[1:]
    for picture in (picture for row in rows for picture in row):
        if (
            picture.dtype != np.uint8
            or picture.ndim != 3
            or picture.shape[0] not in (1, 3)
            or picture.shape[1:] != size
        ):
            raise ValueError(
                f"pictures must be uint8 (1 or 3, H, W) of size {size}, got {picture.dtype} {picture.shape}"
            )


def _fitting_font(titles: Sequence[str], width: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    """The largest font in which every title fits the column, and its line height."""
    for size in range(max(10, width // 12), SMALLEST_FONT - 1, -1):
        font = ImageFont.load_default(size)
        if all(font.getlength(title) <= width for title in titles):
            break
    return font, round(1.4 * size)


def _rgb(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)))
