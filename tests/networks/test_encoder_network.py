from __future__ import annotations

import pytest
import torch
from torch import Tensor

from retina_monai.networks import MultiTaskEncoder, RetinaEncoder

MIXING = torch.eye(6) + torch.linspace(0, 2, 36).view(6, 6).tril(-1)


@pytest.fixture
def encoder() -> RetinaEncoder:
    torch.manual_seed(0)
    return RetinaEncoder(features=6, width=4, size=64)


def photographs(count: int, side: int = 64) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8


def test_features_do_not_depend_on_the_batch(encoder: RetinaEncoder) -> None:
    images = photographs(3)
    encoder.eval()
    together = encoder(images)
    assert together.shape == (3, 6) and together.dtype == torch.float32
    torch.testing.assert_close(torch.cat([encoder(image[None]) for image in images]), together)


@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (200, 150), (32, 32)])
def test_photographs_of_any_size_are_brought_to_its_own(encoder: RetinaEncoder, shape: tuple[int, int]) -> None:
    """Smoothly, so that a picture enlarged without a change of what it shows has nearly the same features."""
    encoder.eval()
    ramp = torch.linspace(-0.5, 0.5, 64).expand(1, 3, 64, 64)
    resized = torch.nn.functional.interpolate(ramp, shape, mode="bilinear", antialias=True)
    torch.testing.assert_close(encoder(resized), encoder(ramp), rtol=0.1, atol=0.05)


def test_reducing_does_not_alias(encoder: RetinaEncoder) -> None:
    """A checkerboard of pixels is grey from afar."""
    at = torch.arange(256)
    board = (((at[:, None] + at[None]) % 2).float() - 0.5).expand(1, 3, 256, 256)
    encoder.eval()
    torch.testing.assert_close(encoder(board), encoder(torch.zeros(1, 3, 64, 64)), rtol=1e-3, atol=1e-3)


def test_what_is_nearly_black_is_black(encoder: RetinaEncoder) -> None:
    """What JPEG leaves outside of the field of view does not make two cameras differ."""
    encoder.eval()
    image = photographs(1)
    image[..., :20] = -1
    noisy = image.clone()
    noisy[..., :20] += 0.1 * torch.rand(1, 3, 64, 20)
    torch.testing.assert_close(encoder(noisy), encoder(image), rtol=0, atol=0)
    noisy[:, 0, :, :20] = -0.5
    assert not torch.allclose(encoder(noisy), encoder(image))


def test_features_of_what_was_observed_have_variance_1_and_no_correlation(encoder: RetinaEncoder) -> None:
    mixed = torch.randn(400, 6, generator=torch.Generator().manual_seed(2)) @ MIXING + 0.5
    for _ in range(20):
        encoder.whiten.observe(mixed)
    features = encoder.whiten(mixed)
    spread = torch.linalg.eigvalsh(torch.cov(mixed.T))
    assert spread.max() / spread.min() > 10, "or there was nothing to decorrelate"
    torch.testing.assert_close(torch.cov(features.T), torch.eye(6), rtol=0, atol=0.2)
    assert features.mean(0).abs().max() < 0.2


def test_before_anything_was_observed_features_are_standardised_alone(encoder: RetinaEncoder) -> None:
    encoder.eval()
    images = photographs(2)
    expected = encoder.pool(encoder.trunk(images)) / 1.01**0.5
    torch.testing.assert_close(encoder(images), expected)


def test_a_batch_of_one_photograph_can_be_trained_on(encoder: RetinaEncoder) -> None:
    network = MultiTaskEncoder(encoder, maps=2, traits=3).train()
    told = network(photographs(1))
    assert {name: tuple(value.shape) for name, value in told.items()} == {
        "features": (1, 6),
        "maps": (1, 2, 4, 4),
        "traits": (1, 3),
    }
    sum(value.mean() for value in told.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_training_moves_the_running_statistics_towards_the_features(encoder: RetinaEncoder) -> None:
    pool = encoder.pool[2].train()
    values = torch.randn(4000, 6, generator=torch.Generator().manual_seed(3)) * 7 + 11
    for batch in values.split(8):
        pool(batch)
    torch.testing.assert_close(pool.mean, torch.full((6,), 11.0), rtol=0.1, atol=0)
    torch.testing.assert_close(pool.variance, torch.full((6,), 49.0), rtol=0.3, atol=0)
    standardised = pool.eval()(values)
    assert 0.8 < standardised.std() < 1.2


def test_size_must_be_halved_four_times() -> None:
    with pytest.raises(ValueError, match="size must be a multiple of 16, got 100"):
        RetinaEncoder(size=100)


def test_the_released_size_is_small() -> None:
    assert sum(p.numel() for p in RetinaEncoder().parameters()) < 1_000_000
