"""Fast Fourier convolution: local features by a 3x3 kernel, global features by a convolution in the Fourier domain.

Chi, Jiang and Mu, "Fast Fourier Convolution", NeurIPS 2020, without its local Fourier unit, which LaMa omits too. Each
channel is local or global. A layer maps both kinds to both kinds, and its global-to-global path has a receptive field
of the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["NORMS", "FourierConvolution", "FourierUnit", "SpectralTransform"]

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}


class FourierUnit(nn.Module):
    """1x1 convolution, norm and ReLU on the real Fourier transform, with real and imaginary parts as channels.

    Runs in float32 under autocast, because bfloat16 lacks the precision for amplitudes of very different magnitude.

    Args:
        channels: input and output channels.
        norm: ``batch``, as published, or ``instance``.
    """

    def __init__(self, channels: int, norm: str = "batch") -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1, bias=False), NORMS[norm](2 * channels), nn.ReLU()
        )

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> same shape and dtype."""
        if torch.jit.is_scripting():
            return self.transform(image.float()).to(image.dtype)
        with torch.autocast(image.device.type, enabled=False):
            return self.transform(image.float()).to(image.dtype)

    def transform(self, image: Tensor) -> Tensor:
        """Apply the unit in float32."""
        batch, channels, height, width = image.shape
        waves = torch.view_as_real(torch.fft.rfft2(image, norm="ortho"))
        parts = waves.permute(0, 1, 4, 2, 3).reshape(batch, 2 * channels, height, width // 2 + 1)
        mixed = self.mix(parts).reshape(batch, channels, 2, height, width // 2 + 1).permute(0, 1, 3, 4, 2)
        return torch.fft.irfft2(torch.view_as_complex(mixed.contiguous()), s=(height, width), norm="ortho")


class SpectralTransform(nn.Module):
    """A residual Fourier unit on half of the channels, between two 1x1 convolutions.

    Args:
        in_channels, out_channels: input and output channels; ``out_channels`` must be even.
        norm: as for :class:`FourierUnit`.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: str = "batch") -> None:
        super().__init__()
        half = out_channels // 2
        self.reduce = nn.Sequential(nn.Conv2d(in_channels, half, 1, bias=False), NORMS[norm](half), nn.ReLU())
        self.fourier = FourierUnit(half, norm)
        self.expand = nn.Conv2d(half, out_channels, 1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` -> ``(B, out_channels, H, W)``."""
        reduced = self.reduce(image)
        expanded: Tensor = self.expand(reduced + self.fourier(reduced))
        return expanded


class FourierConvolution(nn.Module):
    """Convolution, norm and ReLU of concatenated local and global channels.

    Args:
        in_channels, out_channels: total number of input and output channels.
        in_share, out_share: share of global channels, in [0, 1); the global channels come last.
        kernel_size, stride: kernel size and stride of the convolutions, with reflection padding. The stride must be 1
            if input and output both have global channels.
        norm: as for :class:`FourierUnit`.

    Raises:
        ValueError: there are no local channels; or, with global channels in input and output, there is a single global
            output channel or a stride.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        in_share: float = 0.75,
        out_share: float = 0.75,
        kernel_size: int = 3,
        stride: int = 1,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        into, out = int(in_channels * in_share), int(out_channels * out_share)
        if into == in_channels or out == out_channels:
            raise ValueError(f"no local channels among {in_channels} and {out_channels}: give a smaller global share")
        if into and out == 1:
            raise ValueError("a single global channel cannot be halved: give a larger global share, or 0")
        if into and out and stride != 1:
            raise ValueError(f"stride must be 1 with global channels in input and output, got {stride}")
        self.split = in_channels - into

        def convolve(inputs: int, outputs: int) -> nn.Conv2d:
            around = kernel_size // 2
            return nn.Conv2d(inputs, outputs, kernel_size, stride, around, padding_mode="reflect", bias=False)

        self.local_to_local = convolve(self.split, out_channels - out)
        self.local_to_global = convolve(self.split, out) if out else None
        self.global_to_local = convolve(into, out_channels - out) if into else None
        self.global_to_global = SpectralTransform(into, out, norm) if into and out else None
        self.norm = NORMS[norm](out_channels)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` -> ``(B, out_channels, H', W')``."""
        local_in, global_in = image[:, : self.split], image[:, self.split :]
        out = self.local_to_local(local_in)
        if self.global_to_local is not None:
            out = out + self.global_to_local(global_in)
        if self.local_to_global is not None:
            global_out = self.local_to_global(local_in)
            if self.global_to_global is not None:
                global_out = global_out + self.global_to_global(global_in)
            out = torch.cat([out, global_out], dim=1)
        return torch.relu(self.norm(out))
