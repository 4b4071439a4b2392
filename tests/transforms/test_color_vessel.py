"""Colour vessel masks: the photograph's very pixels on vessels, black elsewhere, and what an edge is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from retina_monai.transforms import ColorVesseld, color_vessel, vessel_weight


def photograph() -> Tensor:
    return torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1


def stripe() -> Tensor:
    """One column of nine."""
    vessel = torch.zeros(1, 9, 9)
    vessel[..., 4] = 1
    return vessel


@pytest.mark.parametrize("edge", [0.0, 1.0, 3.0])
def test_vessels_keep_their_colours_to_the_last_bit(edge: float) -> None:
    image = photograph()
    assert torch.equal(color_vessel(image, stripe(), edge)[..., 4], image[..., 4])


def test_elsewhere_it_is_black() -> None:
    kept = color_vessel(photograph(), stripe())
    others = [column for column in range(9) if column != 4]
    assert (kept[..., others] == -1).all()
    assert torch.equal(color_vessel(photograph(), torch.ones(1, 9, 9)), photograph())
    assert (color_vessel(photograph(), torch.zeros(1, 9, 9), edge=3.0) == -1).all()


def test_an_edge_falls_evenly() -> None:
    expected = torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0, 0])
    torch.testing.assert_close(vessel_weight(stripe(), 3.0)[0, 5], expected)
    brightness = (color_vessel(torch.full((3, 9, 9), 0.5), stripe(), 3.0)[1, 5] + 1) / 1.5
    torch.testing.assert_close(brightness, expected)


def test_the_distance_is_the_straight_one() -> None:
    point = torch.zeros(1, 9, 9)
    point[0, 4, 4] = 1
    weight = vessel_weight(point, 4.0)[0]
    assert weight[4, 6] == weight[6, 4] == 0.5
    assert weight[6, 6] == pytest.approx(1 - 8**0.5 / 4)


def test_as_a_transform() -> None:
    """A pixel is vessel from a share of one half on; what was given stays."""
    image, share = photograph(), stripe() * 0.5 + 0.49 * stripe().roll(1, -1)
    data = {"image": image, "vessel": share}
    made = ColorVesseld("image")(data)
    assert data.keys() == {"image", "vessel"}
    assert torch.equal(made["color_vessel"], color_vessel(image, stripe()))
    assert torch.equal(made["image"], image) and torch.equal(made["vessel"], share)
    both = ColorVesseld(["image", "pred"], edge=2.0)({**data, "pred": -image})
    assert torch.equal(both["pred_color_vessel"], color_vessel(-image, stripe(), 2.0))


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"image is \(9, 9\) and vessel \(8, 9\): give one size"):
        color_vessel(photograph(), torch.ones(1, 8, 9))
    with pytest.raises(ValueError, match="edge must be at least 0, got -1"):
        vessel_weight(stripe(), -1)
