"""Starting weights: N(0, 0.02) or scaled with the layer for convolutions, N(1, 0.02) for norms, no bias."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retina_monai.networks import Pix2PixUNet, ResizeConvolution, initialize_weights


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(32, 32, 4), nn.ConvTranspose2d(32, 32, 4), ResizeConvolution(32, 48), nn.Conv2d(64, 64, 3)]
)
@pytest.mark.parametrize("std", [0.02, 0.1])
def test_convolutions_are_drawn_around_0(layer: nn.Module, std: float) -> None:
    torch.manual_seed(0)
    nn.init.ones_(layer.bias)
    initialize_weights(layer, std)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.05 * std)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
    assert layer.weight.abs().max() < 6 * std
    assert bool((layer.bias == 0).all())


@pytest.mark.parametrize(
    ("initialization", "std"),
    [("xavier", (2 / (9 * 48 + 9 * 96)) ** 0.5), ("kaiming", (2 / (9 * 48)) ** 0.5), ("normal", 0.02)],
)
def test_the_spread_follows_the_fans_of_a_layer(initialization: str, std: float) -> None:
    torch.manual_seed(0)
    layer = initialize_weights(nn.Conv2d(48, 96, 3), initialization=initialization)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.05 * std)
    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    assert bool((layer.bias == 0).all())


def test_orthogonal_weights_keep_lengths() -> None:
    layer = initialize_weights(nn.Conv2d(3, 8, 4, bias=False), initialization="orthogonal")
    flat = layer.weight.detach().reshape(8, -1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(8), atol=1e-5, rtol=0)


def test_an_unknown_initialization_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="one of normal, xavier, kaiming, orthogonal, got 'uniform'"):
        initialize_weights(nn.Conv2d(1, 1, 1), initialization="uniform")


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(20_000), nn.InstanceNorm2d(20_000, affine=True)])
def test_norms_are_drawn_around_1(layer: nn.Module) -> None:
    torch.manual_seed(0)
    nn.init.ones_(layer.bias)
    initialize_weights(layer)
    assert layer.weight.mean().item() == pytest.approx(1, abs=0.001)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert bool((layer.bias == 0).all())


def test_a_norm_without_weights_and_other_layers_are_left_alone() -> None:
    network = nn.Sequential(nn.InstanceNorm2d(3), nn.Linear(4, 4), nn.Conv2d(3, 3, 1, bias=False))
    before = network[1].weight.clone()
    initialize_weights(network)
    assert torch.equal(network[1].weight, before)


def test_every_convolution_and_norm_of_the_generator_is_drawn_anew_and_the_seed_decides() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(7)
        network = Pix2PixUNet(levels=4, features=2, upsampling="resize")
        before = {name: parameter.clone() for name, parameter in network.named_parameters()}
        torch.manual_seed(8)
        assert initialize_weights(network) is network
        changed = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
        assert {name for name in before if name.endswith("weight")} <= changed
        networks.append(network)
    first, second = (network.state_dict() for network in networks)
    assert all(torch.equal(first[name], second[name]) for name in first)
