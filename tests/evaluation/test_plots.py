"""The spectrum figure holds what it was given, and is written whole."""

from __future__ import annotations

import doctest
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from retina_monai.errors import RetinaError
from retina_monai.evaluation.report import plots
from retina_monai.evaluation.report.plots import plot_spectrum

FREQUENCIES = np.arange(1, 65) / 128
SPECTRA = {"real": FREQUENCIES**-3.0, "pix2pix": 0.9 * FREQUENCIES**-3.0, "L1 alone": FREQUENCIES**-5.0}


def test_the_figure_is_a_picture_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "spectrum.png"
    plot_spectrum(FREQUENCIES, SPECTRA, path)
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.size == (1200, 480)
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for color in list(matplotlib.color_sequences["tab10"])[: len(SPECTRA)]:
        assert (pixels == np.round(np.multiply(color, 255))).all(axis=1).sum() > 100
    assert [entry.name for entry in path.parent.iterdir()] == ["spectrum.png"]


def test_the_figure_names_its_curves_and_its_band(tmp_path: Path) -> None:
    plot_spectrum(FREQUENCIES, SPECTRA, tmp_path / "spectrum.svg", band=0.3)
    text = (tmp_path / "spectrum.svg").read_text()
    for words in (*SPECTRA, "within 30%", "ratio to real", "frequency (cycles per pixel)"):
        assert f"<!-- {words} -->" in text


def test_drawing_leaves_the_users_backend_alone(tmp_path: Path) -> None:
    before = matplotlib.rcParams._get_backend_or_none()
    plot_spectrum(FREQUENCIES, SPECTRA, tmp_path / "spectrum.png")
    assert matplotlib.rcParams._get_backend_or_none() == before


@pytest.mark.parametrize(
    ("spectra", "message"),
    [
        ({"pix2pix": FREQUENCIES}, "there is no spectrum 'real', only pix2pix"),
        ({"real": FREQUENCIES, "short": FREQUENCIES[:3]}, "'short' must have 64 values above 0"),
        ({"real": FREQUENCIES * 0}, "'real' must have 64 values above 0"),
        ({"real": FREQUENCIES * np.nan}, "'real' must have 64 values above 0"),
    ],
)
def test_wrong_spectra_are_refused(spectra: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        plot_spectrum(FREQUENCIES, spectra, tmp_path / "spectrum.png")
    assert not any(tmp_path.iterdir())


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RetinaError, match=r"spectrum.png cannot be written"):
        plot_spectrum(FREQUENCIES, SPECTRA, tmp_path / "file" / "spectrum.png")


def test_the_examples_run() -> None:
    assert doctest.testmod(plots).failed == 0
