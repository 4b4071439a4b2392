"""The way back from a network's square to the photograph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retina_monai.transforms import ToOwnSized, to_own_size
from retina_monai.transforms.field_of_view import crop_square, resize_area

BOX = (3, 10, 43, 30)


def picture() -> np.ndarray:
    return np.random.default_rng(0).random((1, 50, 60), np.float32)


def test_at_the_boxs_own_size_nothing_is_lost() -> None:
    whole = to_own_size(crop_square(picture(), BOX), BOX, (50, 60))
    top, left, bottom, right = BOX
    np.testing.assert_array_equal(whole[:, top:bottom, left:right], picture()[:, top:bottom, left:right])
    whole[:, top:bottom, left:right] = 0
    assert not whole.any()


@pytest.mark.parametrize("size", [20, 80, 123])
def test_a_smooth_picture_comes_back_from_any_size(size: int) -> None:
    rows, columns = np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 60), indexing="ij")
    smooth = (0.5 * rows + 0.3 * columns)[None].astype(np.float32)
    box = (0, 5, 50, 55)
    back = to_own_size(resize_area(crop_square(smooth, box), size), box, (50, 60))
    np.testing.assert_allclose(back[:, 3:-3, 8:-8], smooth[:, 3:-3, 8:-8], atol=0.02)


def test_a_smaller_photograph_gets_the_mean_of_areas() -> None:
    fine = np.zeros((1, 8, 8), np.float32)
    fine[0, :4, :2] = 1
    assert to_own_size(fine, (0, 0, 2, 2), (2, 2)).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]


def test_outside_of_the_field_of_view_is_nothing() -> None:
    fov = torch.zeros(1, 50, 60, dtype=torch.uint8)
    fov[:, 10:20, 15:25] = 1
    data = {"pred": torch.ones(1, 16, 16), "fov": fov, "box": torch.tensor(BOX)}
    found = ToOwnSized("pred")(data)["pred"]
    torch.testing.assert_close(found, fov.float())
