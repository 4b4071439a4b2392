"""The U-Net of a diffusion model whose condition lies behind the noisy picture, channel by channel.

Source: concatenation as by Saharia et al., "Palette", SIGGRAPH 2022, https://arxiv.org/abs/2111.05826; blocks of pixels
as channels as by Hoogeboom et al., "simple diffusion", ICML 2023, https://arxiv.org/abs/2301.11093.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Any

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

    It scripts as what is traced of it, since MONAI's attention blocks do not script. MONAI's network is run level by
    level here, so that a trace fits every device and levels can be checkpointed.

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
        arguments = self.arguments
        features, levels = arguments["features"], len(arguments["multipliers"])
        return {
            "spatial_dims": 2,
            "in_channels": self.channels * self.unshuffle**2,
            "channels": [features * multiplier for multiplier in arguments["multipliers"]],
            "num_res_blocks": arguments["blocks"],
            "attention_levels": [level >= levels - arguments["attention"] for level in range(levels)],
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
        predicted = self._predict(pixel_unshuffle(x, self.unshuffle), timesteps)
        return pixel_shuffle(predicted, self.unshuffle).float()

    def _predict(self, blocks: Tensor, timesteps: Tensor) -> Tensor:
        time, features = self._encode(self.unet, blocks, timesteps)
        return self._decode(self.unet.middle_block(features[-1], time), features, time)

    def _encode(
        self, network: nn.Module, blocks: Tensor, timesteps: Tensor, hint: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """The encoder of MONAI's U-Net or ControlNet: embedding of the time, and features for each skip connection.

        Args:
            network: has the encoder.
            blocks: ``(B, C, H, W)``.
            timesteps: ``(B,)``.
            hint: what a ControlNet adds to its first features.
        """
        parts: Any = network
        time = parts.time_embed(embed_times(timesteps, self.arguments["features"]).to(blocks.dtype))
        first = parts.conv_in(blocks)
        features = [first if hint is None else first + hint]
        for level in parts.down_blocks:
            features += self._run(level, features[-1], time)[1]
        return time, features

    def _decode(self, features: Tensor, skips: list[Tensor], time: Tensor) -> Tensor:
        """Features of the middle, those of the skip connections and the embedded time -> the U-Net's output."""
        parts: Any = self.unet
        for level in parts.up_blocks:
            place = -len(level.resnets)
            features = self._run(level, features, skips[place:], time)
            skips = skips[:place]
        predicted: Tensor = parts.out(features)
        return predicted

    def _run(self, level: nn.Module, *inputs: Any) -> Any:
        """One level, of which only the inputs are kept if gradients are checkpointed."""
        if self.training and self.gradient_checkpointing:
            return checkpoint(level, *inputs, use_reentrant=False)
        return level(*inputs)

    def __prepare_scriptable__(self) -> nn.Module:
        device = next(self.parameters()).device
        side = 2**self.levels
        example = torch.zeros(1, self.channels, side, side, device=device), torch.zeros(1, device=device)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of MONAI's looks at a shape
            traced: nn.Module = torch.jit.trace(copy.deepcopy(self).eval(), example, check_trace=False)
        return traced


def embed_times(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of times, equal to MONAI's ``get_timestep_embedding``, whose trace runs on one device only.

    Args:
        timesteps: ``(B,)``.
        width: of the embedding, even.

    Returns:
        ``(B, width)``, float32.
    """
    half = width // 2
    places = torch.ones_like(timesteps[:1], dtype=torch.int64).expand(half).cumsum(0) - 1
    angles = timesteps[:, None].float() * torch.exp(-math.log(LONGEST_PERIOD) * places.float() / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
