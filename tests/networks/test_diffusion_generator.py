"""The sampler as a network: noise, independence of the batch, guidance, range, and TorchScript."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from retina_monai.networks import ConditionedUNet, ControlledUNet, DiffusionGenerator, hashed_normal
from retina_monai.networks.diffusion import PROCESSES, SAMPLERS, plan_steps
from retina_monai.transforms import CANONICAL
from retina_monai.transforms.field_of_view import circle

EVERY = [(process, sampler) for process in PROCESSES for sampler in SAMPLERS[process]]
MEAN, STD = (0.25, -0.5, -0.8), (0.28, 0.16, 0.08)


class Oracle(nn.Module):
    """A U-Net that knows a picture of one colour: what it says makes the process end there."""

    levels = 1

    def __init__(self, color: tuple[float, float, float]) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.color = torch.tensor(color)[:, None, None]

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        return (self.color - x[:, :3]) / (timesteps[:, None, None, None] / 1000)


class Recorder(nn.Module):
    """Predicts 0.1 where the condition is told, else 0; remembers what it was asked."""

    levels = 1

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        self.asked.append(x)
        return 0.1 * x[:, 3:].expand(-1, 3, -1, -1)


def generator(kind: type[ConditionedUNet] = ConditionedUNet, **arguments: Any) -> DiffusionGenerator:
    torch.manual_seed(0)
    unet = kind(features=8, multipliers=(1, 2))
    for parameter in unet.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return DiffusionGenerator(unet, **{"process": "velocity", "steps": 4, **arguments}).eval()


def vessel(height: int = 16, width: int = 16, batch: int = 2) -> Tensor:
    return (torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(1)) > 0.8).float() * 2 - 1


def draw(network: DiffusionGenerator, *inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(*inputs)


@pytest.mark.parametrize(("process", "sampler"), EVERY)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_scripted_it_draws_the_same_at_every_size(process: str, sampler: str, guidance: float) -> None:
    network = generator(process=process, sampler=sampler, guidance=guidance)
    scripted = torch.jit.script(network)
    assert list(scripted.state_dict()) == list(network.state_dict())
    for size in ((16, 16), (32, 24)):
        torch.testing.assert_close(draw(scripted, vessel(*size)), draw(network, vessel(*size)))
        noise = network.noise(torch.tensor([5, 9]), *size)
        torch.testing.assert_close(draw(scripted, vessel(*size), noise), draw(network, vessel(*size), noise))


def test_a_controlled_one_scripts_too() -> None:
    network = generator(ControlledUNet)
    torch.testing.assert_close(draw(torch.jit.script(network), vessel()), draw(network, vessel()))


def test_pictures_are_in_range_and_black_outside_the_circle() -> None:
    pred = draw(generator(process="epsilon", sampler="ddpm"), vessel())
    assert pred.shape == (2, 3, 16, 16) and pred.abs().max() <= 1
    outside = torch.from_numpy(circle(16))[0] == 0
    assert (pred[:, :, outside] == -1).all() and (pred[:, :, ~outside] > -1).any()


@pytest.mark.parametrize("process", PROCESSES)
def test_default_sampler_is_the_first_of_the_process(process: str) -> None:
    named = generator(process=process, sampler=SAMPLERS[process][0])
    assert torch.equal(draw(generator(process=process), vessel()), draw(named, vessel()))


@pytest.mark.parametrize(("process", "sampler"), EVERY)
def test_a_sample_depends_on_its_own_noise_and_condition_alone(process: str, sampler: str) -> None:
    network = generator(process=process, sampler=sampler)
    noise = network.noise(torch.tensor([3, 8]), 16, 16)
    together = draw(network, vessel(), noise)
    alone = draw(network, vessel()[1:], noise[1:])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], draw(network, vessel()[:1], noise[1:])[0], atol=1e-2)


def test_without_noise_each_sample_starts_from_that_of_the_seed() -> None:
    first, other = generator(seed=4), generator(seed=5)
    same = vessel(batch=1).expand(2, -1, -1, -1)
    pred = draw(first, same)
    torch.testing.assert_close(pred[0], pred[1])
    expected = draw(first, same[:1], hashed_normal(torch.tensor([4]), 0, 3, 16, 16))
    torch.testing.assert_close(pred[:1], expected)
    assert not torch.allclose(pred, draw(other, same), atol=1e-2)


class Any4(nn.Module):
    """Some function of picture, condition and time, pixel by pixel."""

    levels = 0

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {}

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        picture, condition = x[:, :3], x[:, 3:]
        return 0.3 * torch.tanh(picture) - 0.1 * picture.roll(1, 1) + timesteps.view(-1, 1, 1, 1) / 5000 + condition / 9


@pytest.mark.parametrize(("process", "sampler"), EVERY)
@pytest.mark.parametrize("clipped", [False, True])
def test_it_takes_the_steps_of_its_plan(process: str, sampler: str, clipped: bool) -> None:
    """The loop once more, in float64 and in the words of :class:`Plan`, which is held against MONAI's schedulers."""
    steps, size = 7, 4
    std = (0.4, 0.3, 0.2) if clipped else (1e4, 2e4, 3e4)
    network = DiffusionGenerator(Any4(), process, sampler, steps, std=std)
    plan, condition = plan_steps(process, sampler, steps), torch.full((2, 1, size, size), 0.5)
    noise = network.noise(torch.tensor([1, 2]), size, size)
    scale = 2 * torch.tensor(std, dtype=torch.float64).view(3, 1, 1)
    low, high = ((edge - torch.tensor(MEAN).view(3, 1, 1).double()) / scale for edge in (-1, 1))
    inside = torch.from_numpy(circle(size))[0].double()
    picture, drifts = noise.double(), []
    latents = (noise[:, 0, 0, 0].double() * 2**32).long()
    for step, time in enumerate(plan.times):
        out = Any4()(torch.cat([picture, condition.double()], dim=1), torch.full((2,), time).double())
        image = plan.image_x[step] * picture + plan.image_out[step] * out
        image = image.clamp(low, high) * inside
        drifts.append(plan.noise_x[step] * picture + plan.noise_image[step] * image)
        weighed = sum(w * drift for w, drift in zip(plan.weights[step], reversed(drifts), strict=False))
        picture = plan.next_x[step] * picture + plan.next_image[step] * image + plan.next_noise[step] * weighed
        fresh = hashed_normal(latents, step + 1, 3, size, size).double()
        picture = picture + plan.fresh[step] * fresh
    with torch.no_grad():
        found = network.sampler(network.unet, noise, condition, *network.bridge.bounds(noise))
    torch.testing.assert_close(found.double(), picture, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 4])
