"""The tables of faithfulness."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from retina_monai.evaluation.families.faithfulness.eye_measurements import Measured, stack_values
from retina_monai.evaluation.families.faithfulness.faithfulness_figures import FOVEA, Findings
from retina_monai.evaluation.report.section import Table
from retina_monai.evaluation.report.tables import Interval
from retina_monai.metrics.branch_removal import CALIBRES

__all__ = ["BIOMARKERS", "TITLES", "biomarker_name", "faithfulness_tables"]

TITLES = {
    "dice": "Dice",
    "dice_085": "share with Dice of 0.85 or more",
    "cldice": "clDice",
    "roc_auc": "AUC",
    "betti_0_error": "Betti-0 error",
    "betti_1_error": "Betti-1 error",
}
BIOMARKERS = {
    "vessel_density": ("vessel density, % of the field of view", 100),
    "calibres": ("calibre, 1/1000 of the diameter of the field of view", 1000),
    "fractal_dimension": ("fractal dimension", 1),
    "tortuosity": ("tortuosity", 1),
    "branching_points": ("branching points", 1),
    "area": ("area, % of the field of view", 100),
    "offset": ("distance from the centre of the field of view, % of its diameter", 100),
    "aspect": ("minor over major axis", 1),
    "contrast": ("contrast to the surroundings, standard deviations", 1),
    "darkening": ("darkening, % of the brightness around it", 100),
    "convergence": ("vessel density nearby over that elsewhere", 1),
}
"""Title and scale of each biomarker."""
WHERE = {"photograph": "vessels in photographs", "mask": "vessel maps"}
WHERE |= {region: region for region in ("disc", "atrophy", "fovea")}
VISIBLE = {"contrast": "median contrast", "contrast_p10": "10th percentile of the contrast", "recall": "judge's recall"}

Cell = str | float | None


def faithfulness_tables(findings: Findings) -> list[Table]:
    """Tables of scores with their ceiling, removed branches and biomarkers, if there are any."""
    scores = [_score_table(findings, key) for key in findings.scores]
    return [
        *scores,
        *([_visibility_table(findings)] if findings.visibility else []),
        *([_fovea_table(findings)] if findings.foveas else []),
        *([_branch_table(findings)] if findings.lines else []),
        *([_distance_table(findings)] if findings.distances else []),
    ]


def biomarker_name(key: str) -> str:
    """Name of a biomarker, such as ``photograph/tortuosity``, in a sentence.

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
        f"Judge's segmentation: {key}",
        ("data set", "measure", "generated", "95 %", "N", "real", "95 % real", "N real", "difference", "95 % diff."),
        rows,
        "Real: the judge on real photographs against manual annotations, which is the ceiling. Means over eyes, "
        "intervals over patients. AUC is computed from probabilities, all other measures after a threshold of 0.5.",
    )


def _visibility_table(findings: Findings) -> Table:
    rows = [
        (
            *(dataset, kind, VISIBLE[name], *_cells(score.generated), *_cells(score.real)),
            _cell(score.generated.mean / score.real.mean) if score.real.mean else None,
        )
        for dataset, kinds in findings.visibility.items()
        for kind, scores in kinds.items()
        for name, score in scores.items()
        if score.generated.N
    ]
    return Table(
        "Visibility of vessels by calibre",
        ("data set", "calibre", "measure", "generated", "95 %", "N", "real", "95 % real", "N real", "ratio"),
        rows,
        "Contrast: green level beside a vessel minus that on its centre line, relative to the former. Recall: share of "
        "the centre line that the judge finds. Means over eyes, intervals over patients.",
    )


def _fovea_table(findings: Findings) -> Table:
    rows = [(dataset, *_cells(score.generated), *_cells(score.real)) for dataset, score in findings.foveas.items()]
    return Table(
        "Photographs with a visible fovea",
        ("data set", "generated", "95 %", "N", "real", "95 % real", "N real"),
        rows,
        f"Shares of the photographs in which the macula is at least {FOVEA:.0%} darker than its surroundings, 2.6 disc "
        "diameters temporal to the disc. Only eyes with this place in the frame count.",
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
    shares = ("visible", "visible in real", "gone", "nothing else", "passed", "95 %")
    classes = ", ".join(f"{name} from {least:.4f}" for name, least in CALIBRES)
    return Table(
        "Removal of one branch from the vessel map",
        ("calibre", "branches", *shares, "change elsewhere", "ghost"),
        rows,
        "Shares of the branches. Visible: the judge finds the branch before its removal. Gone: it no longer finds it "
        "afterwards. Nothing else: the photograph and the vessels elsewhere do not change. Passed: gone and nothing "
        "else. Change elsewhere: median change of the photograph elsewhere over that at the branch. Ghost: mean share "
        f"of the branch's contrast that remains. Calibre in diameters of the field of view: {classes}.",
    )


def _distance_table(findings: Findings) -> Table:
    rows = []
    for key, distance in findings.distances.items():
        where, name = key.split("/")
        title, unit = BIOMARKERS[name]
        spreads = (_spread(eyes, key, unit) for eyes in (findings.synthetic, findings.real))
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
        "Mean and standard deviation, then distances of the distributions (KS: Kolmogorov-Smirnov). Floor: distance "
        "of two halves of the real set that share no patient. Ratio: Wasserstein distance of synthetic eyes to one "
        "half over the floor, with equal numbers; it is 1 if synthetic eyes are like real ones. Vessels in "
        "photographs are those of the judge, for synthetic and real eyes.",
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
