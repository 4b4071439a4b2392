"""Samplers step by step against MONAI's schedulers, exact cases, and the schedules against their papers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler, PNDMScheduler, RFlowScheduler
from torch import Tensor

from retina_monai.networks.diffusion import (
    PROCESSES,
    SAMPLERS,
    Plan,
    noise_schedule,
    plan_steps,
    spaced_times,
    training_scheduler,
)

SHAPE = (2, 3, 4, 4)
Predict = Callable[[Tensor, float], Tensor]
EVERY = [(process, sampler) for process in PROCESSES for sampler in SAMPLERS[process]]


def run(plan: Plan, start: Tensor, predict: Predict, fresh: list[Tensor] | None = None) -> list[Tensor]:
    """The loop that :class:`Plan` describes, in float64; all that it goes through."""
    pictures, drifts = [start], []
    for step, time in enumerate(plan.times):
        x = pictures[-1]
        image = plan.image_x[step] * x + plan.image_out[step] * predict(x, time)
        drifts.insert(0, plan.noise_x[step] * x + plan.noise_image[step] * image)
        weighed = sum(weight * drift for weight, drift in zip(plan.weights[step], drifts, strict=False))
        following = plan.next_x[step] * x + plan.next_image[step] * image + plan.next_noise[step] * weighed
        pictures.append(following + (plan.fresh[step] * fresh[step] if fresh else 0))
    return pictures


def wrong_prediction(x: Tensor, time: float) -> Tensor:
    """Of no process: any function of picture and time will do to compare two ways of taking it."""
    return 0.3 * torch.tanh(x) - 0.1 * x.roll(1, -1) + time / 5000


def start() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def perfect(process: str, image: Tensor) -> Predict:
    """What a network says that knows the image."""
    if process == "clean":
        return lambda x, time: image
    if process == "flow":
        return lambda x, time: (image - x) / (time / 1000)
    left = noise_schedule(process)

    def predict(x: Tensor, time: float) -> Tensor:
        signal, noise = left[int(time)].sqrt(), (1 - left[int(time)]).sqrt()
        added = (x - signal * image) / noise
        return added if process == "epsilon" else signal * added - noise * image

    return predict


def test_schedule_of_epsilon_is_monais() -> None:
    expected = DDPMScheduler(1000, "scaled_linear_beta", beta_start=0.0015, beta_end=0.0195).alphas_cumprod
    torch.testing.assert_close(noise_schedule("epsilon").float(), expected, rtol=1e-5, atol=1e-7)


def test_schedule_of_velocity_ends_in_noise_alone_and_begins_where_it_did() -> None:
    """Algorithm 1 of Lin et al. on the betas themselves, written down once more."""
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
    roots = (1 - betas).cumprod(0).sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    roots -= last
    roots *= first / (first - last)
    left = noise_schedule("velocity")
    torch.testing.assert_close(left, roots**2)
    assert left[-1] == 0
    torch.testing.assert_close(left[0], noise_schedule("epsilon")[0])
    assert (left.diff() < 0).all()


@pytest.mark.parametrize("process", ["epsilon", "velocity"])
def test_training_adds_noise_by_the_schedule_of_sampling(process: str) -> None:
    image, noise = start().float(), start().float().flip(0)
    times = torch.tensor([0, 999])
    left = noise_schedule(process)[times].float()[:, None, None, None]
    found = training_scheduler(process).add_noise(image, noise, times)
    torch.testing.assert_close(found, left.sqrt() * image + (1 - left).sqrt() * noise, rtol=1e-4, atol=1e-5)


def test_flow_is_a_straight_line_from_image_to_noise() -> None:
    image, noise = start().float(), start().float().flip(0)
    found = training_scheduler("flow").add_noise(image, noise, torch.tensor([250.0, 1000.0]))
    torch.testing.assert_close(found[0], 0.75 * image[0] + 0.25 * noise[0])
    torch.testing.assert_close(found[1], noise[1])


@pytest.mark.parametrize("process", ["epsilon", "velocity"])
def test_ddim_steps_are_monais(process: str) -> None:
    """MONAI goes to the time that is a step's length before, so that its times and ours are those of 1000 / 250."""
    told = training_scheduler(process)
    theirs = DDIMScheduler(1000, "linear_beta", prediction_type=told.prediction_type, clip_sample=False)
    theirs.alphas_cumprod = noise_schedule(process)
    theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    theirs.set_timesteps(250)
    plan = plan_steps(process, "ddim", 250)
    assert plan.times[:2] == [999, 995]
    ours = run(plan, start(), wrong_prediction)
    for step, time in enumerate(plan.times):
        x = ours[step]
        expected, _ = theirs.step(wrong_prediction(x, time), int(time), x)
        torch.testing.assert_close(ours[step + 1], expected)


