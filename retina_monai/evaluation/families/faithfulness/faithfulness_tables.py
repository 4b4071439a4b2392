"""The tables of faithfulness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from retina_monai.evaluation.families.faithfulness.eye_measurements import Measured, stack_values
from retina_monai.evaluation.families.faithfulness.faithfulness_figures import Findings
from retina_monai.evaluation.report.section import Table
from retina_monai.evaluation.report.tables import Interval
from retina_monai.metrics.branch_removal import CALIBRES

__all__ = ["BIOMARKERS", "TITLES", "biomarker_name", "faithfulness_tables"]

TITLES = {
    "dice": "Dice",
    "cldice": "clDice",
    "roc_auc": "AUC",
    "betti_0_error": "Betti-0 error",
    "betti_1_error": "Betti-1 error",
}
BIOMARKERS = {
    "vessel_density": ("vessel density, % of the field of view", 100),
    "calibres": ("calibres, 1/1000 of its diameter", 1000),
    "fractal_dimension": ("fractal dimension", 1),
    "tortuosity": ("tortuosity", 1),
    "branching_points": ("branching points", 1),
    "area": ("area, % of the field of view", 100),
    "offset": ("distance from its middle, % of its diameter", 100),
    "aspect": ("shorter over longer axis", 1),
    "contrast": ("brightness against its surroundings, standard deviations", 1),
    "convergence": ("vessel density around it over that elsewhere", 1),
}
"""Title and scale of each biomarker."""
WHERE = {"photograph": "vessels in photographs", "mask": "vessel maps", "disc": "disc", "atrophy": "atrophy"}

Cell = str | float | None


def faithfulness_tables(findings: Findings) -> list[Table]:
    """Scores beside the ceiling, branches taken out, and biomarkers, as far as there are any."""
    scores = [_score_table(findings, key) for key in findings.scores]
    return [
        *scores,
        *([_branch_table(findings)] if findings.lines else []),
        *([_distance_table(findings)] if findings.distances else []),
    ]


def biomarker_name(key: str) -> str:
    """``photograph/tortuosity`` -> what it is called in a sentence.

    Example:
        >>> biomarker_name("disc/area")
        'area (disc)'
    """
    where, name = key.split("/")
    return f"{BIOMARKERS[name][0].partition(',')[0]} ({WHERE[where]})"


def _score_table(findings: Findings, key: str) -> Table:
    rows = [
        (dataset, TITLES[name], *_cells(score.generated), *_cells(score.real), *_cells(score.difference)[:2])
        for dataset, scores in findings.scores[key].items()
        for name, score in scores.items()
    ]
    return Table(
        f"What the judge finds of each {key}",
        ("data set", "measure", "generated", "95 %", "N", "real", "95 % of real", "N real", "difference", "95 % of it"),
        rows,
        "Real: the judge on real photographs against the masks that people drew, the ceiling. Means over eyes, "
        "intervals over patients. AUC is of the probabilities, all else of what is at least 0.5.",
    )


def _branch_table(findings: Findings) -> Table:
    rows = [
        (
            name,
            line.branches,
            *map(_cell, (line.shown, line.shown_in_real, line.gone, line.nothing_else, line.passed)),
            _span(line.low, line.high),
            *map(_cell, (line.spread, line.ghost)),
        )
        for name, line in findings.lines.items()
    ]
    shares = ("shown", "shown in real", "gone", "nothing else", "passed", "95 %")
    classes = ", ".join(f"{name} from {least:.4f}" for name, least in CALIBRES)
    return Table(
        "One branch taken out of the vessel map",
        ("calibre", "branches", *shares, "change elsewhere", "ghost"),
        rows,
        "Shares of the branches. Shown: the judge sees the branch before it is taken out. Gone: and no longer after. "
        "Nothing else: photograph and vessels away from it stay. Passed: gone, and nothing else. Change elsewhere: of "
        "the photograph, over that at the branch, median. Ghost: the branch's contrast that stays behind, mean. "
        f"Calibres in diameters of the field of view: {classes}.",
    )


def _distance_table(findings: Findings) -> Table:
    rows = []
    for key, distance in findings.distances.items():
        where, name = key.split("/")
        title, unit = BIOMARKERS[name]
        spreads = (_spread(eyes, key, unit) for eyes in (findings.made, findings.true))
        shifts = (unit * value for value in (distance.wasserstein, distance.floor_wasserstein))
        distances = (distance.kolmogorov_smirnov, distance.floor_ks, *shifts, distance.ratio)
        rows.append((WHERE[where], title, *spreads, *map(_cell, distances), distance.N, distance.real_N))
    return Table(
        "Biomarkers, synthetic and real",
        (
            *("of", "biomarker", "synthetic", "real", "KS", "KS floor", "Wasserstein", "Wasserstein floor"),
            *("ratio", "N", "N real"),
        ),
        rows,
        "Mean and standard deviation, then distances of the distributions (KS: Kolmogorov-Smirnov). Floor: between "
        "halves of the real set, no patient in both. Ratio: Wasserstein distance of synthetic eyes to such a half over "
        "the floor, in equal numbers: 1 where synthetic eyes are like real ones. In photographs, synthetic and real, "
        "the vessels are those that the judge finds.",
    )


def _cells(interval: Interval) -> tuple[Cell, Cell, Cell]:
    return _cell(interval.mean), _span(interval.low, interval.high), interval.N


def _cell(value: float) -> Cell:
    return None if math.isnan(value) else round(value, 4)


def _span(low: float, high: float) -> Cell:
    return None if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def _spread(eyes: Sequence[Measured], key: str, unit: float) -> str:
    values = unit * stack_values(eyes, key)
    known = values[~np.isnan(values)]
    return f"{known.mean():.4g} ± {known.std():.2g}" if len(known) else ""
