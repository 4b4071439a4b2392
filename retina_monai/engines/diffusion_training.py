"""What a diffusion model is trained on: photographs, noise, times, and the condition that is sometimes withheld."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import DiffusionPrepareBatch
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from retina_monai.networks import DiffusionGenerator
from retina_monai.networks.diffusion import TIMES, noise_schedule, training_scheduler
from retina_monai.networks.hashed_noise import hashed_normal, hashed_uniform
from retina_monai.settings import SHARE, Rule

__all__ = ["DiffusionBatch", "SampleNoise", "time_weights"]

GAMMA = 5.0  # of min-SNR
TIME, DROPPED = 1, 2  # streams of a sample's latent, beside 0 of its noise

SETTINGS: dict[str, Rule] = {
    "condition_dropout": SHARE,
}


def time_weights(process: str) -> Tensor:
    """How often each time is trained on, as shares of one.

    ``velocity``: in proportion to ``min(SNR + 1, 5) / (SNR + 1)``. That is min-SNR weighting of the velocity's squared
    error (Hang et al., ICCV 2023, https://arxiv.org/abs/2303.09556, with ``gamma = 5``), with SNR + 1 in place of SNR,
    so that the last time, whose SNR is 0, is trained; and drawn rather than weighed, which has a mean in proportion.
    ``epsilon``: all times alike.

    Returns:
        ``(1000,)``, float64.

    Raises:
        ValueError: a process without times of a schedule.
    """
    left = noise_schedule(process)
    if process == "epsilon":
        return torch.full_like(left, 1 / TIMES)
    weights = (GAMMA * (1 - left)).clamp(max=1)  # SNR + 1 is 1 / (1 - left)
    return weights / weights.sum()


class DiffusionBatch(DiffusionPrepareBatch):
    """MONAI's ``DiffusionPrepareBatch`` for a process, with the condition concatenated and at times withheld.

    All that is drawn depends on the sample's ``latent`` alone (:class:`retina_monai.data.CachedEyes` gives it one by
    seed, epoch and index), so that neither the batch nor the number of processes matters. Its noise is what
    :meth:`retina_monai.networks.DiffusionGenerator.noise` draws from that latent.

    What lies outside the field of view is unknown, not black: it is 0 before noise is added, and weighs nothing in
    :class:`retina_monai.objectives.WeightedError`. Otherwise a network that is told of vessels alone must guess where a
    camera cuts its pictures off.

    Args:
        generator: its process, its noise, and its bridge, which encodes photographs.
        condition_name: entry of the batch.
        condition_dropout: share of samples whose condition is all 0, as guidance needs it.
    """

    def __init__(
        self, generator: DiffusionGenerator, condition_name: str = "vessel", condition_dropout: float = 0.1
    ) -> None:
        super().__init__(TIMES, condition_name)
        self.generator = generator
        self.condition_key = condition_name
        self.process = str(generator.arguments["process"])
        self.condition_dropout = condition_dropout
        self.scheduler = training_scheduler(self.process)
        self.cumulative = None if self.process == "flow" else time_weights(self.process).cumsum(0)

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor, tuple, dict]:
        """As MONAI's engines prepare a batch.

        Args:
            batchdata: ``image`` ``(B, 3, H, W)`` in [-1, 1], ``fov`` ``(B, 1, H, W)`` in {0, 1}, the condition, and
                ``latent`` ``(B,)``.
            device, non_blocking, kwargs: of the move.

        Returns:
            Standardized photographs; target with the weights behind it, ``(B, 4, H, W)``; nothing; and noise, times,
            condition and mode for ``DiffusionInferer``.
        """
        self.latents = batchdata["latent"].to(device, non_blocking=non_blocking)
        photographs, condition = batchdata["image"], batchdata[self.condition_key]
        weights = self.generator.bridge.known(batchdata["fov"].to(photographs.dtype))
        moved = {"image": self.generator.bridge.encode(photographs) * weights, self.condition_key: condition}
        images, target, arguments, told = super().__call__(moved, device, non_blocking, **kwargs)
        kept = hashed_uniform(self.latents, DROPPED, 1) >= self.condition_dropout
        told["condition"] = told["condition"] * kept[:, :, None, None].to(images.dtype)
        weights = weights.to(device, non_blocking=non_blocking)
        return images, torch.cat([target, weights], dim=1), arguments, told | {"mode": "concat"}

    def get_noise(self, images: Tensor) -> Tensor:
        return self.generator.noise(self.latents, images.shape[2], images.shape[3])

    def get_timesteps(self, images: Tensor) -> Tensor:
        """Of a flow logit-normal over the interval (Esser et al., ICML 2024), else by :func:`time_weights`."""
        if self.cumulative is None:
            return TIMES * torch.sigmoid(hashed_normal(self.latents, TIME, 1, 1, 1)).flatten()
        drawn = hashed_uniform(self.latents, TIME, 1).flatten()
        self.cumulative = self.cumulative.to(drawn.device)  # once
        return torch.searchsorted(self.cumulative, drawn, right=True).clamp(max=TIMES - 1)

    def get_target(self, images: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        if self.process == "epsilon":
            return noise
        if isinstance(self.scheduler, DDPMScheduler):
            return self.scheduler.get_velocity(images, noise, timesteps)
        return images - noise


class SampleNoise:
    """The noise that a ``DiffusionGenerator`` starts from, by each sample's latent.

    Args:
        generator: whose noise it is.
        condition_key: entry of the batch that the generator is given.
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
        """As MONAI's engines prepare a batch: the condition, no label, and the noise by name."""
        moved = {
            key: torch.as_tensor(batch[key]).to(device, non_blocking=non_blocking)
            for key in (self.condition_key, "latent")
        }
        return moved[self.condition_key], None, (), {"noise": self(moved)}
