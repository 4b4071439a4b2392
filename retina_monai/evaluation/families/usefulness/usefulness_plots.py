"""Plots of usefulness: Dice of each arm and seed, and segmentations of test eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.measuring.eye import Eye
from retina_monai.evaluation.report.plots import image_grid
from retina_monai.files import replacing

__all__ = ["plot_dice", "write_segmentations"]

ORANGE, BLUE, GREEN = "#E69F00", "#0072B2", "#009E73"  # Okabe and Ito's, safe for colour-blind readers
COLOURS = (ORANGE, BLUE, GREEN)
WIDTH = 0.7  # width of an arm with all its columns


def plot_dice(values: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """Draw the Dice of each test eye as a dot, with a column for each seed and a bar at its mean.

    Args:
        values: arm -> Dice, (seeds, eyes); drawn in this order.
        path: path of the PNG file.

    Raises:
        RetinaError: the file cannot be written.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for place, (colour, seeds) in enumerate(zip(COLOURS, values.values(), strict=False)):
        step = WIDTH / len(seeds)
        for number, eyes in enumerate(seeds):
            middle = place + (number - (len(seeds) - 1) / 2) * step
            spread = np.linspace(-0.3, 0.3, len(eyes)) * step
            axes.plot(middle + spread, eyes, "o", color=colour, markersize=5, alpha=0.7)
            axes.hlines(np.mean(eyes), middle - 0.42 * step, middle + 0.42 * step, color="black", linewidth=2)
    axes.set_xticks(range(len(values)), [f"{arm} only" if "+" not in arm else arm for arm in values], fontsize=12)
    axes.set_ylabel("Dice", fontsize=12)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.grid(axis="y", alpha=0.3)
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format="png")


def write_segmentations(
    eyes: Sequence[Eye], key: str, found: Mapping[str, Sequence[NDArray[np.float32]]], path: Path
) -> None:
    """Draw a row for each eye: photograph, real mask, and the segmentation of each arm with its errors in colour.

    Args:
        eyes: real eyes.
        key: the mask.
        found: arm -> probabilities (S, S) in the order of the eyes.
        path: path of the PNG file.

    Raises:
        RetinaError: the file cannot be written.
    """
    rows = []
    for place, eye in enumerate(eyes):
        mask = (eye.masks[key] >= 0.5) & eye.fov
        arms = [_agreement((maps[place] >= 0.5) & eye.fov, mask) for maps in found.values()]
        rows.append([eye.image, mask[None] * np.uint8(255), *arms])
    write_png(path, image_grid(rows, ["photograph", key, *found]), synthetic=False)


def _agreement(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(3, S, S): true positives in white, false positives in orange, false negatives in blue."""
    picture = np.zeros((3, *mask.shape), np.uint8)
    for part, colour in ((found & mask, "#FFFFFF"), (found & ~mask, ORANGE), (mask & ~found, BLUE)):
        for channel, start in enumerate((1, 3, 5)):
            picture[channel][part] = int(colour[start : start + 2], 16)
    return picture
