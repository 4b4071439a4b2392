"""Weight initialisation of the pix2pix family.

``normal`` is the published initialisation (Isola et al. 2017, section 6.2; batch norm as in DCGAN). The others scale
with the size of a layer: ``xavier`` (Glorot, Bengio, AISTATS 2010, eq. 12, in its normal form), ``kaiming`` (He et al.,
ICCV 2015, eq. 10) and ``orthogonal`` (Saxe et al., ICLR 2014).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from retina_monai.networks.resize_convolution import ResizeConvolution

__all__ = ["INITIALIZATIONS", "initialize_weights"]

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, ResizeConvolution)
INITIALIZATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "normal": lambda weight, std: nn.init.normal_(weight, 0.0, std),
    "xavier": lambda weight, std: nn.init.xavier_normal_(weight),
    "kaiming": lambda weight, std: nn.init.kaiming_normal_(weight),
    "orthogonal": lambda weight, std: nn.init.orthogonal_(weight),
}


def initialize_weights(network: nn.Module, std: float = 0.02, initialization: str = "normal") -> nn.Module:
    """Initialise convolutions and norms at random, set biases to 0, and return the network.

    Args:
        network: network to change in place; seed torch first for reproducible weights.
        std: standard deviation of norm weights, N(1, std), and with ``normal`` of convolution weights, N(0, std).
        initialization: initialisation of convolution weights: ``normal``, ``xavier``, ``kaiming`` or ``orthogonal``.

    Raises:
        ValueError: the initialisation is unknown.
    """
    if initialization not in INITIALIZATIONS:
        raise ValueError(f"initialization must be one of {', '.join(INITIALIZATIONS)}, got {initialization!r}")
    draw = INITIALIZATIONS[initialization]
    for module in network.modules():
        if isinstance(module, (*CONVOLUTIONS, nn.BatchNorm2d, nn.InstanceNorm2d)) and module.weight is not None:
            if isinstance(module, CONVOLUTIONS):
                draw(module.weight, std)
            else:
                nn.init.normal_(module.weight, 1.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
