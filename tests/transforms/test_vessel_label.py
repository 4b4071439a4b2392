"""Labels whose topology stays: drawn maps, the phantom's, and those of real eyes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from retina_monai.data import find_datalist, fit_label, fit_vessel_map, generate_phantom
from retina_monai.data.files.reading import read_mask
from retina_monai.data.sets.vessel_maps import FineMap
from retina_monai.transforms.field_of_view import fov_box
from retina_monai.transforms.vessel_label import cut_label, vessel_label
from retina_monai.transforms.vessel_warp import draw_warp

AROUND = np.ones((3, 3))
Mask = NDArray[np.bool_]


def sizes(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each connected part, and of each hole."""
    parts = np.bincount(ndimage.label(mask, AROUND)[0].ravel())[1:]
    return parts, np.bincount(ndimage.label(~np.pad(mask, 1))[0].ravel())[2:]


def counts(mask: Mask, least: float = 1) -> tuple[int, int]:
    parts, holes = sizes(mask)
    return int((parts >= least).sum()), int((holes >= least).sum())


def line(canvas: Mask, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
    """Draw a straight line whose middle and width are in pixels."""
    rows, columns = np.indices(canvas.shape)
    (top, left), (down, right) = start, np.subtract(end, start)
    along = np.clip(((rows - top) * down + (columns - left) * right) / (down**2 + right**2), 0, 1)
    canvas |= np.hypot(rows - top - along * down, columns - left - along * right) <= width / 2


@pytest.mark.parametrize("angle", [0, 7, 30, 45, 61])
def test_a_thin_line_stays_one_line(angle: int) -> None:
    """A vessel of a quarter of a pixel, which half of no pixel holds."""
    canvas = np.zeros((512, 512), bool)
    reach = 200 * np.array([np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))])
    line(canvas, tuple(256 - reach), tuple(256 + reach), 2)
    label = vessel_label(canvas, 64)
    assert counts(label) == (1, 0)
    assert 50 * max(abs(np.sin(np.deg2rad(angle))), np.cos(np.deg2rad(angle))) - 2 <= label.sum() <= 80


def test_vessels_that_run_side_by_side_stay_two_and_a_ring_keeps_its_hole() -> None:
    canvas = np.zeros((512, 512), bool)
    for row in (100, 116):  # two pixels apart
        line(canvas, (row, 40), (row, 470), 4)
    rows, columns = np.indices(canvas.shape)
    canvas |= np.abs(np.hypot(rows - 300, columns - 256) - 20) <= 1
    assert counts(vessel_label(canvas, 64)) == (3, 1)


def test_the_end_of_a_vessel_near_another_does_not_touch_it() -> None:
    """A gap of half a pixel, wherever the grid lies; touching would enclose what lies between the two."""
    for shift in range(8):
        canvas = np.zeros((512, 512), bool)
        line(canvas, (100 + shift, 60), (100 + shift, 450), 4)
        line(canvas, (100 + shift, 60), (300, 60), 4)
        line(canvas, (300, 60), (300, 300), 4)
        line(canvas, (300, 300), (108 + shift, 300), 3)
        assert counts(canvas) == counts(vessel_label(canvas, 64)) == (1, 0)


def test_wide_vessels_are_what_covers_half_and_maps_of_that_size_stay() -> None:
    canvas = np.zeros((256, 256), bool)
    line(canvas, (128, 30), (128, 220), 24)
    share = canvas.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    label = vessel_label(canvas, 64)
    assert not (label ^ (share >= 0.5)).any()
    assert np.array_equal(vessel_label(canvas, 256), canvas)
    assert not vessel_label(np.zeros((256, 256)), 64).any()


def test_at_the_border_no_crumbs_are_left() -> None:
    label = np.zeros((32, 32), bool)
    label[10] = label[4, 3:30:6] = label[3] = True
    inside = np.indices(label.shape)[0] > 3
    cut = cut_label(label, inside)
    assert cut[10].all() and cut.sum() == 32


def check_label(vessel: NDArray, fov: NDArray, size: int) -> None:
    label, (top, left, bottom, right) = fit_label(vessel, fov, size)[0] > 0, fov_box(fov)
    side = max(bottom - top, right - left)
    eye = (vessel * fov)[0, top:bottom, left:right] > 0
    pixel = (side / size) ** 2
    (parts, holes), (most_parts, most_holes) = counts(eye, pixel), counts(eye)
    assert parts / 1.2 - 1 <= counts(label)[0] <= 1.2 * most_parts + 1
    assert holes / 1.2 - 1 <= counts(label)[1] <= 1.2 * most_holes + 1
    start = np.array([(side - (bottom - top)) // 2, (side - (right - left)) // 2])
    at = (np.argwhere(skeletonize(eye)) + start) * size // side
    assert ndimage.binary_dilation(label, AROUND)[tuple(at.T)].mean() > 0.98
    fitted = fit_vessel_map(vessel, fov, size)
    half = (fitted["vessel_share"][0] >= 127.5) & (fitted["fov"][0] > 0)
    assert (half & ~label).sum() < 0.02 * half.sum()


def test_labels_of_phantoms_and_of_warped_phantoms_keep_their_parts() -> None:
    for seed in range(2):
        phantom = generate_phantom(seed, 512)
        check_label(phantom["vessel"], phantom["fov"], 128)
        warped = FineMap(phantom["vessel"], phantom["fov"], 128).warped(draw_warp(0, seed))
        assert set(np.unique(warped["vessel"])) == {0, 1} and not (warped["vessel"] & ~warped["fov"]).any()
        assert counts(warped["vessel"][0] > 0)[0] <= 1.2 * counts(phantom["vessel"][0] > 0)[0] + 4  # cut by the border
        assert counts(warped["vessel_share"][0] >= 127.5)[0] > 3 * counts(warped["vessel"][0] > 0)[0]


@pytest.mark.parametrize("size", [130, 200, 256])
def test_warped_labels_larger_than_their_map(size: int) -> None:
    phantom = generate_phantom(0, 128)
    warped = FineMap(phantom["vessel"], phantom["fov"], size).warped(draw_warp(0, 0))
    label, half = warped["vessel"][0] > 0, warped["vessel_share"][0] >= 127.5
    assert (half & ~label).sum() < 0.1 * half.sum() and label.sum() < 2 * half.sum()
    assert counts(label)[0] <= counts(phantom["vessel"][0] > 0)[0] + 4


@pytest.mark.parametrize("dataset", ["CHASE_DB1", "HRF", "FIVES"])
def test_labels_of_real_eyes_keep_their_parts(dataset: str, real_set: Callable[[str], Path]) -> None:
    for item in find_datalist(real_set(dataset))["test"][:1]:
        vessel = read_mask(item["vessel"])
        rows, columns = np.indices(vessel.shape[1:])
        middle, radius = (np.array(vessel.shape[1:]) - 1) / 2, 0.47 * max(vessel.shape[1:])
        fov = (np.hypot(rows - middle[0], columns - middle[1]) < radius)[None].astype(np.uint8)
        check_label(vessel, fov, 256)
