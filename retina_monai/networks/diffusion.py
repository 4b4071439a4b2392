"""Noise schedules and samplers of diffusion models.

Every sampler is a loop of linear steps, whose coefficients are computed once in float64:

- ``ddpm``: ancestral sampling (Ho et al., NeurIPS 2020, https://arxiv.org/abs/2006.11239) on a subset of the times
  (Nichol and Dhariwal, ICML 2021, https://arxiv.org/abs/2102.09672);
- ``ddim``: deterministic sampling (Song et al., ICLR 2021, https://arxiv.org/abs/2010.02502);
- ``pndm``: linear multistep (Liu et al., ICLR 2022, https://arxiv.org/abs/2202.09778); the first steps, which lack
  history, are of lower order;
- ``euler``: Euler's method for a rectified flow (Liu et al., ICLR 2023, https://arxiv.org/abs/2209.03003). The network
  predicts the flow or the image (Li and He, CVPR 2026, https://arxiv.org/abs/2511.13720).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from monai.networks.schedulers import DDPMScheduler, RFlowScheduler
from monai.networks.schedulers.scheduler import NoiseSchedules
from torch import Tensor

__all__ = [
    "FLOWS",
    "PROCESSES",
    "SAMPLERS",
    "TIMES",
    "Plan",
    "default_sampler",
    "noise_schedule",
    "plan_steps",
    "training_scheduler",
]

SAMPLERS = {
    "epsilon": ("ddim", "ddpm", "pndm"),
    "velocity": ("ddim", "ddpm", "pndm"),
    "flow": ("euler",),
    "clean": ("euler",),
}
"""Process -> its samplers, the default first."""

PROCESSES = tuple(SAMPLERS)
"""Prediction of the U-Net: the noise; the velocity, with zero terminal SNR; the flow from noise to image; or the image
on the path of that flow, ``clean``."""

FLOWS = ("flow", "clean")
"""Processes on straight paths from noise to image."""

TIMES = 1000
FIRST_BETA, LAST_BETA = 0.0015, 0.0195
ADAMS_BASHFORTH = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def noise_schedule(process: str) -> Tensor:
    """Share of the image's variance that remains at each time, ``alpha bar``.

    ``epsilon``: scaled linear betas from 0.0015 to 0.0195, whose square roots are evenly spaced, as in latent diffusion
    (Rombach et al., CVPR 2022). ``velocity``: the same, rescaled to zero terminal SNR (Lin et al., WACV 2024,
    https://arxiv.org/abs/2305.08891, algorithm 1).

    Returns:
        ``(1000,)``, float64.

    Raises:
        ValueError: the process has no noise schedule.
    """
    if process not in ("epsilon", "velocity"):
        raise ValueError(f"process must be epsilon or velocity, got {process!r}")
    betas = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, TIMES, dtype=torch.float64).square()
    left = torch.cumprod(1 - betas, 0)
    if process == "epsilon":
        return left
    roots = left.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])).square()


@NoiseSchedules.add_def("zero_terminal_snr", "Scaled linear betas, rescaled to zero terminal SNR (Lin et al. 2024)")
def _zero_terminal_snr(num_train_timesteps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Betas, alphas and their cumulative product, for MONAI's schedulers."""
    left = noise_schedule("velocity")
    alphas = torch.cat([left[:1], left[1:] / left[:-1]])
    return (1 - alphas).float(), alphas.float(), left.float()


def training_scheduler(process: str) -> DDPMScheduler | RFlowScheduler:
    """MONAI's scheduler of a process: what it adds noise by.

    Raises:
        ValueError: an unknown process.
    """
    if process in FLOWS:
        return RFlowScheduler(TIMES, use_discrete_timesteps=False)
    if process == "velocity":
        return DDPMScheduler(TIMES, "zero_terminal_snr", prediction_type="v_prediction")
    if process == "epsilon":
        betas: dict[str, Any] = {"beta_start": FIRST_BETA, "beta_end": LAST_BETA}
        return DDPMScheduler(TIMES, "scaled_linear_beta", prediction_type="epsilon", **betas)
    raise ValueError(f"process must be one of {', '.join(PROCESSES)}, got {process!r}")


class Plan(NamedTuple):
    """Coefficients of a sampler at each of its steps.

    With the noisy picture ``x`` and the prediction ``out`` of the U-Net:

    - ``image = image_x * x + image_out * out``, clipped to the range of photographs;
    - ``noise = noise_x * x + noise_image * image``;
    - ``weighted``: sum of the last four ``noise`` with ``weights``, latest first;
    - next ``x = next_x * x + next_image * image + next_noise * weighted + fresh * z`` with new noise ``z``.
    """

    times: list[float]
    image_x: list[float]
    image_out: list[float]
    noise_x: list[float]
    noise_image: list[float]
    weights: list[list[float]]
    next_x: list[float]
    next_image: list[float]
    next_noise: list[float]
    fresh: list[float]


def spaced_times(steps: int) -> list[int]:
    """Evenly spaced times, starting at the last (*trailing*, Lin et al. 2024): 999, 749, 499, 249 for four steps.

    Raises:
        ValueError: ``steps`` is out of range.
    """
    if not 1 <= steps <= TIMES:
        raise ValueError(f"steps must be in [1, {TIMES}], got {steps}")
    return [round(TIMES - index * TIMES / steps) - 1 for index in range(steps)]


def default_sampler(process: str) -> str:
    """Default sampler of a process.

    Raises:
        ValueError: the process is unknown.
    """
    return _samplers(process)[0]


def _samplers(process: str) -> tuple[str, ...]:
    if process not in PROCESSES:
        raise ValueError(f"process must be one of {', '.join(PROCESSES)}, got {process!r}")
    return SAMPLERS[process]


def plan_steps(process: str, sampler: str, steps: int) -> Plan:
    """Compute the coefficients of a sampler.

    Raises:
        ValueError: the process is unknown, the sampler does not fit the process, or as :func:`spaced_times`.
    """
    known = _samplers(process)
    if sampler not in known:
        raise ValueError(f"sampler of process {process} must be one of {', '.join(known)}, got {sampler!r}")
    times = spaced_times(steps)
    if process in FLOWS:
        return _euler(process, steps)
    schedule = noise_schedule(process).tolist()
    left = [schedule[time] for time in times]
    pairs = zip(left, [*left[1:], 1.0], strict=True)
    rows = [_row(process, sampler, now, then, index) for index, (now, then) in enumerate(pairs)]
    return Plan([float(time) for time in times], *(list(column) for column in zip(*rows, strict=True)))


def _row(process: str, sampler: str, now: float, then: float, index: int) -> tuple:
    """Coefficients of a step between two shares of variance, in the order of :class:`Plan`.

    The predicted image follows from ``x = alpha * image + sigma * noise``. With ``velocity``, defined as
    ``alpha * noise - sigma * image`` (Salimans and Ho 2022), it is ``alpha * x - sigma * velocity``.
    """
    signal, noise = math.sqrt(now), math.sqrt(1 - now)
    image = (1 / signal, -noise / signal) if process == "epsilon" else (signal, -noise)
    direction = (1 / noise, -signal / noise)
    weights = [1.0, 0.0, 0.0, 0.0]
    if sampler == "ddpm":
        kept = now / then  # alpha = 1 - beta
        after = (kept**0.5 * (1 - then) / (1 - now), then**0.5 * (1 - kept) / (1 - now), 0.0)
        fresh = math.sqrt((1 - kept) * (1 - then) / (1 - now))
        return (*image, *direction, weights, *after, fresh)
    if sampler == "pndm" and index > 0:
        order = ADAMS_BASHFORTH[min(index, 3)]
        weights = [*order, *[0.0] * (4 - len(order))]
        ratio = math.sqrt(then / now)
        return (*image, *direction, weights, ratio, 0.0, math.sqrt(1 - then) - ratio * noise, 0.0)
    return (*image, *direction, weights, 0.0, math.sqrt(then), math.sqrt(1 - then), 0.0)


def _euler(process: str, steps: int) -> Plan:
    """Coefficients for a path with the noise share ``time / TIMES``; ``flow`` predicts ``image - noise``."""
    shares = [1 - index / steps for index in range(steps)]
    pace = [then / now for now, then in zip(shares, [*shares[1:], 0.0], strict=True)]
    ones, zeros, weights = [1.0] * steps, [0.0] * steps, [[1.0, 0.0, 0.0, 0.0]] * steps
    return Plan(
        times=[share * TIMES for share in shares],
        image_x=ones if process == "flow" else zeros,
        image_out=shares if process == "flow" else ones,
        noise_x=zeros,
        noise_image=zeros,
        weights=weights,
        next_x=pace,
        next_image=[1 - share for share in pace],
        next_noise=zeros,
        fresh=zeros,
    )
