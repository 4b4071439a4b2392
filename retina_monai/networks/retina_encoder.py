"""The retina encoder: a small convolutional network whose pooled features describe a fundus photograph.

Metrics of sets of photographs (KID, FID, precision and recall, nearest neighbours) compare their features. Those of
Inception-v3 were learned on everyday objects. These are learned on eyes, by predicting the contents and degradations of
photographs (:class:`MultiTaskEncoder`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from retina_monai.group import whole_batch
from retina_monai.settings import COUNT, Rule

__all__ = ["MultiTaskEncoder", "RetinaEncoder"]

DARK = 0.12  # above -1; a pixel without a brighter channel is treated as black
MOMENTUM = 0.01  # of the running mean and variance, per batch
SLOW = 0.001  # momentum of the running covariance, per photograph
FAINT = 0.01  # added to the variance, so that directions of smaller variance are not scaled up to 1
TINY = 1e-4

SETTINGS: dict[str, Rule] = {
    "features": COUNT,
    "width": COUNT,
}


class RetinaEncoder(nn.Module):
    """Photograph -> features: four downsampling stages with batch norm, then global average pooling.

    Pixels as dark as the background (which JPEG does not keep exactly black) are set to black first, so that pixels
    outside the field of view have no influence. Over unmodified photographs the features are whitened: mean 0, variance
    1 and hardly any correlation. A distance thus weights all directions equally, and deviations in directions in which
    photographs hardly vary count for much.

    Args:
        features: number of features D.
        width: channels of the first convolution; up to eight times as many in later layers.
        size: side length in pixels to which every picture is resized, a multiple of 16.

    Raises:
        ValueError: ``size`` is not a multiple of 16.
    """

    def __init__(self, features: int = 96, width: int = 16, size: int = 256) -> None:
        super().__init__()
        if size < 16 or size % 16:
            raise ValueError(f"size must be a multiple of 16, got {size}")
        self.arguments = {"features": features, "width": width, "size": size}
        self.features = features
        self.trunk = nn.Sequential(
            _Frame(size),
            nn.Conv2d(3, width, 4, 2, 1),
            nn.ReLU(),
            *_halve(width, 2 * width, 1),
            *_halve(2 * width, 4 * width, 2),
            *_halve(4 * width, 8 * width, 3),
            nn.Conv2d(8 * width, features, 1),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), _Standardise(features))
        self.whiten = _Whiten(features)

    def forward(self, image: Tensor) -> Tensor:
        """Photographs ``(B, 3, H, W)`` in [-1, 1] of any size -> features ``(B, D)``."""
        pred: Tensor = self.whiten(self.pool(self.trunk(image)))
        return pred


class MultiTaskEncoder(nn.Module):
    """The encoder with linear heads for its training tasks.

    Args:
        encoder: the encoder to train; the heads are only used in training.
        maps: number of kinds of structures to locate, each on a grid of cells of 16 pixels.
        traits: number of traits of the whole photograph to predict from its features.
    """

    def __init__(self, encoder: RetinaEncoder, maps: int, traits: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.locate = nn.Conv2d(encoder.features, maps, 1)
        self.describe = nn.Linear(encoder.features, traits)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``(B, 3, H, W)`` -> ``features`` ``(B, D)`` before whitening, ``maps`` and ``traits``.

        ``maps`` ``(B, K, S / 16, S / 16)`` are logits, ``traits`` are ``(B, T)``.
        """
        cells = self.encoder.trunk(image)
        features = self.encoder.pool(cells)
        return {"features": features, "maps": self.locate(cells), "traits": self.describe(features)}


class _Frame(nn.Module):
    """Resize with antialiasing, and set pixels outside the field of view to black."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.black = size, DARK - 1

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-2] != self.size or image.shape[-1] != self.size:
            size = [self.size, self.size]
            image = interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=True)
        dark = image.amax(1, keepdim=True) < self.black
        return torch.where(dark, torch.full_like(image, -1), image)


class _Standardise(nn.Module):
    """Standardise ``(B, D)`` by running mean and variance, in training too, because a batch may have one picture.

    In a process group the running statistics cover the batches of all processes.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.momentum, self.tiny = MOMENTUM, TINY
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))
        self.mean: Tensor
        self.variance: Tensor

    def forward(self, values: Tensor) -> Tensor:
        values = values.float()
        if self.training and not torch.jit.is_scripting():
            self.observe(values)
        return (values - self.mean) / torch.sqrt(self.variance + self.tiny)

    @torch.jit.unused
    def observe(self, values: Tensor) -> None:
        """Update the running mean and variance with a batch."""
        values = whole_batch(values.detach())
        mean = values.mean(0)
        spread = ((values - self.mean) * (values - mean)).mean(0) if len(values) > 1 else self.variance
        self.mean.lerp_(mean, self.momentum)
        self.variance.lerp_(spread, self.momentum)


class _Whiten(nn.Module):
    """Whiten ``(B, D)`` by the running covariance, regularised by ``FAINT``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.faint = FAINT
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("covariance", torch.eye(features))
        self.mean: Tensor
        self.covariance: Tensor

    @torch.jit.unused
    def observe(self, values: Tensor) -> None:
        """Update the running mean and covariance with features ``(B, D)`` of unmodified photographs."""
        with torch.no_grad():
            for value in values.detach().float():
                away = value - self.mean
                self.mean.add_(away, alpha=SLOW)
                self.covariance.lerp_(torch.outer(away, value - self.mean), SLOW)

    def forward(self, values: Tensor) -> Tensor:
        away = (values - self.mean).double()
        faint = self.faint * torch.eye(values.shape[1], dtype=away.dtype, device=values.device)
        root = torch.linalg.cholesky(self.covariance.double() + faint)
        return torch.linalg.solve_triangular(root, away.T, upper=False).T.float()


def _halve(inputs: int, outputs: int, convolutions: int) -> Sequence[nn.Module]:
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += [
            nn.Conv2d(outputs if index else inputs, outputs, 3, 1 if index else 2, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return layers
