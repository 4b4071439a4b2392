"""LaMa's generator: downsamplings, residual blocks of fast Fourier convolutions, and upsamplings.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022
(https://arxiv.org/abs/2109.07161). With 64 features and 3 downsamplings it has 27.05 M weights for 9 blocks and 50.98 M
for 18 blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from retina_monai.networks.fourier_convolution import NORMS, FourierConvolution
from retina_monai.networks.resize_convolution import ResizeConvolution
from retina_monai.networks.unet import Binomial
from retina_monai.settings import COUNT, INDEX, SHARE_BELOW_1, Rule

__all__ = ["LamaGenerator"]

UPSAMPLINGS = ("transpose", "smooth")

SETTINGS: dict[str, Rule] = {
    "features": COUNT,
    "downsamplings": COUNT,
    "blocks": INDEX,
    "global_share": SHARE_BELOW_1,
    "blend": INDEX,
}


class LamaGenerator(nn.Module):
    """Inpaint the unknown pixels of a picture.

    In training mode it paints known pixels as well, for the losses. In evaluation mode it returns known pixels
    unchanged, bit for bit.

    Args:
        in_channels: channels of the picture, of its mask, and of further masks that guide the painting, if any.
        out_channels: channels of the picture.
        features: channels of the first convolution, doubled by each downsampling.
        downsamplings: number of downsamplings and of upsamplings.
        blocks: number of residual blocks with two Fourier convolutions each.
        global_share: share of global channels in a residual block; 0 gives plain convolutions.
        norm: ``batch``, as published, or ``instance``, which does not depend on the batch or on running statistics.
        upsampling: ``transpose`` (3x3 transposed convolution, as published) or ``smooth`` (nearest neighbour, a 3x3
            convolution and a binomial blur, as in :class:`retina_monai.networks.Pix2PixUNet`).
        blend: width in pixels over which known and painted pixels are blended, inside the border of the known pixels,
            including the black outside the field of view; 0 gives a hard edge.

    Raises:
        ValueError: the norm or the kind of upsampling is unknown, or ``blend`` is negative.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 3,
        features: int = 64,
        downsamplings: int = 3,
        blocks: int = 9,
        global_share: float = 0.75,
        norm: str = "batch",
        upsampling: str = "transpose",
        blend: int = 0,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "features": features,
            "downsamplings": downsamplings,
            "blocks": blocks,
            "global_share": global_share,
            "norm": norm,
            "upsampling": upsampling,
            "blend": blend,
        }
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}, got {upsampling!r}")
        if blend < 0:
            raise ValueError(f"blend must be at least 0, got {blend}")
        self.factor, self.colors = 2**downsamplings, out_channels
        self.blend = blend
        widths = [features * 2**level for level in range(downsamplings + 1)]
        layers: list[nn.Module] = [FourierConvolution(in_channels, widths[0], 0, 0, kernel_size=7, norm=norm)]
        for level in range(downsamplings):
            share = global_share if level == downsamplings - 1 else 0.0
            layers.append(FourierConvolution(widths[level], widths[level + 1], 0, share, stride=2, norm=norm))
        layers += [_ResidualBlock(widths[-1], global_share, norm) for _ in range(blocks)]
        for level in range(downsamplings, 0, -1):
            layers += _upsample(widths[level], widths[level - 1], upsampling)
            layers += [NORMS[norm](widths[level - 1]), nn.ReLU()]
        layers += [nn.Conv2d(widths[0], out_channels, 7, padding=3, padding_mode="reflect")]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Picture and masks ``(B, in_channels, H, W)`` in [-1, 1] -> picture ``(B, out_channels, H, W)`` in [-1, 1].

        The mask is -1 on known pixels and above 0 on pixels to paint: 1, or less near vessels
        (:class:`retina_monai.transforms.OutpaintingConditiond`). The picture is ignored on pixels to paint. Internally
        values are in [0, 1], with 0 for unknown pixels, as published. Sizes that are not a multiple of
        ``2 ** downsamplings`` are padded by reflection and cropped afterwards.
        """
        height, width = image.shape[-2], image.shape[-1]
        picture, masks = image[:, : self.colors], image[:, self.colors :]
        known = (masks[:, :1] <= 0).to(image.dtype)
        shown = torch.cat([(picture + 1) / 2 * known, (masks + 1) / 2], dim=1)
        below, right = -height % self.factor, -width % self.factor
        logits: Tensor = self.layers(pad(shown, [0, right, 0, below], mode="reflect"))
        painted = torch.sigmoid(logits[:, :, :height, :width].float()) * 2 - 1  # bfloat16 cannot resolve grey levels
        return painted if self.training else self._composite(painted, picture, known)

    def _composite(self, painted: Tensor, picture: Tensor, known: Tensor) -> Tensor:
        """Known pixels of the picture and painted pixels elsewhere, blended near the border of the known pixels."""
        weight = known
        if self.blend > 0:
            weight = known * avg_pool2d(known, 2 * self.blend + 1, 1, self.blend, count_include_pad=False)
        return torch.where(weight == 1, picture, painted + weight * (picture - painted))


class _ResidualBlock(nn.Module):
    """Two Fourier convolutions with a residual connection."""

    def __init__(self, channels: int, global_share: float, norm: str) -> None:
        super().__init__()
        convolutions = [FourierConvolution(channels, channels, global_share, global_share, norm=norm) for _ in range(2)]
        self.convolutions = nn.Sequential(*convolutions)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` -> same shape."""
        residual: Tensor = self.convolutions(image)
        return image + residual


def _upsample(inputs: int, outputs: int, kind: str) -> list[nn.Module]:
    if kind == "transpose":
        return [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)]
    return [ResizeConvolution(inputs, outputs, bias=False), Binomial()]
