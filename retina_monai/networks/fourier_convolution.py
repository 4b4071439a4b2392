"""Fast Fourier convolution: local features by a 3x3 kernel, global ones by a product in the Fourier domain.

Chi, Jiang and Mu, "Fast Fourier Convolution", NeurIPS 2020, without its local Fourier unit, which LaMa leaves out too.
A channel is local or global; each layer maps both kinds to both kinds, and the path from global to global sees the
whole picture at once.
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
    """1x1 convolution, norm and ReLU of a picture's real Fourier transform: real and imaginary parts as channels.

    In float32 under autocast: bfloat16 keeps three digits of amplitudes that differ by many.

    Args:
        channels: of the picture, in and out.
        norm: ``batch``, as published, or ``instance``.
    """

    def __init__(self, channels: int, norm: str = "batch") -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1, bias=False), NORMS[norm](2 * channels), nn.ReLU()
        )

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape and type."""
        if torch.jit.is_scripting():
            return self.transform(image.float()).to(image.dtype)
        with torch.autocast(image.device.type, enabled=False):
            return self.transform(image.float()).to(image.dtype)

    def transform(self, image: Tensor) -> Tensor:
        """The unit in float32."""
        batch, channels, height, width = image.shape
        waves = torch.view_as_real(torch.fft.rfft2(image, norm="ortho"))
        parts = waves.permute(0, 1, 4, 2, 3).reshape(batch, 2 * channels, height, width // 2 + 1)
        mixed = self.mix(parts).reshape(batch, channels, 2, height, width // 2 + 1).permute(0, 1, 3, 4, 2)
        return torch.fft.irfft2(torch.view_as_complex(mixed.contiguous()), s=(height, width), norm="ortho")


class SpectralTransform(nn.Module):
    """A Fourier unit on half of the channels, with what it is given added, between two 1x1 convolutions.

    Args:
        in_channels, out_channels: of the picture; ``out_channels`` is even.
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
    """Convolution, norm and ReLU of local and global channels, which lie one behind the other.

    Args:
        in_channels, out_channels: of both kinds together.
        in_share, out_share: of them that are global, from 0 to below 1; they come last.
        kernel_size, stride: of the convolutions; the picture is padded by reflection. With global channels on both
            sides the stride is 1.
        norm: as for :class:`FourierUnit`.

    Raises:
        ValueError: no local channel, a single global one behind global ones, or a stride with global channels on both
            sides.
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
            raise ValueError(f"of {in_channels} and {out_channels} channels none is local: give a smaller global share")
        if into and out == 1:
            raise ValueError("a single global channel cannot be halved: give a larger global share, or none")
        if into and out and stride != 1:
            raise ValueError(f"a stride of {stride} with global channels on both sides: the Fourier path has none")
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
        local, wide = image[:, : self.split], image[:, self.split :]
        found = self.local_to_local(local)
        if self.global_to_local is not None:
            found = found + self.global_to_local(wide)
        if self.local_to_global is not None:
            seen = self.local_to_global(local)
            if self.global_to_global is not None:
                seen = seen + self.global_to_global(wide)
            found = torch.cat([found, seen], dim=1)
        return torch.relu(self.norm(found))
