"""Patches: where they are cut, that masks follow, and what a camera changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from retina_monai.transforms import PhotographRanged, RandCamerad, RandPatchd


def eye(size: int = 128, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


@pytest.mark.parametrize("diameter", [60, 100, 200])
@pytest.mark.parametrize("seed", range(6))
def test_a_patch_is_one_sampling_of_the_whole_eye(diameter: int, seed: int) -> None:
    transform = RandPatchd("image", 32, (diameter, diameter + 1))
    patch = transform.set_random_state(seed)({"image": eye()})["image"]
    theta, drawn = transform.set_random_state(seed)._draw()
    whole = eye()[None].float()
    whole = avg_pool2d(whole, 2) if 1.6 * drawn < 128 else whole
    expected = grid_sample(whole, affine_grid(theta[None], [1, 3, 32, 32], align_corners=False), align_corners=False)
    torch.testing.assert_close(patch, expected[0], atol=0.02, rtol=1e-4)


def test_masks_follow_their_photograph() -> None:
    transform = RandPatchd(["image", "vessel"], 48, (80, 160))
    for seed in range(5):
        cut = transform.set_random_state(seed)({"image": eye(), "vessel": eye()[:1]})
        torch.testing.assert_close(cut["vessel"], cut["image"][:1])


def test_seeds_give_other_patches_and_the_same_seed_the_same() -> None:
    transform = RandPatchd("image", 32, (80, 160))
    patches = [transform.set_random_state(seed)({"image": eye()})["image"] for seed in (0, 0, 1)]
    assert torch.equal(patches[0], patches[1]) and not torch.allclose(patches[0], patches[2])


def test_diameters_are_drawn_between_their_ends() -> None:
    transform = RandPatchd("image", 32, (80, 160)).set_random_state(0)
    drawn = [transform._draw()[1] for _ in range(400)]
    assert 80 <= min(drawn) < 85 and 150 < max(drawn) <= 160
    assert np.median(drawn) == pytest.approx(np.sqrt(80 * 160), rel=0.1)


def test_a_camera_keeps_range_and_shape_and_depends_on_the_seed_alone() -> None:
    transform, patch = RandCamerad("image"), eye(48).float()
    for seed in range(20):
        one, same = (transform.set_random_state(seed)({"image": patch})["image"] for _ in range(2))
        assert torch.equal(one, same) and one.shape == patch.shape and one.dtype == torch.float32
        assert 0 <= float(one.min()) <= float(one.max()) <= 255
    assert torch.equal(patch, eye(48).float()), "what was given is left alone"


def test_a_smaller_file_loses_the_finest_detail() -> None:
    patch = eye(48).float() / 255
    fine = [float((part - avg_pool2d(part[None], 3, 1, 1)[0]).std()) for part in (patch, fewer(patch))]
    assert fine[1] < 0.5 * fine[0]
    assert float(fewer(patch).mean()) == pytest.approx(float(patch.mean()), abs=0.01)


def fewer(patch: Tensor) -> Tensor:
    transform = RandCamerad("image", resolution_loss=3.0).set_random_state(5)
    return torch.stack([transform._fewer_pixels(patch) for _ in range(10)]).mean(0)


def test_nothing_of_a_flat_photograph_becomes_a_vessel() -> None:
    transform = RandCamerad("image", noise=0.0)
    for seed in range(20):
        changed = transform.set_random_state(seed)({"image": torch.full((3, 40, 40), 90.0)})["image"]
        assert float(changed.diff(dim=-1).abs().max()) < 12, "light varies slowly"


def test_the_networks_range() -> None:
    image = torch.tensor([[[0, 255, 255]]], dtype=torch.uint8).expand(3, 1, 3)
    vessel = torch.tensor([[[255, 127, 128]]], dtype=torch.uint8)
    fov = torch.tensor([[[255, 255, 100]]], dtype=torch.uint8)
    ready = PhotographRanged()({"image": image, "vessel": vessel, "fov": fov, "name": "x"})
    assert ready["image"][0].tolist() == [[-1.0, 1.0, -1.0]], "black outside of the field of view"
    assert ready["vessel"].tolist() == [[[1.0, 0.0, 0.0]]] and ready["fov"].tolist() == [[[1.0, 1.0, 0.0]]]
    assert ready["name"] == "x"
