"""The radial power spectrum: pictures whose spectrum is known, an independent implementation, use as a loss."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from retina_monai.metrics import spectrum
from retina_monai.metrics.spectrum import (
    fov_taper,
    frequencies,
    log_spectral_distance,
    radial_power_spectrum,
    spectrum_ratio,
)

SIZE = 128


def disc(batch: int = 1, size: int = SIZE, cut: bool = False) -> torch.Tensor:
    """A circle, or one cut off at top and bottom as many cameras do."""
    row = torch.arange(size) - (size - 1) / 2
    inside = torch.hypot(row[:, None], row[None]) <= size / 2
    if cut:
        inside &= (row.abs() < 0.4 * size)[:, None]
    return inside.byte().expand(batch, 1, size, size)


def power_law(exponent: float, batch: int = 16, size: int = SIZE) -> torch.Tensor:
    """Pictures with power ``frequency^-exponent``, cut out of larger periodic ones, so that they do not wrap."""
    radius = torch.hypot(torch.fft.fftfreq(2 * size)[:, None], torch.fft.rfftfreq(2 * size)[None])
    radius[0, 0] = torch.inf
    noise = torch.randn((batch, 1, 2 * size, 2 * size), generator=torch.Generator().manual_seed(0))
    picture = torch.fft.irfft2(torch.fft.rfft2(noise) * radius ** (-exponent / 2))
    return picture[..., :size, :size] / picture.std()


def slope(power: torch.Tensor, first: int) -> float:
    x, y = frequencies(SIZE)[first:].log().numpy(), power.mean(0)[first:].log().numpy()
    return float(np.polyfit(x, y, 1)[0])


@pytest.mark.parametrize("ring", [6, 20, 45])
@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2])
def test_a_sinusoid_peaks_in_its_ring(ring: int, angle: float) -> None:
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    wave = torch.cos(2 * torch.pi * ring / SIZE * (np.cos(angle) * column + np.sin(angle) * row))[None, None]
    power = radial_power_spectrum(wave, disc())[0]
    assert power.argmax() == ring - 1
    assert power[ring - 4 : ring + 3].sum() > 0.98 * power.sum()
    assert frequencies(SIZE)[ring - 1].item() == pytest.approx(ring / SIZE)


@pytest.mark.parametrize("fov", [None, disc(64), disc(64, cut=True)], ids=["whole", "circle", "cut"])
def test_white_noise_has_its_variance_in_every_ring(fov: torch.Tensor | None) -> None:
    noise = 3 * torch.randn((64, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(1)) + 5
    power = radial_power_spectrum(noise, fov).mean(0)
    torch.testing.assert_close(power[8:], torch.full_like(power[8:], 9.0), rtol=0.1, atol=0)
    torch.testing.assert_close(power[1:8], torch.full_like(power[1:8], 9.0), rtol=0.25, atol=0)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_a_power_law_has_its_slope_inside_a_fov(exponent: float) -> None:
    assert slope(radial_power_spectrum(power_law(exponent), disc(16)), first=6) == pytest.approx(-exponent, abs=0.1)


def test_the_border_of_the_fov_does_not_leak() -> None:
    """A bright disc on black is all border: without a taper it outshines the fine texture of a photograph."""
    fov = disc().float()
    untapered = torch.fft.fft2(fov)[0, 0].abs().square() / fov.sum()
    bright = radial_power_spectrum(100 * fov, fov)[0]
    assert (bright < 1e-6).all()
    assert 1e4 * untapered[0, 40:60].mean() > 1
    ramp = torch.linspace(-1, 1, SIZE).expand(1, 1, SIZE, SIZE)
    texture = power_law(3.0).square().mean().item()
    assert radial_power_spectrum(ramp, fov)[0, 30:].max() < 1e-5 * texture


def test_black_or_white_beyond_the_fov_makes_no_difference() -> None:
    image, fov = power_law(2.0, batch=2), disc(2)
    white = torch.where(fov == 1, image, torch.full_like(image, 9))
    torch.testing.assert_close(radial_power_spectrum(white, fov), radial_power_spectrum(image * fov, fov))


def test_power_is_kept() -> None:
    """Parseval: the coefficients of all rings hold the energy of the tapered picture, if none is in the corners."""
    noise = torch.randn((1, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(2))
    picture = torch.as_tensor(gaussian(noise.numpy(), sigma=(0, 0, 2, 2)))
    taper = fov_taper(disc())
    radius = torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.fftfreq(SIZE)[None]) * SIZE
    counts = torch.bincount(radius.round().long().flatten())[1 : SIZE // 2 + 1]
    energy = (radial_power_spectrum(picture, disc()) * counts).sum() * taper.square().sum() / SIZE**2
    centred = picture - (taper * picture).sum() / taper.sum()
    assert energy.item() == pytest.approx((taper * centred).square().sum().item(), rel=1e-4)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 33), (40, 24), (27, 64)])
def test_equals_a_plain_implementation_for_any_size(height: int, width: int) -> None:
    image = torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(3))
    fov = torch.zeros(2, 1, height, width)
    fov[..., 2:-1, 3:] = 1
    size, taper = min(height, width), fov_taper(fov).numpy()[:, 0].astype(float)
    grey = np.tensordot(image.numpy().astype(float), [0.299, 0.587, 0.114], axes=(1, 0))
    for index, power in enumerate(radial_power_spectrum(image, fov)):
        window = taper[index]
        tapered = window * (grey[index] - (window * grey[index]).sum() / window.sum())
        plain = np.abs(np.fft.fft2(tapered)) ** 2 / (window**2).sum()
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
        ring = np.round(radius.astype(np.float32) * size)
        expected = [plain[ring == k].mean() for k in range(1, size // 2 + 1)]
        np.testing.assert_allclose(power.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_bins_gather_rings() -> None:
    image = power_law(0.0, batch=8)
    few = radial_power_spectrum(image, bins=4)
    assert few.shape == (8, 4)
    torch.testing.assert_close(
        few.mean(0), radial_power_spectrum(image).mean(0).unflatten(0, (4, 16)).mean(1), rtol=0.05, atol=0
    )
    torch.testing.assert_close(frequencies(SIZE, 4), frequencies(SIZE).unflatten(0, (4, 16)).mean(1))


def test_a_blurred_image_loses_high_frequencies() -> None:
    image = power_law(2.0)
    blurred = torch.as_tensor(gaussian(image.numpy(), sigma=(0, 0, 1.5, 1.5), truncate=6))
    ratio = spectrum_ratio(radial_power_spectrum(blurred, disc(16)), radial_power_spectrum(image, disc(16)))
    expected = torch.exp(-((2 * torch.pi * 1.5 * frequencies(SIZE)) ** 2))
    torch.testing.assert_close(ratio[4:20], expected[4:20], rtol=0.1, atol=0)
    assert ratio[-1] < 1e-3


def test_the_ratio_of_a_set_to_itself_is_one() -> None:
    power = radial_power_spectrum(power_law(2.0))
    torch.testing.assert_close(spectrum_ratio(power, power), torch.ones(SIZE // 2))
    torch.testing.assert_close(spectrum_ratio(2 * power, power.flip(0)), torch.full((SIZE // 2,), 2.0))


def test_the_gradient_is_the_derivative() -> None:
    image = power_law(1.0, batch=2)[..., :32, :32].clone().requires_grad_()
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(4))

    def loss(picture: torch.Tensor) -> torch.Tensor:
        return radial_power_spectrum(picture, disc(2, 32)).double().log().mean()

    (gradient,) = torch.autograd.grad(loss(image), image)
    step = 1e-2
    slope = (loss(image + step * direction) - loss(image - step * direction)) / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-2)


def test_descending_on_it_sharpens_a_blurred_picture() -> None:
    target = radial_power_spectrum(power_law(2.0, batch=1)).log()
    blurred = torch.as_tensor(gaussian(power_law(2.0, batch=1).numpy(), sigma=(0, 0, 1, 1))).requires_grad_()
    optimizer = torch.optim.Adam([blurred], lr=1e-2)
    losses = []
    for _ in range(40):
        loss = (radial_power_spectrum(blurred).log() - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_training_after_inference_mode_works() -> None:
    spectrum._bands.cache_clear()
    with torch.inference_mode():
        radial_power_spectrum(torch.rand(1, 3, 32, 32))
    image = torch.rand(1, 3, 32, 32, requires_grad=True)
    radial_power_spectrum(image).sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


def test_autocast_changes_nothing() -> None:
    image = torch.rand((1, 3, 32, 32), generator=torch.Generator().manual_seed(5))
    with torch.autocast("cpu", torch.bfloat16):
        power = radial_power_spectrum(image)
    assert power.dtype == torch.float32
    torch.testing.assert_close(power, radial_power_spectrum(image))


def test_the_taper_stays_inside_the_fov() -> None:
    fov = disc(cut=True).float()
    taper = fov_taper(fov)
    assert taper[fov == 0].max() == 0
    assert taper.max() == 1 and taper.min() == 0
    assert taper[0, 0, SIZE // 2, SIZE // 2] == 1
    assert taper.diff(dim=-1).abs().max() < 0.1 and taper.diff(dim=-2).abs().max() < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: radial_power_spectrum(torch.rand(3, 16, 16)), "image must be"),
        (lambda: radial_power_spectrum(torch.rand(1, 4, 16, 16)), "image must be"),
        (lambda: radial_power_spectrum(torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 8)), "fov must be"),
        (lambda: radial_power_spectrum(torch.rand(1, 3, 16, 16), bins=9), "bins must be from 1 to 8"),
        (lambda: frequencies(16, 0), "bins must be from 1 to 8"),
        (lambda: spectrum_ratio(torch.ones(2, 8), torch.ones(2, 7)), r"must be \(N, bins\)"),
        (lambda: spectrum_ratio(torch.ones(2, 8), torch.zeros(2, 8)), "above 0"),
        (lambda: spectrum_ratio(torch.ones(0, 8), torch.ones(2, 8)), "finite"),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_log_spectral_distance_by_hand() -> None:
    real = torch.tensor([[4.0, 1.0], [2.0, 3.0]])
    generated = torch.tensor([[30.0, 0.2]])
    expected = np.sqrt(np.mean([10.0**2, 10.0**2]))
    assert log_spectral_distance(generated, real).item() == pytest.approx(expected)
    assert log_spectral_distance(real, real).item() == 0
    assert log_spectral_distance(real[:1], generated) == log_spectral_distance(generated, real[:1])
    with pytest.raises(ValueError, match="generated images must be above 0"):
        log_spectral_distance(torch.tensor([[1.0, 0.0]]), real)


def test_the_examples_run() -> None:
    assert doctest.testmod(spectrum).failed == 0
