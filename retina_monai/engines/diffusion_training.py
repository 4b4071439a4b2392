"""Training batches of diffusion models: photographs, noise, times and conditions, which are dropped at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import DiffusionPrepareBatch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from retina_monai.networks import DiffusionGenerator
from retina_monai.networks.diffusion import FLOWS, TIMES, noise_schedule, training_scheduler
from retina_monai.networks.hashed_noise import hashed_normal, hashed_uniform
from retina_monai.settings import SHARE, Number, Rule

__all__ = ["DiffusionBatch", "SampleNoise", "time_weights"]

GAMMA = 5.0  # of min-SNR
LOGIT = {"flow": (0.0, 1.0), "clean": (0.8, 0.8)}  # mean and standard deviation of the logit of the noise share
LEAST_NOISE = 0.05  # noise share below which the weight of an error no longer grows
TIME, DROPPED = 1, 2  # random streams of a sample's latent; 0 is its noise

SETTINGS: dict[str, Rule] = {
    "condition_dropout": SHARE,
    "vessel_weight": Number(0, open="low"),
}


def time_weights(process: str) -> Tensor:
    """Probability with which each time is drawn in training.

    ``epsilon``: uniform. ``velocity``: proportional to ``min(SNR + 1, 5) / (SNR + 1)``. This is min-SNR weighting of
    the squared error of the velocity (Hang et al., ICCV 2023, https://arxiv.org/abs/2303.09556, with ``gamma = 5``),
    with two changes. SNR + 1 replaces SNR, so that the last time, whose SNR is 0, is trained. Times are drawn with
    these probabilities instead of weighting the error, which has a proportional expectation.

    Returns:
        ``(1000,)``, float64.

    Raises:
        ValueError: the process has no noise schedule.
    """
    left = noise_schedule(process)
    if process == "epsilon":
        return torch.full_like(left, 1 / TIMES)
    weights = (GAMMA * (1 - left)).clamp(max=1)  # SNR + 1 is 1 / (1 - left)
    return weights / weights.sum()


class DiffusionBatch(DiffusionPrepareBatch):
    """MONAI's ``DiffusionPrepareBatch`` with a concatenated condition and condition dropout.

    All random numbers depend on the sample's ``latent`` alone, which :class:`retina_monai.data.CachedEyes` derives from
    seed, epoch and index. They do not depend on the batch or the number of processes. The noise is that of
    :meth:`retina_monai.networks.DiffusionGenerator.noise` for the same latent.

    Pixels outside the field of view are unknown rather than black. They are 0 before noise is added and have weight 0
    in :class:`retina_monai.objectives.WeightedError`. Otherwise a network conditioned on vessels alone would have to
    guess where the camera crops its pictures.

    Args:
        generator: provides the process, the noise, and the bridge that encodes photographs.
        condition_name: key of the condition in the batch.
        condition_dropout: share of samples whose condition is set to 0, as needed for guidance.
        vessel_weight: weight of the error in vessels, relative to that of the background.
    """

    def __init__(
        self,
        generator: DiffusionGenerator,
        condition_name: str = "vessel",
        condition_dropout: float = 0.1,
        vessel_weight: float = 1.0,
    ) -> None:
        super().__init__(TIMES, condition_name)
        self.generator = generator
        self.condition_key = condition_name
        self.process = str(generator.arguments["process"])
        self.condition_dropout = condition_dropout
        self.scheduler = training_scheduler(self.process)
        self.vessel_weight = vessel_weight
        self.cumulative = None if self.process in FLOWS else time_weights(self.process).cumsum(0)

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        """Prepare a batch for MONAI's engines.

        Args:
            batchdata: ``image`` ``(B, 3, H, W)`` and ``vessel`` ``(B, 1, H, W)`` in [-1, 1], ``fov`` ``(B, 1, H, W)``
                in {0, 1}, the condition, and ``latent`` ``(B,)``.
            device, non_blocking, kwargs: arguments of ``Tensor.to``.

        Returns:
            Standardized photographs; target followed by the weights, ``(B, 4, H, W)``; an empty tuple; and the keyword
            arguments of ``DiffusionInferer``: noise, times, condition and mode.
        """
        self.latents = batchdata["latent"].to(device, non_blocking=non_blocking)
        photographs, condition = batchdata["image"], batchdata[self.condition_key]
        weights = self.generator.bridge.known(batchdata["fov"].to(photographs.dtype))
        moved = {"image": self.generator.bridge.encode(photographs) * weights, self.condition_key: condition}
        images, target, arguments, keywords = super().__call__(moved, device, non_blocking, **kwargs)
        kept = hashed_uniform(self.latents, DROPPED, 1) >= self.condition_dropout
        keywords["condition"] = keywords["condition"] * kept[:, :, None, None].to(images.dtype)
        covered = (batchdata["vessel"].to(photographs.dtype) + 1) / 2
        weights = (weights * (1 + (self.vessel_weight - 1) * covered)).to(device, non_blocking=non_blocking)
        if self.process == "clean":
            weights = weights * self._flow_weights(keywords["timesteps"])
        return images, torch.cat([target, weights], dim=1), arguments, keywords | {"mode": "concat"}

    def get_noise(self, images: Tensor) -> Tensor:
        return self.generator.noise(self.latents, images.shape[2], images.shape[3])

    def get_timesteps(self, images: Tensor) -> Tensor:
        """Draw times.

        They are logit-normal for ``flow`` (Esser et al., ICML 2024, https://arxiv.org/abs/2403.03206) and for
        ``clean``, where large shares of noise are more frequent (Li and He, CVPR 2026). Otherwise they follow
        :func:`time_weights`.
        """
        if self.cumulative is None:
            mean, deviation = LOGIT[self.process]
            return TIMES * torch.sigmoid(mean + deviation * hashed_normal(self.latents, TIME, 1, 1, 1)).flatten()
        drawn = hashed_uniform(self.latents, TIME, 1).flatten()
        self.cumulative = self.cumulative.to(drawn.device)  # once
        return torch.searchsorted(self.cumulative, drawn, right=True).clamp(max=TIMES - 1)

    def get_target(self, images: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.process == "epsilon":
            return noise
        if isinstance(self.scheduler, DDPMScheduler):
            return self.scheduler.get_velocity(images, noise, timesteps)
        return images if self.process == "clean" else images - noise

    @staticmethod
    def _flow_weights(times: Tensor) -> Tensor:
        """Weights ``(B, 1, 1, 1)`` that turn the squared error of the image into that of the flow it implies."""
        return (times / TIMES).clamp_min(LEAST_NOISE).square().reciprocal()[:, None, None, None]


class SampleNoise:
    """Initial noise of a ``DiffusionGenerator`` from each sample's latent.

    Args:
        generator: draws the noise.
        condition_key: key of the generator's input in the batch.
    """

    def __init__(self, generator: DiffusionGenerator, condition_key: str = "vessel") -> None:
        self.generator = generator
        self.condition_key = condition_key

    def __call__(self, batch: Mapping[str, Any]) -> Tensor:
        """Batch with the condition ``(B, C, H, W)`` and ``latent`` ``(B,)`` -> ``(B, 3, H, W)``."""
        condition = batch[self.condition_key]
        latents = torch.as_tensor(batch["latent"]).to(condition.device)
        return self.generator.noise(latents, condition.shape[2], condition.shape[3])

    def prepare_batch(
        self, batch: Mapping[str, Any], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[Tensor, None, tuple, dict[str, Tensor]]:
        """Prepare a batch for MONAI's engines: the condition, no label, and ``noise`` as a keyword argument."""
        moved = {
            key: torch.as_tensor(batch[key]).to(device, non_blocking=non_blocking)
            for key in (self.condition_key, "latent")
        }
        return moved[self.condition_key], None, (), {"noise": self(moved)}
