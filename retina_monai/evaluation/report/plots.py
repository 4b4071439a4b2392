"""Plots of the evaluation: power spectra relative to the real one, and grids of eyes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retina_monai.files import replacing
from retina_monai.handlers.grid import image_grid

__all__ = ["image_grid", "plot_spectrum"]

RATIO_TOP = (1.5, 3.0)  # range of the ratio axis' end, so that outliers do not flatten the band


def plot_spectrum(
    frequencies: np.ndarray,
    spectra: Mapping[str, np.ndarray],
    path: str | Path,
    real: str = "real",
    band: float = 0.25,
) -> None:
    """Draw radial power spectra: absolute on the left (log-log), relative to the real one on the right.

    Args:
        frequencies: ``(bins,)``, cycles per pixel, above 0.
        spectra: label -> ``(bins,)``, power above 0; drawn in this order.
        path: the file (PNG, SVG or PDF by its suffix). It is written atomically, and its directory is created if
            necessary.
        real: label of the spectrum by which the others are divided.
        band: half-width of the shaded band around a ratio of 1.

    Raises:
        ValueError: there is no spectrum ``real``; a spectrum has another length or a value that is not above 0.
        RetinaError: the file cannot be written.

    Example:
        >>> import os, tempfile
        >>> frequencies = np.arange(1, 5) / 8
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     plot_spectrum(frequencies, {"real": frequencies**-2.0, "blur": frequencies**-3.0}, f"{directory}/s.png")
        ...     os.listdir(directory)
        ['s.png']
    """
    if real not in spectra:
        raise ValueError(f"there is no spectrum {real!r}, only {', '.join(spectra) or 'an empty mapping'}")
    for label, spectrum in spectra.items():
        if np.shape(spectrum) != np.shape(frequencies) or not (np.asarray(spectrum) > 0).all():
            raise ValueError(f"spectrum {label!r} must have {len(frequencies)} values above 0")
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_power(left, frequencies, spectra)
    _draw_ratio(right, frequencies, spectra, real, band)
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format=Path(path).suffix[1:])


def _draw_power(axes: Axes, frequencies: np.ndarray, spectra: Mapping[str, np.ndarray]) -> None:
    for label, spectrum in spectra.items():
        axes.loglog(frequencies, spectrum, label=label)
    axes.set(xlabel="frequency (cycles per pixel)", ylabel="power", title="radial power spectrum")
    axes.legend()


def _draw_ratio(axes: Axes, frequencies: np.ndarray, spectra: Mapping[str, np.ndarray], real: str, band: float) -> None:
    axes.axhspan(1 - band, 1 + band, color="0.9", label=f"within {band:.0%}")
    for label, spectrum in spectra.items():
        axes.plot(frequencies, np.asarray(spectrum) / np.asarray(spectra[real]), label=label)
    axes.set(xlabel="frequency (cycles per pixel)", ylabel=f"power / {real}", title=f"ratio to {real}")
    axes.set_ylim(0, np.clip(axes.get_ylim()[1], *RATIO_TOP))
    axes.legend()
