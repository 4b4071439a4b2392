"""Vascular biomarkers: shapes whose values are known, invariances, a slow implementation of each idea."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import ks_2samp, spearmanr
from skimage.draw import ellipse
from skimage.measure import regionprops
from skimage.morphology import skeletonize

from retina_monai.metrics import biomarkers
from retina_monai.metrics.biomarkers import (
    Biomarkers,
    branching_points,
    calibres,
    convergence,
    fractal_dimension,
    kolmogorov_smirnov,
    measure_biomarkers,
    measure_region,
    region_contrast,
    tortuosity,
    vessel_density,
    wasserstein,
)

SIZE = 256
WHOLE = np.ones((SIZE, SIZE), bool)
ROW, COLUMN = np.mgrid[:SIZE, :SIZE]


def rod(start: tuple[float, float], end: tuple[float, float], width: float, size: int = SIZE) -> np.ndarray:
    """A straight vessel between two points (row, column) with square ends."""
    row, column = np.mgrid[:size, :size]
    (y, x), way = start, np.subtract(end, start)
    length = np.hypot(*way)
    along = ((row - y) * way[0] + (column - x) * way[1]) / length
    across = ((row - y) * way[1] - (column - x) * way[0]) / length
    return (along >= 0) & (along <= length) & (np.abs(across) <= width / 2)


def fork(at: tuple[float, float], heading: float, length: float, depth: int, size: int = SIZE) -> np.ndarray:
    """A tree that forks ``depth`` times along each way: 2^depth - 1 bifurcations."""
    end = at[0] + length * np.sin(heading), at[1] + length * np.cos(heading)
    drawn = rod(at, end, 3, size)
    if depth == 0:
        return drawn
    return (
        drawn
        | fork(end, heading - 0.6, 0.62 * length, depth - 1, size)
        | fork(end, heading + 0.6, 0.62 * length, depth - 1, size)
    )


def carpet(levels: int) -> np.ndarray:
    """Sierpinski's carpet."""
    cell = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    drawn = np.ones((1, 1), int)
    for _ in range(levels):
        drawn = np.kron(drawn, cell)
    return drawn


def wave(amplitude: float, period: float, width: float = 3) -> np.ndarray:
    """A sine, drawn as all pixels within half a width of its finely sampled points."""
    x = np.linspace(16, SIZE - 17, 8000)
    y = SIZE / 2 + amplitude * np.sin(2 * np.pi * (x - 16) / period)
    mark = np.ones((SIZE, SIZE), bool)
    mark[np.rint(y).astype(int), np.rint(x).astype(int)] = False
    return ndimage.distance_transform_edt(mark) <= width / 2


def wild(seed: int, size: int = SIZE) -> np.ndarray:
    """A tangle of rods."""
    rng = np.random.default_rng(seed)
    return np.any([rod(*rng.uniform(0, size, (2, 2)), rng.uniform(2, 8), size) for _ in range(12)], axis=0)


def same(first: Biomarkers, second: Biomarkers, tolerance: float) -> bool:
    scalars = ("vessel_density", "fractal_dimension", "tortuosity", "branching_points")
    alike = [getattr(first, key) == pytest.approx(getattr(second, key), rel=tolerance) for key in scalars]
    return all(alike) and np.mean(first.calibres) == pytest.approx(np.mean(second.calibres), rel=5 * tolerance)


# --- density


def test_density_is_the_share_of_the_field_of_view() -> None:
    vessel, fov = np.zeros((8, 8)), np.zeros((8, 8))
    fov[:4] = 1
    vessel[3:5] = 1  # half of it outside
    assert vessel_density(vessel, fov) == 8 / 32


# --- calibre


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7, 12])
def test_an_upright_vessel_has_its_width(width: int) -> None:
    vessel = np.zeros((SIZE, SIZE))
    vessel[:, 100 : 100 + width] = 1
    assert np.median(calibres(vessel, WHOLE)) * SIZE == width
    assert len(calibres(vessel, WHOLE)) == pytest.approx(SIZE, abs=2 * width)


@pytest.mark.parametrize("angle", [10, 30, 45, 80])
def test_a_slanting_vessel_has_its_width(angle: float) -> None:
    way = 100 * np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    vessel = rod(tuple(128 - way), tuple(128 + way), 9)
    assert np.median(calibres(vessel, WHOLE)) * SIZE == pytest.approx(9, abs=0.6)


