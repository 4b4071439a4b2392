"""Counter-based noise: the same on every device, in every batch, and in TorchScript.

A value depends only on a latent (a number per sample), a stream and its position (Salmon et al., "Parallel Random
Numbers: As Easy as 1, 2, 3", SC 2011). The hash is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
Pairs of uniform values are transformed to pairs of normal values (Box and Muller 1958).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["hashed_normal", "hashed_uniform"]


def hashed_uniform(latents: Tensor, stream: int, count: int) -> Tensor:
    """Independent uniform values in [0, 1).

    Args:
        latents: ``(B,)`` int64, one per sample.
        stream: index of an independent random stream, for example the step of a sampler.
        count: number of values per sample.

    Returns:
        ``(B, count)``, float64, on the device of ``latents``.
    """
    step = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed number: 2^64 over the golden ratio
    places = torch.arange(count, device=latents.device, dtype=torch.int64)
    keys = _mixed(_mixed(latents * step) + stream)
    bits = _mixed(keys[:, None] + (places + 1) * step)
    return _shifted(bits, 11).double() * 2.0**-53


def hashed_normal(latents: Tensor, stream: int, channels: int, height: int, width: int) -> Tensor:
    """Independent standard normal values.

    Args:
        latents, stream: as for :func:`hashed_uniform`.
        channels, height, width: shape of the noise.

    Returns:
        ``(B, channels, height, width)``, float32, on the device of ``latents``.
    """
    count = channels * height * width
    pairs = (count + 1) // 2
    uniform = hashed_uniform(latents, stream, 2 * pairs)
    radius = (-2 * torch.log1p(-uniform[:, :pairs])).sqrt()
    angle = 2 * math.pi * uniform[:, pairs:]
    normal = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return normal[:, :count].float().view(-1, channels, height, width)


def _mixed(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    bits = (bits ^ _shifted(bits, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Logical right shift, which fills with zeros as for unsigned integers."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
