"""The objective of pix2pix, inside the field of view (Isola et al., CVPR 2017, https://arxiv.org/abs/1611.07004)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from retina_monai.objectives.step import Batch, Losses, Step

__all__ = ["Pix2Pix"]

Masked = Callable[[Tensor, Tensor], Tensor]


class Pix2Pix:
    """Conditional adversarial + L1 objective of pix2pix (eq. 1 to 4), for round pictures.

    Whatever lies outside the field of view is black (-1) in the generated picture before any loss sees it, and the L1
    term is the mean over the pixels inside, so neither network spends anything on the border.

    Args:
        generator: condition ``(B, C, H, W)`` -> image ``(B, 3, H, W)``, both in [-1, 1].
        discriminator: ``cat(condition, image)``, ``(B, C + 3, H, W)`` -> list of feature maps, the last of which are
            the patch logits (the form of MONAI's ``PatchDiscriminator``).
        l1_weight: lambda of eq. 4.
        adversarial_weight: weight of the generator's adversarial term; at 0 the discriminator is neither asked nor
            trained (the L1-only row of the paper's table 1).
        spectrum: ``(image, fov)`` -> radial power spectra ``(B, rings)``; needed if ``spectrum_weight`` is not 0.
        spectrum_weight: weight of the mean absolute difference of the logarithms of the two spectra, in the spirit of
            Durall et al., CVPR 2020, https://arxiv.org/abs/2003.01826: an L1 blur loses the fine rings first.
        appearance: ``(picture, fov)`` -> the picture brought to the appearance that the training photographs were
            brought to, before any loss sees it: what an output is given afterwards is then what it was trained for.
        condition_key, image_key, fov_key: entries of the batch; the field of view is ``(B, 1, H, W)`` in {0, 1}.

    Raises:
        ValueError: ``spectrum_weight`` without ``spectrum``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        l1_weight: float = 100.0,
        adversarial_weight: float = 1.0,
        spectrum: Masked | None = None,
        spectrum_weight: float = 0.0,
        appearance: Masked | None = None,
        condition_key: str = "vessel",
        image_key: str = "image",
        fov_key: str = "fov",
    ) -> None:
        if spectrum_weight and spectrum is None:
            raise ValueError("spectrum_weight needs a spectrum to weigh")
        self.networks = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
        generator_step = Step("generator", ("generator",), self.generator_losses)
        discriminator_step = Step("discriminator", ("discriminator",), self.discriminator_losses)
        both: tuple[Step, ...] = (discriminator_step, generator_step)
        self.steps = both if adversarial_weight else (generator_step,)
        self.l1_weight = l1_weight
        self.adversarial_weight = adversarial_weight
        self.spectrum = spectrum
        self.spectrum_weight = spectrum_weight
        self.appearance = appearance
        self.condition_key = condition_key
        self.image_key = image_key
        self.fov_key = fov_key

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Generate from the batch's conditions; black outside the field of view."""
        pred, fov = self.networks["generator"](batch[self.condition_key]).float(), batch[self.fov_key]
        return {"pred": pred * fov + (fov - 1) if self.appearance is None else self.appearance(pred, fov)}

    def discriminator_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Real pairs to 1, generated pairs to 0; halved as in section 3.3."""
        real = self._logits(batch, batch[self.image_key])
        fake = self._logits(batch, outputs["pred"].detach())
        return {"d_real": 0.5 * _bce(real, 1.0), "d_fake": 0.5 * _bce(fake, 0.0)}

    def generator_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Stay near the photograph (eq. 3), fool the discriminator (eq. 1), keep the photograph's power spectrum."""
        pred, image, fov = outputs["pred"], batch[self.image_key], batch[self.fov_key]
        losses = {"g_l1": self.l1_weight * _l1_inside(pred, image, fov)}
        if self.adversarial_weight:
            losses["g_adversarial"] = self.adversarial_weight * _bce(self._logits(batch, pred), 1.0)
        if self.spectrum is not None and self.spectrum_weight:
            losses["g_spectrum"] = self.spectrum_weight * _log_distance(self.spectrum, pred, image, fov)
        return losses

    def _logits(self, batch: Batch, image: Tensor) -> Tensor:
        logits: Any = self.networks["discriminator"](torch.cat([batch[self.condition_key], image], dim=1))[-1]
        return logits


def _bce(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, target, dtype=torch.float32))


def _l1_inside(pred: Tensor, image: Tensor, fov: Tensor) -> Tensor:
    """Mean over the images of each image's mean absolute error inside the field of view."""
    inside = fov.sum(dim=(1, 2, 3)).clamp_min(1) * pred.shape[1]
    return ((pred - image).abs() * fov).sum(dim=(1, 2, 3)).div(inside).mean()


def _log_distance(spectrum: Masked, pred: Tensor, image: Tensor, fov: Tensor, floor: float = 1e-6) -> Tensor:
    with torch.no_grad():
        target = (spectrum(image, fov) + floor).log()
    return ((spectrum(pred, fov) + floor).log() - target).abs().mean()
