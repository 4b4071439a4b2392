"""Vessel trees against what was measured on real eyes; their laws are held in test_phantom.py."""

from __future__ import annotations

import numpy as np
import pytest

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.phantom.fundus.phantom_eye import draw_eye
from retina_monai.data.phantom.fundus.vessel_tree import Retina, VesselTree, grow_tree
from retina_monai.metrics.biomarkers import Biomarkers, measure_biomarkers


@pytest.fixture(scope="module")
def measured() -> list[Biomarkers]:
    samples = [generate_phantom(seed, 512) for seed in range(20, 28)]
    return [measure_biomarkers(sample["vessel"][0], sample["fov"][0]) for sample in samples]


@pytest.mark.parametrize(
    ("key", "low", "high"),  # the lowest and the highest mean of CHASE_DB1, HRF and FIVES (docs/phantom.md)
    [
        ("vessel_density", 0.083, 0.103),
        ("fractal_dimension", 1.371, 1.376),
        ("tortuosity", 1.027, 1.051),
        ("branching_points", 53, 113),
        ("calibres", 0.0035, 0.0067),
    ],
)
def test_biomarkers_lie_among_those_of_real_sets(measured: list[Biomarkers], key: str, low: float, high: float) -> None:
    mean = np.mean([np.mean(getattr(eye, key)) for eye in measured])
    slack = {"vessel_density": 0.015, "fractal_dimension": 0.03, "tortuosity": 0.01, "calibres": 0.001}.get(key, 0)
    assert low - slack < mean < high + slack


def straight(seed: int, tortuosity: float) -> VesselTree:
    retina = Retina(-4.7 + 0.4j, 0.3, -3 + 0j, 7.0, tortuosity)
    return grow_tree(np.random.default_rng(seed), retina, 0.1, (3.5, 3.5), 0.3)


def bends(tree: VesselTree) -> float:
    """Arc over chord of the segments, weighted by their chords."""
    arcs = np.abs(np.diff(tree.points, axis=1)).sum()
    return float(arcs / np.abs(tree.points[:, -1] - tree.points[:, 0]).sum())


@pytest.mark.parametrize("seed", range(3))
def test_tortuosity_makes_vessels_sway(seed: int) -> None:
    assert bends(straight(seed, 0.2)) < bends(straight(seed, 1.0)) < bends(straight(seed, 2.0))


def test_two_nasal_trunks_leave_each_arcade_near_the_disc() -> None:
    for seed in range(4):
        eye = draw_eye(seed)
        for tree in (eye.arteries, eye.veins):
            parent = np.unique(tree.parent[tree.parent >= 0])
            near = parent[np.abs(tree.points[parent, -1]) < 2.5]
            assert len(near) >= 4
            nasal = tree.points[tree.points.real > 1.5]
            assert min((nasal.imag < 0).sum(), (nasal.imag > 0).sum()) > 20
