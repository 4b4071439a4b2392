"""An unconditional U-Net controlled by a ControlNet.

Source: Zhang, Rao and Agrawala, "Adding Conditional Control to Text-to-Image Diffusion Models", ICCV 2023,
https://arxiv.org/abs/2302.05543.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.networks.nets import ControlNet
from torch import Tensor

from retina_monai.networks.conditioned_unet import ConditionedUNet

__all__ = ["ControlledUNet"]


class ControlledUNet(ConditionedUNet):
    """A U-Net without the condition, and MONAI's ``ControlNet``, which gets the condition and corrects its features.

    Args:
        settings: as for :class:`ConditionedUNet`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        embedding = {
            "conditioning_embedding_in_channels": self.arguments["in_channels"] * self.unshuffle**2,
            "conditioning_embedding_num_channels": (self.arguments["features"],),
        }
        self.controlnet = ControlNet(**self._settings(), **embedding)

    def start_from(self, unet: Mapping[str, Tensor]) -> ControlledUNet:
        """Initialise as in the paper: the U-Net gets the given weights, frozen, and the ControlNet a copy of them.

        Args:
            unet: state of a :class:`ConditionedUNet` with the same settings, trained with condition dropout.

        Raises:
            RuntimeError: the state belongs to another network.
        """
        controlnet = {f"controlnet.{key}": value for key, value in self.controlnet.state_dict().items()}
        if present := sorted(set(unet) & set(controlnet)):
            raise RuntimeError(f"the weights already have a ControlNet: {present[0]}")
        self.load_state_dict({**unet, **controlnet})
        self.unet.requires_grad_(False)
        self.controlnet.load_state_dict(self.unet.state_dict(), strict=False)
        return self

    def _predict(self, blocks: Tensor, timesteps: Tensor) -> Tensor:
        split = self.out_channels * self.unshuffle**2
        picture, condition = blocks[:, :split], blocks[:, split:]
        blind = torch.cat([picture, torch.zeros_like(condition)], dim=1)
        control = self.controlnet
        time, features = self._encode(control, blind, timesteps, control.controlnet_cond_embedding(condition))
        middle = control.controlnet_mid_block(control.middle_block(features[-1], time))
        corrections = [block(part) for block, part in zip(control.controlnet_down_blocks, features, strict=True)]
        time, features = self._encode(self.unet, blind, timesteps)
        skips = [part + correction for part, correction in zip(features, corrections, strict=True)]
        return self._decode(self.unet.middle_block(features[-1], time) + middle, skips, time)
