"""Texture: what is measured is what was drawn, nothing is drawn that is there already, and edges are no texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from retina_monai.seeds import texture_generator
from retina_monai.transforms import (
    Appearance,
    Texture,
    add_texture,
    apply_appearance,
    measure_texture,
    render_appearance,
)
from retina_monai.transforms.field_of_view import circle
from retina_monai.transforms.texture import RINGS

SIZE = 256
MIXED = ((0.020, 0.0, 0.0), (0.006, 0.010, 0.0), (0.0, -0.004, 0.005))  # a root of the colours' covariance
COLOURS = np.array(MIXED) @ np.array(MIXED).T


def fov(size: int = SIZE) -> Tensor:
    return torch.from_numpy(circle(size))


def vessels(size: int = SIZE) -> Tensor:
    """Three stripes."""
    drawn = torch.zeros(1, size, size)
    for place in (size // 4, size // 2, 3 * size // 4):
        drawn[:, place : place + size // 64] = 1
    return drawn


def grey(size: int = SIZE) -> Tensor:
    return torch.tensor([0.2, -0.3, -0.6]).view(3, 1, 1).expand(3, size, size).clone()


def white_noise(seed: int = 0) -> Tensor:
    noise = np.random.default_rng(seed).standard_normal((3, SIZE, SIZE))
    return grey() + torch.from_numpy(np.einsum("ab,bhw->ahw", MIXED, noise)).float()


def wanted(patchiness: float = 0.3) -> Texture:
    """Ever less towards the fine, a different mixture of colours in each band."""
    covariances = [COLOURS * 0.7**band + 1e-5 * np.eye(3) * band for band in range(len(RINGS) - 1)]
    covariances[0] *= 0  # what is smooth at that size is not measured whole
    covariances[1] *= 0
    return Texture(tuple(tuple(map(tuple, covariance.tolist())) for covariance in covariances), patchiness)


def measured(image: Tensor, vessel: Tensor | None = None) -> Texture:
    size = image.shape[-1]
    texture = measure_texture(image, fov(size), vessels(size) if vessel is None else vessel)
    assert texture is not None
    return texture


def total(texture: Texture) -> np.ndarray:
    return np.sum(texture.covariances, axis=0)


def test_of_white_noise_each_band_has_its_share_of_the_frequencies() -> None:
    """Independent of the code: the share of the Fourier plane between two circles, times the known covariance."""
    found = measured(white_noise(), torch.zeros(1, SIZE, SIZE))
    for low, high, covariance in list(zip(RINGS, RINGS[1:], found.covariances, strict=False))[3:8]:  # whole rings
        share = np.pi * (high**2 - low**2) / SIZE**2
        np.testing.assert_allclose(covariance, COLOURS * share, atol=0.15 * COLOURS.max() * share)
    np.testing.assert_allclose(total(found), COLOURS, atol=0.04 * COLOURS.max())
    assert found.patchiness < 0.15


def test_what_is_drawn_is_what_is_measured() -> None:
    texture = wanted()
    drawn = add_texture(grey(), fov(), vessels(), texture, texture_generator(3, 1))
    found = measured(drawn)
    for had, asked in list(zip(found.covariances, texture.covariances, strict=True))[4:]:
        np.testing.assert_allclose(had, asked, atol=0.25 * np.max(asked))
    np.testing.assert_allclose(total(found), total(texture), atol=0.15 * total(texture).max())
    assert found.patchiness == pytest.approx(0.3, abs=0.1)


def test_the_same_part_of_a_larger_picture_has_the_same_texture() -> None:
    small = add_texture(grey(), fov(), vessels(), wanted(), texture_generator(0, 0))
    large = torch.nn.functional.interpolate(small[None], scale_factor=2, mode="bicubic")[0]
    bands = zip(measured(small).covariances, measured(large).covariances, strict=True)
    for had, has in list(bands)[3:6]:
        np.testing.assert_allclose(has, had, atol=0.2 * np.max(had))


def test_only_what_is_missing_is_drawn() -> None:
    texture = wanted(0.0)
    once = add_texture(grey(), fov(), vessels(), texture, texture_generator(0, 0))
    half = grey() + (once - grey()) / 2
    completed = total(measured(add_texture(half, fov(), vessels(), texture, texture_generator(0, 1))))
    np.testing.assert_allclose(completed, total(texture), atol=0.15 * total(texture).max())
    rough = add_texture(grey(), fov(), vessels(), scaled(texture, 4.0), texture_generator(0, 2))
    assert (add_texture(rough, fov(), vessels(), texture, texture_generator(0, 3)) - rough).abs().max() < 0.02


def scaled(texture: Texture, factor: float) -> Texture:
    larger = tuple(tuple(tuple(factor * value for value in row) for row in band) for band in texture.covariances)
    return replace(texture, covariances=larger)


def test_vessels_the_rim_and_the_edge_of_a_disc_are_no_texture() -> None:
    plain = measured(white_noise())
    dark = white_noise() - 0.5 * vessels()
    np.testing.assert_allclose(total(measured(dark)), total(plain), rtol=0.02)
    outside = torch.where(fov() > 0, white_noise(), torch.tensor(-1.0))
    np.testing.assert_allclose(total(measured(outside)), total(plain), rtol=0.05)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    disc = 0.6 * ((rows - 150) ** 2 + (columns - 70) ** 2 < 18**2)
    assert total(measured(white_noise() + disc))[1, 1] < 1.35 * total(plain)[1, 1]


def test_outside_of_the_field_of_view_nothing_changes_and_inside_it_stays_in_range() -> None:
    image = torch.where(fov() > 0, grey() + 0.79, torch.tensor(-1.0))
    drawn = add_texture(image, fov(), vessels(), scaled(wanted(), 50.0), texture_generator(0, 0))
    assert torch.equal(drawn[:, fov()[0] == 0], image[:, fov()[0] == 0])
    assert drawn.min() == -1 and drawn.max() == 1 and not torch.equal(drawn, image)


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    def drawn(seed: int, index: int) -> Tensor:
        return add_texture(grey(64), fov(64), vessels(64), wanted(), texture_generator(seed, index))

    assert torch.equal(drawn(1, 2), drawn(1, 2))
    assert not torch.equal(drawn(1, 2), drawn(1, 3)) and not torch.equal(drawn(1, 2), drawn(2, 2))


def test_patches_are_wider_than_the_grain() -> None:
    """The squares of an uneven texture vary together over some pixels, those of an even one do not."""

    def evenness(patchiness: float) -> float:
        image = add_texture(grey(), fov(), torch.zeros(1, SIZE, SIZE), wanted(patchiness), texture_generator(0, 0))
        energy = ndimage.gaussian_filter((image[1].numpy() + 0.3) ** 2, 8)[64:192, 64:192]
        return float(energy.std() / energy.mean())

    assert evenness(0.6) > 1.5 * evenness(0.0)


def test_where_nothing_is_background_nothing_is_measured_and_nothing_drawn() -> None:
    everywhere = torch.ones(1, SIZE, SIZE)
    assert measure_texture(grey(), fov(), everywhere) is None
    assert torch.equal(add_texture(grey(), fov(), everywhere, wanted(), texture_generator(0, 0)), grey())


def test_refused() -> None:
    with pytest.raises(ValueError, match="a texture of 3 channels for an image of 1"):
        add_texture(grey()[:1], fov(), vessels(), wanted(), texture_generator(0, 0))


def test_an_appearance_gives_its_colours_and_then_its_texture() -> None:
    image, appearance = white_noise(), Appearance((0.3, -0.4, -0.7), (0.15, 0.1, 0.05), wanted())
    painted = apply_appearance(image, fov(), appearance)
    assert torch.equal(render_appearance(image, fov(), vessels(), appearance, None), painted)
    without = replace(appearance, texture=None)
    assert torch.equal(render_appearance(image, fov(), vessels(), without, texture_generator(0, 0)), painted)
    drawn = add_texture(painted, fov(), vessels(), wanted(), texture_generator(0, 0))
    assert torch.equal(render_appearance(image, fov(), vessels(), appearance, texture_generator(0, 0)), drawn)
