"""From a picture of twice the size to the network's: blocks averaged, range [-1, 1]."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from retina_monai.transforms import ReduceEyed


def eye(size: int = 24) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (3, size, size), dtype=np.uint8)
    vessel, fov = (random.random((2, 1, size, size)) > 0.5).astype(np.uint8) * np.uint8(255)
    return {"image": torch.from_numpy(image), "vessel": torch.from_numpy(vessel), "fov": torch.from_numpy(fov)}


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_blocks_are_averaged_and_scaled(factor: int) -> None:
    data = eye()
    result = ReduceEyed(["image", "vessel"], factor)(data)
    for key in ("image", "vessel"):
        picture = data[key].numpy().astype(np.float64)
        side = 24 // factor
        blocks = picture.reshape(len(picture), side, factor, side, factor).mean((2, 4))
        assert result[key].dtype == torch.float32
        np.testing.assert_allclose(result[key].numpy(), blocks / 127.5 - 1, atol=1e-6)


def test_ends_of_the_range() -> None:
    data = {
        "image": torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(2).expand(1, 2, 4),
        "fov": torch.full((1, 2, 4), 255),
    }
    assert ReduceEyed("image", 2)(data)["image"].tolist() == [[[-1.0, 1.0]]]


def test_the_field_of_view_goes_by_majority_and_stays_a_mask() -> None:
    covered = torch.tensor([[0, 0, 255, 0, 255, 0, 255, 255], [0, 0, 0, 0, 255, 0, 255, 255]])[None]
    result = ReduceEyed("image", 2)({"image": covered, "fov": covered})
    assert result["fov"].tolist() == [[[0.0, 0.0, 1.0, 1.0]]]


def test_a_vessel_thinner_than_a_pixel_is_its_share() -> None:
    vessel = torch.zeros(1, 4, 4, dtype=torch.uint8)
    vessel[:, :, 1] = 255
    result = ReduceEyed("vessel", 2)({"vessel": vessel, "fov": torch.full_like(vessel, 255)})["vessel"]
    assert result.tolist() == [[[0.0, -1.0], [0.0, -1.0]]]


def test_it_takes_what_monai_hands_over_and_gives_plain_tensors() -> None:
    data = eye()
    wrapped = {key: MetaTensor(value.float()) for key, value in data.items()}
    result, expected = ReduceEyed(["image", "vessel"], 2)(wrapped), ReduceEyed(["image", "vessel"], 2)(data)
    for key in ("image", "vessel", "fov"):
        assert type(result[key]) is torch.Tensor and torch.equal(result[key], expected[key])
    assert wrapped["image"].shape == (3, 24, 24)


def test_another_field_of_view_key_and_other_entries() -> None:
    data = {**eye(), "name": "01"}
    data["mask"] = data.pop("fov")
    result = ReduceEyed("image", 2, fov_key="mask")(data)
    assert result["mask"].shape == (1, 12, 12) and result["name"] == "01"
    assert result["vessel"] is data["vessel"]
