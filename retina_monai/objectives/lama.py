"""The objective of LaMa (Suvorov et al., WACV 2022, https://arxiv.org/abs/2109.07161) for fundus photographs.

A generator inpaints the unknown pixels of a picture. The published losses are L1 on known pixels, a non-saturating
adversarial loss with a gradient penalty on real pictures, feature matching, and a perceptual loss with a large
receptive field. Here the known pixels may be as few as the vessels of a retina.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, binary_cross_entropy_with_logits, softplus

from retina_monai.masked_statistics import channel_statistics, masked_mean
from retina_monai.objectives.feature_matching import discriminator_features, feature_distance
from retina_monai.objectives.spectra import Masked, spectrum_distance
from retina_monai.objectives.step import Batch, Losses, Step, check_terms
from retina_monai.settings import SHARE, WEIGHT, FilePath, Number, Rule, Switch

__all__ = ["Lama"]

SETTINGS: dict[str, Rule] = {
    "generated_share": SHARE,
    "color_vessel_weights": FilePath(),
    "known_weight": WEIGHT,
    "faithfulness_weight": WEIGHT,
    "unknown_weight": WEIGHT,
    "color_weight": WEIGHT,
    "spectrum_weight": WEIGHT,
    "adversarial_weight": WEIGHT,
    "gradient_penalty": WEIGHT,
    "penalty_share": Number(0, 1, open="low"),
    "feature_matching_weight": WEIGHT,
    "perceptual_weight": WEIGHT,
    "perceptual_weights": FilePath(),
    "perceptual_learning_rate": WEIGHT,
    "composite": Switch(),
}


class Lama:
    """Train a generator to paint around known pixels, against a discriminator and a perceptual network.

    Args:
        generator: condition ``(B, C, H, W)`` in [-1, 1] -> picture ``(B, 3, H, W)``; in training mode it paints all
            pixels. The condition is picture, mask and further masks that guide the painting, if any.
        discriminator: picture and further masks ``(B, C - 1, H, W)`` -> list of feature maps, the last of which holds
            the patch logits; or one such list per scale.
        perceptual: picture -> list of feature maps, the last of which holds its prediction for each pixel: the vessel
            logit and a reconstruction of the picture (:class:`retina_monai.networks.DilatedEncoder`).
        known_weight: weight of the L1 on known pixels.
        unknown_weight: weight of the L1 on painted pixels; 0 as published.
        color_weight: weight of the difference in mean and standard deviation per channel inside the field of view.
        spectrum: ``(image, fov)`` -> radial power spectra ``(B, rings)``; needed if ``spectrum_weight`` is not 0.
        spectrum_weight: weight of :func:`retina_monai.objectives.spectra.spectrum_distance`; 0 as published.
        adversarial_weight, feature_matching_weight, perceptual_weight: weights of these terms.
        faithfulness_weight: weight of the cross-entropy between the vessels that the perceptual network finds in the
            painted picture and the visible vessels of the map, the pixelwise minimum of the map and the vessels that it
            finds in the photograph; 0 as published.
        gradient_penalty: weight of the R1 penalty in float32, the squared gradient of the discriminator's logits on
            real pictures (Mescheder et al., ICML 2018, https://arxiv.org/abs/1801.04406, eq. 9). The logits of a
            picture's patches are summed as in the authors' code, so it grows with the square of their number.
        penalty_share: probability that an iteration applies the penalty, which is then divided by ``penalty_share``
            (lazy regularisation as in StyleGAN2: Karras et al., CVPR 2020, https://arxiv.org/abs/1912.04958,
            section 3.1).
        perceptual_learns: whether to train the perceptual network too, on real photographs only: it segments their
            vessels and reconstructs them.
        composite: whether the discriminator and the perceptual network see the given known pixels, as at inference; if
            not, they see the painted ones, as published.
        first_stage: masks ``(B, C, H, W)`` -> colour vessel mask ``(B, 3, H, W)``, both in [-1, 1]; never trained.
        condition_key, image_key, vessel_key, fov_key, masks_key: keys of the batch; the last one is the input of
            ``first_stage``.

    Attributes:
        generated_share: probability that the known colours come from the first stage instead of the photograph.

    Raises:
        ValueError: ``perceptual_weight`` or ``faithfulness_weight`` is given without ``perceptual``, or
            ``spectrum_weight`` without ``spectrum``.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        "p_vessel": "cross-entropy of the vessels that the perceptual network finds in real photographs",
        "p_image": "mean absolute error of the perceptual network's reconstruction of real photographs",
        "d_real": "softplus loss of the discriminator on real photographs; 0.69 where it cannot decide",
        "d_fake": "softplus loss of the discriminator on painted patches; 0.69 where it cannot decide",
        "d_penalty": "squared gradient of the discriminator on real photographs (R1)",
        "g_known": "mean absolute difference of painted and given colours on known pixels",
        "g_unknown": "mean absolute difference of painted and real colours on unknown pixels",
        "g_color": "difference of the mean and standard deviation of each channel inside the field of view",
        "g_spectrum": "distance of the radial power spectra of both pictures; high where texture is missing",
        "g_adversarial": "softplus loss of the generator against the discriminator; high where the discriminator wins",
        "g_features": "mean squared difference of the discriminator's features of painted and real picture",
        "g_perceptual": "relative squared difference of the perceptual network's features of both pictures",
        "g_faithfulness": "cross-entropy of the vessels found in the painted picture against those of the map",
    }

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        perceptual: nn.Module | None = None,
        known_weight: float = 10.0,
        unknown_weight: float = 0.0,
        color_weight: float = 0.0,
        spectrum: Masked | None = None,
        spectrum_weight: float = 0.0,
        adversarial_weight: float = 10.0,
        feature_matching_weight: float = 100.0,
        perceptual_weight: float = 30.0,
        faithfulness_weight: float = 0.0,
        gradient_penalty: float = 0.001,
        penalty_share: float = 1.0,
        perceptual_learns: bool = True,
        composite: bool = True,
        first_stage: nn.Module | None = None,
        condition_key: str = "condition",
        image_key: str = "image",
        vessel_key: str = "vessel",
        fov_key: str = "fov",
        masks_key: str = "vessel",
    ) -> None:
        check_terms(
            ("perceptual_weight", perceptual_weight, "perceptual network", perceptual),
            ("faithfulness_weight", faithfulness_weight, "perceptual network", perceptual),
            ("spectrum_weight", spectrum_weight, "spectrum function", spectrum),
        )
        self.networks = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
        steps = [Step("generator", ("generator",), self.generator_losses)]
        if adversarial_weight:
            steps.insert(0, Step("discriminator", ("discriminator",), self.discriminator_losses))
        if perceptual is not None and (perceptual_weight or faithfulness_weight):
            self.networks["perceptual"] = perceptual
            if perceptual_learns:
                steps.insert(0, Step("perceptual", ("perceptual",), self.perceptual_losses))
        self.steps = tuple(steps)
        self.known_weight, self.unknown_weight, self.color_weight = known_weight, unknown_weight, color_weight
        self.spectrum, self.spectrum_weight = spectrum, spectrum_weight
        self.adversarial_weight = adversarial_weight
        self.feature_matching_weight = feature_matching_weight
        self.perceptual_weight, self.faithfulness_weight = perceptual_weight, faithfulness_weight
        self.gradient_penalty, self.penalty_share = gradient_penalty, penalty_share
        self.composite = composite
        self.first_stage = None if first_stage is None else first_stage.eval()
        self.generated_share = 0.0
        self.condition_key, self.image_key = condition_key, image_key
        self.vessel_key, self.fov_key, self.masks_key = vessel_key, fov_key, masks_key

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Generate: ``known``, ``mask`` (1 where to paint), ``painted`` everywhere, and their composite ``pred``."""
        known, mask = self._known(batch), (batch[self.condition_key][:, 3:4] > 0).float()
        condition = torch.cat([known, batch[self.condition_key][:, 3:]], dim=1)
        painted = self.networks["generator"](condition).float()
        pred = painted * mask + known * (1 - mask)
        return {"pred": pred, "painted": painted, "known": known, "mask": mask}

    @torch.no_grad()
    def condition(self, batch: Batch) -> Tensor:
        """Picture and mask as in a chain of both stages: with the colours of the first stage, if there is one."""
        known = batch[self.condition_key] if self.first_stage is None else self._staged(batch, self.first_stage)
        return torch.cat([known[:, :3], batch[self.condition_key][:, 3:]], dim=1)

    def perceptual_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Losses of the perceptual network: vessel segmentation and reconstruction of real photographs."""
        image, fov = batch[self.image_key], batch[self.fov_key]
        predicted = self.networks["perceptual"](image)[-1].float()
        share = (batch[self.vessel_key] + 1) / 2
        entropy = binary_cross_entropy_with_logits(predicted[:, :1], share, reduction="none")
        return {"p_vessel": masked_mean(entropy, fov), "p_image": masked_mean((predicted[:, 1:] - image).abs(), fov)}

    def discriminator_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Losses of the discriminator: patches of photographs are real, patches with painted pixels are fake."""
        real = self._features(batch, batch[self.image_key])
        fake = self._features(batch, self._shown(outputs).detach())
        losses = {"d_real": _mean_softplus(real, -1.0), "d_fake": _masked_softplus(fake, outputs["mask"])}
        if self.gradient_penalty and float(torch.rand(())) < self.penalty_share:
            weight = self.gradient_penalty / self.penalty_share
            losses["d_penalty"] = weight * self._squared_gradient(batch)
        return losses

    def generator_losses(self, batch: Batch, outputs: Mapping[str, Tensor]) -> Losses:
        """Losses of the generator."""
        image, fov, mask = batch[self.image_key], batch[self.fov_key], outputs["mask"]
        shown, painted = self._shown(outputs), outputs["painted"]
        losses = {"g_known": self.known_weight * masked_mean((painted - outputs["known"]).abs(), 1 - mask)}
        if self.unknown_weight:
            losses["g_unknown"] = self.unknown_weight * masked_mean((painted - image).abs(), mask)
        if self.color_weight:
            losses["g_color"] = self.color_weight * _color_distance(outputs["pred"], image, fov)
        if self.spectrum is not None and self.spectrum_weight:
            distance = spectrum_distance(self.spectrum, outputs["pred"], image, fov)
            losses["g_spectrum"] = self.spectrum_weight * distance
        if self.adversarial_weight:
            fake = self._features(batch, shown)
            losses["g_adversarial"] = self.adversarial_weight * _mean_softplus(fake, -1.0)
            if self.feature_matching_weight:
                with torch.no_grad():
                    real = self._features(batch, image)
                losses["g_features"] = self.feature_matching_weight * feature_distance(fake, real, torch.square)
        return losses | self._perceived_losses(batch, shown)

    def _perceived_losses(self, batch: Batch, shown: Tensor) -> Losses:
        """Losses of the generator that depend on the perceptual network."""
        if not (self.perceptual_weight or self.faithfulness_weight):
            return {}
        with torch.no_grad():
            real = [layer.float() for layer in self.networks["perceptual"](batch[self.image_key])]
        fake = [layer.float() for layer in self.networks["perceptual"](shown)]
        losses = {}
        if self.perceptual_weight:
            losses["g_perceptual"] = self.perceptual_weight * _relative_distance(fake[:-1], real[:-1])
        if self.faithfulness_weight:
            visible = torch.minimum(real[-1][:, :1].sigmoid(), (batch[self.vessel_key] + 1) / 2)
            entropy = binary_cross_entropy_with_logits(fake[-1][:, :1], visible, reduction="none")
            losses["g_faithfulness"] = self.faithfulness_weight * masked_mean(entropy, batch[self.fov_key])
        return losses

    def _known(self, batch: Batch) -> Tensor:
        """Known colours: the photograph's or, drawn per picture, those of the first stage."""
        known = batch[self.condition_key][:, :3]
        if self.first_stage is None or self.generated_share <= 0:
            return known
        drawn = torch.rand(len(known), 1, 1, 1).to(known.device) < self.generated_share
        return torch.where(drawn, self._staged(batch, self.first_stage), known)

    @torch.no_grad()
    def _staged(self, batch: Batch, first_stage: nn.Module) -> Tensor:
        """The condition's picture, with the first stage's colours on vessels inside the field of view."""
        inside, vessel = batch[self.fov_key] > 0, batch[self.vessel_key] >= 0
        colored = first_stage(batch[self.masks_key]).float()
        return torch.where(inside & vessel, colored, batch[self.condition_key][:, :3])

    def _squared_gradient(self, batch: Batch) -> Tensor:
        """Squared gradient of the summed logits with respect to the pixels, in float32; a mean over pictures."""
        image = batch[self.image_key].detach().float().requires_grad_(True)
        with torch.autocast(image.device.type, enabled=False):
            logits = torch.stack([scale[-1].sum() for scale in self._features(batch, image)]).sum()
            (gradient,) = torch.autograd.grad(logits, image, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()

    def _shown(self, outputs: Mapping[str, Tensor]) -> Tensor:
        return outputs["pred"] if self.composite else outputs["painted"]

    def _features(self, batch: Batch, image: Tensor) -> list[list[Tensor]]:
        seen = torch.cat([image, batch[self.condition_key][:, 4:].to(image)], dim=1)
        return discriminator_features(self.networks["discriminator"], seen)


def _relative_distance(layers: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Squared difference of features relative to their variance over the photograph; a mean over layers.

    Because it is relative, its scale does not depend on the network or its training: a picture with constant features
    equal to the photograph's mean has a distance of 1.
    """
    distances = [
        ((layer - target).square().mean(dim=(1, 2, 3)) / _variance(target).clamp_min(1e-8)).mean()
        for layer, target in zip(layers, targets, strict=True)
    ]
    return torch.stack(distances).mean()


def _variance(features: Tensor) -> Tensor:
    """Spatial variance of each picture; a mean over channels."""
    return (features - features.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(1, 2, 3))


def _mean_softplus(features: list[list[Tensor]], sign: float) -> Tensor:
    return torch.stack([softplus(sign * scale[-1].float()).mean() for scale in features]).mean()


def _masked_softplus(features: list[list[Tensor]], mask: Tensor) -> Tensor:
    """Mask-aware loss (section 2.3): patches with painted pixels are fake, all others real."""
    return torch.stack([_masked(scale[-1].float(), mask) for scale in features]).mean()


def _masked(logits: Tensor, mask: Tensor) -> Tensor:
    fake = adaptive_max_pool2d(mask, logits.shape[-2:])
    return (softplus(logits) * fake + softplus(-logits) * (1 - fake)).mean()


def _color_distance(pred: Tensor, image: Tensor, fov: Tensor) -> Tensor:
    """Absolute differences in mean and standard deviation inside the field of view, summed; a mean over channels."""
    ours, theirs = channel_statistics(pred, fov), channel_statistics(image, fov)
    return torch.stack([(one - other).abs().mean() for one, other in zip(ours, theirs, strict=True)]).sum()
