"""The objective of pix2pix inside the field of view (Isola et al., CVPR 2017, https://arxiv.org/abs/1611.07004)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from retina_monai.group import whole_sum
from retina_monai.masked_statistics import masked_mean
from retina_monai.objectives.feature_matching import discriminator_features, feature_distance
from retina_monai.objectives.spectra import Masked, spectrum_distance
from retina_monai.objectives.step import Batch, Losses, Step, check_terms
from retina_monai.settings import WEIGHT, Number, Rule

__all__ = ["Pix2Pix"]

BLOCKS = 16  # per side

SETTINGS: dict[str, Rule] = {
    "l1_weight": WEIGHT,
    "block_weight": WEIGHT,
    "adversarial_weight": WEIGHT,
    "spectrum_weight": WEIGHT,
    "feature_matching_weight": WEIGHT,
    "faithfulness_weight": WEIGHT,
    "segmenter_features": Number(1, whole=True, count=6),
}


class Pix2Pix:
    """Conditional adversarial + L1 objective of pix2pix (eq. 1 to 4), for fundus photographs.

    Pixels outside the field of view are set to black (-1) in the generated picture before any loss, and the L1 term is
    averaged over the pixels inside. Neither network spends capacity on the border.

    Args:
        generator: condition ``(B, C, H, W)`` -> image ``(B, 3, H, W)``, both in [-1, 1].
        discriminator: ``cat(condition, image)``, ``(B, C + 3, H, W)`` -> list of feature maps, the last of which holds
            the patch logits (as MONAI's ``PatchDiscriminator``); or one such list per scale
            (``PyramidDiscriminator``).
        l1_weight: lambda of eq. 4.
        block_weight: weight of the mean absolute difference of both pictures averaged over blocks of a 16th of the
            side: the brightness and colour of regions. The adversarial loss alone fills regions that the condition does
            not determine with patches.
        adversarial_weight: weight of the generator's adversarial term; at 0 the discriminator is neither evaluated nor
            trained (the L1-only row of the paper's table 1).
        spectrum: ``(image, fov)`` -> radial power spectra ``(B, rings)``; needed if ``spectrum_weight`` is not 0.
        spectrum_weight: weight of :func:`retina_monai.objectives.spectra.spectrum_distance`, which counters the loss of
            fine detail by the blur of L1.
        feature_matching_weight: weight of the mean absolute difference between the discriminator's features of the
            generated and the real picture (pix2pixHD, Wang et al., CVPR 2018, eq. 4): texture without the blur of L1.
        segmenter: image ``(B, 3, H, W)`` -> vessel logits ``(B, 1, H, W)``; needed if ``faithfulness_weight`` is not 0.
            It is trained too, on real photographs only.
        faithfulness_weight: weight of the cross-entropy between the segmented vessels of the generated picture and the
            visible vessels of the map, the pixelwise minimum of the map and the segmented vessels of the photograph.
            Vessels are thus drawn only where the map has them, and as visible as in photographs.
        appearance: ``(picture, fov)`` -> picture in the canonical appearance of the training photographs. It is applied
            before any loss, as it is at inference.
        condition_key, vessel_key, image_key, fov_key: keys of the batch. The vessel map is ``(B, 1, H, W)`` in [-1, 1],
            the field of view in {0, 1}.

    Raises:
        ValueError: ``spectrum_weight`` is given without ``spectrum``, or ``faithfulness_weight`` without ``segmenter``.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "s_real": "cross-entropy of the vessels that the segmenter finds in real photographs",
        "d_real": "cross-entropy of the discriminator on real pairs, halved; 0.35 where it cannot decide",
        "d_fake": "cross-entropy of the discriminator on generated pairs, halved; 0.35 where it cannot decide",
        "g_l1": "mean absolute difference of generated and real picture inside the field of view",
        "g_block": "mean absolute difference of both pictures averaged over blocks of a 16th of the side",
        "g_adversarial": "cross-entropy of the generator against the discriminator; high where the discriminator wins",
        "g_features": "mean absolute difference of the discriminator's features of generated and real picture",
        "g_spectrum": "distance of the radial power spectra of both pictures; high where texture is missing",
        "g_faithfulness": "cross-entropy of the vessels found in the generated picture against those of the map",
    }

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        l1_weight: float = 100.0,
        block_weight: float = 0.0,
        adversarial_weight: float = 1.0,
        spectrum: Masked | None = None,
        spectrum_weight: float = 0.0,
        feature_matching_weight: float = 0.0,
        segmenter: nn.Module | None = None,
        faithfulness_weight: float = 0.0,
        appearance: Masked | None = None,
        condition_key: str = "vessel",
        vessel_key: str = "vessel",
        image_key: str = "image",
        fov_key: str = "fov",
    ) -> None:
        check_terms(
            ("spectrum_weight", spectrum_weight, "spectrum function", spectrum),
            ("faithfulness_weight", faithfulness_weight, "segmenter", segmenter),
        )
        self.l1_weight = l1_weight
        self.block_weight = block_weight
        self.adversarial_weight = adversarial_weight
        self.spectrum = spectrum
        self.spectrum_weight = spectrum_weight
        self.feature_matching_weight = feature_matching_weight
        self.faithfulness_weight = faithfulness_weight
        self.appearance = appearance
        self.condition_key = condition_key
        self.vessel_key = vessel_key
        self.image_key = image_key
        self.fov_key = fov_key
        self.networks = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
        steps = [Step("generator", ("generator",), self.generator_losses)]
        if adversarial_weight:
            steps.insert(0, Step("discriminator", ("discriminator",), self.discriminator_losses))
        if segmenter is not None and faithfulness_weight:
            self.networks["segmenter"] = segmenter
            steps.insert(0, Step("segmenter", ("segmenter",), self.segmenter_losses))
        self.steps = tuple(steps)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Generate from the batch's conditions; black outside the field of view."""
        pred, fov = self.networks["generator"](batch[self.condition_key]).float(), batch[self.fov_key]
        return {"pred": pred * fov + (fov - 1) if self.appearance is None else self.appearance(pred, fov)}

    def segmenter_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Loss of the segmenter on real photographs."""
        vessel = (batch[self.vessel_key] + 1) / 2
        return {"s_real": self._segmentation(batch, batch[self.image_key], vessel)}

    def discriminator_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Losses of the discriminator: target 1 for real pairs and 0 for generated pairs; halved as in section 3.3."""
        real = self._features(batch, batch[self.image_key])
        fake = self._features(batch, outputs["pred"].detach())
        return {"d_real": 0.5 * _cross_entropy(real, 1.0), "d_fake": 0.5 * _cross_entropy(fake, 0.0)}

    def generator_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Losses of the generator: L1 (eq. 3), adversarial (eq. 1), features, spectrum and faithfulness."""
        pred, image, fov = outputs["pred"], batch[self.image_key], batch[self.fov_key]
        losses = {"g_l1": self.l1_weight * masked_mean((pred - image).abs(), fov)}
        if self.block_weight:
            losses["g_block"] = self.block_weight * _block_distance(pred, image, fov)
        if self.adversarial_weight:
            fake = self._features(batch, pred)
            losses["g_adversarial"] = self.adversarial_weight * _cross_entropy(fake, 1.0)
            if self.feature_matching_weight:
                with torch.no_grad():
                    real = self._features(batch, image)
                losses["g_features"] = self.feature_matching_weight * feature_distance(fake, real)
        if self.spectrum is not None and self.spectrum_weight:
            losses["g_spectrum"] = self.spectrum_weight * spectrum_distance(self.spectrum, pred, image, fov)
        if self.faithfulness_weight:
            losses["g_faithfulness"] = self.faithfulness_weight * self._segmentation(batch, pred, self._visible(batch))
        return losses

    def _features(self, batch: Batch, image: Tensor) -> list[list[Tensor]]:
        pair = torch.cat([batch[self.condition_key], image], dim=1)
        return discriminator_features(self.networks["discriminator"], pair)

    @torch.no_grad()
    def _visible(self, batch: Batch) -> Tensor:
        """The map's vessels as far as they are visible in the photograph; many thin ones hardly are."""
        found = self.networks["segmenter"](batch[self.image_key]).float().sigmoid()
        return torch.minimum(found, (batch[self.vessel_key] + 1) / 2)

    def _segmentation(self, batch: Batch, image: Tensor, vessel: Tensor) -> Tensor:
        fov = batch[self.fov_key]
        logits = self.networks["segmenter"](image).float()
        entropy = binary_cross_entropy_with_logits(logits, vessel, weight=fov, reduction="sum")
        return whole_sum(entropy) / whole_sum(fov.sum()).clamp_min(1)


def _block_distance(pred: Tensor, image: Tensor, fov: Tensor) -> Tensor:
    """Mean absolute difference of averages over half-overlapping blocks, weighted by their area in the eye."""
    side = max(pred.shape[-1] // BLOCKS, 2)
    inside = avg_pool2d(fov, side, side // 2)
    difference = avg_pool2d((pred - image) * fov, side, side // 2).abs() / inside.clamp_min(1 / side**2)
    return masked_mean(difference, inside)


def _bce(logits: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, target, dtype=torch.float32))


def _cross_entropy(features: list[list[Tensor]], target: float) -> Tensor:
    return torch.stack([_bce(scale[-1], target) for scale in features]).mean()
