"""IterNet: what goes in and comes out, what is shared, and that no camera gets past its first step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from retina_monai.networks import IterNet
from retina_monai.networks.iternet import LocalContrast

SMALL: dict[str, Any] = {"features": 4, "levels": 3, "iterations": 2}


def network(**arguments: Any) -> IterNet:
    torch.manual_seed(0)
    return IterNet(**(SMALL | arguments))


def photograph(size: int = 64, seed: int = 0) -> Tensor:
    """A disc with vessels, some light and some noise; black around."""
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    noise = torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed))
    light = torch.stack([0.8 - 0.2 * rows, 0.4 + 0.1 * columns, 0.2 + 0.05 * rows]) * (0.9 + 0.1 * noise)
    light = torch.where((rows - 0.5 * columns).abs() < 0.05, 0.7 * light, light)
    return torch.where(rows**2 + columns**2 < 0.9, light * 2 - 1, -1.0)[None]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 50), (8, 7), (1, 1)])
def test_any_size_comes_back_in_both_modes(height: int, width: int) -> None:
    image = photograph(64)[..., :height, :width]
    assert network(norm="none").train()(image).shape == (1, 3, height, width)
    pred = network().eval()(image)
    assert pred.shape == (1, 1, height, width)
    assert pred.dtype == torch.float32 and 0 <= float(pred.min()) <= float(pred.max()) <= 1


def test_the_vessel_map_is_that_of_the_last_iteration() -> None:
    net = network(norm="none")
    logits, pred = net.train()(photograph()), net.eval()(photograph())
    torch.testing.assert_close(pred, logits[:, -1:].sigmoid())
    assert not torch.allclose(logits[:, 0], logits[:, 1])


def test_iterations_share_one_small_network() -> None:
    counts = [sum(p.numel() for p in network(iterations=n).parameters()) for n in (1, 2, 3)]
    features = SMALL["features"]
    mixes = [(skips + 1) * features * features + features for skips in (2, 3)]
    heads = features + 1
    assert np.diff(counts).tolist() == [mix + heads for mix in mixes]


def test_every_iteration_sees_the_first_features_of_all_before_it() -> None:
    net = network(iterations=3)
    assert [mix.in_channels // SMALL["features"] for mix in net.mixes] == [2, 3, 4]


def test_gradients_reach_every_weight() -> None:
    net = network().train()
    net(photograph()).square().mean().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_it_scripts_to_the_same_in_both_modes() -> None:
    net, image = network(norm="none"), photograph(50)
    for mode in (True, False):
        torch.testing.assert_close(torch.jit.script(net.train(mode))(image), net(image))


def test_the_papers_size() -> None:
    paper = IterNet(features=32, levels=5, iterations=3, small_levels=3, norm="none", dropout=0.1)
    assert 7.5e6 < sum(p.numel() for p in paper.parameters()) < 8.5e6
    assert next(module.p for module in paper.modules() if isinstance(module, torch.nn.Dropout)) == 0.1
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in paper.modules())


def test_arguments_build_it_again() -> None:
    net = network(norm="none")
    again = IterNet(**net.arguments)
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.eval()(photograph()), net.eval()(photograph()))


@pytest.mark.parametrize("wrong", [{"levels": 1}, {"small_levels": 1}, {"iterations": -1}])
def test_too_few_levels_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="levels and small_levels must be at least 2 and iterations at least 0"):
        IterNet(**wrong)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="norm must be one of batch, none, got 'layer'"):
        IterNet(norm="layer")


def test_contrast_is_what_scipy_makes_of_its_definition() -> None:
    image, contrast = photograph(80), LocalContrast(near=4, far=9)
    inside = ndimage.minimum_filter((image[0].numpy().max(0) > -0.94).astype(float), 5, mode="nearest")
    light = np.log1p((image[0, 1].numpy().astype(float) + 1) * 127.5)

    def around(values: np.ndarray, reach: int) -> np.ndarray:
        parts = [values * inside, inside]
        for _ in range(3):
            parts = [ndimage.uniform_filter(part, 2 * reach + 1, mode="constant") for part in parts]
        return parts[0] / np.maximum(parts[1], 1e-3)

    detail = (light - around(light, 4)) * inside
    expected = detail / np.sqrt(around(detail**2, 9) + 1e-4)
    np.testing.assert_allclose(contrast(image)[0, 0].numpy(), expected, atol=2e-3)


@pytest.mark.parametrize(("gain", "gamma"), [(0.7, 1.0), (1.2, 1.0), (1.0, 0.8)])
def test_a_camera_changes_little_of_the_contrast(gain: float, gamma: float) -> None:
    image = photograph(96)
    other = (gain * ((image + 1) / 2) ** gamma).clamp(0, 1) * 2 - 1
    first, second = LocalContrast()(image), LocalContrast()(other)
    assert float((first - second).abs().mean()) < 0.05 < 0.3 < float(first.abs().mean())


def test_what_is_black_counts_for_nothing() -> None:
    image = photograph(96)
    wide = torch.nn.functional.pad(image, [40] * 4, value=-1.0)
    contrast = LocalContrast()
    difference = (contrast(wide)[..., 40:-40, 40:-40] - contrast(image)).abs()
    assert float(difference.mean()) < 0.02 and float(difference.max()) < 0.1, "but for the boxes' cut edges"
    assert not contrast(wide)[..., :38, :].any()


def test_black_and_flat_pictures_give_no_vessel_and_no_nan() -> None:
    for value in (-1.0, 0.3):
        assert float(LocalContrast()(torch.full((1, 3, 40, 40), value)).abs().max()) < 1e-3
        assert network().eval()(torch.full((1, 3, 40, 40), value)).isfinite().all()


def test_the_rim_of_an_eye_that_touches_the_frame_is_no_vessel() -> None:
    """Where a field of view is cut to its box, its dark edge lies at the frame, at half of the height."""
    size = 96
    middle = np.arange(size) - (size - 1) / 2
    distance = np.hypot(middle[:, None], middle[None])
    light = np.where(distance <= size / 2, 120.0, 0.0)
    light[(distance > size / 2 - 2) & (distance <= size / 2)] = 40  # the rim, where the light falls off
    image = torch.from_numpy(light).float().expand(1, 3, -1, -1) / 127.5 - 1
    contrast = LocalContrast()(image)[0, 0]
    assert contrast.abs().max() < 0.5
