"""What is said of a ratio of spectra."""

from __future__ import annotations

import doctest

import numpy as np

from retina_monai.evaluation.families.image import spectral_ratio as spectra


def test_its_example_holds() -> None:
    assert doctest.testmod(spectra).failed == 0


def test_the_band_holds_its_ends() -> None:
    found = spectra.describe_ratio(np.array([0.75, 1.25, 0.74, 1.26, 1.0]))
    assert found == {"lowest": 0.74, "highest": 1.26, "within": 0.6}
