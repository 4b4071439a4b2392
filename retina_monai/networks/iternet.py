"""IterNet: a U-Net, and a small U-Net that refines its vessel map iteratively (Li et al., WACV 2020).

Source: https://arxiv.org/abs/1912.05763. All iterations share the small U-Net. It gets the features of the previous
iteration and, through dense skips, the first features of all earlier ones, so that it can reconnect broken vessels.
The vessel map of each iteration is supervised.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from retina_monai.settings import COUNT, INDEX, SHARE_BELOW_1, SIDE, Number, Rule

__all__ = ["IterNet", "LocalContrast"]

NORMS = ("batch", "none")
TINY = 1e-3  # lower bound of the share by which sums are divided
FLAT = 1e-4  # added to the local variance, so that noise in flat regions is not amplified

SETTINGS: dict[str, Rule] = {
    "features": COUNT,
    "levels": Number(2, whole=True),
    "iterations": INDEX,
    "small_levels": Number(2, whole=True),
    "dropout": SHARE_BELOW_1,
    "window": SIDE,
}


class IterNet(nn.Module):
    """Segment the vessels of photographs of any size and camera.

    A photograph is first converted to :class:`LocalContrast`, then passed through the U-Net and the iterations. The
    authors' code uses 32 features, 5 levels, 3 iterations of 3 levels, no norm and dropout 0.1. It differs in two
    points: its input is RGB, and it upsamples by transposed convolutions instead of a 1x1 convolution and bilinear
    interpolation.

    Args:
        features: channels of the first level; doubled at each level.
        levels: levels of the U-Net, at least 2.
        iterations: number of passes through the small U-Net, at least 0.
        small_levels: levels of the small U-Net, at least 2.
        norm: ``batch`` or ``none``, after each convolution.
        dropout: dropout probability after each convolution.

    Raises:
        ValueError: a number is too small, or the norm is unknown.
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
                f"levels and small_levels must be at least 2 and iterations at least 0, got {levels}, {small_levels} "
                f"and {iterations}"
            )
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
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
        for weight in self.parameters():  # 1.5 times faster on a CPU in bfloat16
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> Tensor:
        """Segment photographs.

        Args:
            image: ``(B, 3, H, W)``, RGB in [-1, 1], black (-1) outside the field of view; of any size.

        Returns:
            In evaluation mode the probabilities of the last iteration, ``(B, 1, H, W)`` in [0, 1]. In training mode the
            logits of all iterations, ``(B, iterations + 1, H, W)``.
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
    """Local contrast of the green channel, which is invariant to illumination and contrast of the camera.

    It is computed on the logarithm of the light, since a vessel absorbs a share of it. The brightness and colour of the
    flash are then additive, and subtracting the local mean removes them. A steeper contrast is multiplicative, and
    dividing by the local standard deviation removes it. The local windows are three successive box filters, which
    approximate a Gaussian. Black pixels outside the field of view and pixels beyond the frame have no weight;
    otherwise the dark rim of an eye that touches the frame would look like a vessel. The module has no parameters.

    Args:
        near: radius in pixels of the boxes for the mean.
        far: radius in pixels of the boxes for the standard deviation.
        black: threshold on the scale of [-1, 1]. Pixels without a brighter channel, and a margin of two pixels around
            them, are outside the field of view.
    """

    def __init__(self, near: int = 10, far: int = 24, black: float = -0.94) -> None:
        super().__init__()
        self.near = near
        self.far = far
        self.black = black
        self.flat = FLAT

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] -> ``(B, 1, H, W)``, float32: about -3 to 3, and 0 outside the field of view."""
        seen = (image.amax(dim=1, keepdim=True) > self.black).float()
        inside = -max_pool2d(-pad(seen, [2, 2, 2, 2]), 5, 1)
        light = torch.log1p((image[:, 1:2].float() + 1) * 127.5)
        detail = (light - _around(light, inside, self.near)) * inside
        return detail / torch.sqrt(_around(detail * detail, inside, self.far) + self.flat)


class _UNet(nn.Module):
    """A U-Net on features; input and output have the same shape."""

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
    """Double the size and merge the skip connection."""

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
    """Weighted local mean around each pixel, ``(B, 1, H, W)``."""
    return _smooth(values * weight, reach) / _smooth(weight, reach).clamp_min(tiny)


def _smooth(values: Tensor, reach: int) -> Tensor:
    """Three separable box filters with zero padding."""
    for _ in range(3):
        values = avg_pool2d(values, (2 * reach + 1, 1), 1, (reach, 0))
        values = avg_pool2d(values, (1, 2 * reach + 1), 1, (0, reach))
    return values