def test_what_the_network_knows_comes_out_in_the_scale_of_photographs(steps: int) -> None:
    """0.4 for red is 0.4 of two standard deviations of red above its mean."""
    pred = draw(DiffusionGenerator(Oracle((0.4, 0.0, -0.5)), "flow", steps=steps), vessel())
    for channel, value in enumerate((0.4, 0.0, -0.5)):
        assert pred[0, channel, 8, 8].item() == pytest.approx(MEAN[channel] + value * STD[channel] / 0.5, abs=1e-5)


@pytest.mark.parametrize(("guidance", "expected"), [(1.0, 0.1), (3.0, 0.3), (0.0, 0.0)])
def test_guidance_counts_what_the_condition_changes(guidance: float, expected: float) -> None:
    recorder = Recorder()
    network = DiffusionGenerator(recorder, "flow", steps=1, guidance=guidance)
    noise = torch.zeros(1, 3, 8, 8)
    pred = draw(network, torch.ones(1, 1, 8, 8), noise)
    assert pred[0, 0, 4, 4].item() == pytest.approx(MEAN[0] + expected * STD[0] / 0.5, abs=1e-5)
    assert len(recorder.asked) == (1 if guidance == 1 else 2), "the network is asked once where once will do"


def test_the_bridge_standardizes_photographs_and_brings_them_back() -> None:
    bridge = generator().bridge
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    inside = torch.from_numpy(circle(64)).float()
    found = bridge.encode(image)
    expected = (image - torch.tensor(MEAN).view(1, 3, 1, 1)) / (2 * torch.tensor(STD).view(1, 3, 1, 1)) * inside
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(bridge.decode(found) * inside, image * inside)
    low, high = bridge.bounds(found)
    assert torch.equal(bridge.decode(low * torch.ones_like(found)), -torch.ones_like(found)), "black"
    torch.testing.assert_close(bridge.decode(high * torch.ones_like(found)), (2 * inside - 1).expand_as(found))
    assert torch.equal(bridge.known(torch.ones(2, 1, 64, 64)), inside.expand(2, 1, -1, -1))


def test_another_denoiser_and_another_bridge_take_their_places() -> None:
    class Halves(nn.Module):
        """What it works on are photographs of half the contrast."""

        channels = 3

        def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.full_like(x[0], -0.5), torch.full_like(x[0], 0.5)

        def decode(self, x: Tensor) -> Tensor:
            return 2 * x

    network = generator(process="flow")
    network.unet, network.bridge = Oracle((0.1, -0.2, 0.7)), Halves()
    expected = torch.tensor([0.2, -0.4, 1.0])[:, None, None].expand(2, -1, 16, 16)
    torch.testing.assert_close(draw(network, vessel()), expected)


def test_photographs_are_taken_for_canonical_ones() -> None:
    told = generator().arguments
    assert (tuple(told["mean"]), tuple(told["std"])) == (CANONICAL.mean, CANONICAL.std) == (MEAN, STD)


def test_it_is_built_again_from_its_arguments() -> None:
    first = generator(ControlledUNet, process="flow", steps=3, guidance=1.5)
    unet = {key: value for key, value in first.arguments["unet"].items() if key != "_target_"}
    again = DiffusionGenerator(**{**first.arguments, "unet": ControlledUNet(**unet)}).eval()
    again.load_state_dict(first.state_dict())
    assert again.arguments == first.arguments
    torch.testing.assert_close(draw(again, vessel()), draw(first, vessel()))


def test_how_it_samples_is_chosen_afterwards_too() -> None:
    network = generator()
    assert network.sample_by(sampler="pndm", steps=6, guidance=2.0, seed=3) is network
    expected = generator(sampler="pndm", steps=6, guidance=2.0, seed=3)
    assert network.arguments == expected.arguments
    assert torch.equal(draw(network, vessel()), draw(expected, vessel()))
    assert network.sample_by(steps=None).arguments == expected.arguments, "None leaves what was"
    with pytest.raises(ValueError, match="sampler of process velocity must be one of"):
        network.sample_by(sampler="euler")
    assert network.arguments == expected.arguments, "what is refused changes nothing"


def test_noise_is_normal() -> None:
    assert kstest(generator().noise(torch.arange(4), 32, 32).flatten().numpy(), "norm").pvalue > 0.01


def test_sizes_that_do_not_go_through_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the size must be divisible by 2\^2 = 4, got 16 x 18"):
        generator()(vessel(16, 18))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"process": "noise"}, "process must be one of epsilon, velocity, flow, clean, got 'noise'"),
        ({"process": "flow", "sampler": "ddim"}, "sampler of process flow must be one of euler, got 'ddim'"),
        ({"steps": 0}, r"steps must be in \[1, 1000\], got 0"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        generator(**arguments)
