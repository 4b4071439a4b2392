"""The loop of every sampler: from noise, step by step, to what a process was trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retina_monai.networks.diffusion import plan_steps
from retina_monai.networks.hashed_noise import hashed_normal

__all__ = ["Denoiser", "Sampler"]


@torch.jit.interface
class Denoiser(nn.Module):
    """What a :class:`Sampler` asks at each step: a U-Net, or the same network in another runtime.

    ``x`` ``(B, C + in_channels, H, W)`` is the noisy data with the condition behind it, as ``DiffusionInferer`` shows
    it in mode ``concat``; ``timesteps`` ``(B,)`` are in [0, 1000]. It predicts ``(B, C, H, W)``.
    """

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:  # type: ignore[empty-body]
        pass


class Sampler(nn.Module):
    """Follow a :class:`retina_monai.networks.diffusion.Plan`; a sample depends on its own noise and condition alone.

    Args:
        process: what the denoiser predicts, one of :data:`retina_monai.networks.diffusion.PROCESSES`.
        sampler: one of the process's, in :data:`retina_monai.networks.diffusion.SAMPLERS`.
        steps: 1 to 1000.
        guidance: 1: the denoiser is asked once a step. Otherwise it is also asked without the condition, and the
            difference that the condition makes is multiplied by ``guidance`` (Ho and Salimans 2022,
            https://arxiv.org/abs/2207.12598).

    Raises:
        ValueError: an unknown process, a sampler of another process, or steps out of range.
    """

    def __init__(self, process: str, sampler: str, steps: int, guidance: float = 1.0) -> None:
        super().__init__()
        self.plan = plan_steps(process, sampler, steps)
        self.guidance = float(guidance)

    def noise(self, latents: Tensor, channels: int, height: int, width: int) -> Tensor:
        """What samples start from, in training too: ``(B,)`` int64 -> ``(B, channels, height, width)``, N(0, 1)."""
        return hashed_normal(latents, 0, channels, height, width)

    def forward(self, denoise: Denoiser, noise: Tensor, condition: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draw samples.

        Args:
            denoise: predicts what the process asks for.
            noise: to start from, ``(B, C, H, W)``.
            condition: ``(B, in_channels, H, W)``.
            low, high: ``(C, H, W)``, range of the data; predictions of the final sample are clipped to it.

        Returns:
            ``(B, C, H, W)``.
        """
        times, image_x, image_out, noise_x, noise_image, weights, next_x, next_image, next_noise, fresh = self.plan
        x = noise
        latents = (x[:, 0, 0, 0].double() * 2**32).long()  # each sample's own, for the noise of later steps
        history = [torch.zeros_like(x)] * 4
        for index in range(len(times)):
            out = self.ask(denoise, x, condition, times[index])
            found = torch.clamp(image_x[index] * x + image_out[index] * out, low, high)
            drift = noise_x[index] * x + noise_image[index] * found
            history = [drift, history[0], history[1], history[2]]
            weighed = weights[index][0] * history[0]
            for place in range(1, 4):
                if weights[index][place] != 0:
                    weighed = weighed + weights[index][place] * history[place]
            x = next_x[index] * x + next_image[index] * found + next_noise[index] * weighed
            if fresh[index] > 0:
                x = x + fresh[index] * hashed_normal(latents, index + 1, x.shape[1], x.shape[2], x.shape[3])
        return x

    def ask(self, denoise: Denoiser, x: Tensor, condition: Tensor, time: float) -> Tensor:
        """The prediction at one time, guided by the condition."""
        times = torch.full((x.shape[0],), time, device=x.device)
        informed = denoise.forward(torch.cat([x, condition], dim=1), times)
        if self.guidance == 1:
            return informed
        blind = denoise.forward(torch.cat([x, torch.zeros_like(condition)], dim=1), times)
        return blind + self.guidance * (informed - blind)
