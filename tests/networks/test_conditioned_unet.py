"""The U-Net of the diffusion models and its ControlNet: shapes, condition, checkpointing, and TorchScript."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.diffusion_model_unet import get_timestep_embedding
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from retina_monai.networks import ConditionedUNet, ControlledUNet
from retina_monai.networks.conditioned_unet import embed_times

SMALL: dict[str, Any] = {"features": 8, "multipliers": (1, 2)}
BOTH = pytest.mark.parametrize("kind", [ConditionedUNet, ControlledUNet])


class Around(nn.Module):
    """What holds a U-Net, as the generator does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.unet = network

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        return self.unet(x, times)


def unet(kind: type[ConditionedUNet] = ConditionedUNet, **arguments: Any) -> Any:
    """With weights drawn where MONAI puts zeros, so that all of it counts."""
    torch.manual_seed(0)
    network = kind(**{**SMALL, **arguments})
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def noisy(height: int = 16, width: int = 16, batch: int = 2) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(batch, 4, height, width, generator=random), torch.linspace(0, 999, batch)


def gradients(network: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    network.train()(*inputs).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@BOTH
@pytest.mark.parametrize(
    ("arguments", "height", "width", "levels"),
    [({}, 16, 24, 2), ({"unshuffle": 1}, 16, 16, 1), ({"unshuffle": 4, "multipliers": (1, 2, 2)}, 32, 16, 4)],
)
def test_size_in_is_size_out(
    kind: type[ConditionedUNet], arguments: dict[str, Any], height: int, width: int, levels: int
) -> None:
    network = unet(kind, **arguments)
    assert network.levels == levels
    assert network(*noisy(height, width)).shape == (2, 3, height, width)


@BOTH
def test_prediction_depends_on_picture_condition_and_time(kind: type[ConditionedUNet]) -> None:
    network, (x, times) = unet(kind), noisy()
    before = network(x, times)
    for changed in (x + torch.eye(4)[0].view(1, 4, 1, 1), x + torch.eye(4)[3].view(1, 4, 1, 1)):
        assert not torch.allclose(network(changed, times), before)
    assert not torch.allclose(network(x, times + 100), before)


def test_it_is_monais_network_on_blocks_of_pixels() -> None:
    """Channel ``c`` of pixel (row, column) of a block of two is channel ``4 c + 2 row + column`` of the U-Net."""
    network, (x, times) = unet(), noisy()
    blocks = x.reshape(2, 4, 8, 2, 8, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 16, 8, 8)
    predicted = network.unet(blocks, times).reshape(2, 3, 2, 2, 8, 8).permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 16, 16)
    assert torch.equal(network(x, times), predicted)


def test_control_is_monais_controlnet_on_blocks_of_pixels() -> None:
    network, (x, times) = unet(ControlledUNet), noisy()
    blocks = pixel_unshuffle(x, 2)
    blind = torch.cat([blocks[:, :12], torch.zeros(2, 4, 8, 8)], dim=1)
    levels, middle = network.controlnet(blind, times, blocks[:, 12:])
    residuals = {"down_block_additional_residuals": levels, "mid_block_additional_residual": middle}
    assert torch.equal(network(x, times), pixel_shuffle(network.unet(blind, times, **residuals), 2))


def test_released_size_has_fewer_than_12_million_weights() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in ConditionedUNet().parameters()) == 10_387_788


@pytest.mark.parametrize(("attention", "expected"), [(0, [False, False]), (1, [False, True]), (2, [True, True])])
def test_attention_is_in_the_innermost_levels(attention: int, expected: list[bool]) -> None:
    assert unet(attention=attention).unet.attention_levels == expected


@BOTH
def test_checkpointing_changes_no_gradient_and_no_name(kind: type[ConditionedUNet]) -> None:
    expected = gradients(unet(kind), *noisy())
    network = unet(kind, gradient_checkpointing=True)
    found = gradients(network, *noisy())
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    assert network.state_dict().keys() == unet(kind).state_dict().keys()


def kept_bytes(network: nn.Module) -> int:
    """What a forward pass keeps for its gradients, weights left out."""
    own = {parameter.data_ptr() for parameter in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.train()(*noisy(64, 64))
    return sum(size for place, size in kept.items() if place not in own)


@BOTH
def test_checkpointing_keeps_a_fraction(kind: type[ConditionedUNet]) -> None:
    settings = {"multipliers": (1, 2, 2), "blocks": 2}
    whole, part = (kept_bytes(unet(kind, **settings, gradient_checkpointing=on)) for on in (False, True))
    assert part < whole / 2


@BOTH
def test_scripts_as_what_is_traced_and_runs_at_other_sizes(kind: type[ConditionedUNet]) -> None:
    network = Around(unet(kind))
    scripted = torch.jit.script(network)
    assert list(scripted.state_dict()) == list(network.state_dict())
    for size in ((16, 16), (8, 24)):
        with torch.no_grad():
            torch.testing.assert_close(scripted(*noisy(*size)), network(*noisy(*size)))


@BOTH
def test_what_is_traced_names_no_device(kind: type[ConditionedUNet]) -> None:
    """One that is saved on a CPU must run on a GPU."""
    scripted = torch.jit.script(Around(unet(kind)))
    assert not [code for part in scripted.modules() if hasattr(part, "code") and "cpu" in (code := part.code)]


def test_times_are_embedded_as_monai_embeds_them() -> None:
    times = torch.tensor([0.0, 3.0, 999.5])
    assert torch.equal(embed_times(times, 32), get_timestep_embedding(times, 32))


def test_control_starts_as_the_blind_network_and_trains_alone() -> None:
    given, controlled = unet(), ControlledUNet(**SMALL)
    assert controlled.start_from(given.state_dict()) is controlled
    x, times = noisy()
    blind = torch.cat([x[:, :3], torch.zeros_like(x[:, 3:])], dim=1)
    torch.testing.assert_close(controlled.eval()(x, times), given(blind, times))
    torch.testing.assert_close(controlled.controlnet.conv_in.conv.weight, given.unet.conv_in.conv.weight)
    found = gradients(controlled, x, times)
    assert found and all(name.startswith("controlnet.") for name in found)


def test_control_refuses_weights_of_another_network() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        ControlledUNet(**SMALL).start_from(unet(features=16).state_dict())
    with pytest.raises(RuntimeError, match="the weights already have a ControlNet: controlnet"):
        ControlledUNet(**SMALL).start_from(unet(ControlledUNet).state_dict())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"unshuffle": 3}, "unshuffle must be a power of two, got 3"),
        ({"unshuffle": 0}, "unshuffle must be a power of two, got 0"),
        ({"features": 14}, "features must be a multiple of 4, got 14"),
        ({"features": 0}, "features must be a multiple of 4, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ConditionedUNet(**{**SMALL, **arguments})
