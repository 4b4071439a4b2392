"""Tables and pictures of privacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.families.privacy.nearest_eyes import KINDS, Judged, Kind, Nearest, Reference
from retina_monai.evaluation.measuring.eye import Eyes
from retina_monai.evaluation.report.plots import image_grid
from retina_monai.evaluation.report.section import Picture, Table
from retina_monai.files import replacing
from retina_monai.metrics.alignment import lay_over
from retina_monai.metrics.privacy import CopyThreshold

__all__ = ["Calibration", "draw_pairs", "draw_scores", "privacy_tables"]

SHOWN = 6  # nearest pairs in the table and the picture


@dataclass(frozen=True)
class Calibration:
    """Thresholds of the copy score and of the similarity between vessels, and the copy scores behind the first."""

    score: CopyThreshold
    between: CopyThreshold
    scores: Sequence[float]

    def threshold(self, kind: Kind) -> CopyThreshold:
        """Threshold for photographs from this kind of condition."""
        return self.score if kind == "unseen" else self.between


def privacy_tables(figures: Mapping[str, Any], judged: Judged, reference: Reference) -> list[Table]:
    """Tables of copies, distances to the nearest training eye, leaks and nearest pairs."""
    return [_copies_table(figures), _nearest_table(figures), _leaks_table(figures), _pairs_table(judged, reference)]


def _copies_table(figures: Mapping[str, Any]) -> Table:
    calibration, unseen = figures["calibration"], figures["false_positives"]
    rows = [_copies_row(KINDS[kind], figures["copies"][kind], calibration, kind) for kind in KINDS]
    rows.append(_copies_row("real eyes not used in training", unseen, calibration, "unseen"))
    columns = ["photographs", "number", "copies", "share", "from", "to", "threshold"]
    note = f"95 % intervals (Clopper and Pearson). {_coarseness(calibration['score'])}"
    return Table("Copies", columns, [row for row in rows if row[1]], note)


def _copies_row(
    title: str, share: Mapping[str, float] | None, calibration: Mapping[str, Mapping[str, float]], kind: Kind
) -> list[str | float | None]:
    threshold = calibration["score" if kind == "unseen" else "between"]["value"]
    found = share or {}
    return [title, *(found.get(key) for key in ("count", "hits", "share", "low", "high")), threshold]


def _coarseness(threshold: Mapping[str, float]) -> str:
    return (
        f"The threshold comes from {threshold['patients']:.0f} training patients, each compared with the others. It "
        f"should be exceeded by {threshold['rate']:.0%} of unseen eyes. With so many patients, it is exceeded by "
        f"{threshold['low']:.1%} to {threshold['high']:.1%} (95 % interval)."
    )


def _nearest_table(figures: Mapping[str, Any]) -> Table:
    titles = {"synthetic": "synthetic, judged", "held_out": "real, not in training", "training": "training, to others"}
    keys = ("score", "whole", "between", "ssim", "rmse", "distance")
    rows: list[list[str | float | None]] = [
        [title, *(figures["nearest"][name].get(key) for key in keys)] for name, title in titles.items()
    ]
    columns = ["to the nearest training eye", "copy score", "whole", "between vessels", "SSIM", "L2", "embedding"]
    note = (
        "Medians. Real eyes are compared only with training eyes of other patients. SSIM and L2 (root mean square; "
        f"white is 1) are measured in grey after alignment. Embedding: {figures['extractor']}."
    )
    return Table("Nearest training eye", columns, rows, note)


def _leaks_table(figures: Mapping[str, Any]) -> Table:
    rows: list[list[str | float | None]] = [
        [f"membership inference, AUC, {key}", value["auc"], value["low"], value["high"], 0.5]
        for key, value in figures["membership"].items()
    ]
    authentic = figures["authenticity"]
    rows.append(["authenticity (AuthPct / 100), embedding", authentic["synthetic"], None, None, authentic["held_out"]])
    columns = ["", "value", "from", "to", "without a leak"]
    note = (
        "Membership inference: how well the distance to the synthetic set separates training eyes from others; 95 % "
        "bootstrap interval over patients. Authenticity: Alaa et al., ICML 2022; beside it that of other real eyes."
    )
    return Table("Leaks by distance", columns, rows, note)


def _ranked(judged: Judged) -> list[int]:
    return sorted(range(len(judged.nearest)), key=lambda place: -judged.nearest[place].score)[:SHOWN]


def _pairs_table(judged: Judged, reference: Reference) -> Table:
    eyes = [judged.nearest[place] for place in _ranked(judged)]
    rows: list[list[str | float | None]] = [
        [e.name, reference.names[e.match.index], e.score, e.match.whole, e.match.between, e.ssim, e.rmse, e.vessel_dice]
        for e in eyes
    ]
    columns = ["photograph", "training eye", "judged by", "whole", "between vessels", "SSIM", "L2", "vessel Dice"]
    return Table("Nearest pairs", columns, rows, "In the order of the picture.")


def draw_pairs(
    judged: Judged, reference: Reference, synthetic: Eyes, training: Eyes, places: Sequence[int], path: Path
) -> Picture:
    """Draw the most likely copies, unaltered and aligned with their training eyes, beside these."""
    rows = []
    for place in _ranked(judged):
        image, match = synthetic[places[place]].image, judged.nearest[place].match
        rows.append([image, lay_over(image, match), _fitted(training[match.index].image, image.shape[-1])])
    write_png(path, image_grid(rows, ["synthetic", "aligned", "training eye"]))
    return Picture("Nearest pairs", path, "Look for the same disc, the same spots, the same texture between vessels.")


def _fitted(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Nearest-neighbour resizing, for sets of different sizes."""
    places = (np.arange(size) * image.shape[-1]) // size
    return np.ascontiguousarray(image[:, places][:, :, places])


def draw_scores(judged: Judged, unseen: Sequence[Nearest], calibration: Calibration, path: Path) -> Picture:
    """Draw the distributions of copy scores and the threshold."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes, bins = figure.subplots(), np.linspace(0, 1, 41)
    synthetic = [eye.match.score for eye in judged.nearest]
    others = [eye.match.score for eye in unseen]
    for label, values, colour, line in (
        ("training eyes, to others", calibration.scores, "0.5", ":"),
        ("real, not in training", others, "#0072b2", "-"),
        ("synthetic", synthetic, "#d55e00", "-"),
    ):
        shares = np.histogram(np.clip(values, 0, 1), bins)[0] / max(len(values), 1)
        axes.stairs(shares, bins, label=label, color=colour, linestyle=line, linewidth=2)
    axes.axvline(
        calibration.score.value, color="black", ls="--", label=f"threshold ({calibration.score.rate:.0%} of real eyes)"
    )
    axes.set(xlabel="copy score with the nearest training eye", ylabel="share of eyes")
    axes.legend()
    FigureCanvasAgg(figure)
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")
    return Picture("Copy scores", path, "Copies lie right of the dashed line, beyond all real eyes.")
