"""Contrast of vessels and darkening of the fovea, on pictures whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from retina_monai.metrics import fovea_darkening, vessel_contrast

SIZE = 256
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
FOV = np.hypot(ROWS - 127.5, COLUMNS - 127.5) <= 127.5


def grey(level: np.ndarray) -> np.ndarray:
    return np.tile(level, (3, 1, 1))


def disc(column: float, radius: float = 16.0) -> np.ndarray:
    return np.hypot(ROWS - 128, COLUMNS - column) <= radius


def macula(column: float, row: float, depth: float, width: float = 12.0) -> np.ndarray:
    return 1 - depth * np.exp(-0.5 * ((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / width**2)


def test_contrast_is_relative_to_the_surroundings_of_each_vessel() -> None:
    thin, wide = np.zeros((2, SIZE, SIZE), bool)
    thin[80], wide[170:178] = True, True
    ground = 100 + 40 * (ROWS > 128)
    image = grey(np.where(thin, 0.9 * ground, np.where(wide, 0.5 * ground, ground)))
    contrast, calibre, line = vessel_contrast(image, thin | wide, np.ones((SIZE, SIZE)))
    of_thin = line[:, 0] == 80
    assert contrast[of_thin] == pytest.approx(0.1, abs=1e-6) and contrast[~of_thin] == pytest.approx(0.5, abs=1e-6)
    assert SIZE * np.median(calibre[of_thin]) == 1 and SIZE * np.median(calibre[~of_thin]) == 8


def test_invisible_parts_of_a_vessel_lower_the_percentile() -> None:
    vessel = np.zeros((SIZE, SIZE), bool)
    vessel[100:102] = True
    shown = vessel & (COLUMNS % 5 > 0)
    contrast, _, _ = vessel_contrast(grey(np.where(shown, 70, 100)), vessel, np.ones((SIZE, SIZE)))
    assert np.median(contrast) == pytest.approx(0.3, abs=0.01) and np.quantile(contrast, 0.1) == pytest.approx(
        0, abs=1e-6
    )


def test_contrast_ignores_what_is_outside_of_the_field_of_view() -> None:
    vessel = (ROWS >= 120) & (ROWS < 123)
    image = np.where(FOV, np.where(vessel, 60, 80), 255)
    contrast, _, line = vessel_contrast(grey(image), vessel, FOV)
    assert FOV[tuple(line.T)].all() and contrast == pytest.approx(0.25, abs=1e-6)
    assert not len(vessel_contrast(grey(image), np.zeros_like(vessel), FOV)[0])


@pytest.mark.parametrize(("at", "side", "laterality"), [(180, -1, ""), (76, 1, ""), (128, 1, "L"), (128, -1, "R")])
def test_a_macula_is_found_on_the_temporal_side(at: int, side: int, laterality: str) -> None:
    there = (at + side * 2.6 * 32, 128 + 0.35 * 32)
    dark = grey(100 * macula(*there, depth=0.4))
    plain, sloping = grey(np.full((SIZE, SIZE), 100.0)), grey(50.0 + 0.3 * COLUMNS)
    assert fovea_darkening(dark, disc(at), FOV, laterality=laterality) == pytest.approx(0.3, abs=0.07)
    assert fovea_darkening(plain, disc(at), FOV, laterality=laterality) == pytest.approx(0, abs=1e-6)
    assert fovea_darkening(sloping, disc(at), FOV, laterality=laterality) < 0.1
    elsewhere = grey(100 * macula(there[0], 128 - 3 * 32, depth=0.4))
    assert fovea_darkening(elsewhere, disc(at), FOV, laterality=laterality) < 0.1


def test_a_vessel_is_no_macula() -> None:
    vessel = np.abs(COLUMNS - 97) < 3
    image = grey(np.where(vessel, 40.0, 100.0))
    assert fovea_darkening(image, disc(180), FOV) > 0.1
    assert fovea_darkening(image, disc(180), FOV, vessel) == pytest.approx(0, abs=0.01)


def test_no_darkening_without_disc_side_or_place() -> None:
    image = grey(np.full((SIZE, SIZE), 100.0))
    assert np.isnan(fovea_darkening(image, np.zeros((SIZE, SIZE)), FOV))
    assert np.isnan(fovea_darkening(image, disc(128), FOV))
    assert np.isnan(fovea_darkening(image, disc(140, 40), FOV))
    with pytest.raises(ValueError, match=r"must be \(3, H, W\), \(H, W\) and \(H, W\)"):
        vessel_contrast(image[0], np.zeros((SIZE, SIZE)), FOV)
