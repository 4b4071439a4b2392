"""A diffusion model as a generator: condition in, photograph out, in a stated number of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retina_monai.networks.circle import inscribed_circle
from retina_monai.networks.diffusion import default_sampler, plan_steps
from retina_monai.networks.hashed_noise import hashed_normal
from retina_monai.networks.naming import describe_network

__all__ = ["DiffusionGenerator"]

STEPS, GUIDANCE = 16, 1.0
SPREAD = 0.5  # standard deviation of what the U-Net sees of a photograph, beside noise of 1


class DiffusionGenerator(nn.Module):
    """Sampler around a U-Net; between the two, photographs are brought to a mean of 0 and one spread per channel.

    The noise to start from is given, or drawn from ``seed``: then each sample of each batch starts from the same.
    Either way a sample depends on its own condition and noise alone, on any device, scripted or not.

    Args:
        unet: of noisy picture and condition, and the time.
        process: what the U-Net was trained to predict, one of
            :data:`retina_monai.networks.diffusion.PROCESSES`.
        sampler: one of the process's (:data:`retina_monai.networks.diffusion.SAMPLERS`); ``None``: the first of them.
        steps: of the sampler, 1 to 1000; ``None``: 16.
        guidance: 1, or ``None``: the U-Net is asked once a step. Otherwise it is asked without the condition too, and
            the difference that the condition makes counts so often (Ho and Salimans 2022,
            https://arxiv.org/abs/2207.12598).
        seed: of the noise where none is given.
        mean, std: of the photographs per channel, on the [-1, 1] scale.

    Attributes:
        arguments: of this network, and of the U-Net in it, for who builds it again.
        fixed: those of them on which weights depend, though no shape of any tensor tells.

    Raises:
        ValueError: an unknown process, a sampler of another one, or steps out of range.
    """

    fixed = ("process", "mean", "std")
    __jit_unused_properties__: ClassVar = ["drawn_by"]

    def __init__(
        self,
        unet: nn.Module,
        process: str = "flow",
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        mean: Sequence[float] = (0.25, -0.5, -0.8),
        std: Sequence[float] = (0.28, 0.16, 0.08),
    ) -> None:
        super().__init__()
        told: Any = unet
        arguments: dict[str, Any] = {
            "unet": describe_network(unet),
            "process": process,
            "sampler": sampler or default_sampler(process),
            "steps": STEPS if steps is None else steps,
            "guidance": GUIDANCE if guidance is None else guidance,
            "seed": seed,
            "mean": list(mean),
            "std": list(std),
        }
        self.unet = unet
        self.arguments = arguments
        self.out_channels, self.levels = len(mean), told.levels
        self.mean, self.scale = list(mean), [value / SPREAD for value in std]
        self.sample_by()

    def sample_by(self, **chosen: Any) -> DiffusionGenerator:
        """Sample otherwise from now on.

        Args:
            chosen: ``sampler``, ``steps``, ``guidance`` and ``seed`` as when it was built; ``None`` leaves what was.

        Raises:
            ValueError: a sampler of another process, or steps out of range.
        """
        told = self.arguments | {key: value for key, value in chosen.items() if value is not None}
        plan = plan_steps(told["process"], told["sampler"], told["steps"])
        self.arguments = told
        self.steps, self.guidance, self.seed = len(plan.times), float(told["guidance"]), int(told["seed"])
        self.times = plan.times
        self.image_x, self.image_out = plan.image_x, plan.image_out
        self.noise_x, self.noise_image, self.weights = plan.noise_x, plan.noise_image, plan.weights
        self.next_x, self.next_image, self.next_noise = plan.next_x, plan.next_image, plan.next_noise
        self.fresh = plan.fresh
        return self

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Start a training from the weights of a generator; :meth:`ControlledUNet.start_from` for a ControlNet.

        Raises:
            RuntimeError: the state is another network's.
        """
        unet: Any = self.unet
        if hasattr(unet, "start_from"):
            unet.start_from({key.removeprefix("unet."): value for key, value in state.items()})
        else:
            self.load_state_dict(state)

    @property
    def drawn_by(self) -> dict[str, Any]:
        """On what a sample depends beside weights, condition and noise."""
        return {key: self.arguments[key] for key in ("sampler", "steps", "guidance")}

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Draw photographs.

        Args:
            image: condition ``(B, in_channels, H, W)`` in [-1, 1].
            noise: to start from, ``(B, 3, H, W)``, N(0, 1); ``None``: by the seed.

        Returns:
            ``(B, 3, H, W)`` in [-1, 1], black outside the circle inscribed in the picture.

        Raises:
            ValueError: height or width is not divisible by ``2 ** levels``.
        """
        batch, height, width = image.shape[0], image.shape[2], image.shape[3]
        factor = 2**self.levels
        if height % factor != 0 or width % factor != 0:
            raise ValueError(
                f"the size must be divisible by 2^{self.levels} = {factor}, not {height} x {width}: "
                "resize the picture or build the network with fewer levels"
            )
        if noise is None:
            latents = torch.full((batch,), self.seed, dtype=torch.int64, device=image.device)
            noise = self.noise(latents, height, width)
        picture = self.restore(self._sample(noise.float(), image.float())).clamp(-1, 1)
        inside = inscribed_circle(picture)
        return picture * inside + (inside - 1)

    def noise(self, latents: Tensor, height: int, width: int) -> Tensor:
        """What samples start from, in training as here: ``(B,)`` int64 -> ``(B, 3, height, width)``, N(0, 1)."""
        return hashed_normal(latents, 0, self.out_channels, height, width)

    def standardize(self, image: Tensor) -> Tensor:
        """Photographs ``(B, 3, H, W)`` in [-1, 1] -> what the U-Net sees of them; 0 outside the inscribed circle."""
        shifted = image - _per_channel(self.mean, image)
        return shifted / _per_channel(self.scale, image) * inscribed_circle(image)

    def restore(self, picture: Tensor) -> Tensor:
        """The inverse of :meth:`standardize`, inside the circle."""
        return picture * _per_channel(self.scale, picture) + _per_channel(self.mean, picture)

    def _sample(self, noise: Tensor, condition: Tensor) -> Tensor:
        """The loop of :class:`retina_monai.networks.diffusion.Plan`."""
        picture = noise
        channels, height, width = picture.shape[1], picture.shape[2], picture.shape[3]
        latents = (picture[:, 0, 0, 0].double() * 2**32).long()  # of what is drawn later, each sample's own
        mean, scale = _per_channel(self.mean, picture), _per_channel(self.scale, picture)
        black, white = (-1 - mean) / scale, (1 - mean) / scale
        inside = inscribed_circle(picture)
        history = [torch.zeros_like(picture)] * 4
        for index in range(self.steps):
            out = self._ask(picture, condition, self.times[index])
            found = self.image_x[index] * picture + self.image_out[index] * out
            found = torch.minimum(torch.maximum(found, black), white) * inside
            drift = self.noise_x[index] * picture + self.noise_image[index] * found
            history = [drift, history[0], history[1], history[2]]
            weights = self.weights[index]
            weighed = weights[0] * history[0]
            for place in range(1, 4):
                if weights[place] != 0:
                    weighed = weighed + weights[place] * history[place]
            picture = self.next_x[index] * picture + self.next_image[index] * found + self.next_noise[index] * weighed
            if self.fresh[index] > 0:
                picture = picture + self.fresh[index] * hashed_normal(latents, index + 1, channels, height, width)
        return picture

    def _ask(self, picture: Tensor, condition: Tensor, time: float) -> Tensor:
        times = torch.full((picture.shape[0],), time, device=picture.device)
        informed: Tensor = self.unet(torch.cat([picture, condition], dim=1), times)
        if self.guidance == 1:
            return informed
        blind: Tensor = self.unet(torch.cat([picture, torch.zeros_like(condition)], dim=1), times)
        return blind + self.guidance * (informed - blind)


def _per_channel(values: list[float], image: Tensor) -> Tensor:
    """``(C, 1, 1)``; no buffer, which scripted would be one of the weights."""
    return torch.tensor(values, dtype=image.dtype, device=image.device).view(-1, 1, 1)
