"""LaMa's generator: a few downsamplings, residual blocks of fast Fourier convolutions, as many upsamplings.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022
(https://arxiv.org/abs/2109.07161): with 64 features, 3 downsamplings and 9 blocks 27.05 M weights, with 18 blocks
50.98 M.
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
    """Paints what of a picture is not known.

    While it trains, it paints known pixels as well, for the losses to look at; in evaluation mode these are as they
    came in, bit for bit.

    Args:
        in_channels: of the picture and its mask, which comes last.
        out_channels: of the picture.
        features: of the first convolution, doubled by each downsampling.
        downsamplings: how often the picture is halved, and doubled again.
        blocks: residual blocks of two Fourier convolutions each.
        global_share: of a residual block's channels that are global; 0: plain convolutions.
        norm: ``batch``, as published, or ``instance``, the same in training and in use whatever the batch.
        upsampling: ``transpose`` (3x3 transposed convolution, as published) or ``smooth`` (nearest neighbour, a 3x3
            convolution and a binomial blur, as in :class:`retina_monai.networks.Pix2PixUNet`).
        blend: pixels over which known and painted blend inside the border of what is known, the black outside of the
            field of view too; 0: a hard edge.

    Raises:
        ValueError: an unknown norm or kind of upsampling, or a negative blend.
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
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}, not {upsampling!r}")
        if blend < 0:
            raise ValueError(f"blend must be at least 0, not {blend}")
        self.factor = 2**downsamplings
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
        """Picture and mask ``(B, in_channels, H, W)`` in [-1, 1] -> picture ``(B, out_channels, H, W)`` in [-1, 1].

        The mask is -1 where the picture is known and above 0 where it is to be painted: 1, or less near vessels
        (:class:`retina_monai.transforms.OutpaintingConditiond`). What the picture holds where it is to be painted does
        not count. Inside, all is in [0, 1] with 0 for the unknown, as published. Sizes that are no multiple of
        ``2 ** downsamplings`` are padded by reflection and cut again.
        """
        height, width = image.shape[-2], image.shape[-1]
        positive, known = (image + 1) / 2, (image[:, -1:] <= 0).to(image.dtype)
        shown = torch.cat([positive[:, :-1] * known, positive[:, -1:]], dim=1)
        below, right = -height % self.factor, -width % self.factor
        logits: Tensor = self.layers(pad(shown, [0, right, 0, below], mode="reflect"))
        painted = torch.sigmoid(logits[:, :, :height, :width].float()) * 2 - 1  # bfloat16 has whole grey levels alone
        return painted if self.training else self._composite(painted, image[:, :-1], known)

    def _composite(self, painted: Tensor, picture: Tensor, known: Tensor) -> Tensor:
        """Known pixels from the picture, the others painted; a blend of both near the border of the known."""
        weight = known
        if self.blend > 0:
            weight = known * avg_pool2d(known, 2 * self.blend + 1, 1, self.blend, count_include_pad=False)
        return torch.where(weight == 1, picture, painted + weight * (picture - painted))


class _ResidualBlock(nn.Module):
    """What it is given, and two Fourier convolutions of it."""

    def __init__(self, channels: int, global_share: float, norm: str) -> None:
        super().__init__()
        convolutions = [FourierConvolution(channels, channels, global_share, global_share, norm=norm) for _ in range(2)]
        self.convolutions = nn.Sequential(*convolutions)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, H, W)`` -> the same shape."""
        mended: Tensor = self.convolutions(image)
        return image + mended


def _upsample(inputs: int, outputs: int, kind: str) -> list[nn.Module]:
    if kind == "transpose":
        return [nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)]
    return [ResizeConvolution(inputs, outputs, bias=False), Binomial()]
