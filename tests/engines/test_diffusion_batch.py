"""What diffusion is trained on: noise as in sampling, times by their weights, targets, and the withheld condition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import RFlowScheduler
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor, nn

from retina_monai.engines import DiffusionBatch, SampleNoise, time_weights
from retina_monai.networks import ConditionedUNet, DiffusionGenerator
from retina_monai.networks.diffusion import PROCESSES, noise_schedule, training_scheduler
from retina_monai.objectives import WeightedError
from retina_monai.seeds import draw_latent
from retina_monai.transforms.field_of_view import circle

SIZE = 16


def generator(process: str = "velocity") -> DiffusionGenerator:
    return DiffusionGenerator(ConditionedUNet(features=4, multipliers=(1, 2)), process)


def batch(count: int = 4, size: int = SIZE) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    fov = torch.ones(count, 1, size, size)
    fov[:, :, :4] = 0
    return {
        "image": torch.rand(count, 3, size, size, generator=random) * 2 - 1,
        "vessel": torch.ones(count, 1, size, size),
        "fov": fov,
        "latent": torch.tensor([draw_latent(0, index) for index in range(count)]),
    }


def prepared(process: str = "velocity", data: dict[str, Tensor] | None = None, **arguments: Any) -> Any:
    return DiffusionBatch(generator(process), **arguments)(data or batch(), torch.device("cpu"))


@pytest.mark.parametrize("process", PROCESSES)
def test_training_and_inference_draw_the_same_latents(process: str) -> None:
    data = batch()
    *_, told = prepared(process, data)
    assert torch.equal(told["noise"], SampleNoise(generator(process))(data))
    assert kstest(told["noise"].flatten().numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("process", PROCESSES)
def test_a_sample_is_prepared_alike_in_any_batch(process: str) -> None:
    data = batch()
    images, target, _, told = prepared(process, data, condition_dropout=0.5)
    for place in range(4):
        own = {key: value[place : place + 1] for key, value in data.items()}
        image, wanted, _, alone = prepared(process, own, condition_dropout=0.5)
        assert torch.equal(image[0], images[place]) and torch.equal(wanted[0], target[place])
        assert all(torch.equal(alone[key][0], told[key][place]) for key in ("noise", "timesteps", "condition"))


@pytest.mark.parametrize("process", PROCESSES)
def test_a_network_that_says_the_target_knows_the_photograph(process: str) -> None:
    """Photographs come, by each paper's formula, from what ``DiffusionInferer`` shows the network and the target."""

    class Recorder(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
            self.x, self.times, self.context = x, timesteps, context
            return x[:, :3]

    network = Recorder()
    images, target, _, told = prepared(process)
    DiffusionInferer(training_scheduler(process))(images, network, **told)
    assert network.context is None
    assert torch.equal(network.x[:, 3:], told["condition"]), "the condition lies behind the picture"
    x, said = network.x[:, :3].double(), target[:, :3].double()
    if process == "clean":
        found = said
    elif process == "flow":
        found = x + network.times.double().view(-1, 1, 1, 1) / 1000 * said
    else:
        left = noise_schedule(process)[network.times].view(-1, 1, 1, 1)
        signal, noise = left.sqrt(), (1 - left).sqrt()
        found = (x - noise * said) / signal if process == "epsilon" else signal * x - noise * said
    torch.testing.assert_close(found.float(), images, rtol=1e-3, atol=1e-3)


def test_min_snr_weights() -> None:
    """min(SNR + 1, 5) / (SNR + 1), the SNR in so many words; the last time, where it is 0, weighs as much as any."""
    left = noise_schedule("velocity")
    ratio = left / (1 - left)
    expected = torch.minimum(ratio + 1, torch.tensor(5.0)) / (ratio + 1)
    torch.testing.assert_close(time_weights("velocity"), expected / expected.sum())
    assert time_weights("velocity")[-1] == time_weights("velocity").max() > 50 * time_weights("velocity")[0]
    torch.testing.assert_close(time_weights("epsilon"), torch.full((1000,), 0.001, dtype=torch.float64))


@pytest.mark.parametrize("process", ["epsilon", "velocity"])
def test_times_are_drawn_by_their_weights(process: str) -> None:
    many = {"latent": torch.tensor([draw_latent(1, index) for index in range(20_000)])}
    many |= {"image": torch.zeros(20_000, 3, 2, 2)} | {key: torch.zeros(20_000, 1, 2, 2) for key in ("vessel", "fov")}
    network = DiffusionGenerator(ConditionedUNet(features=4, multipliers=(1,), unshuffle=1), process)
    *_, told = DiffusionBatch(network)(many, torch.device("cpu"))
    counts = np.bincount(told["timesteps"].numpy() // 10, minlength=100)
    expected = time_weights(process).view(100, 10).sum(1).numpy() * 20_000
    assert chisquare(counts, expected).pvalue > 0.01


def test_times_of_a_flow_are_those_of_monais_logit_normal() -> None:
    theirs = RFlowScheduler(1000, use_discrete_timesteps=False, sample_method="logit-normal")
    torch.manual_seed(0)
    expected = theirs.sample_timesteps(torch.zeros(5000, 1))
    many = {"latent": torch.tensor([draw_latent(1, index) for index in range(5000)])}
    many |= {"image": torch.zeros(5000, 3, 2, 2)} | {key: torch.zeros(5000, 1, 2, 2) for key in ("vessel", "fov")}
    network = DiffusionGenerator(ConditionedUNet(features=4, multipliers=(1,), unshuffle=1), "flow")
    *_, told = DiffusionBatch(network)(many, torch.device("cpu"))
    assert ks_2samp(told["timesteps"].numpy(), expected.numpy()).pvalue > 0.01


def test_times_of_clean_are_those_of_the_paper() -> None:
    """The share of the image, one less that of the noise, has a logit of N(-0.8, 0.8) (Li and He, table 9)."""
    many = {"latent": torch.tensor([draw_latent(1, index) for index in range(5000)])}
    many |= {"image": torch.zeros(5000, 3, 2, 2)} | {key: torch.zeros(5000, 1, 2, 2) for key in ("vessel", "fov")}
    network = DiffusionGenerator(ConditionedUNet(features=4, multipliers=(1,), unshuffle=1), "clean")
    *_, told = DiffusionBatch(network)(many, torch.device("cpu"))
    image = 1 - told["timesteps"].double() / 1000
    assert kstest(image.logit().numpy(), "norm", args=(-0.8, 0.8)).pvalue > 0.01


def test_errors_of_a_photograph_weigh_as_those_of_its_flow() -> None:
    """With x = share * noise + (1 - share) * image, the implied flow is (image - x) / share."""
    data = batch() | {"vessel": -torch.ones(4, 1, SIZE, SIZE)}
    images, target, _, told = prepared("clean", data)
    share = (told["timesteps"] / 1000).view(-1, 1, 1, 1)
    assert share.min() > 0.05
    x = share * told["noise"] + (1 - share) * images
    pred = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    flow_error = ((pred - x) / share - (images - told["noise"])).square() * (target[:, 3:] > 0)
    torch.testing.assert_close(WeightedError()(pred, target), flow_error.mean())


def test_vessels_weigh_as_much_as_they_should() -> None:
    data = batch() | {"vessel": -torch.ones(4, 1, SIZE, SIZE)}
    data["vessel"][:, :, :8] = 1
    data["vessel"][:, :, 8] = 0  # half of each pixel
    _, target, _, _ = prepared("flow", data, vessel_weight=3.0)
    _, plain, _, _ = prepared("flow", data)
    expected = plain[:, 3:].clone()
    expected[:, :, :8] *= 3
    expected[:, :, 8] *= 2
    torch.testing.assert_close(target[:, 3:], expected)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.3, 240, 360), (1.0, 1000, 1000)])
