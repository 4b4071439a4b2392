"""Pictures stand in the grid as they are, under titles that fit."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from retina_monai.handlers import grid
from retina_monai.handlers.grid import GAP, image_grid


def pictures(rows: int, height: int, width: int) -> list[list[np.ndarray]]:
    random = np.random.default_rng(0)
    return [
        [random.integers(0, 256, (channels, height, width), dtype=np.uint8) for channels in (1, 3, 3)]
        for _ in range(rows)
    ]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 100), (256, 256)])
def test_every_picture_is_at_its_place(height: int, width: int) -> None:
    rows = pictures(2, height, width)
    page = image_grid(rows, ["vessel map", "generated", "real"])
    assert page.dtype == np.uint8 and page.shape[0] == 3 and page.shape[2] == 3 * (width + GAP) + GAP
    head = page.shape[1] - 2 * (height + GAP)
    for line, row in enumerate(rows):
        for column, picture in enumerate(row):
            top, left = head + line * (height + GAP), GAP + column * (width + GAP)
            cell = page[:, top : top + height, left : left + width]
            np.testing.assert_array_equal(cell, np.broadcast_to(picture, cell.shape))
            page[:, top : top + height, left : left + width] = 255
    assert (page[:, head:] == 255).all()


@pytest.mark.parametrize("titles", [["vessel map", "generated", "real"], ["a title much too long for it", "b", "g"]])
def test_every_column_has_its_title_and_no_title_leaves_its_column(titles: list[str]) -> None:
    page = image_grid(pictures(1, 128, 128), titles)
    head = page[0, : page.shape[1] - (128 + GAP)]
    ink = head.min(axis=0) < 128
    for column in range(3):
        left = GAP + column * (128 + GAP)
        assert ink[left : left + 128].any()
        assert not ink[left - GAP : left].any()
    np.testing.assert_array_equal(page, image_grid(pictures(1, 128, 128), titles))
    assert not np.array_equal(head, image_grid(pictures(1, 128, 128), titles[::-1])[0, : len(head)])


GOOD = np.zeros((3, 32, 32), np.uint8)


@pytest.mark.parametrize(
    ("rows", "titles", "message"),
    [
        ([], ["real"], "at least one row"),
        ([[GOOD]], [], "at least one row and one title"),
        ([[GOOD, GOOD], [GOOD]], ["a", "b"], "row 1 has 1 pictures for 2 titles"),
        ([[GOOD, GOOD[:, :16]]], ["a", "b"], "of size"),
        ([[GOOD / 255]], ["a"], "must be uint8"),
        ([[GOOD[0]]], ["a"], "must be uint8"),
        ([[GOOD[:2]]], ["a"], "must be uint8"),
    ],
)
def test_wrong_pictures_are_refused(rows: list, titles: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_grid(rows, titles)


def test_the_examples_run() -> None:
    assert doctest.testmod(grid).failed == 0
