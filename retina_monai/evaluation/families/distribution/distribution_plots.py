"""Plots of two sets of photographs: KID and its floor, principal components, precision and recall, colours.

Real is blue and synthetic is orange throughout. Both are colours of Okabe and Ito, which are safe for colour-blind
readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from retina_monai.files import replacing
from retina_monai.metrics import KID, Manifold, RealFloor

__all__ = ["plot_colours", "plot_floors", "plot_manifolds", "plot_projections"]

REAL, SYNTHETIC = "#0072B2", "#D55E00"
WIDTH = 6.5  # inches: at 120 dpi, letters are as large as text on a phone
Floats = NDArray[np.float64]


def plot_floors(results: Mapping[str, tuple[KID, RealFloor]], limit: float, path: Path) -> None:
    """Draw KIDs of real halves and of the synthetic set with as many photographs, one panel per extractor.

    Args:
        results: extractor -> KID and floor.
        limit: number of floors up to which KID is good; drawn as a line.
        path: path of the PNG file.
    """
    figure, rows = _panels(len(results), 1)
    for axes, (name, (kid, floor)) in zip(rows[:, 0], results.items(), strict=True):
        both = np.concatenate([floor.kids, kid.values])
        bins = np.linspace(both.min(), max(both.max(), limit * floor.kid), 40)
        axes.hist(floor.kids, bins=list(bins), color=REAL, alpha=0.6, label="real to real")
        axes.hist(kid.values, bins=list(bins), color=SYNTHETIC, alpha=0.6, label="real to synthetic")
        axes.axvline(limit * floor.kid, color="0.2", linestyle="--", label=f"{limit:g} floors")
        axes.axvline(kid.value, color=SYNTHETIC, label="KID")
        axes.set(xlabel=f"KID of {floor.real_count} against {floor.real_count}", ylabel="draws", title=name)
        axes.legend(fontsize=9)
    _save(figure, path)


def plot_projections(points: Mapping[str, tuple[Floats, Floats]], path: Path) -> None:
    """Draw real and synthetic photographs as points, one panel per extractor.

    Args:
        points: extractor -> two components of real and of synthetic photographs, ``(N, 2)`` each.
        path: path of the PNG file.
    """
    figure, rows = _panels(len(points), 1, 4.5)
    for axes, (name, (real, synthetic)) in zip(rows[:, 0], points.items(), strict=True):
        axes.scatter(*real.T, s=22, color=REAL, alpha=0.7, label="real")
        axes.scatter(*synthetic.T, s=26, color=SYNTHETIC, alpha=0.7, marker="x", label="synthetic")
        axes.set(xlabel="first component", ylabel="second component", title=name)
        axes.legend(fontsize=9)
    _save(figure, path)


def plot_manifolds(results: Mapping[str, tuple[Sequence[Manifold], Sequence[Manifold]]], path: Path) -> None:
    """Draw precision over recall and density over coverage for synthetic photographs and as many real ones.

    Args:
        results: extractor -> results of synthetic and of real photographs against real ones, one per draw.
        path: path of the PNG file.
    """
    figure, rows = _panels(len(results), 2)
    for line, (name, (synthetic, real)) in zip(rows, results.items(), strict=True):
        for axes, (across, up) in zip(line, (("recall", "precision"), ("coverage", "density")), strict=True):
            _scatter(axes, real, across, up, REAL, "o", "real")
            _scatter(axes, synthetic, across, up, SYNTHETIC, "x", "synthetic")
            axes.set(xlabel=across, ylabel=up, xlim=(-0.05, 1.05))
            axes.set_ylim(-0.05, max(1.05, axes.get_ylim()[1]))
        line[0].set_title(name, loc="left", fontsize=10)
        line[0].legend(fontsize=9)
    _save(figure, path)


def plot_colours(real: NDArray[np.int64], synthetic: NDArray[np.int64], path: Path) -> None:
    """Draw the share of the pixels at each level of red, green and blue.

    Args:
        real: counts, ``(3, 256)``.
        synthetic: counts, ``(3, 256)``.
        path: path of the PNG file.
    """
    figure, rows = _panels(3, 1, 2.0)
    for axes, name, one, other in zip(rows[:, 0], ("red", "green", "blue"), real, synthetic, strict=True):
        axes.fill_between(np.arange(len(one)), one / one.sum(), color=REAL, alpha=0.5, label="real", step="mid")
        axes.plot(other / other.sum(), color=SYNTHETIC, label="synthetic")
        axes.set(ylabel=name, yticks=[], xlim=(0, len(one) - 1), ylim=(0, None))
    rows[0, 0].legend(fontsize=9)
    rows[-1, 0].set_xlabel("level")
    _save(figure, path)


def _scatter(
    axes: Axes, results: Sequence[Manifold], across: str, up: str, colour: str, marker: str, label: str
) -> None:
    x, y = ([getattr(result, name) for result in results] for name in (across, up))
    axes.scatter(x, y, color=colour, marker=marker, s=36, alpha=0.7, label=label)


def _panels(rows: int, columns: int, height: float = 3.2) -> tuple[Figure, NDArray[np.object_]]:
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")
