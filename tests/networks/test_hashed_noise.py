"""Noise by hashing: the published hash, the normal distribution, independence, and the same in TorchScript."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from retina_monai.networks import hashed_normal
from retina_monai.networks.hashed_noise import _mixed, hashed_uniform
from retina_monai.seeds import draw_latent

ALL_BITS = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


def split_mix(state: int) -> int:
    """The published function, on Python's whole numbers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & ALL_BITS
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & ALL_BITS
    return state ^ (state >> 31)


@pytest.mark.parametrize("number", [0, 1, -5, 2**62, 123456789, -(2**63)])
def test_hash_is_that_of_split_mix(number: int) -> None:
    assert int(_mixed(torch.tensor([number]))) & ALL_BITS == split_mix(number & ALL_BITS)


def test_first_numbers_of_split_mix_with_seed_0() -> None:
    """As other implementations print them: 0xe220a8397b1dcdaf, 0x6e789e6aa1b965f4, 0x06c45d188009454f."""
    places = torch.arange(1, 4) * (GOLDEN - 2**64)
    assert [int(bits) & ALL_BITS for bits in _mixed(places)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_values_are_standard_normal_and_independent() -> None:
    noise = hashed_normal(torch.arange(8), 0, 3, 64, 64)
    assert kstest(noise.flatten().numpy(), "norm").pvalue > 0.01
    samples = np.corrcoef(noise.view(8, -1).numpy()) - np.eye(8)
    assert np.abs(samples).max() < 0.03, "samples"
    streams = torch.stack([hashed_normal(torch.tensor([3]), stream, 3, 64, 64) for stream in range(4)])
    assert np.abs(np.corrcoef(streams.view(4, -1).numpy()) - np.eye(4)).max() < 0.03, "streams"
    spectrum = torch.fft.fft2(noise).abs().square() / 64**2
    assert kstest(spectrum[..., 1:32, 1:32].flatten().numpy(), "expon").pvalue > 0.01, "places"


def test_uniform_values_fill_the_interval() -> None:
    values = hashed_uniform(torch.arange(10_000), 1, 2)
    assert values.dtype == torch.float64 and values.min() >= 0 and values.max() < 1
    assert kstest(values.flatten().numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(values.T.numpy())[0, 1]) < 0.03


def test_a_sample_does_not_depend_on_its_batch() -> None:
    together = hashed_normal(torch.tensor([7, 5, -1]), 2, 3, 5, 9)
    assert torch.equal(together[1:2], hashed_normal(torch.tensor([5]), 2, 3, 5, 9))
    assert not torch.equal(together[0], together[1])


def test_values_are_the_same_in_torchscript() -> None:
    scripted = torch.jit.script(hashed_normal)
    latents = torch.tensor([0, 2**62, -7])
    assert torch.equal(scripted(latents, 4, 3, 16, 16), hashed_normal(latents, 4, 3, 16, 16))


def test_latents_of_different_numbers_differ_and_fit_a_tensor() -> None:
    drawn = [draw_latent(seed, index) for seed in (0, 1, 2**32 - 1) for index in range(1000)]
    trained = [draw_latent(0, index, epoch) for index in range(100) for epoch in range(100)]
    assert len({*drawn, *trained}) == len(drawn) + len(trained), "what is generated has no noise of a training"
    assert torch.tensor(drawn).min() >= 0
    assert draw_latent(1, 2) == draw_latent(1, 2) != draw_latent(2, 1)
