"""Distances of sets of vessel maps against scipy, hand-made maps, an engine."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.bundle import ConfigParser
from scipy import ndimage
from scipy.stats import ks_2samp, wasserstein_distance
from torch import Tensor

from retina_monai.metrics import BiomarkerDistance, biomarker_distance, compare_biomarkers, measure_biomarkers

NAMES = ("vessel_density", "calibres", "fractal_dimension", "tortuosity", "branching_points")
SIZE = 64


def tangle(seed: int, share: float) -> np.ndarray:
    """Ridges of smooth noise: vessels of a kind, which cover a share of the picture."""
    noise = np.abs(ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(SIZE, SIZE)), 4))
    return noise <= np.quantile(noise, share)


def disc() -> Tensor:
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    return torch.as_tensor(np.hypot(rows, columns) < SIZE / 2)[None]


def items(count: int) -> list[dict[str, Tensor]]:
    """Predicted vessels are wider than real ones and of other eyes; 0.7 and 0.2 are their probabilities."""
    pairs = [(tangle(number, 0.12), tangle(100 + number, 0.2)) for number in range(count)]
    return [
        {"vessel": torch.tensor(real)[None], "pred": torch.where(torch.tensor(found), 0.7, 0.2)[None], "fov": disc()}
        for real, found in pairs
    ]


def lines(width: int) -> Tensor:
    vessel = torch.zeros(1, SIZE, SIZE)
    vessel[:, 20 : 20 + width] = 1
    return vessel


def samples(eyes: list[dict[str, Tensor]], name: str, fov: np.ndarray) -> list[np.ndarray]:
    """Of real and of predicted maps, NaN left out, calibres by 32 quantiles of each map."""
    sides = []
    for key in ("vessel", "pred"):
        measured = [getattr(measure_biomarkers(eye[key][0].numpy() > 0.5, fov), name) for eye in eyes]
        levels = np.linspace(1 / 64, 63 / 64, 32)
        values = [np.quantile(value, levels) if name == "calibres" else [value] for value in measured]
        sides.append(np.concatenate(values))
    return [side[~np.isnan(side)] for side in sides]


@pytest.mark.parametrize("inside_fov", [False, True])
def test_the_distances_are_those_of_scipy(inside_fov: bool) -> None:
    eyes = items(6)
    metric = BiomarkerDistance(inside_fov=inside_fov)
    metric.update(eyes)
    found = metric.measure()
    assert (found.real_count, found.generated_count) == (6, 6)
    fov = disc()[0].numpy() if inside_fov else np.ones((SIZE, SIZE))
    for name in NAMES:
        real, generated = samples(eyes, name, fov)
        assert found.kolmogorov_smirnov[name] == pytest.approx(ks_2samp(real, generated).statistic)
        assert found.wasserstein[name] == pytest.approx(wasserstein_distance(real, generated))
    assert metric.compute() == pytest.approx(np.mean(list(found.kolmogorov_smirnov.values())))
    assert found.kolmogorov_smirnov["vessel_density"] == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("measure", ["kolmogorov_smirnov", "wasserstein"])
def test_the_metric_gives_the_distance_it_was_asked_for(measure: str, name: str) -> None:
    metric = BiomarkerDistance(measure, name)
    metric.update(items(3))
    assert metric.compute() == getattr(metric.measure(), measure)[name]


def test_an_engine_starts_afresh_and_does_not_mind_the_batches() -> None:
    eyes = items(5)
    engine = Engine(lambda engine, batch: batch)
    BiomarkerDistance("wasserstein", "calibres").attach(engine, "distance")
    first = engine.run([eyes[:2], [], eyes[2:]]).metrics["distance"]
    assert isinstance(first, float) and first > 0
    swapped = [{"pred": eye["vessel"].float(), "vessel": eye["vessel"]} for eye in eyes]
    assert engine.run([swapped]).metrics["distance"] == 0
    assert engine.run([eyes]).metrics["distance"] == pytest.approx(first)


def test_a_vessel_of_twice_the_width() -> None:
    metric = BiomarkerDistance()
    metric.update([{"pred": 0.6 * lines(8), "vessel": lines(4)}])
    found = metric.measure()
    assert found.wasserstein["vessel_density"] == pytest.approx(4 / SIZE)
    assert found.wasserstein["calibres"] == pytest.approx(4 / SIZE, rel=0.1)  # a line's ends are narrower
    assert found.wasserstein["branching_points"] == 0
    assert found.wasserstein["tortuosity"] == pytest.approx(0, abs=1e-3)
    assert found.kolmogorov_smirnov["vessel_density"] == found.kolmogorov_smirnov["fractal_dimension"] == 1


def test_the_maps_need_not_pair() -> None:
    metric = BiomarkerDistance()
    wide, narrow = lines(8), lines(4)
    metric.update([{"pred": wide, "vessel": narrow}, {"pred": narrow, "vessel": wide}])
    assert metric.compute() == 0


def test_below_the_threshold_there_is_no_vessel_and_what_is_undefined_does_not_count() -> None:
    metric = BiomarkerDistance(threshold=0.65)
    metric.update([{"pred": 0.6 * lines(4), "vessel": lines(4)}] * 2)
    found = metric.measure()
    for name in ("calibres", "fractal_dimension", "tortuosity"):
        assert math.isnan(found.kolmogorov_smirnov[name]) and math.isnan(found.wasserstein[name])
    assert found.kolmogorov_smirnov["branching_points"] == 0
    assert metric.compute() == found.mean == 0.5  # of density and branching points
    alone = BiomarkerDistance("kolmogorov_smirnov", "tortuosity", threshold=0.65)
    alone.update([{"pred": 0.6 * lines(4), "vessel": lines(4)}])
    assert math.isnan(alone.compute())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BiomarkerDistance("energy"), "metric must be one of kolmogorov_smirnov, wasserstein, not 'energy'"),
        (lambda: BiomarkerDistance(biomarker="age"), "biomarker must be one of vessel_density, .* not 'age'"),
        (
            lambda: BiomarkerDistance("wasserstein"),
            "no mean: choose a biomarker of vessel_density, calibres",
        ),
        (lambda: BiomarkerDistance(threshold=0), r"threshold must lie in \(0, 1\], not 0"),
        (lambda: compare_biomarkers([], []), "both sets need a vessel map, and they have 0 and 0"),
        (
            lambda: BiomarkerDistance().update([{"pred": lines(4) * 2, "vessel": lines(4)}]),
            "pred must hold probabilities",
        ),
        (lambda: BiomarkerDistance().update([{"pred": lines(4), "vessel": lines(4) / 2}]), "target must hold 0 and 1"),
        (
            lambda: BiomarkerDistance().update([{"pred": lines(4), "vessel": lines(4)[:, :9]}]),
            r"pred and target must be \(B, 1, H, W\) of one shape",
        ),
    ],
)
def test_wrong_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_the_metric_says_what_is_missing() -> None:
    metric = BiomarkerDistance(inside_fov=True)
    with pytest.raises(NotComputableError, match="BiomarkerDistance has seen no vessel map"):
        metric.compute()
    with pytest.raises(KeyError, match="BiomarkerDistance finds no 'fov' in the engine's output"):
        metric.update([{"pred": lines(4), "vessel": lines(4)}])


def test_the_metric_from_a_config() -> None:
    config = {
        "_target_": "retina_monai.metrics.BiomarkerDistance",
        "metric": "wasserstein",
        "biomarker": "vessel_density",
        "target_key": "vessel_map",
    }
    metric = ConfigParser({"distance": config}).get_parsed_content("distance")
    metric.update([{"pred": lines(2), "vessel_map": lines(6)}])
    assert metric.compute() == pytest.approx(4 / SIZE)


def test_the_examples_run() -> None:
    assert doctest.testmod(biomarker_distance).failed == 0
