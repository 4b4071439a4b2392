"""IterNet: a U-Net, and small U-Nets that mend its vessel map again and again (Li et al., WACV 2020).

Source: https://arxiv.org/abs/1912.05763. The small U-Net is one, used in every iteration; it sees the features of the
former one and, by dense skips, the first features of all before it, so that a vessel that was broken off can be found
again. Each iteration's vessel map is supervised.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from retina_monai.settings import COUNT, INDEX, SHARE_BELOW_1, SIDE, Number, Rule

__all__ = ["IterNet", "LocalContrast"]

NORMS = ("batch", "none")
TINY = 1e-3  # share of the surroundings below which nothing is divided by it
FLAT = 1e-4  # variance of a picture without any contrast: what is below it is not made larger

SETTINGS: dict[str, Rule] = {
    "features": COUNT,
    "levels": Number(2, whole=True),
    "iterations": INDEX,
    "small_levels": Number(2, whole=True),
    "dropout": SHARE_BELOW_1,
    "window": SIDE,
}


class IterNet(nn.Module):
    """Vessel map from a photograph of any size and camera.

    The photograph becomes a :class:`LocalContrast` first, then passes the U-Net and the iterations. 32 features, 5
    levels, 3 iterations of 3 levels, no norm and dropout 0.1 are those of the authors' code (they give it three colours
    and use transposed convolutions, where this one doubles bilinearly after a 1x1 convolution).

    Args:
        features: channels of the first level; doubled at each level.
        levels: of the U-Net, at least 2.
        iterations: how often the small U-Net is used, at least 0.
        small_levels: of the small U-Net, at least 2.
        norm: ``batch`` or ``none``, after each convolution.
        dropout: probability after each convolution.

    Raises:
        ValueError: fewer levels or iterations, or an unknown norm.
    """

    def __init__(
        self,
        features: int = 16,
        levels: int = 4,
        iterations: int = 3,
        small_levels: int = 3,
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(levels, small_levels) < 2 or iterations < 0:
            raise ValueError(
                f"levels and small_levels must be at least 2 and iterations at least 0, not {levels}, {small_levels} "
                f"and {iterations}"
            )
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {norm!r}")
        self.arguments = {
            "features": features,
            "levels": levels,
            "iterations": iterations,
            "small_levels": small_levels,
            "norm": norm,
            "dropout": dropout,
        }
        self.factor = 2 ** max(levels, small_levels) // 2
        self.contrast = LocalContrast()
        self.first = _block(1, features, norm, dropout)
        self.unet = _UNet(features, levels, norm, dropout)
        self.again = _block(features, features, norm, dropout)
        self.small_unet = _UNet(features, small_levels, norm, dropout)
        self.mixes = nn.ModuleList(nn.Conv2d((n + 2) * features, features, 1) for n in range(iterations))
        self.heads = nn.ModuleList(nn.Conv2d(features, 1, 1) for _ in range(iterations + 1))
        for weight in self.parameters():  # else half as slow again, on a CPU in bfloat16
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Photograph -> vessel map; in training one of each iteration.

        Args:
            image: ``(B, 3, H, W)``, RGB in [-1, 1], black (-1) outside of the field of view; of any size.

        Returns:
            In evaluation mode the last iteration's probabilities ``(B, 1, H, W)`` in [0, 1]; in training mode the
            logits of all, ``(B, iterations + 1, H, W)``, the last of which are those.
        """
        return self.segment_contrast(self.contrast(image))

    def segment_contrast(self, contrast: Tensor) -> Tensor:
        """Local contrast ``(B, 1, H, W)`` -> vessel map, as :meth:`forward` returns it."""
        height, width = contrast.shape[-2], contrast.shape[-1]
        x = pad(contrast, [0, (-width) % self.factor, 0, (-height) % self.factor])
        skips = [self.first(x.contiguous(memory_format=torch.channels_last))]
        features = [self.unet(skips[0])]
        for mix in self.mixes:
            skips.append(self.again(features[-1]))
            features.append(self.small_unet(mix(torch.cat(skips, dim=1))))
        maps: list[Tensor] = []
        for place, head in enumerate(self.heads):
            maps.append(head(features[place]))
        if self.training:
            return torch.cat(maps, dim=1)[..., :height, :width]
        return maps[-1][..., :height, :width].float().sigmoid()


class LocalContrast(nn.Module):
    """Green light against its surroundings, in local standard deviations: what a camera adds to a photograph cancels.

    Of the logarithm of the light, since a vessel takes away a share of it: a brighter flash adds, another colour of the
    light adds, and the mean of the surroundings takes it away again; a steeper contrast multiplies, and the local
    standard deviation takes that away. Surroundings are boxes, three times over (nearly Gaussian, and cheap), and what
    is black lies outside of the field of view and counts for nothing. So does what lies beyond the frame: otherwise the
    dark rim of an eye that touches it looks like a vessel. There is nothing to learn in it.

    Args:
        near: pixels to each side of the box of the mean.
        far: of the standard deviation.
        black: on the scale of [-1, 1]; where no channel is brighter, and two pixels around it, is outside.
    """

    def __init__(self, near: int = 10, far: int = 24, black: float = -0.94) -> None:
        super().__init__()
        self.near = near
        self.far = far
        self.black = black
        self.flat = FLAT

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] -> ``(B, 1, H, W)``, float32: 0 outside, about -3 to 3 inside."""
        seen = (image.amax(dim=1, keepdim=True) > self.black).float()
        inside = -max_pool2d(-pad(seen, [2, 2, 2, 2]), 5, 1)
        light = torch.log1p((image[:, 1:2].float() + 1) * 127.5)
        detail = (light - _around(light, inside, self.near)) * inside
        return detail / torch.sqrt(_around(detail * detail, inside, self.far) + self.flat)


class _UNet(nn.Module):
    """From the features of its first level to new ones of that level."""

    def __init__(self, features: int, levels: int, norm: str, dropout: float) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_block(*pair, norm, dropout) for pair in pairwise(widths))
        self.up = nn.ModuleList(
            _Up(deep, shallow, norm, dropout) for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = [x]
        for block in self.down:
            skips.append(block(max_pool2d(skips[-1], 2)))
        x = skips[-1]
        for place, block in enumerate(self.up):
            x = block(x, skips[-2 - place])
        return x


class _Up(nn.Module):
    """Double the size and take in the skip."""

    def __init__(self, inputs: int, outputs: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.block = _block(2 * outputs, outputs, norm, dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        grown = interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        mixed: Tensor = self.block(torch.cat([skip, grown], dim=1))
        return mixed


def _block(inputs: int, outputs: int, norm: str, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=norm == "none"))
        layers += [nn.BatchNorm2d(outputs)] if norm == "batch" else []
        layers += [nn.ReLU(), *([nn.Dropout(dropout)] if dropout > 0 else [])]
    return nn.Sequential(*layers)


def _around(values: Tensor, weight: Tensor, reach: int, tiny: float = TINY) -> Tensor:
    """Weighted mean of the surroundings of each pixel, ``(B, 1, H, W)``."""
    return _smooth(values * weight, reach) / _smooth(weight, reach).clamp_min(tiny)


def _smooth(values: Tensor, reach: int) -> Tensor:
    """Three boxes, rows and columns apart; zeros lie around the picture."""
    for _ in range(3):
        values = avg_pool2d(values, (2 * reach + 1, 1), 1, (reach, 0))
        values = avg_pool2d(values, (1, 2 * reach + 1), 1, (0, reach))
    return values
