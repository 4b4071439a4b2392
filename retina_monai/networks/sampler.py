"""The sampling loop of diffusion models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retina_monai.networks.diffusion import plan_steps
from retina_monai.networks.hashed_noise import hashed_normal

__all__ = ["Denoiser", "Sampler"]


@torch.jit.interface
class Denoiser(nn.Module):
    """Interface of the network called by :class:`Sampler`: a U-Net, or the same network in another runtime.

    ``x`` ``(B, C + in_channels, H, W)`` is the noisy data followed by the condition, as in mode ``concat`` of
    ``DiffusionInferer``; ``timesteps`` ``(B,)`` are in [0, 1000]. The prediction is ``(B, C, H, W)``.
    """

    # TorchScript's interfaces have no body.
    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:  # type: ignore[empty-body]
        pass


class Sampler(nn.Module):
    """Run a :class:`retina_monai.networks.diffusion.Plan`; a sample depends on its own noise and condition alone.

    Args:
        process: prediction target of the denoiser, one of :data:`retina_monai.networks.diffusion.PROCESSES`.
        sampler: a sampler of the process (:data:`retina_monai.networks.diffusion.SAMPLERS`).
        steps: number of steps, in [1, 1000].
        guidance: scale of classifier-free guidance (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598). At 1 the
            denoiser is called once per step; otherwise twice, with and without the condition.

    Raises:
        ValueError: the process is unknown, the sampler does not fit the process, or ``steps`` is out of range.
    """

    def __init__(self, process: str, sampler: str, steps: int, guidance: float = 1.0) -> None:
        super().__init__()
        self.plan = plan_steps(process, sampler, steps)
        self.guidance = float(guidance)

    def noise(self, latents: Tensor, channels: int, height: int, width: int) -> Tensor:
        """Noise of training and sampling: latents ``(B,)`` int64 -> ``(B, channels, height, width)``, N(0, 1)."""
        return hashed_normal(latents, 0, channels, height, width)

    def forward(self, denoise: Denoiser, noise: Tensor, condition: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draw samples.

        Args:
            denoise: the denoiser.
            noise: initial noise ``(B, C, H, W)``.
            condition: ``(B, in_channels, H, W)``.
            low, high: ``(C, H, W)``, range to which the predicted image is clipped at each step.

        Returns:
            ``(B, C, H, W)``.
        """
        times, image_x, image_out, noise_x, noise_image, weights, next_x, next_image, next_noise, fresh = self.plan
        x = noise
        latents = (x[:, 0, 0, 0].double() * 2**32).long()  # per sample, for the noise of later steps
        history = [torch.zeros_like(x)] * 4
        for index in range(len(times)):
            out = self.ask(denoise, x, condition, times[index])
            found = torch.clamp(image_x[index] * x + image_out[index] * out, low, high)
            drift = noise_x[index] * x + noise_image[index] * found
            history = [drift, history[0], history[1], history[2]]
            weighted = weights[index][0] * history[0]
            for place in range(1, 4):
                if weights[index][place] != 0:
                    weighted = weighted + weights[index][place] * history[place]
            x = next_x[index] * x + next_image[index] * found + next_noise[index] * weighted
            if fresh[index] > 0:
                x = x + fresh[index] * hashed_normal(latents, index + 1, x.shape[1], x.shape[2], x.shape[3])
        return x

    def ask(self, denoise: Denoiser, x: Tensor, condition: Tensor, time: float) -> Tensor:
        """Predict at one time, with classifier-free guidance."""
        times = torch.full((x.shape[0],), time, device=x.device)
        conditional = denoise.forward(torch.cat([x, condition], dim=1), times)
        if self.guidance == 1:
            return conditional
        unconditional = denoise.forward(torch.cat([x, torch.zeros_like(condition)], dim=1), times)
        return unconditional + self.guidance * (conditional - unconditional)
