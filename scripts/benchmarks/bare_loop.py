"""The training loop of pix2pix as its authors publish it (Isola et al., CVPR 2017), in plain PyTorch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from benchmarks.measuring import Timing


class BareLoop:
    """The training loop of pix2pix as its authors publish it (Isola et al. 2017), in plain PyTorch.

    Args:
        generator, discriminator: trained in place.
        fused: whether Adam is fused; if not, torch's default is used.
        precision: ``fp32``, or ``bf16`` with autocast.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, fused: bool = False, precision: str = "fp32"):
        self.generator, self.discriminator = generator.train(), discriminator.train()
        self.optimizers = {network: adam(network, fused) for network in (generator, discriminator)}
        self.autocast = partial(torch.autocast, "cpu", torch.bfloat16, enabled=precision == "bf16")

    def step(self, batch: Mapping[str, Tensor]) -> None:
        condition, image = batch["condition"], batch["image"]
        with self.autocast():
            pred = self.generator(condition)
        pred = pred.float()
        fake, real = self.bce(condition, pred.detach(), 0.0), self.bce(condition, image, 1.0)
        self.update(self.discriminator, 0.5 * (fake + real))
        self.discriminator.requires_grad_(False)
        self.update(self.generator, self.bce(condition, pred, 1.0) + 100 * l1_loss(pred, image))
        self.discriminator.requires_grad_(True)

    def bce(self, condition: Tensor, image: Tensor, target: float) -> Tensor:
        with self.autocast():
            scales = self.discriminator(torch.cat([condition, image], dim=1))
        logits = [features[-1].float() for features in scales]
        verdicts = [binary_cross_entropy_with_logits(each, torch.full_like(each, target)) for each in logits]
        return torch.stack(verdicts).mean()

    def update(self, network: nn.Module, loss: Tensor) -> None:
        self.optimizers[network].zero_grad()
        loss.backward()
        self.optimizers[network].step()

    def block(self, batch: Mapping[str, Tensor], iterations: int) -> Timing:
        start = time.perf_counter()
        for _ in range(iterations):
            self.step(batch)
        return Timing((time.perf_counter() - start) / iterations)


def adam(network: nn.Module, fused: bool) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), fused=fused or None)
