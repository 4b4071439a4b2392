"""Compare the biomarkers of phantoms and real eyes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from retina_monai.metrics.biomarkers import Biomarkers, wasserstein

ROWS = (
    ("vessel_density", "vessel density, % of the field of view", 100),
    ("calibres", "calibres, 1/1000 of its diameter", 1000),
    ("fractal_dimension", "fractal dimension", 1),
    ("tortuosity", "tortuosity", 1),
    ("branching_points", "branching points", 1),
)
Sample = Sequence[Biomarkers]


def pooled(eyes: Iterable[Biomarkers], key: str) -> np.ndarray:
    """All values of one biomarker in a set of eyes."""
    return np.concatenate([np.atleast_1d(getattr(eye, key)) for eye in eyes]).astype(float)


def comparison(phantoms: Sample, real: Mapping[str, Sample]) -> Iterator[str]:
    """Lines of a Markdown table.

    The phantoms are treated as another data set. Their mean Wasserstein distance to the real sets is compared with the
    mean distance between two real sets. By the triangle inequality the former is at least half of the latter.
    """
    yield f"| | {' | '.join(real)} | phantoms | real to real | phantom to {', '.join(real)} | ratio | farthest |"
    yield "|---" * (len(real) + 6) + "|"
    for key, title, unit in ROWS:
        sets = {name: unit * pooled(eyes, key) for name, eyes in real.items()}
        drawn = unit * pooled(phantoms, key)
        pairs = [wasserstein(first, second) for first, second in combinations(sets.values(), 2)]
        apart = [wasserstein(drawn, values) for values in sets.values()]
        spreads = [f"{np.nanmean(values):.4g} ± {np.nanstd(values):.2g}" for values in (*sets.values(), drawn)]
        distances = [", ".join(f"{value:.2g}" for value in values) for values in (pairs, apart)]
        floor = np.mean(pairs)
        ratios = [f"{value / floor:.2f}" for value in (np.mean(apart), max(apart))]
        yield f"| {' | '.join([title, *spreads, *distances, *ratios])} |"