def test_the_condition_is_withheld_from_its_share(share: float, low: int, high: int) -> None:
    data = batch(1000, 4)
    *_, told = prepared(data=data, condition_dropout=share)
    blind = (told["condition"] == 0).flatten(1).all(1)
    assert low <= int(blind.sum()) <= high
    assert torch.equal(told["condition"][~blind], data["vessel"][~blind])


def test_outside_the_field_of_view_nothing_is_known_and_nothing_weighs() -> None:
    images, target, _, _ = prepared()
    inside = torch.from_numpy(circle(SIZE)).float() * batch()["fov"]
    assert (images[(inside == 0).expand_as(images)] == 0).all()
    assert torch.equal(target[:, 3:], inside)


def test_latents_of_epochs_and_eyes_differ_in_a_cached_set(phantoms: Any, tmp_path: Any) -> None:
    from monai.transforms import Compose

    from retina_monai.data import CachedEyes, LoadEyed, find_datalist

    eyes = CachedEyes(find_datalist(phantoms)["training"], Compose([LoadEyed(32)]), tmp_path, seed=3)
    drawn = [eyes[epoch, place]["latent"] for epoch in range(3) for place in range(3)]
    assert len(set(drawn)) == 9
    assert eyes[2, 1]["latent"] == eyes[2, 1]["latent"]


def test_sample_noise_prepares_a_batch_as_monais_engines_do() -> None:
    noise = SampleNoise(generator(), "vessel")
    inputs, label, arguments, told = noise.prepare_batch(batch(), torch.device("cpu"))
    assert torch.equal(inputs, batch()["vessel"]) and label is None and arguments == ()
    assert torch.equal(told["noise"], noise(batch()))