@pytest.mark.parametrize("process", ["epsilon", "velocity"])
def test_ddpm_steps_are_monais_where_all_times_are_visited(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = DDPMScheduler(1000, "linear_beta", prediction_type=training_scheduler(process).prediction_type)
    theirs.clip_sample = False
    left = noise_schedule(process)
    theirs.alphas_cumprod, theirs.alphas = left, torch.cat([left[:1], left[1:] / left[:-1]])
    theirs.betas, theirs.one = 1 - theirs.alphas, torch.tensor(1.0, dtype=torch.float64)
    theirs.set_timesteps(1000)
    drawn = start().flip(1)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: drawn)
    plan = plan_steps(process, "ddpm", 1000)
    ours = run(plan, start(), wrong_prediction, [drawn] * 1000)
    for step in (0, 1, 500, 998, 999):
        x, time = ours[step], int(plan.times[step])
        expected, _ = theirs.step(wrong_prediction(x, time), time, x)
        torch.testing.assert_close(ours[step + 1], expected.to(torch.float64), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("process", ["epsilon", "velocity"])
def test_pndm_steps_are_monais_of_noises_once_there_is_a_history(process: str) -> None:
    """MONAI's from noises: of a velocity, as the paper has it, the noise that follows from it."""
    left = noise_schedule(process)
    theirs = PNDMScheduler(1000, "linear_beta", skip_prk_steps=True)
    theirs.alphas_cumprod, theirs.final_alpha_cumprod = left, torch.tensor(1.0, dtype=torch.float64)
    theirs.set_timesteps(250)
    plan = plan_steps(process, "pndm", 250)
    ours = run(plan, start(), wrong_prediction)

    def said(step: int) -> Tensor:
        x, time = ours[step], plan.times[step]
        out, share = wrong_prediction(x, time), left[int(time)]
        return out if process == "epsilon" else share.sqrt() * out + (1 - share).sqrt() * x

    for step in (4, 5, 100, 249):
        theirs.counter, theirs.ets = 10, [said(earlier) for earlier in range(step - 3, step)]
        found = theirs.step_plms(said(step), int(plan.times[step]), ours[step])
        torch.testing.assert_close(ours[step + 1], found)


@pytest.mark.parametrize("steps", [8, 16, 300])
def test_euler_steps_are_monais(steps: int) -> None:
    theirs = RFlowScheduler(1000, use_discrete_timesteps=False)
    theirs.set_timesteps(steps)
    plan = plan_steps("flow", "euler", steps)
    assert plan.times == pytest.approx(theirs.timesteps.tolist(), rel=1e-3)  # which are of half precision
    ours = run(plan, start(), wrong_prediction)
    for step, time in enumerate(plan.times):
        expected, _ = theirs.step(wrong_prediction(ours[step], time), time, ours[step])
        torch.testing.assert_close(ours[step + 1], expected)


def test_a_predicted_image_takes_the_steps_of_the_flow_that_it_implies() -> None:
    def implied(x: Tensor, time: float) -> Tensor:
        return (wrong_prediction(x, time) - x) / (time / 1000)

    found = run(plan_steps("clean", "euler", 8), start(), wrong_prediction)
    torch.testing.assert_close(found, run(plan_steps("flow", "euler", 8), start(), implied))


@pytest.mark.parametrize(("process", "sampler"), EVERY)
@pytest.mark.parametrize("steps", [1, 4, 50])
def test_with_a_perfect_network_every_sampler_ends_at_the_image(process: str, sampler: str, steps: int) -> None:
    image = start().clamp(-1, 1)
    *_, last = run(plan_steps(process, sampler, steps), start().flip(0), perfect(process, image))
    torch.testing.assert_close(last, image)


@pytest.mark.parametrize("process", ["epsilon", "velocity"])
def test_ancestral_steps_keep_the_variance_of_the_process(process: str) -> None:
    """Forwards and backwards meet: at each time a picture has the schedule's share of the image and of noise."""
    left = noise_schedule(process)
    image = torch.full((200_000,), 0.7, dtype=torch.float64)
    random = torch.Generator().manual_seed(1)
    fresh = [torch.randn(200_000, generator=random, dtype=torch.float64) for _ in range(6)]
    begin = left[999].sqrt() * image + (1 - left[999]).sqrt() * torch.randn(
        200_000, generator=random, dtype=torch.float64
    )
    plan = plan_steps(process, "ddpm", 6)
    for time, picture in zip(plan.times[1:], run(plan, begin, perfect(process, image), fresh)[1:-1], strict=True):
        expected = left[int(time)]
        assert picture.mean().item() == pytest.approx(0.7 * expected.sqrt().item(), abs=0.01)
        assert picture.var().item() == pytest.approx(1 - expected.item(), abs=0.01)


def test_multistep_is_nearer_to_the_path_than_single_steps() -> None:
    """The distribution of one number, N(0, 0.5), whose path from noise to image is known in closed form."""
    left = noise_schedule("epsilon")
    spread = 0.5

    def predict(x: Tensor, time: float) -> Tensor:
        share = left[int(time)]
        return (1 - share).sqrt() / (share * spread**2 + 1 - share) * x

    x = torch.ones(1, dtype=torch.float64)
    exact = x * spread / (left[999] * spread**2 + 1 - left[999]).sqrt()
    away = {
        sampler: abs(run(plan_steps("epsilon", sampler, 20), x, predict)[-1] - exact).item()
        for sampler in ("ddim", "pndm")
    }
    assert away["pndm"] < away["ddim"] / 2


def test_times_are_evenly_spaced_from_the_last_one_on() -> None:
    assert spaced_times(4) == [999, 749, 499, 249]
    assert spaced_times(1) == [999]
    assert spaced_times(1000) == list(range(999, -1, -1))
    assert len(set(spaced_times(300))) == 300


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("noise", "ddim", 4), "process must be one of epsilon, velocity, flow, clean, got 'noise'"),
        (("flow", "ddim", 4), "sampler of process flow must be one of euler, got 'ddim'"),
        (("epsilon", "euler", 4), "sampler of process epsilon must be one of ddim, ddpm, pndm, got 'euler'"),
        (("epsilon", "ddim", 0), r"steps must be in \[1, 1000\], got 0"),
        (("epsilon", "ddim", 1001), r"steps must be in \[1, 1000\], got 1001"),
    ],
)
def test_what_cannot_be_planned_is_refused(arguments: tuple[str, str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plan_steps(*arguments)


def test_other_processes_have_no_schedule() -> None:
    with pytest.raises(ValueError, match="process must be epsilon or velocity, got 'flow'"):
        noise_schedule("flow")
    with pytest.raises(ValueError, match="process must be one of epsilon, velocity, flow, clean, got 'sample'"):
        training_scheduler("sample")
