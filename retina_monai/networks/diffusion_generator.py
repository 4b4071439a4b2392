"""A diffusion model as a generator: condition in, photograph out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retina_monai.networks.diffusion import default_sampler
from retina_monai.networks.naming import describe_network
from retina_monai.networks.pixel_bridge import PixelBridge
from retina_monai.networks.sampler import Sampler
from retina_monai.settings import ANY_COUNT, COUNT, INDEX, Number, Rule, Switch

__all__ = ["DiffusionGenerator"]

STEPS, GUIDANCE = 16, 1.0

SETTINGS: dict[str, Rule] = {
    "features": COUNT,
    "multipliers": Number(1, whole=True, count=ANY_COUNT),
    "blocks": INDEX,
    "attention": INDEX,
    "unshuffle": COUNT,
    "gradient_checkpointing": Switch(),
    "steps": Number(1, 1000, whole=True, optional=True),
    "guidance": Number(0, optional=True),
}


class DiffusionGenerator(nn.Module):
    """A U-Net, a sampler, and a bridge between photographs and the data of the diffusion process.

    Each of the three can be replaced: ``sampler`` by :meth:`sample_by`, ``unet`` by any
    :class:`retina_monai.networks.sampler.Denoiser`, and ``bridge`` by a module with the methods of
    :class:`retina_monai.networks.pixel_bridge.PixelBridge`.

    The initial noise is given or drawn from ``seed``. In the latter case all samples start from the same noise. A
    sample depends on its own condition and noise alone, on any device, scripted or not.

    Args:
        unet: predicts from the noisy picture with its condition, and the time.
        process: prediction target of the U-Net, one of :data:`retina_monai.networks.diffusion.PROCESSES`.
        sampler: a sampler of the process (:data:`retina_monai.networks.diffusion.SAMPLERS`); ``None`` uses the default.
        steps: steps of the sampler, in [1, 1000]; ``None`` uses 16.
        guidance: as for :class:`retina_monai.networks.sampler.Sampler`; ``None`` uses 1.
        seed: seed of the noise if none is given.
        mean, std: mean and standard deviation of the photographs per channel, on the [-1, 1] scale.

    Attributes:
        arguments: arguments of this network and its U-Net, with which it can be rebuilt.
        fixed: names of arguments on which the weights depend, which tensor shapes cannot reveal.

    Raises:
        ValueError: the process is unknown, the sampler does not fit the process, or ``steps`` is out of range.
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
        given: Any = unet
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
        self.arguments = arguments
        self.unet = unet
        self.bridge = PixelBridge(mean, std)
        self.levels = given.levels
        self.sample_by()

    def sample_by(self, **chosen: Any) -> DiffusionGenerator:
        """Change the sampling settings.

        Args:
            chosen: ``sampler``, ``steps``, ``guidance`` and ``seed`` as for the constructor; ``None`` keeps a setting.

        Raises:
            ValueError: the sampler does not fit the process, or ``steps`` is out of range.
        """
        arguments = self.arguments | {key: value for key, value in chosen.items() if value is not None}
        self.sampler = Sampler(*(arguments[key] for key in ("process", "sampler", "steps", "guidance")))
        self.arguments, self.seed = arguments, int(arguments["seed"])
        return self

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Initialise from the weights of a generator; with a ControlNet by :meth:`ControlledUNet.start_from`.

        Raises:
            RuntimeError: the state belongs to another network.
        """
        unet: Any = self.unet
        if hasattr(unet, "start_from"):
            unet.start_from({key.removeprefix("unet."): value for key, value in state.items()})
        else:
            self.load_state_dict(state)

    @property
    def drawn_by(self) -> dict[str, Any]:
        """Settings on which a sample depends besides weights, condition and noise."""
        return {key: self.arguments[key] for key in ("sampler", "steps", "guidance")}

    def forward(self, image: Tensor, noise: Tensor | None = None) -> Tensor:
        """Sample photographs.

        Args:
            image: condition ``(B, in_channels, H, W)`` in [-1, 1].
            noise: initial noise ``(B, 3, H, W)``, N(0, 1); ``None`` draws it from the seed.

        Returns:
            ``(B, 3, H, W)`` in [-1, 1], black outside the circle inscribed in the picture.

        Raises:
            ValueError: height or width is not divisible by ``2 ** levels``.
        """
        batch, height, width = image.shape[0], image.shape[2], image.shape[3]
        factor = 2**self.levels
        if height % factor != 0 or width % factor != 0:
            raise ValueError(
                f"the size must be divisible by 2^{self.levels} = {factor}, got {height} x {width}: "
                "resize the picture or build the network with fewer levels"
            )
        if noise is None:
            latents = torch.full((batch,), self.seed, dtype=torch.int64, device=image.device)
            noise = self.noise(latents, height, width)
        low, high = self.bridge.bounds(noise.float())
        return self.bridge.decode(self.sampler(self.unet, noise.float(), image.float(), low, high))

    def noise(self, latents: Tensor, height: int, width: int) -> Tensor:
        """Noise of training and sampling: latents ``(B,)`` int64 -> ``(B, 3, height, width)``, N(0, 1)."""
        return self.sampler.noise(latents, self.bridge.channels, height, width)
