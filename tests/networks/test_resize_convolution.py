"""Doubling by nearest neighbour and a 3x3 convolution, in one transposed convolution or in two steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from retina_monai.networks import ResizeConvolution, resize_convolution
from retina_monai.networks.resize_convolution import SMALL

SIZES = [(1, 1), (2, 3), (15, 34), (16, 32), (23, 23), (40, 24)]  # 1, 6, 510, 512, 529 and 960 pixels


def two_steps(layer: ResizeConvolution) -> nn.Sequential:
    inputs, outputs = layer.weight.shape[:2]
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=layer.bias is not None).to(layer.weight.dtype)
    kernel = {"weight": layer.weight.detach().transpose(0, 1).flip(-1, -2)}
    convolution.load_state_dict(kernel if layer.bias is None else kernel | {"bias": layer.bias.detach()})
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), convolution)


def layer_and_image(height: int, width: int, bias: bool = True) -> tuple[ResizeConvolution, Tensor]:
    torch.manual_seed(0)
    layer = ResizeConvolution(3, 4, bias).double()
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer, torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_values_and_gradients_are_those_of_the_two_steps(height: int, width: int, bias: bool) -> None:
    layer, image = layer_and_image(height, width, bias)
    steps = two_steps(layer)
    weight = torch.randn(2, 4, 2 * height, 2 * width, dtype=torch.float64)
    pred, expected = layer(image), steps(image)
    torch.testing.assert_close(pred, expected)
    ours = torch.autograd.grad((pred * weight).sum(), [image, *layer.parameters()])
    theirs = torch.autograd.grad((expected * weight).sum(), [image, *steps.parameters()])
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1].transpose(0, 1).flip(-1, -2))
    assert len(ours) == 2 + bias
    if bias:
        torch.testing.assert_close(ours[2], theirs[2])


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_nothing_is_doubled_from_512_pixels_on(height: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    doubled = []
    interpolate = resize_convolution.interpolate
    monkeypatch.setattr(
        resize_convolution, "interpolate", lambda *args, **kwargs: doubled.append(1) or interpolate(*args, **kwargs)
    )
    layer, image = layer_and_image(height, width)
    layer(image)
    assert bool(doubled) == (height * width < SMALL)


def test_both_ways_compute_the_same_picture() -> None:
    layer, image = layer_and_image(20, 20)
    layer.small = 0
    at_once = layer(image)
    layer.small = 10**9
    torch.testing.assert_close(layer(image), at_once)


@pytest.mark.parametrize("size", [8, 32])
def test_scripted_it_computes_the_same(size: int) -> None:
    layer, image = layer_and_image(size, size)
    assert torch.equal(torch.jit.script(layer)(image), layer(image))


def test_a_flat_picture_stays_flat_away_from_the_border() -> None:
    """No checkerboard: each of the four phases of a transposed convolution sums the same kernel."""
    layer, _ = layer_and_image(1, 1)
    inside = layer(torch.ones(1, 3, 32, 32, dtype=torch.float64))[..., 2:-2, 2:-2]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))
