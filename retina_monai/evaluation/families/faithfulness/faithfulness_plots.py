"""Plots of faithfulness: scores beside the ceiling, distributions, eyes and branches.

The colours are safe for colour-blind readers (Okabe and Ito, "Color universal design",
https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.families.faithfulness.faithfulness_figures import Score
from retina_monai.evaluation.report.plots import image_grid
from retina_monai.evaluation.report.tables import Interval
from retina_monai.files import replacing
from retina_monai.metrics import Trial

__all__ = ["colour_errors", "draw_eyes", "draw_trials", "plot_distributions", "plot_scores"]

Picture = NDArray[np.uint8]

ORANGE, BLUE, GREEN = (230, 159, 0), (86, 180, 233), (0, 158, 115)
SYNTHETIC, REAL = "#0072B2", "0.35"
WIDTH, DPI = 6.4, 150  # inches and points per inch: readable on a phone without zooming
BRIGHTER = 8  # amplification of a change of grey levels
MOST = 2000  # points per distribution function


def plot_scores(scores: Mapping[str, Mapping[str, Score]], path: Path) -> None:
    """Scores of generated photographs beside those of real ones, with their intervals.

    Args:
        scores: measure -> data set -> score.
        path: path of the PNG file.

    Raises:
        RetinaError: the file cannot be written.
    """
    count = max(len(sets) for sets in scores.values())
    figure = Figure(figsize=(WIDTH, 1.2 + len(scores) * (0.7 + 0.5 * count)), layout="constrained")
    rows = figure.subplots(len(scores), 1, squeeze=False)[:, 0]
    for axes, (measure, sets) in zip(rows, scores.items(), strict=True):
        _draw_intervals(axes, [score.generated for score in sets.values()], 0.12, "generated", SYNTHETIC, "o")
        _draw_intervals(axes, [score.real for score in sets.values()], -0.12, "real: the ceiling", REAL, "D")
        axes.set(title=measure, yticks=range(len(sets)), yticklabels=list(sets), ylim=(len(sets) - 0.5, -0.5))
        axes.grid(axis="x", color="0.9")
    rows[0].legend(loc="best", fontsize=9)
    _save(figure, path)


def plot_distributions(samples: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], path: Path) -> None:
    """Cumulative distribution functions of biomarkers, one panel each.

    Args:
        samples: title -> finite values of synthetic and of real eyes.
        path: path of the PNG file.

    Raises:
        RetinaError: the file cannot be written.
    """
    lines = -(-len(samples) // 2)
    figure = Figure(figsize=(WIDTH, 0.6 + 2.1 * lines), layout="constrained")
    panels = list(figure.subplots(lines, 2, squeeze=False).flat)
    for axes, (title, (synthetic, real)) in zip(panels, samples.items(), strict=False):
        for label, values, colour, style in (("synthetic", synthetic, SYNTHETIC, "-"), ("real", real, REAL, "--")):
            levels = np.linspace(0, 1, min(len(values), MOST) + 1)
            axes.step(np.quantile(values, levels), levels, color=colour, linestyle=style, label=label)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_ylim(0, 1)
    panels[0].legend(fontsize=8)
    for axes in panels[len(samples) :]:
        axes.set_axis_off()
    figure.supylabel("cumulative share", fontsize=9)
    _save(figure, path)


def colour_errors(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> Picture:
    """True positives in white, false positives in orange, false negatives in blue: (3, S, S)."""
    picture = np.zeros((*found.shape, 3), np.uint8)
    for where, colour in ((found & expected, (255, 255, 255)), (found & ~expected, ORANGE), (expected & ~found, BLUE)):
        picture[where] = colour
    return picture.transpose(2, 0, 1)


def draw_eyes(eyes: Sequence[tuple[Picture, Picture, Picture, Picture]], path: Path) -> None:
    """Draw a row per eye: vessel map, photograph, the judge's map and its errors, (1 or 3, S, S) each.

    Raises:
        RetinaError: the file cannot be written.
    """
    write_png(path, image_grid(eyes, ("vessel map", "photograph", "judge", "errors")))


def draw_trials(trials: Sequence[Trial], path: Path) -> None:
    """Draw a row per branch: map with the branch coloured, map without it, both photographs and their difference.

    Raises:
        RetinaError: the file cannot be written.
    """
    titles = ("map", "without", "photograph", "without", "change")
    write_png(path, image_grid([_trial(trial) for trial in trials], titles))


def _trial(trial: Trial) -> list[Picture]:
    with_branch = np.repeat(np.rint(trial.vessel * 255).astype(np.uint8)[None], 3, axis=0)
    without = with_branch.copy()
    visible = trial.branch.region & (trial.vessel >= 0.25)
    with_branch[:, visible] = np.array(ORANGE, np.uint8)[:, None]
    without[:, trial.branch.region] = 0
    before, after = trial.photographs
    change = np.abs(after.astype(np.int16) - before).mean(axis=0)[None]
    return [with_branch, without, before, after, np.clip(BRIGHTER * change, 0, 255).astype(np.uint8)]


def _draw_intervals(
    axes: Axes, intervals: Sequence[Interval], shift: float, label: str, colour: str, marker: str
) -> None:
    means = np.array([interval.mean for interval in intervals])
    ends = np.array([(interval.low, interval.high) for interval in intervals])
    errors = np.nan_to_num(np.abs(ends - means[:, None])).T
    places = np.arange(len(means)) - shift
    axes.errorbar(means, places, xerr=errors, fmt=marker, color=colour, capsize=3, label=label)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=DPI, format="png")
