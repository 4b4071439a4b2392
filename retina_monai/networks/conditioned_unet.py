"""U-Net of a diffusion model whose condition is concatenated to the noisy picture.

Sources: concatenation as in Saharia et al., "Palette", SIGGRAPH 2022, https://arxiv.org/abs/2111.05826; pixel
unshuffling as in Hoogeboom et al., "simple diffusion", ICML 2023, https://arxiv.org/abs/2301.11093.
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
GROUP = 4  # channels per normalisation group at the outermost level


class ConditionedUNet(nn.Module):
    """MONAI's ``DiffusionModelUNet`` on pixel-unshuffled noisy pictures and conditions.

    MONAI's attention blocks cannot be scripted, so ``torch.jit.script`` returns a trace of this network. The levels of
    MONAI's network are called one by one, so that a trace runs on every device and levels can be checkpointed.

    Args:
        in_channels: channels of the condition.
        out_channels: channels of the picture.
        features: channels of the outermost level, a multiple of 4.
        multipliers: multiple of ``features`` at each level. Each level but the last halves the size.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        attention: number of innermost levels with attention; the middle block always has attention.
        unshuffle: side length of the pixel blocks that become one pixel of the U-Net; 1 disables unshuffling.
        gradient_checkpointing: whether to store only the inputs of each level in training and recompute the rest in the
            backward pass, which saves memory and takes more time.

    Raises:
        ValueError: ``unshuffle`` is not a power of two, or ``features`` is not a multiple of 4.
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
            raise ValueError(f"unshuffle must be a power of two, got {unshuffle}")
        if features < GROUP or features % GROUP:
            raise ValueError(f"features must be a multiple of {GROUP}, got {features}")
        self.channels = in_channels + out_channels
        self.out_channels = out_channels
        self.unshuffle = unshuffle
        self.levels = len(multipliers) - 1 + int(math.log2(unshuffle))
        self.gradient_checkpointing = gradient_checkpointing
        self.unet = DiffusionModelUNet(out_channels=out_channels * unshuffle**2, **self._settings())

    def _settings(self) -> dict[str, Any]:
        """Arguments of MONAI's networks."""
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
        """Predict the target of the diffusion process.

        Args:
            x: noisy picture followed by the condition, ``(B, out_channels + in_channels, H, W)``.
            timesteps: ``(B,)``, in [0, 1000].
            context: always ``None``; part of the interface of ``DiffusionInferer``.

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
        """Run the encoder of MONAI's U-Net or ControlNet.

        Args:
            network: network with the encoder.
            blocks: pixel-unshuffled input ``(B, C, H, W)``.
            timesteps: ``(B,)``.
            hint: embedded condition that a ControlNet adds to its first features.

        Returns:
            The embedding of the times, and the features of each skip connection.
        """
        parts: Any = network
        time = parts.time_embed(embed_times(timesteps, self.arguments["features"]).to(blocks.dtype))
        first = parts.conv_in(blocks)
        features = [first if hint is None else first + hint]
        for level in parts.down_blocks:
            features += self._run(level, features[-1], time)[1]
        return time, features

    def _decode(self, features: Tensor, skips: list[Tensor], time: Tensor) -> Tensor:
        """Run the decoder: middle features, skip features and time embedding -> output of the U-Net."""
        parts: Any = self.unet
        for level in parts.up_blocks:
            place = -len(level.resnets)
            features = self._run(level, features, skips[place:], time)
            skips = skips[:place]
        predicted: Tensor = parts.out(features)
        return predicted

    def _run(self, level: nn.Module, *inputs: Any) -> Any:
        """Run one level, with gradient checkpointing if enabled."""
        if self.training and self.gradient_checkpointing:
            return checkpoint(level, *inputs, use_reentrant=False)
        return level(*inputs)

    def __prepare_scriptable__(self) -> nn.Module:
        device = next(self.parameters()).device
        side = 2**self.levels
        example = torch.zeros(1, self.channels, side, side, device=device), torch.zeros(1, device=device)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # MONAI's code branches on shapes
            traced: nn.Module = torch.jit.trace(copy.deepcopy(self).eval(), example, check_trace=False)
        return traced


def embed_times(timesteps: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding of times, equal to MONAI's ``get_timestep_embedding`` but traceable for any device.

    Args:
        timesteps: ``(B,)``.
        width: width of the embedding, even.

    Returns:
        ``(B, width)``, float32.
    """
    half = width // 2
    places = torch.ones_like(timesteps[:1], dtype=torch.int64).expand(half).cumsum(0) - 1
    angles = timesteps[:, None].float() * torch.exp(-math.log(LONGEST_PERIOD) * places.float() / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