def test_calibres_are_shares_of_the_diameter_of_a_field_cut_off_by_the_camera() -> None:
    fov = (np.hypot(ROW - 127.5, COLUMN - 127.5) <= 100) & (np.abs(ROW - 127.5) <= 70)
    vessel = rod((128, 0), (128, 255), 6)
    assert np.median(calibres(vessel, fov)) == pytest.approx(7 / 200)  # rows 125 to 131


# --- fractal dimension


def test_dimension_of_a_line_an_area_and_a_carpet() -> None:
    line = np.zeros((SIZE, SIZE))
    line[SIZE // 2] = 1
    assert fractal_dimension(line, WHOLE) == pytest.approx(1, abs=1e-9)
    assert fractal_dimension(np.eye(SIZE), WHOLE) == pytest.approx(1, abs=0.01)
    assert fractal_dimension(WHOLE, WHOLE) == pytest.approx(2, abs=1e-9)
    square = carpet(5)
    assert fractal_dimension(square, np.ones_like(square), (1, 3, 9, 27, 81)) == pytest.approx(np.log(8) / np.log(3))
    assert fractal_dimension(square, np.ones_like(square)) == pytest.approx(1.893, abs=0.04)


def test_an_empty_map_has_no_dimension_no_calibre_and_no_tortuosity() -> None:
    empty = measure_biomarkers(np.zeros((64, 64)), np.ones((64, 64)))
    assert np.isnan([empty.fractal_dimension, empty.tortuosity]).all()
    assert (empty.vessel_density, empty.branching_points, empty.calibres.size) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_dimension_agrees_with_boxes_counted_one_by_one(seed: int) -> None:
    vessel = wild(seed, 96)[:, :80]
    boxes, counts = (2, 5, 8, 20), []
    for side in boxes:
        touched = [
            {(row // side, column // side) for row, column in np.argwhere(turned)}
            for turned in (np.rot90(vessel, turn) for turn in range(4))
        ]
        counts.append(sum(len(cells) for cells in touched) / 4)
    x, y = np.log(boxes), np.log(counts)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    assert fractal_dimension(vessel, np.ones_like(vessel), boxes) == pytest.approx(-slope, abs=1e-9)


# --- tortuosity


@pytest.mark.parametrize("angle", [0, 10, 22.5, 45, 77])
def test_a_straight_vessel_has_tortuosity_1(angle: float) -> None:
    way = 100 * np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    assert tortuosity(rod(tuple(128 - way), tuple(128 + way), 3), WHOLE) == pytest.approx(1, abs=0.004)


@pytest.mark.parametrize("amplitude", [8, 16, 30])
def test_a_sine_has_its_arc_over_its_chord(amplitude: float) -> None:
    x = np.linspace(16, SIZE - 17, 100_000)
    slope = amplitude * 2 * np.pi / 112 * np.cos(2 * np.pi * (x - 16) / 112)
    expected = np.hypot(1, slope).mean()
    assert tortuosity(wave(amplitude, 112), WHOLE) == pytest.approx(expected, rel=0.03)


def test_tortuosity_is_weighted_by_length_and_short_vessels_do_not_count() -> None:
    straight, swaying = rod((10, 16), (10, SIZE - 17), 3), wave(25, 112)
    one, both = tortuosity(swaying, WHOLE), tortuosity(straight | swaying, WHOLE)
    assert both == pytest.approx((one + 1) / 2, rel=0.01)
    assert np.isnan(tortuosity(rod((10, 10), (10, 18), 3), WHOLE))


# --- branching points


def test_branching_points_of_known_figures() -> None:
    cross = rod((128, 20), (128, 236), 5) | rod((20, 128), (236, 128), 5)
    slanting = rod((40, 20), (216, 236), 4) | rod((216, 20), (40, 236), 4)
    letter = fork((128.0, 20.0), 0.0, 100.0, 1)
    assert [branching_points(figure, WHOLE) for figure in (rod((9, 9), (99, 200), 6), cross, slanting, letter)] == [
        0,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("depth", [2, 3])
def test_a_tree_has_as_many_branching_points_as_bifurcations(depth: int) -> None:
    tree = fork((256.0, 40.0), 0.0, 170.0, depth, 512)
    assert branching_points(tree, np.ones_like(tree)) == 2**depth - 1


def test_a_rough_outline_is_no_branching() -> None:
    rng = np.random.default_rng(0)
    vessel = rod((128, 20), (128, 236), 11)
    rough = vessel & ~((rng.random(vessel.shape) < 0.3) & ~ndimage.binary_erosion(vessel))
    assert branching_points(rough, WHOLE) == 0


# --- all of them


@pytest.mark.parametrize("vessel", [fork((128.0, 20.0), 0.3, 85.0, 2), wave(20, 112)], ids=["fork", "wave"])
def test_a_quarter_turn_and_a_mirror_change_nothing(vessel: np.ndarray) -> None:
    measured = measure_biomarkers(vessel, WHOLE)
    for other in (np.rot90(vessel), vessel.T, vessel[::-1]):
        turned = measure_biomarkers(other, WHOLE)
        assert turned.vessel_density == measured.vessel_density
        assert turned.fractal_dimension == pytest.approx(measured.fractal_dimension, abs=1e-9)
        assert same(turned, measured, 0.01)


def test_scale_changes_nothing_but_the_dimension() -> None:
    small = fork((128.0, 20.0), 0.0, 85.0, 2)
    large = small.repeat(3, 0).repeat(3, 1)
    first, second = (measure_biomarkers(vessel, np.ones_like(vessel)) for vessel in (small, large))
    assert first.branching_points == second.branching_points == 3
    assert second.vessel_density == first.vessel_density
    assert np.median(second.calibres) == pytest.approx(np.median(first.calibres), rel=0.1)
    assert second.tortuosity == pytest.approx(first.tortuosity, abs=0.01)


def test_together_they_are_what_they_are_alone() -> None:
    vessel, fov = wild(5), np.hypot(ROW - 127.5, COLUMN - 127.5) <= 120
    measured = measure_biomarkers(vessel, fov)
    assert measured.vessel_density == vessel_density(vessel, fov)
    assert measured.fractal_dimension == fractal_dimension(vessel, fov)
    assert measured.tortuosity == tortuosity(vessel, fov)
    assert measured.branching_points == branching_points(vessel, fov)
    assert np.array_equal(measured.calibres, calibres(vessel, fov))


def test_what_lies_outside_of_the_field_of_view_is_left_out() -> None:
    vessel, fov = wild(6), np.hypot(ROW - 127.5, COLUMN - 127.5) <= 100
    assert same(measure_biomarkers(vessel, fov), measure_biomarkers(vessel & fov, fov), 0)


@pytest.mark.parametrize(
    ("vessel", "fov", "error"),
    [
        (np.zeros((1, 8, 8)), np.ones((1, 8, 8)), r"\(H, W\) of one shape, got \(1, 8, 8\)"),
        (np.zeros((8, 8)), np.ones((8, 9)), r"got \(8, 8\) and \(8, 9\)"),
        (np.zeros((8, 8)), np.zeros((8, 8)), "fov is empty"),
    ],
)
def test_wrong_masks_are_refused(vessel: np.ndarray, fov: np.ndarray, error: str) -> None:
    for function in (measure_biomarkers, vessel_density, calibres, fractal_dimension, tortuosity, branching_points):
        with pytest.raises(ValueError, match=error):
            function(vessel, fov)


def test_wasserstein_is_the_area_between_the_quantile_functions() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 200), rng.normal(0.5, 2, 200)
    assert wasserstein(first, second) == pytest.approx(np.abs(np.sort(first) - np.sort(second)).mean())
    assert wasserstein(first, first + 3) == pytest.approx(3)
    assert wasserstein([1.0, np.nan], [2.0]) == 1
    assert wasserstein(first, first) == 0


def test_kolmogorov_smirnov_is_the_largest_gap_between_the_distribution_functions() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(0, 1, 150), rng.normal(0.4, 2, 90)
    gaps = [abs((first <= at).mean() - (second <= at).mean()) for at in (*first, *second)]
    assert kolmogorov_smirnov(first, second) == pytest.approx(max(gaps), abs=1e-12)
    assert kolmogorov_smirnov(first, second) == pytest.approx(ks_2samp(first, second).statistic, abs=1e-12)
    assert kolmogorov_smirnov(first, first) == 0
    assert kolmogorov_smirnov([1.0, np.nan], [[2.0], [3.0]]) == 1


def test_an_empty_sample_has_no_distance() -> None:
    assert np.isnan([distance([np.nan], [1.0, 2.0]) for distance in (wasserstein, kolmogorov_smirnov)]).all()


# --- disc and other regions


@pytest.mark.parametrize(("axes", "angle"), [((30, 30), 0), ((40, 20), 0.5), ((12, 30), 2)])
def test_a_region_has_the_form_that_scikit_image_finds(axes: tuple[int, int], angle: float) -> None:
    region, fov = np.zeros((SIZE, SIZE), np.uint8), np.hypot(ROW - 127.5, COLUMN - 127.5) <= 127.5
    region[ellipse(100, 160, *axes, rotation=angle)] = 1
    expected, measured = regionprops(region)[0], measure_region(region, fov)
    assert measured.area == pytest.approx(expected.area / fov.sum())
    assert measured.aspect == pytest.approx(expected.axis_minor_length / expected.axis_major_length, abs=1e-3)
    assert measured.aspect == pytest.approx(min(axes) / max(axes), abs=0.02)
    assert measured.offset == pytest.approx(np.hypot(27.5, 32.5) / 256, abs=0.002)


def test_contrast_is_that_to_the_ring_in_standard_deviations() -> None:
    region = np.hypot(ROW - 128, COLUMN - 128) <= 30
    image = np.where(region, 150.0, np.where(COLUMN < 128, 90.0, 110.0))
    assert region_contrast(np.stack([image] * 3), region, WHOLE) == pytest.approx(50 / image.std(), rel=0.02)
    assert region_contrast(np.stack([7 - 2 * image] * 3), region, WHOLE) == pytest.approx(-50 / image.std(), rel=0.02)
    assert np.isnan(region_contrast(np.ones((3, SIZE, SIZE)), region, WHOLE))


def test_vessels_converge_on_the_disc_or_do_not() -> None:
    star = np.any([rod((128, 128), (128 + 120 * np.sin(a), 128 + 120 * np.cos(a)), 3) for a in np.arange(8)], axis=0)
    middle, aside = (np.hypot(ROW - 128, COLUMN - column) <= 16 for column in (128, 220))
    ring = (np.hypot(ROW - 128, COLUMN - 128) <= 32) & ~middle
    assert convergence(star, middle, WHOLE) == pytest.approx(star[ring].mean() / star.mean(), rel=0.05)
    assert convergence(star, middle, WHOLE) > 2 > convergence(star, aside, WHOLE)
    assert convergence(WHOLE, middle, WHOLE) == 1


def test_without_a_region_there_is_nothing_to_measure() -> None:
    nothing = np.zeros((SIZE, SIZE))
    measured = measure_region(nothing, WHOLE)
    assert measured.area == 0 and np.isnan([measured.offset, measured.aspect]).all()
    assert np.isnan(region_contrast(np.ones((3, SIZE, SIZE)), nothing, WHOLE))
    assert np.isnan([convergence(WHOLE, nothing, WHOLE), convergence(nothing, WHOLE, WHOLE)]).all()
    with pytest.raises(ValueError, match=r"of the mask's size \(256, 256\), got \(3, 8, 8\)"):
        region_contrast(np.ones((3, 8, 8)), WHOLE, WHOLE)


# --- beside PVBM: python -m pip install --no-deps pvbm==3.0.1.8


def test_tangles_rank_as_pvbm_ranks_them() -> None:
    fractals = pytest.importorskip("PVBM.FractalAnalysis", reason="needs pvbm, installed with --no-deps")
    geometry = pytest.importorskip("PVBM.GeometricalAnalysis", reason="needs pvbm, installed with --no-deps")
    tangles = [np.any([wild(seed)] + [wild(50 + seed + n) for n in range(seed // 3)], axis=0) for seed in range(12)]
    with pytest.warns(DeprecationWarning, match="GeometricalVBMs"):
        theirs = geometry.GeometricalVBMs()
    multifractal = fractals.MultifractalVBMs(n_rotations=1, optimize=False, min_proba=0, maxproba=1)
    ours = [measure_biomarkers(tangle, WHOLE) for tangle in tangles]
    assert [round(one.vessel_density * WHOLE.size) for one in ours] == [int(theirs.area(tangle)) for tangle in tangles]
    pairs = [
        (one.branching_points, theirs.compute_particular_points(skeletonize(tangle).astype(int))[1])
        for one, tangle in zip(ours, tangles, strict=True)
    ]
    dimensions = [multifractal.compute_multifractals(tangle.astype(float))[0] for tangle in tangles]
    assert spearmanr(pairs).statistic > 0.95
    assert spearmanr([one.fractal_dimension for one in ours], dimensions).statistic > 0.95


def test_the_example_runs() -> None:
    assert doctest.testmod(biomarkers).failed == 0
