"""A warped vessel map is another one, of the same anatomy, and the same on every call."""

from __future__ import annotations

import numpy as np
import pytest

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.sets.vessel_maps import FineMap, fit_vessel_map
from retina_monai.metrics import measure_biomarkers
from retina_monai.transforms.field_of_view import circle
from retina_monai.transforms.vessel_warp import VesselWarp, draw_warp

SIZE = 256
STILL = np.zeros((2, 5, 5))


@pytest.fixture(scope="module")
def phantom() -> dict[str, np.ndarray]:
    sample = generate_phantom(3, 2 * SIZE)
    return {key: sample[key] for key in ("vessel", "fov")}


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def test_no_warp_leaves_a_picture_as_it_is() -> None:
    picture = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    np.testing.assert_allclose(VesselWarp(False, 0.0, 1.0, (0.0, 0.0), STILL)(picture[None])[0], picture, atol=1e-5)
    mirrored = VesselWarp(True, 0.0, 1.0, (0.0, 0.0), STILL)(picture[None])[0]
    np.testing.assert_allclose(mirrored, picture[:, ::-1], atol=1e-5)


def test_turn_zoom_and_shift_do_what_they_say() -> None:
    picture = np.zeros((41, 41), np.float32)
    picture[20, 30] = 1
    quarter = VesselWarp(False, 90.0, 1.0, (0.0, 0.0), STILL)(picture[None])[0]
    assert np.unravel_index(quarter.argmax(), quarter.shape) == (10, 20)
    nearer = VesselWarp(False, 0.0, 2.0, (0.0, 0.0), STILL)(picture[None])[0]
    assert np.unravel_index(nearer.argmax(), nearer.shape) == (20, 40)
    shifted = VesselWarp(False, 0.0, 1.0, (0.0, 5 / 41), STILL)(picture[None])[0]
    assert np.unravel_index(shifted.argmax(), shifted.shape) == (20, 25)


def test_a_draw_depends_on_seed_and_index_alone() -> None:
    first, again = draw_warp(1, 5), draw_warp(1, 5)
    assert first.angle == again.angle and np.array_equal(first.bend, again.bend)
    assert len({draw_warp(seed, index).angle for seed in range(3) for index in range(3)}) == 9


def test_draws_keep_to_anatomy() -> None:
    warps = [draw_warp(0, index) for index in range(300)]
    assert all(6 <= abs(warp.angle) <= 18 for warp in warps), "no eye is upside down, and none as it was"
    assert all(1.02 <= warp.zoom <= 1.12 for warp in warps)
    assert all(np.hypot(*warp.shift) <= (1 - 1 / warp.zoom) / 2 for warp in warps), "the view stays inside of the map"
    assert 0.4 < np.mean([warp.flip for warp in warps]) < 0.6
    assert 0.4 < np.mean([warp.angle > 0 for warp in warps]) < 0.6


def test_bends_fold_nothing() -> None:
    for index in range(50):
        columns, rows = draw_warp(0, index)._grid(64)[0].numpy().transpose(2, 0, 1) * 31.5
        across = np.gradient(rows, axis=0) * np.gradient(columns, axis=1)
        assert (across - np.gradient(rows, axis=1) * np.gradient(columns, axis=0)).min() > 0.3


def test_the_side_changes_with_the_flip() -> None:
    flip, stay = (VesselWarp(flip, 0.0, 1.0, (0.0, 0.0), STILL) for flip in (True, False))
    assert [flip.laterality(side) for side in ("L", "R", "")] == ["R", "L", ""]
    assert [stay.laterality(side) for side in ("L", "R", "")] == ["L", "R", ""]


def test_a_warped_map_is_a_new_one(phantom: dict[str, np.ndarray]) -> None:
    plain = fit_vessel_map(phantom["vessel"], phantom["fov"], SIZE)["vessel_share"][0] >= 128
    warped = [FineMap(phantom["vessel"], phantom["fov"], SIZE).warped(draw_warp(0, index)) for index in range(6)]
    maps = [sample["vessel_share"][0] >= 128 for sample in warped]
    assert max(overlap(plain, each) for each in maps) < 0.35
    assert max(overlap(plain[:, ::-1], each) for each in maps) < 0.35
    assert max(overlap(maps[a], maps[b]) for a in range(6) for b in range(a)) < 0.5


def test_a_warped_map_has_the_same_biomarkers(phantom: dict[str, np.ndarray]) -> None:
    plain = fit_vessel_map(phantom["vessel"], phantom["fov"], SIZE)
    before = measure_biomarkers(plain["vessel_share"][0] >= 128, plain["fov"][0])
    for index in range(4):
        warped = FineMap(phantom["vessel"], phantom["fov"], SIZE).warped(draw_warp(0, index))
        after = measure_biomarkers(warped["vessel_share"][0] >= 128, warped["fov"][0])
        assert after.vessel_density == pytest.approx(before.vessel_density, rel=0.2)
        assert after.fractal_dimension == pytest.approx(before.fractal_dimension, abs=0.06)
        assert after.branching_points == pytest.approx(before.branching_points, rel=0.3)


def test_the_field_of_view_keeps_its_form_and_nothing_is_outside() -> None:
    vessel = np.ones((1, 200, 200), np.uint8)
    notched = circle(200)
    notched[:, :40, 150:] = 0
    for index in range(4):
        warp = draw_warp(0, index)
        full = FineMap(vessel, None, 64).warped(warp)
        np.testing.assert_array_equal(full["fov"], circle(64))
        sample = FineMap(vessel, notched, 64).warped(warp)
        plain = fit_vessel_map(vessel, notched, 64)["fov"]
        difference = sample["fov"] != (plain[:, :, ::-1] if warp.flip else plain)
        assert difference.mean() < 0.01
        assert not sample["vessel_share"][sample["fov"] == 0].any() and full["vessel_share"].shape == (1, 64, 64)
