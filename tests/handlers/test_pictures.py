"""Validation as a picture per epoch: whose rows are the first eyes, whose columns what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor

from retina_monai.handlers import PictureGrid, image_grid, to_uint8

COLUMNS = {"vessel map": "vessel", "generated": "pred"}
SIZE = 16


@pytest.mark.parametrize(
    ("value", "grey"),
    [
        (-1, 0),
        (1, 255),
        (0, 128),
        (-0.5, 64),
        (0.5, 191),
        (-1.7, 0),
        (3, 255),
        (1 / 127.5 - 1, 1),
        (2.4 / 127.5 - 1, 2),
    ],
)
def test_grey_levels(value: float, grey: int) -> None:
    picture = to_uint8(torch.full((3, 2, 4), float(value)))
    assert picture.dtype == np.uint8 and picture.shape == (3, 2, 4) and (picture == grey).all()


def test_every_grey_level_comes_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(to_uint8(torch.from_numpy(levels).float() / 127.5 - 1), levels)


def test_it_takes_what_an_engine_holds() -> None:
    picture = torch.full((1, 2, 2), 0.5, requires_grad=True)
    assert (to_uint8(picture) == 191).all()
    assert type(to_uint8(MetaTensor(picture.detach()))) is np.ndarray
    assert (to_uint8(picture.detach().bfloat16()) == 191).all()


def eye(index: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(index)
    return {
        "vessel": (torch.rand(1, SIZE, SIZE, generator=random) > 0.5).float() * 2 - 1,
        "pred": torch.rand(3, SIZE, SIZE, generator=random) * 2 - 1,
        "other": torch.zeros(7),
    }


def evaluate(grid: PictureGrid, batches: list[list[int]], epochs: int = 1) -> Engine:
    engine = Engine(lambda engine, batch: [eye(index) for index in batch])
    grid.attach(engine)
    engine.run(batches, max_epochs=epochs, epoch_length=len(batches) // epochs)
    return engine


def drawn(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).transpose(2, 0, 1)


def expected(*eyes: int) -> np.ndarray:
    return image_grid([[to_uint8(eye(index)[key]) for key in COLUMNS.values()] for index in eyes], list(COLUMNS))


def test_the_first_eyes_are_drawn_across_batches(tmp_path: Path) -> None:
    engine = evaluate(PictureGrid(tmp_path / "pictures", COLUMNS, count=3), [[0, 1], [2, 3], [4]])
    assert engine.state.pictures == [tmp_path / "pictures" / "epoch_0001.png"]
    np.testing.assert_array_equal(drawn(engine.state.pictures[0]), expected(0, 1, 2))


def test_fewer_eyes_than_rows(tmp_path: Path) -> None:
    evaluate(PictureGrid(tmp_path, COLUMNS), [[5]])
    np.testing.assert_array_equal(drawn(tmp_path / "epoch_0001.png"), expected(5))


def test_each_epoch_draws_its_own(tmp_path: Path) -> None:
    engine = evaluate(PictureGrid(tmp_path, COLUMNS, count=2), [[0, 1], [2, 3]], epochs=2)
    assert engine.state.pictures == [tmp_path / "epoch_0002.png"]
    np.testing.assert_array_equal(drawn(tmp_path / "epoch_0001.png"), expected(0, 1))
    np.testing.assert_array_equal(drawn(tmp_path / "epoch_0002.png"), expected(2, 3))


def test_other_ranks_draw_nothing(tmp_path: Path) -> None:
    engine = evaluate(PictureGrid(tmp_path, COLUMNS, enabled=False), [[0]])
    assert not list(tmp_path.iterdir()) and not hasattr(engine.state, "pictures")
