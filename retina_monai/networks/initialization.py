"""Starting weights of the pix2pix family (Isola et al. 2017, section 6.2; the batch-norm part is DCGAN's)."""

from __future__ import annotations

from torch import nn

from retina_monai.networks.resize_convolution import ResizeConvolution

__all__ = ["initialize_weights"]

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, ResizeConvolution)


def initialize_weights(network: nn.Module, std: float = 0.02) -> nn.Module:
    """Draw convolution weights from N(0, std), norm weights from N(1, std), set biases to 0; return the network.

    Args:
        network: changed in place; seed torch first for a repeatable start.
        std: standard deviation of both.
    """
    for module in network.modules():
        if isinstance(module, (*CONVOLUTIONS, nn.BatchNorm2d, nn.InstanceNorm2d)) and module.weight is not None:
            nn.init.normal_(module.weight, 0.0 if isinstance(module, CONVOLUTIONS) else 1.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
