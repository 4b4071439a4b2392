"""Phantoms with diabetic retinopathy, myopia, and other cameras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from retina_monai.__main__ import phantom as write_on_command
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus import fundus_phantom as phantom
from retina_monai.data.phantom.fundus.camera import CAMERAS
from retina_monai.data.phantom.fundus.fundus_phantom import (
    MIXED_GRADES,
    choose_grade,
    choose_myopia,
    generate_phantom,
    write_phantoms,
)
from retina_monai.data.phantom.fundus.lesion_paint import draw_lesion_maps
from retina_monai.data.phantom.fundus.lesions import Boat, Lesions, draw_lesions
from retina_monai.data.phantom.fundus.myopia import draw_myopia
from retina_monai.data.phantom.fundus.phantom_eye import draw_eye, generator
from retina_monai.data.phantom.fundus.spots import HALF_DIAGONAL, Spots, draw_spots, rasterise_spots
from retina_monai.errors import RetinaError
from retina_monai.kinds import LESIONS

SEEDS = range(3)
GRADES = range(1, 5)
DISCS = ("vessel", "artery", "vein", "disc", "cup", "fov")
Samples = dict[tuple[int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def graded() -> Samples:
    """By seed and grade, 0 included."""
    return {(seed, grade): generate_phantom(seed, 384, grade) for seed in SEEDS for grade in range(5)}


@pytest.fixture(scope="module")
def myopic() -> dict[int, dict[str, Any]]:
    return {seed: generate_phantom(seed, 384, myopia=1.0) for seed in SEEDS}


@pytest.fixture(scope="module")
def lesions() -> dict[tuple[int, int], Lesions]:
    return {(seed, grade): draw_lesions(seed, draw_eye(seed), None, grade) for seed in range(5) for grade in range(5)}


def scale(seed: int, size: int) -> float:
    """Pixels per mm."""
    eye = draw_eye(seed)
    return eye.margin * size / 2 / eye.extent


# --- grades


def test_each_grade_has_its_lesions_and_no_others(graded: Samples) -> None:
    for (_, grade), sample in graded.items():
        present = {key for key in LESIONS if sample[key].any()}
        assert sample["grade"] == grade
        assert (len(present) > 0) == (grade > 0)
        assert ("microaneurysms" in present) == (grade >= 1)
        assert ("haemorrhages" in present) == (grade >= 2)
        assert ("neovascularisation" in present) == (grade == 4)
        assert grade >= 2 or not present & {"hard_exudates", "soft_exudates"}
    ill = [sample for (_, grade), sample in graded.items() if grade > 1]
    for key in ("hard_exudates", "soft_exudates"):
        assert {bool(sample[key].any()) for sample in ill} == {True, False}


def test_more_than_twenty_haemorrhages_in_each_quadrant_make_grade_three(
    lesions: dict[tuple[int, int], Lesions],
) -> None:
    for (seed, grade), drawn in lesions.items():
        away = drawn.bleedings - draw_eye(seed).view
        counts = np.bincount(2 * (away.imag > 0) + (away.real > 0), minlength=4)
        assert (counts.min() > 20) >= (grade == 3)
        assert grade != 2 or (counts.sum() >= 4 and counts.max() <= 20)
        assert grade >= 2 or not len(drawn.bleedings)
        assert (len(drawn.microaneurysms) >= 3) == (grade > 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_haemorrhages_of_grade_three_can_be_counted_in_the_mask(seed: int) -> None:
    sample = generate_phantom(seed, 1024, 3)
    pieces, count = ndimage.label(sample["haemorrhages"][0], np.ones((3, 3)))
    rows, columns = np.array(ndimage.center_of_mass(pieces > 0, pieces, range(1, count + 1))).T
    rows, columns = rows > 511.5, columns > 511.5
    assert np.bincount(2 * rows + columns, minlength=4).min() > 20


def test_disease_does_not_change_the_eye(graded: Samples, myopic: dict[int, dict[str, Any]]) -> None:
    for seed in SEEDS:
        healthy = graded[seed, 0]
        for grade in GRADES:
            assert all(np.array_equal(graded[seed, grade][key], healthy[key]) for key in DISCS)
        assert all(np.array_equal(myopic[seed][key], healthy[key]) for key in ("vessel", "artery", "vein", "fov"))
        assert {sample["laterality"] for sample in (healthy, graded[seed, 4], myopic[seed])} == {healthy["laterality"]}


def test_the_photograph_changes_at_the_lesions_alone(graded: Samples) -> None:
    for seed in SEEDS:
        healthy, ill = graded[seed, 0], graded[seed, 2]
        lesion = np.any([ill[key][0] for key in LESIONS], axis=0)
        change = np.abs(ill["image"].astype(int) - healthy["image"]).max(axis=0)
        near = ndimage.binary_dilation(lesion, iterations=round(0.25 * scale(seed, 384)) + 3)
        assert change[~near].max() < 15  # specks smaller than a pixel, which are in no mask
        assert (change[~near] > 1).mean() < 1e-3
        assert (change[lesion] > 5).mean() > 0.7


def test_exudates_are_brighter_and_blood_is_darker_than_the_healthy_retina(graded: Samples) -> None:
    change: dict[str, list[np.ndarray]] = {key: [] for key in LESIONS}
    for seed in SEEDS:
        for grade in GRADES:
            ill, healthy = (graded[seed, number]["image"].astype(float) + 1 for number in (grade, 0))
            for key in LESIONS:
                inside = graded[seed, grade][key][0] > 0
                change[key].append(np.log(ill / healthy)[:, inside])
    red, green, _ = (
        {key: np.median(np.concatenate(parts, axis=1)[channel]) for key, parts in change.items()}
        for channel in range(3)
    )
    assert green["hard_exudates"] > 0.3 and green["soft_exudates"] > 0.15
    assert green["haemorrhages"] < -0.3 and green["microaneurysms"] < -0.1 and green["neovascularisation"] < -0.1
    assert all(abs(red[key]) < abs(green[key]) for key in LESIONS)  # red light is changed least


def test_masks_of_lesions_lie_where_they_may(graded: Samples) -> None:
    for (seed, _), sample in graded.items():
        masks = {key: sample[key][0] > 0 for key in LESIONS}
        assert all((sample[key] <= sample["fov"]).all() for key in LESIONS)
        assert not any((masks[first] & masks[second]).any() for first, second in combinations(LESIONS, 2))
        for key in LESIONS[:-1]:
            assert not (masks[key] & (sample["disc"][0] > 0)).any() or key == "haemorrhages"
        eye = draw_eye(seed)
        fovea = 191.5 + (eye.fovea - eye.view) * scale(seed, 384) + 191.5j
        column = fovea.real if sample["laterality"] == "R" else 383 - fovea.real
        y, x = np.indices((384, 384))
        pit = np.hypot(x - column, y - fovea.imag) < 0.25 * scale(seed, 384)
        assert pit.sum() > 4
        assert not any((masks[key] & pit).any() for key in ("microaneurysms", "neovascularisation"))


# --- sizes


def test_sizes_in_millimetres(lesions: dict[tuple[int, int], Lesions]) -> None:
    for drawn in lesions.values():
        assert (2 * drawn.microaneurysms.along < 0.125).all()
        assert (drawn.blots.along < 0.3).all()
        assert ((2 * drawn.soft_exudates.along > 0.26) & (2 * drawn.soft_exudates.along < 0.9)).all()
        if drawn.new_vessels is not None:
            assert (2 * drawn.new_vessels.radii < 0.04).all()
    blots = np.concatenate([drawn.blots.along for drawn in lesions.values()])
    dots = np.concatenate([drawn.microaneurysms.along for drawn in lesions.values()])
    assert np.median(blots) > 1.7 * np.median(dots)


def test_a_microaneurysm_is_below_125_um_in_the_mask_and_a_pixel_where_pixels_are_large() -> None:
    fine = generate_phantom(1, 1536, 1)
    pieces, count = ndimage.label(fine["microaneurysms"][0], np.ones((3, 3)))
    across = [max(part.stop - part.start for part in place) for place in ndimage.find_objects(pieces)]
    assert count >= 3
    assert max(across) / scale(1, 1536) < 0.125
    coarse = generate_phantom(1, 64, 1)["microaneurysms"]
    assert count / 2 <= coarse.sum() <= 2 * count


def test_flames_lie_along_the_nerve_fibres(lesions: dict[tuple[int, int], Lesions]) -> None:
    flames = [drawn.flames for drawn in lesions.values() if len(drawn.flames)]
    at, heading = (np.concatenate([getattr(flame, name) for flame in flames]) for name in ("at", "heading"))
    course = np.where(at.real < 0, 2 * at.real + 1j * at.imag, at)
    assert np.abs((heading * course.conj() / np.abs(course)).imag).max() < 0.5
    assert all((flame.along > 3 * flame.across).all() for flame in flames)


@pytest.mark.parametrize(("seed", "grade"), [(1, 3), (2, 4)])
def test_one_eye_at_every_size(seed: int, grade: int) -> None:
    large, small = (generate_phantom(seed, size, grade, myopia=0.8) for size in (512, 256))
    for key in ("haemorrhages", "hard_exudates", "soft_exudates", "atrophy", "disc"):
        assert small[key].mean() == pytest.approx(large[key].mean(), rel=0.2, abs=2e-4)
    shrunk = large["image"].reshape(3, 256, 2, 256, 2).mean((2, 4))
    assert np.abs(shrunk - small["image"]).mean() < 4


def test_same_bytes_in_another_process() -> None:
    options = "4, 0.9, 'handheld'"
    code = f"import sys; from retina_monai.data import generate_phantom; g = generate_phantom(5, 128, {options})"
    code += "; sys.stdout.buffer.write(g['image'].tobytes() + g['haemorrhages'].tobytes() + g['atrophy'].tobytes())"
    sample = generate_phantom(5, 128, 4, 0.9, "handheld")
    own = b"".join(sample[key].tobytes() for key in ("image", "haemorrhages", "atrophy"))
    for threads in ("1", "3"):
        variables = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        run = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, check=True)
        assert run.stdout == own


def test_preretinal_blood_hides_new_vessels_in_the_picture_and_in_the_masks() -> None:
    drawn = replace(draw_lesions(11, draw_eye(11), None, 4), boats=())
    tuft = drawn.new_vessels
    assert tuft is not None
    middle = complex(tuft.points[0].mean())
    canvas = phantom._canvas(draw_eye(11), 256)
    hidden = draw_lesion_maps(canvas, replace(drawn, boats=(Boat(middle, 1.5, 0.8),)))
    pool = hidden.cover["boats"] > 0.9
    assert draw_lesion_maps(canvas, drawn).masks["neovascularisation"][pool].any()
    assert not hidden.masks["neovascularisation"][pool].any()
    assert hidden.masks["haemorrhages"][pool].all()


def test_a_round_spot_has_the_area_of_its_circle() -> None:
    spot = Spots(
        np.array([0.1 + 0.05j]), np.array([0.5]), np.array([0.5]), np.array([1 + 0j]), np.zeros((1, 4), complex)
    )
    mask, cover = rasterise_spots(spot, 81, 40.0, 0j)
    assert mask.sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    assert cover.sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    rows, columns = np.nonzero(mask)
    assert (columns.mean(), rows.mean()) == pytest.approx((40 + 0.1 * 40, 40 + 0.05 * 40), abs=0.05)


def test_the_smallest_spot_has_a_pixel_wherever_it_lies() -> None:
    rng = generator(0)
    at = rng.uniform(-1.9, 1.9, 200) + 1j * rng.uniform(-1.9, 1.9, 200)
    for point in at:
        spot = draw_spots(rng, np.array([point]), np.array([0.01]), np.array([0.01]))
        mask, cover = rasterise_spots(spot, 32, 8.0, 0j, least=HALF_DIAGONAL)
        assert 1 <= mask.sum() <= 4
        assert cover.sum() < 0.3


# --- myopia


def ovality(mask: np.ndarray) -> float:
    """Shorter by longer axis, from second moments."""
    rows, columns = np.nonzero(mask)
    return float(np.sqrt(np.divide(*np.linalg.eigvalsh(np.cov(rows, columns)))))


def test_the_disc_tilts(graded: Samples, myopic: dict[int, dict[str, Any]]) -> None:
    for seed in SEEDS:
        assert ovality(graded[seed, 0]["disc"][0]) > 0.8
        assert ovality(myopic[seed]["disc"][0]) < 0.75
        assert (myopic[seed]["cup"] <= myopic[seed]["disc"]).all()
        eye, _ = draw_myopia(seed, draw_eye(seed), 1.0)
        assert 4.9 < abs(np.degrees(eye.turn)) < 30.1
        half, _ = draw_myopia(seed, draw_eye(seed), 0.5)
        assert (
            min(eye.disc) / max(eye.disc)
            < min(half.disc) / max(half.disc)
            < min(draw_eye(seed).disc) / max(draw_eye(seed).disc)
        )


def test_atrophy_is_pale_beside_the_disc_and_temporal(graded: Samples, myopic: dict[int, dict[str, Any]]) -> None:
    for seed in SEEDS:
        sample, healthy = myopic[seed], graded[seed, 0]
        atrophy, disc = sample["atrophy"][0] > 0, sample["disc"][0] > 0
        assert not healthy["atrophy"].any()
        assert not (atrophy & disc).any()
        assert (atrophy & ndimage.binary_dilation(disc)).any()
        assert 0.2 < atrophy.sum() / disc.sum() < 5
        away = np.nonzero(atrophy)[1].mean() - np.nonzero(disc)[1].mean()
        assert (away < 0) == (sample["laterality"] == "R")  # the fovea's side
        before = atrophy & ~(healthy["disc"][0] > 0) & ~ndimage.binary_dilation(sample["vessel"][0], iterations=2)
        green = [np.median(picture["image"][1][before]) for picture in (sample, healthy)]
        assert green[0] > 1.25 * green[1]


def test_tessellation_raises_local_contrast_outside_of_the_arcades(
    graded: Samples, myopic: dict[int, dict[str, Any]]
) -> None:
    for seed in SEEDS:
        eye = draw_eye(seed)
        y, x = np.indices((384, 384)) - 191.5
        x = x if eye.laterality == "R" else -x
        at = (x + 1j * y) / scale(seed, 384) + eye.view
        far = (np.abs(at - eye.fovea / 2) > 3.2) & eye.sees(at, 0.6) & (np.abs(at) > 2.5)
        far &= ~ndimage.binary_dilation(graded[seed, 0]["vessel"][0], iterations=3)
        contrast = []
        for sample in (myopic[seed], graded[seed, 0]):
            green = np.log(sample["image"][1].astype(float) + 1)
            detail = ndimage.gaussian_filter(green, 1) - ndimage.gaussian_filter(green, 0.3 * scale(seed, 384))
            contrast.append(detail[far].std())
        assert contrast[0] > 1.4 * contrast[1]


def test_lesions_keep_off_the_atrophy() -> None:
    sample = generate_phantom(3, 384, 3, 1.0)
    for key in ("microaneurysms", "haemorrhages", "soft_exudates", "hard_exudates"):
        assert not (sample[key] & sample["atrophy"]).any()


# --- cameras


@pytest.fixture(scope="module")
def photographed() -> dict[str, list[dict[str, Any]]]:
    return {name: [generate_phantom(seed, 256, camera=name) for seed in SEEDS] for name in CAMERAS}


def test_cameras_see_one_eye_each_its_part_of_it() -> None:
    eyes = {name: draw_eye(1, camera) for name, camera in CAMERAS.items()}
    first = eyes["drive"]
    for name, eye in eyes.items():
        assert np.array_equal(eye.veins.points, first.veins.points)
        assert (eye.laterality, eye.disc, eye.fovea) == (first.laterality, first.disc, first.fovea)
        assert 2 * eye.extent / 0.29 == pytest.approx(CAMERAS[name].field.degrees)
    healthy = draw_eye(1)
    assert (healthy.laterality, healthy.disc, healthy.fovea) == (first.laterality, first.disc, first.fovea)


def test_fields_of_view(photographed: dict[str, list[dict[str, Any]]]) -> None:
    for name, samples in photographed.items():
        for sample in samples:
            rows, columns = (np.flatnonzero(sample["fov"][0].any(axis)) for axis in (1, 0))
            assert len(rows) / len(columns) == pytest.approx(CAMERAS[name].field.clip, abs=0.02)
            assert 0.08 < sample["vessel"].sum() / sample["fov"].sum() < 0.17
            assert ndimage.label(sample["disc"][0])[1] == 1
    area = {name: np.mean([sample["disc"].mean() for sample in samples]) for name, samples in photographed.items()}
    assert area["chase_db1"] > 1.9 * area["drive"] > 1.9 * area["fives"]


def measure(sample: dict[str, Any]) -> tuple[float, float, float, float]:
    """Green by red, blue by green, high frequencies, loss of light to the rim."""
    image, fov = sample["image"].astype(float), sample["fov"][0] > 0
    y, x = np.indices(fov.shape) - 127.5
    out = np.hypot(x, y) / (np.flatnonzero(fov.any(0)).size / 2)
    plain = ndimage.binary_erosion(fov, iterations=4) & ~ndimage.binary_dilation(
        sample["disc"][0] | sample["vessel"][0], iterations=3
    )
    red, green, blue = (np.median(channel[plain]) for channel in image)
    fine = image[1] - ndimage.gaussian_filter(image[1], 1)
    fall = np.log(np.median(image[1][plain & (out < 0.5)]) / np.median(image[1][plain & (out > 0.85)]))
    return green / red, blue / green, fine[plain].std(), fall


def test_cameras_differ_as_they_say(photographed: dict[str, list[dict[str, Any]]]) -> None:
    figures = {name: np.mean([measure(sample) for sample in samples], axis=0) for name, samples in photographed.items()}
    ratio, blue, noise, fall = np.transpose(list(figures.values()))
    order = list(CAMERAS)
    assert order[int(np.argmin(ratio))] in ("hrf", "chase_db1")  # the reddest
    assert {order[index] for index in np.argsort(blue)[:2]} == {"chase_db1", "idrid"}  # hardly any blue
    assert order[int(np.argmax(noise))] == "handheld"
    assert noise[order.index("handheld")] > 2 * noise[order.index("hrf")]
    assert {order[index] for index in np.argsort(fall)[-2:]} == {"chase_db1", "handheld"}
    assert order[int(np.argmin(fall))] == "fives"


def test_the_sharpest_and_the_most_blurred_camera(photographed: dict[str, list[dict[str, Any]]]) -> None:
    def steepness(name: str) -> float:
        """Of the edges of wide vessels, noise smoothed along with them."""
        steps = []
        for sample in photographed[name]:
            green = ndimage.gaussian_filter(np.log(sample["image"][1].astype(float) + 5), 0.7)
            slope = np.hypot(ndimage.sobel(green, 0), ndimage.sobel(green, 1)) / 8
            steps.append(np.percentile(slope[sample["vessel"][0] > 0], 75))
        return float(np.mean(steps))

    assert steepness("hrf") > 1.15 * steepness("handheld")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grade": 5}, "^grade must be 0, 1, 2, 3 or 4, got 5$"),
        ({"grade": True}, "^grade must be"),
        ({"myopia": 1.5}, r"^myopia must be in \[0, 1\], true or false, got 1.5$"),
        ({"myopia": "strong"}, "^myopia must be"),
        ({"camera": "polaroid"}, "^camera must be one of chase_db1, .* got polaroid$"),
        ({"seed": -1, "grade": None}, "^seed must be"),
    ],
)
def test_what_is_out_of_range_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RetinaError, match=message):
        generate_phantom(**({"seed": 0, "size": 64} | options))


# --- sets


def test_shares_of_mixed_sets() -> None:
    grades = np.bincount([choose_grade(seed, None) for seed in range(600)], minlength=5) / 600
    assert grades == pytest.approx(MIXED_GRADES, abs=0.06)
    degrees = np.array([choose_myopia(seed, None) for seed in range(600)])
    assert (degrees > 0).mean() == pytest.approx(0.4, abs=0.06)
    assert degrees[degrees > 0].min() >= 0.4 and degrees.max() <= 1
    assert choose_myopia(3, True) >= 0.4
    assert (choose_grade(3, 2), choose_myopia(3, False), choose_myopia(3, 0.3)) == (2, 0.0, 0.3)


def test_a_mixed_set_has_a_folder_for_each_mask(tmp_path: Path) -> None:
    written = write_phantoms(tmp_path / "set", 12, 64, 3, grade="mixed", myopia="mixed", camera="mixed")
    lines = [json.loads(line) for line in (written / "manifest.jsonl").read_text().splitlines()]
    assert len({line["grade"] for line in lines}) > 2
    assert {line["myopia"] > 0 for line in lines} == {True, False}
    assert len({line["camera"] for line in lines}) > 2
    items = [item for part in find_datalist(written).values() for item in part]
    assert len(items) == 12
    for item, line in zip(sorted(items, key=lambda item: str(item["name"])), lines, strict=True):
        assert item["grade"] == line["grade"]
        assert set(item["annotated"]) == {"vessel", "fov", "disc", "cup", "atrophy", *LESIONS}
        sample = generate_phantom(line["seed"], 64, line["grade"], line["myopia"], line["camera"])
        for key in ("vessel", "atrophy", *LESIONS):
            with Image.open(item[key]) as picture:
                assert np.array_equal(np.asarray(picture), sample[key][0] * 255)
        assert (line["myopia"] > 0) == sample["atrophy"].any()
    with pytest.raises(RetinaError, match=r"holds 12 .*, grade mixed, myopia mixed, mixed"):
        write_phantoms(tmp_path / "set", 12, 64, 3)


@pytest.mark.parametrize(("myopia", "degrees"), [(1, {1.0}), (0.5, {0.5}), (0, {0.0}), ("no", {0.0})])
def test_a_number_on_the_command_line_is_a_degree(tmp_path: Path, myopia: Any, degrees: set[float]) -> None:
    write_on_command(str(tmp_path / "set"), 3, 64, myopia=myopia)
    lines = (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()
    assert {json.loads(line)["myopia"] for line in lines} == degrees


def test_a_healthy_set_has_no_folders_for_disease_but_knows_that_there_is_none(tmp_path: Path) -> None:
    written = write_phantoms(tmp_path / "set", 3, 64, 0)
    folders = {path.name for path in written.iterdir() if path.is_dir()}
    assert folders == {"images", "vessels", "fovs", "discs", "cups"}
    item = find_datalist(written)["training"][0]
    assert item["grade"] == 0
    assert set(LESIONS) < set(item["annotated"]) and not set(LESIONS) & set(item)
    with pytest.raises(RetinaError, match=r"^grade must be"):
        write_phantoms(tmp_path / "other", 3, 64, 0, grade=7)
    for nothing in ({"grade": None}, {"myopia": None}):  # would be mixed without folders for what is mixed
        with pytest.raises(RetinaError, match=r"^grade and myopia of a set must"):
            write_phantoms(tmp_path / "other", 3, 64, 0, **nothing)
    assert not (tmp_path / "other").exists()
