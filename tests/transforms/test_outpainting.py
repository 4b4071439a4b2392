"""What an outpainting network is given: known pixels bit for bit, the rest black, and a mask that tells them apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from retina_monai.transforms import (
    OutpaintingConditiond,
    RandStrokeConditiond,
    draw_strokes,
    outpainting_condition,
)


def eye() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    fov = torch.zeros(1, 40, 40)
    fov[:, 4:36, 4:36] = 1
    vessel = -torch.ones(1, 40, 40)
    vessel[:, :, 10] = 0.0
    vessel[:, :, 11] = -0.01
    image = (torch.rand(3, 40, 40, generator=random) * 2 - 1) * fov + fov - 1
    return {"image": image, "vessel": vessel, "fov": fov}


def test_known_pixels_are_as_they_are() -> None:
    image = eye()["image"]
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[:, 5:9] = True
    condition = outpainting_condition(image, mask)
    assert condition.shape == (4, 40, 40)
    assert torch.equal(condition[:3, ~mask[0]], image[:, ~mask[0]])
    assert (condition[:3, mask[0]] == -1).all()
    assert torch.equal(condition[3] == 1, mask[0]) and set(condition[3].unique().tolist()) == {-1.0, 1.0}
    with pytest.raises(ValueError, match=r"image is \(40, 40\) and mask \(40, 39\): give one size"):
        outpainting_condition(image, mask[..., :39])


def test_vessels_and_what_is_outside_the_field_of_view_are_known() -> None:
    data = eye()
    made = OutpaintingConditiond()(data)
    hidden = made["condition"][3] > 0
    expected = data["fov"][0] > 0
    expected[:, 10] = False
    assert torch.equal(hidden, expected)
    assert (made["condition"][3, ~hidden] == -1).all()
    assert torch.equal(made["condition"][:3, 4:36, 10], data["image"][:, 4:36, 10])
    assert data.keys() == {"image", "vessel", "fov"}


def test_the_mask_tells_of_vessels_that_are_too_thin_to_be_known() -> None:
    """1 where there is none, and 1 less twice the share that they cover where it is less than a half."""
    data = eye()
    share = torch.zeros(1, 40, 40)
    share[:, :, 20], share[:, :, 21], share[:, :, 22] = 0.4, 0.5, 0.1
    mask = OutpaintingConditiond()(data | {"vessel": 2 * share - 1})["condition"][3]
    told = {column: mask[4:36, column].unique() for column in (19, 20, 21, 22)}
    for column, value in ((19, 1.0), (20, 0.2), (21, -1.0), (22, 0.8)):
        torch.testing.assert_close(told[column], torch.tensor([value]))


def test_strokes_follow_the_random_state_and_stay_in_the_field_of_view() -> None:
    data = eye()
    transform = Compose([RandStrokeConditiond()])
    first, again = (transform.set_random_state(seed)(data)["condition"] for seed in (3, 3))
    other = transform.set_random_state(4)(data)["condition"]
    assert torch.equal(first, again) and not torch.equal(first, other)
    hidden = first[3] == 1
    assert 0 < hidden.sum() < data["fov"].sum() and not hidden[data["fov"][0] == 0].any()
    assert torch.equal(first[:3, ~hidden], data["image"][:, ~hidden])


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_strokes_are_wide_and_hide_neither_nothing_nor_all(size: tuple[int, int]) -> None:
    shares = [draw_strokes(*size, np.random.RandomState(seed)).mean() for seed in range(40)]
    assert draw_strokes(*size, np.random.RandomState(0)).shape == (1, *size)
    assert min(shares) > 0 and max(shares) < 0.95
    assert 0.1 < np.mean(shares) < 0.6
