"""The U-Net of a diffusion model whose condition lies behind the noisy picture, channel by channel.

Source: concatenation as by Saharia et al., "Palette", SIGGRAPH 2022, https://arxiv.org/abs/2111.05826; blocks of pixels
as channels as by Hoogeboom et al., "simple diffusion", ICML 2023, https://arxiv.org/abs/2301.11093.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.utils.checkpoint import checkpoint

__all__ = ["ConditionedUNet"]

LONGEST_PERIOD = 10000
GROUP = 4  # channels that are normalised together, in the outermost level


class ConditionedUNet(nn.Module):
    """MONAI's ``DiffusionModelUNet`` on blocks of pixels, of a noisy picture and its condition.

    It scripts as what is traced of it, since MONAI's attention blocks do not script.

    Args:
        in_channels: of the condition.
        out_channels: of the picture.
        features: channels of the outermost level, a multiple of 4.
        multipliers: of ``features`` at each level, each of which but the last halves the size.
        blocks: residual blocks at each level on the way down; one more on the way up.
        attention: how many of the innermost levels have attention, beside the middle, which always has.
        unshuffle: a block of so many pixels a side is one pixel of the U-Net; 1: pixels as they are.
        gradient_checkpointing: keep only what enters a level while training, and compute the rest again for the
            gradients: a fraction of the memory, for more of the time.

    Raises:
        ValueError: ``unshuffle`` is no power of two, or ``features`` no multiple of 4.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 3,
        features: int = 64,
        multipliers: Sequence[int] = (1, 2, 3, 3),
        blocks: int = 1,
        attention: int = 0,
        unshuffle: int = 2,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "features": features,
            "multipliers": list(multipliers),
            "blocks": blocks,
            "attention": attention,
            "unshuffle": unshuffle,
        }
        if unshuffle < 1 or unshuffle & (unshuffle - 1):
            raise ValueError(f"unshuffle must be a power of two, not {unshuffle}")
        if features < GROUP or features % GROUP:
            raise ValueError(f"features must be a multiple of {GROUP}, not {features}")
        self.channels = in_channels + out_channels
        self.out_channels = out_channels
        self.unshuffle = unshuffle
        self.levels = len(multipliers) - 1 + int(math.log2(unshuffle))
        self.gradient_checkpointing = gradient_checkpointing
        self.unet = DiffusionModelUNet(out_channels=out_channels * unshuffle**2, **self._settings())

    def _settings(self) -> dict[str, Any]:
        """What MONAI's networks take."""
        told = self.arguments
        features, levels = told["features"], len(told["multipliers"])
        return {
            "spatial_dims": 2,
            "in_channels": self.channels * self.unshuffle**2,
            "channels": [features * multiplier for multiplier in told["multipliers"]],
            "num_res_blocks": told["blocks"],
            "attention_levels": [level >= levels - told["attention"] for level in range(levels)],
            "num_head_channels": features // 2,
            "norm_num_groups": features // GROUP,
        }

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
        """Predict what the process asks for.

        Args:
            x: noisy picture, and condition behind it: ``(B, out_channels + in_channels, H, W)``.
            timesteps: ``(B,)``, in [0, 1000].
            context: as ``DiffusionInferer`` calls it; always ``None``.

        Returns:
            ``(B, out_channels, H, W)``, float32.
        """
        with _checkpointed(self) if self.training and self.gradient_checkpointing else nullcontext():
            predicted = self._predict(pixel_unshuffle(x, self.unshuffle), timesteps)
        return pixel_shuffle(predicted, self.unshuffle).float()

    def _predict(self, blocks: Tensor, timesteps: Tensor) -> Tensor:
        predicted: Tensor = self.unet(blocks, timesteps)
        return predicted

    def __prepare_scriptable__(self) -> nn.Module:
        device = next(self.parameters()).device
        side = 2**self.levels
        example = torch.zeros(1, self.channels, side, side, device=device), torch.zeros(1, device=device)
        with torch.no_grad(), _portable_times(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of MONAI's looks at a shape
            traced: nn.Module = torch.jit.trace(copy.deepcopy(self).eval(), example, check_trace=False)
        return traced


@contextmanager
def _checkpointed(network: nn.Module) -> Iterator[None]:
    """The levels of MONAI's networks keep what enters them only; where a class is wrapped, names of weights change."""
    names = ("down_blocks", "up_blocks")
    lists = [part for name, part in network.named_modules() if name.rpartition(".")[2] in names]
    levels: list[nn.Module] = [level for part in lists for level in part.children()]
    for level in levels:
        level.__dict__["forward"] = partial(checkpoint, level.forward, use_reentrant=False)
    try:
        yield
    finally:
        for level in levels:
            del level.__dict__["forward"]


@contextmanager
def _portable_times() -> Iterator[None]:
    """While it is traced, embed times without naming a device: MONAI's function would write the example's down."""
    nets = "monai.networks.nets"
    with (
        mock.patch(f"{nets}.diffusion_model_unet.get_timestep_embedding", _embed_times),
        mock.patch(f"{nets}.controlnet.get_timestep_embedding", _embed_times),
    ):
        yield


def _embed_times(timesteps: Tensor, width: int) -> Tensor:
    """As MONAI's ``get_timestep_embedding``, ``(B, width)``, for an even width."""
    half = width // 2
    places = torch.ones_like(timesteps[:1].float()).expand(half).cumsum(0) - 1
    angles = timesteps[:, None].float() * torch.exp(-math.log(LONGEST_PERIOD) / half * places)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
