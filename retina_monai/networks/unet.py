"""The generator of pix2pix: an encoder-decoder with skips (Isola et al., CVPR 2017, section 6.1.1).

Source: https://arxiv.org/abs/1611.07004
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from retina_monai.networks.circle import inscribed_circle
from retina_monai.networks.resize_convolution import ResizeConvolution
from retina_monai.settings import COUNT, INDEX, SHARE_BELOW_1, Number, Rule

__all__ = ["Pix2PixUNet"]

DROPOUT_LEVELS = 3
WIDEST = 8
NORMS = ("batch", "instance", "none")
UPSAMPLINGS = ("transpose", "resize", "smooth")

SETTINGS: dict[str, Rule] = {
    "levels": Number(2, whole=True),
    "features": COUNT,
    "dropout": SHARE_BELOW_1,
    "detail": INDEX,
}


class Pix2PixUNet(nn.Module):
    """U-Net of pix2pix: 4x4 stride-2 convolutions, a mirrored decoder, concatenated skips, and a final tanh.

    The outermost and the bottleneck layers have no norm, so that batch size 1 works with a bottleneck of one pixel. The
    published generator has eight levels, 64 features and batch norm (54.4 M parameters).

    Args:
        in_channels: channels of the condition.
        out_channels: channels of the image.
        levels: number of times the size is halved, at least 2.
        features: channels after the first convolution; doubled at each level up to eight times this number.
        dropout: dropout probability in the three innermost decoder blocks, including that of the bottleneck.
        norm: ``batch``, ``instance`` or ``none``.
        upsampling: ``transpose`` (4x4 transposed convolution, as published), ``resize`` (nearest neighbour, then a 3x3
            convolution, which reduces checkerboard artefacts: Odena et al. 2016) or ``smooth`` (the same, then a
            binomial blur, which removes patterns that alternate from pixel to pixel: Zhang, ICML 2019,
            https://arxiv.org/abs/1904.11486).
        detail: channels of a branch at full resolution, which preserves vessels one pixel wide; the outermost skip has
            half the resolution. 0 disables it, as published.
        circular_fov: whether to set pixels outside the inscribed circle to black (-1), the default field of view of a
            fundus photograph that is cropped and padded square.
        inside_map: whether to set pixels to black where the first channel of the condition, the share covered by
            vessels, is less than one half. The output is then a colour vessel mask.

    Raises:
        ValueError: ``levels`` is less than 2, or the norm or the kind of upsampling is unknown.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 3,
        levels: int = 8,
        features: int = 64,
        dropout: float = 0.5,
        norm: str = "batch",
        upsampling: str = "transpose",
        detail: int = 0,
        circular_fov: bool = False,
        inside_map: bool = False,
    ) -> None:
        super().__init__()
        self.arguments = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "levels": levels,
            "features": features,
            "dropout": dropout,
            "norm": norm,
            "upsampling": upsampling,
            "detail": detail,
            "circular_fov": circular_fov,
            "inside_map": inside_map,
        }
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        if upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}, got {upsampling!r}")
        self.levels = levels
        self.circular_fov = circular_fov
        self.inside_map = inside_map
        widths = [features * min(2**level, WIDEST) for level in range(levels)]
        self.encoder = nn.ModuleList([nn.Conv2d(in_channels, widths[0], 4, 2, 1)])
        for level in range(1, levels):
            last = level == levels - 1
            self.encoder.append(_encoder_block(widths[level - 1], widths[level], "none" if last else norm))
        self.decoder = nn.ModuleList()
        for level in range(levels - 1, 0, -1):
            skipped = 1 if level == levels - 1 else 2
            depth = levels - 1 - level
            rate = dropout if depth < DROPOUT_LEVELS else 0.0
            self.decoder.append(_decoder_block(skipped * widths[level], widths[level - 1], norm, upsampling, rate))
        self.detail = _detail_block(in_channels, detail) if detail else None
        outermost = _upsample(2 * widths[0], detail or out_channels, upsampling, bias=True)
        self.head = nn.Sequential(nn.ReLU(), *outermost, *([] if detail else [nn.Tanh()]))
        self.finish = _finish(2 * detail, out_channels) if detail else None

    def forward(self, image: Tensor) -> Tensor:
        """Condition ``(B, in_channels, H, W)`` in [-1, 1] -> picture ``(B, out_channels, H, W)`` in [-1, 1].

        Raises:
            ValueError: height or width is not divisible by ``2 ** levels``.
        """
        factor = 2**self.levels
        height, width = image.shape[-2], image.shape[-1]
        if height % factor != 0 or width % factor != 0:
            raise ValueError(
                f"the size must be divisible by 2^{self.levels} = {factor}, got {height} x {width}: "
                "resize the picture or build the network with fewer levels"
            )
        skips: list[Tensor] = []
        x = image
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        for index, block in enumerate(self.decoder):
            x = torch.cat([block(x), skips[self.levels - 2 - index]], dim=1)
        pred = self.head(x)
        if self.detail is not None and self.finish is not None:
            pred = self.finish(torch.cat([pred, self.detail(image)], dim=1))
        if self.circular_fov:
            inside = inscribed_circle(pred)
            pred = pred * inside + (inside - 1)
        if self.inside_map:
            covered = (image[:, :1] >= 0).to(pred.dtype)
            pred = pred * covered + (covered - 1)
        return pred


class Binomial(nn.Module):
    """Blur with (1, 2, 1) x (1, 2, 1) / 16; at the border only pixels inside the picture are averaged."""

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> same shape."""
        between = avg_pool2d(image, 2, stride=1, padding=1, count_include_pad=False)
        return avg_pool2d(between, 2, stride=1)


def _encoder_block(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm == "none")
    return nn.Sequential(nn.LeakyReLU(0.2), convolution, *_norm(norm, outputs))


def _decoder_block(inputs: int, outputs: int, norm: str, upsampling: str, dropout: float) -> nn.Sequential:
    layers = [nn.ReLU(), *_upsample(inputs, outputs, upsampling, bias=norm == "none"), *_norm(norm, outputs)]
    return nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout > 0 else []))


def _upsample(inputs: int, outputs: int, kind: str, bias: bool) -> list[nn.Module]:
    if kind == "transpose":
        return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)]
    return [ResizeConvolution(inputs, outputs, bias), *([Binomial()] if kind == "smooth" else [])]


def _detail_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(outputs, outputs, 3, 1, 1))


def _finish(inputs: int, outputs: int) -> nn.Sequential:
    half = inputs // 2
    layers = [nn.LeakyReLU(0.2), nn.Conv2d(inputs, half, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(half, outputs, 3, 1, 1)]
    return nn.Sequential(*layers, nn.Tanh())


def _norm(kind: str, channels: int) -> list[nn.Module]:
    if kind == "batch":
        return [nn.BatchNorm2d(channels)]
    return [nn.InstanceNorm2d(channels, affine=True)] if kind == "instance" else []
