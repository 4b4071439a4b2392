"""The U-Net of pix2pix: size, wiring, and what each argument changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from retina_monai.networks import Pix2PixUNet, ResizeConvolution
from retina_monai.networks.unet import Binomial
from retina_monai.transforms.field_of_view import circle

NORM_LAYERS = (nn.BatchNorm2d, nn.InstanceNorm2d)
SMALL: dict[str, Any] = {"levels": 4, "features": 2}


def unet(**arguments: Any) -> Pix2PixUNet:
    torch.manual_seed(0)
    return Pix2PixUNet(**{**SMALL, **arguments})


def vessel(size: int = 32, batch: int = 2, width: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(batch, 1, size, width or size, generator=generator) > 0.8).float() * 2 - 1


def holds(module: nn.Module, kinds: type | tuple[type, ...]) -> bool:
    return any(isinstance(part, kinds) for part in module.modules())


def test_eight_levels_with_64_features_are_the_published_generator() -> None:
    """The reference code prints 54.414 M for three channels in; one channel saves the weights of two: 2 * 64 * 16."""
    with torch.device("meta"):
        of_vessels, of_photographs = Pix2PixUNet(), Pix2PixUNet(in_channels=3)
    count = [sum(p.numel() for p in network.parameters()) for network in (of_vessels, of_photographs)]
    assert count == [54_412_483, 54_414_531]


@pytest.mark.parametrize(
    ("arguments", "height", "width"),
    [
        ({"levels": 8, "features": 2}, 256, 256),
        ({"levels": 8, "features": 2}, 512, 512),
        ({"levels": 9, "features": 1, "upsampling": "resize"}, 512, 512),
        ({"levels": 8, "features": 1}, 1024, 1024),
        ({"levels": 3, "features": 4, "in_channels": 2, "out_channels": 5}, 64, 24),
    ],
)
def test_size_in_is_size_out(arguments: dict[str, Any], height: int, width: int) -> None:
    network = Pix2PixUNet(**arguments).eval()
    image = torch.zeros(1, arguments.get("in_channels", 1), height, width)
    with torch.no_grad():
        pred = network(image)
    assert pred.shape == (1, arguments.get("out_channels", 3), height, width)
    assert pred.abs().max() <= 1


@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 40), (8, 8)])
def test_a_size_that_the_levels_do_not_halve_is_refused(height: int, width: int) -> None:
    message = rf"the size must be divisible by 2\^4 = 16, got {height} x {width}: .*fewer levels"
    with pytest.raises(ValueError, match=message):
        unet()(vessel(height, 1, width))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": 1}, "levels must be at least 2, got 1"),
        ({"norm": "layer"}, "norm must be one of batch, instance, none, got 'layer'"),
        ({"upsampling": "bilinear"}, "upsampling must be one of transpose, resize, smooth, got 'bilinear'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unet(**arguments)


@pytest.mark.parametrize(("norm", "layer"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d)])
def test_outermost_and_bottleneck_layers_have_no_norm_and_all_others_have(norm: str, layer: type) -> None:
    network = unet(norm=norm)
    assert [holds(block, layer) for block in network.encoder] == [False, True, True, False]
    assert [holds(block, layer) for block in network.decoder] == [True, True, True]
    assert not holds(network.head, NORM_LAYERS)
    assert not holds(unet(norm="none"), NORM_LAYERS)


@pytest.mark.parametrize(("levels", "expected"), [(2, [1]), (4, [1, 1, 1]), (7, [1, 1, 1, 0, 0, 0])])
def test_dropout_stands_in_the_three_innermost_decoder_blocks(levels: int, expected: list[int]) -> None:
    network = Pix2PixUNet(levels=levels, features=1, dropout=0.3)
    assert [holds(block, nn.Dropout) for block in network.decoder] == [bool(value) for value in expected]
    assert {part.p for part in network.modules() if isinstance(part, nn.Dropout)} == {0.3}
    assert not holds(network.encoder, nn.Dropout) and not holds(network.head, nn.Dropout)
    assert not holds(Pix2PixUNet(levels=levels, features=1, dropout=0), nn.Dropout)


def test_dropout_is_noise_in_training_only() -> None:
    network = unet(dropout=0.5, norm="none")
    assert not torch.equal(network(vessel()), network(vessel()))
    network.eval()
    assert torch.equal(network(vessel()), network(vessel()))


@pytest.mark.parametrize("upsampling", ["transpose", "resize", "smooth"])
def test_upsampling_is_of_the_kind_asked_for(upsampling: str) -> None:
    network = unet(upsampling=upsampling)
    kind, other = nn.ConvTranspose2d, ResizeConvolution
    if upsampling != "transpose":
        kind, other = other, kind
    assert sum(isinstance(part, kind) for part in network.modules()) == 4
    assert not holds(network, other)
    assert sum(isinstance(part, Binomial) for part in network.modules()) == (4 if upsampling == "smooth" else 0)


def test_the_blur_is_binomial_and_stops_what_alternates() -> None:
    image = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = ndimage.correlate(image.numpy(), np.outer([1, 2, 1], [1, 2, 1])[None, None] / 16)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(Binomial()(image)[inner], torch.from_numpy(expected)[inner])
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    for alternating in (rows, columns, rows + columns):
        stopped = Binomial()((alternating % 2 * 2.0 - 1)[None, None])
        assert stopped[inner].abs().max() < 1e-6
    torch.testing.assert_close(Binomial()(torch.full((1, 1, 5, 5), 3.0)), torch.full((1, 1, 5, 5), 3.0))


def test_the_detail_branch_lets_a_single_pixel_through() -> None:
    """Two maps that differ by which pixel of a 2 x 2 block is a vessel; the outermost skip alone cannot place it."""
    network, without = unet(detail=3, norm="none").eval(), unet(norm="none").eval()
    left = torch.full((1, 1, 32, 32), -1.0)
    left[..., 10, 10] = 1
    right = left.roll(1, dims=3)
    shift = {
        net: (net(left).roll(1, dims=3) - net(right))[..., 7:15, 7:15].abs().mean() / net(left).std()
        for net in (network, without)
    }
    assert shift[network] < 0.7 * shift[without]
    assert without.detail is None


def test_it_is_the_papers_network_written_out() -> None:
    """An independent one in functions, of three levels without norm: LeakyReLU 0.2 down, ReLU up, skips by channels."""
    network = unet(levels=3, norm="none", dropout=0)
    state = network.state_dict()

    def down(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)

    def up(x: Tensor, name: str) -> Tensor:
        return F.conv_transpose2d(F.relu(x), state[f"{name}.weight"], state[f"{name}.bias"], stride=2, padding=1)

    first = down(vessel(), "encoder.0")
    second = down(F.leaky_relu(first, 0.2), "encoder.1.1")
    bottleneck = down(F.leaky_relu(second, 0.2), "encoder.2.1")
    x = torch.cat([up(bottleneck, "decoder.0.1"), second], 1)
    x = torch.cat([up(x, "decoder.1.1"), first], 1)
    expected = torch.tanh(up(x, "head.1"))
    torch.testing.assert_close(network(vessel()), expected)


def test_features_double_up_to_eight_times() -> None:
    network = Pix2PixUNet(levels=6, features=3)
    widths = [part.out_channels for block in network.encoder for part in block.modules() if isinstance(part, nn.Conv2d)]
    assert widths == [3, 6, 12, 24, 24, 24]


@pytest.mark.parametrize("size", [32, 48])
def test_outside_the_circle_is_black_and_inside_nothing_changes(size: int) -> None:
    network, round_one = unet(norm="none").eval(), unet(norm="none", circular_fov=True).eval()
    fov = torch.from_numpy(circle(size)).bool()
    plain, pred = network(vessel(size)), round_one(vessel(size))
    assert bool((pred.masked_select(~fov) == -1).all())
    assert torch.equal(pred.masked_select(fov), plain.masked_select(fov))
    area = fov.float().mean().item()
    assert area == pytest.approx(math.pi / 4, abs=0.02)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"upsampling": "resize", "norm": "instance", "circular_fov": True},
        {"norm": "none", "dropout": 0.0},
        {"upsampling": "smooth", "detail": 3, "circular_fov": True},
    ],
)
@pytest.mark.parametrize("size", [16, 64])
def test_scripted_it_computes_the_same(arguments: dict[str, Any], size: int) -> None:
    network = unet(**arguments).eval()
    scripted = torch.jit.script(network)
    assert torch.equal(scripted(vessel(size)), network(vessel(size)))
    with pytest.raises(Exception, match="the size must be divisible by"):
        scripted(vessel(24))


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_batch_of_one_trains_where_the_bottleneck_is_one_pixel(norm: str) -> None:
    network = unet(norm=norm)
    network(vessel(16, batch=1)).square().mean().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients if gradient is not None) > 0


@pytest.mark.parametrize(
    "arguments",
    [{}, {"in_channels": 2, "out_channels": 1, "levels": 3, "features": 3, "norm": "instance", "dropout": 0.1},
     {"upsampling": "resize", "circular_fov": True, "norm": "none"}, {"upsampling": "smooth", "detail": 2}],
)  # fmt: skip
def test_arguments_build_the_same_network(arguments: dict[str, Any]) -> None:
    network = unet(**arguments).eval()
    rebuilt = Pix2PixUNet(**network.arguments).eval()
    rebuilt.load_state_dict(network.state_dict())
    image = vessel().repeat(1, network.arguments["in_channels"], 1, 1)
    assert torch.equal(rebuilt(image), network(image))
    assert {**Pix2PixUNet(**SMALL).arguments, **arguments} == network.arguments
