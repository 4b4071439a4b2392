"""What the transforms and the splits promise, on pictures and lists drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from retina_monai.data.listing.layout import SPLITS, Datalist
from retina_monai.data.listing.splits import last_tenth, merge
from retina_monai.transforms import Appearance, MatchAppearance, ReduceEyed, apply_appearance, measure_appearance
from retina_monai.transforms.field_of_view import circle, compute_fov, crop_square, fov_box, resize_area

SIDE = st.integers(1, 12)
SHAPE = st.tuples(SIDE, SIDE)
SEED = st.integers(0, 2**32 - 1)


@settings(max_examples=25)
@given(
    size=st.tuples(st.integers(60, 140), st.integers(60, 140)),
    place=st.tuples(st.floats(0.45, 0.55), st.floats(0.45, 0.55)),
    reach=st.floats(0.35, 0.65),
    brightness=st.integers(60, 255),
    seed=SEED,
)
def test_the_field_of_view_of_a_disc_is_the_disc(
    size: tuple[int, int], place: tuple[float, float], reach: float, brightness: int, seed: int
) -> None:
    """Also where the frame cuts it; within a pixel at the edge."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    distance = np.hypot(rows - place[0] * size[0], columns - place[1] * size[1]) - reach * min(size)
    image = np.where(
        distance < 0, random.integers(brightness // 2, brightness, (3, *size)), random.integers(0, 2, size)
    )
    found = compute_fov(image.astype(np.uint8))
    assert found.shape == (1, *size) and set(np.unique(found)) <= {0, 1}
    assert found[0][distance < -2].all() and not found[0][distance > 2].any()


@given(fov=hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 1)).filter(np.any), seed=SEED)
def test_a_box_is_tight_and_a_square_crop_loses_nothing_of_it(fov: np.ndarray, seed: int) -> None:
    top, left, bottom, right = box = fov_box(fov[None])
    inside = fov[top:bottom, left:right]
    assert inside.sum() == fov.sum()
    assert all(side.any() for side in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))

    array = np.random.default_rng(seed).integers(1, 256, (2, *fov.shape), dtype=np.uint8)
    square = crop_square(array, box)
    height, width = bottom - top, right - left
    side = max(height, width)
    above, before = (side - height) // 2, (side - width) // 2
    assert square.shape == (2, side, side) and square.dtype == array.dtype
    np.testing.assert_array_equal(
        square[:, above : above + height, before : before + width], array[:, top:bottom, left:right]
    )
    assert np.count_nonzero(square) == 2 * height * width
    assert abs(side - height - 2 * above) <= 1 and abs(side - width - 2 * before) <= 1
    assert fov_box(crop_square(fov[None], box)) == (above, before, above + height, before + width)


@given(array=hnp.arrays(np.uint8, st.tuples(st.just(2), SIDE, SIDE)), size=SIDE)
def test_resizing_keeps_the_range_and_where_it_shrinks_the_mean(array: np.ndarray, size: int) -> None:
    found = resize_area(array, size)
    assert found.shape == (2, size, size) and found.dtype == np.float32
    assert found.min() >= array.min() - 1e-3 and found.max() <= array.max() + 1e-3
    if size <= min(array.shape[1:]):
        np.testing.assert_allclose(found.mean((1, 2)), array.mean((1, 2)), atol=2e-3)


@given(array=hnp.arrays(np.uint8, st.tuples(st.just(1), SIDE, SIDE)), size=SIDE)
def test_resizing_mirrors_and_turns_with_the_picture(array: np.ndarray, size: int) -> None:
    found = resize_area(array, size)
    for turn in (lambda picture: picture[:, ::-1], lambda picture: picture.swapaxes(1, 2)):
        np.testing.assert_allclose(resize_area(turn(array), size), turn(found), atol=1e-3)


@given(size=SIDE, factor=st.integers(1, 5), seed=SEED)
def test_resizing_by_a_whole_factor_is_the_mean_of_blocks(size: int, factor: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, (2, size * factor, size * factor), dtype=np.uint8)
    blocks = array.reshape(2, size, factor, size, factor).mean((2, 4))
    np.testing.assert_allclose(resize_area(array, size), blocks, atol=1e-3)


@given(size=st.integers(1, 300))
def test_a_circle_has_the_area_and_the_symmetry_of_one(size: int) -> None:
    """The pixels of a disc of radius r fill one of r - √2/2 and lie in one of r + √2/2."""
    found = circle(size)[0]
    radii = size / 2 + np.array([-1, 1]) * np.sqrt(0.5)
    least, most = np.pi * np.maximum(radii, 0) ** 2
    assert least <= found.sum() <= most
    np.testing.assert_array_equal(found, np.rot90(found))
    np.testing.assert_array_equal(found, found.T)


def eye(seed: int, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    fov = random.random((1, size, size)) < random.uniform(0.1, 0.9)
    image = random.uniform(-1, 1, (3, size, size)) * random.uniform(0.1, 1, (3, 1, 1))
    return torch.from_numpy(image), torch.from_numpy(fov.astype(np.float32))


@st.composite
def unclipped(draw: st.DrawFn) -> Appearance:
    """Noise that is even (within 1.8 deviations, or a little more) stays in [-1, 1] with it, and redder than green."""
    green = draw(st.floats(-0.5, 0.1))
    means = (green + draw(st.floats(0.3, 0.5)), green, draw(st.floats(-0.5, 0.5)))
    return Appearance(means, (draw(st.floats(0.01, 0.06)), draw(st.floats(0.01, 0.06)), draw(st.floats(0.01, 0.1))))


@given(seed=SEED, appearance=unclipped())
def test_a_photograph_gets_the_statistics_asked_for_and_keeps_them(seed: int, appearance: Appearance) -> None:
    image, fov = eye(seed)
    found = apply_appearance(image, fov, appearance)
    measured = measure_appearance(found, fov)
    np.testing.assert_allclose(measured.mean, appearance.mean, atol=1e-4)
    np.testing.assert_allclose(measured.std, appearance.std, atol=1e-4)
    torch.testing.assert_close(apply_appearance(found, fov, appearance), found, atol=1e-5, rtol=0)


@given(
    seed=SEED,
    mean=st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_any_appearance_stays_in_range_black_outside_and_never_green(
    seed: int, mean: list[float], std: list[float]
) -> None:
    image, fov = eye(seed)
    found = apply_appearance(image, fov, Appearance(tuple(mean), tuple(std)))
    inside = fov[0] > 0
    assert found.shape == image.shape and found.abs().max() <= 1
    assert (found[:, ~inside] == -1).all() and (found[0] >= found[1]).all()


@given(seed=SEED, gain=st.floats(0.5, 2), offset=st.floats(-1, 1), appearance=unclipped())
def test_matching_does_not_depend_on_exposure(seed: int, gain: float, offset: float, appearance: Appearance) -> None:
    image, fov = eye(seed)
    match = MatchAppearance(appearance.mean, appearance.std)
    found = match(image[None], fov[None])
    torch.testing.assert_close(match(gain * image[None] + offset, fov[None]), found, atol=1e-4, rtol=0)


@given(rows=SIDE, columns=SIDE, factor=st.integers(1, 4), seed=SEED)
def test_reducing_is_the_mean_of_blocks(rows: int, columns: int, factor: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (3, rows * factor, columns * factor), dtype=np.uint8)
    fov = random.integers(0, 2, (1, *image.shape[1:]), dtype=np.uint8) * np.uint8(255)
    found = ReduceEyed("image", factor)({"image": torch.from_numpy(image), "fov": torch.from_numpy(fov)})

    def blocks(array: np.ndarray) -> np.ndarray:
        return array.reshape(len(array), rows, factor, columns, factor).mean((2, 4))

    np.testing.assert_allclose(found["image"], blocks(image) / 127.5 - 1, atol=1e-5)
    np.testing.assert_array_equal(found["fov"], blocks(fov) >= 127.5)


PATIENTS = st.sampled_from([f"HRF/{number:02d}" for number in range(12)])


@st.composite
def datalists(draw: st.DrawFn) -> list[Datalist]:
    """One to three sets, with and without a say in who validates; every item has a name of its own."""
    found: list[Datalist] = []
    for number in range(draw(st.integers(1, 3))):
        splits = SPLITS if draw(st.booleans()) else ("training", "test")
        patients = {split: draw(st.lists(PATIENTS, max_size=6)) for split in splits}
        found.append(
            {
                split: [
                    {"patient": patient, "name": f"{number}-{split}-{place}"} for place, patient in enumerate(order)
                ]
                for split, order in patients.items()
            }
        )
    return found


def roles(datalist: Datalist) -> dict[str, set[str]]:
    """Of each patient the splits."""
    found: dict[str, set[str]] = {}
    for split in SPLITS:
        for item in datalist[split]:
            found.setdefault(item["patient"], set()).add(split)
    return found


def names(datalists: Sequence[Datalist], *splits: str) -> list[str]:
    return [item["name"] for datalist in datalists for split in splits for item in datalist.get(split, [])]


@given(sets=datalists())
def test_merged_sets_have_each_patient_in_one_split_and_lose_only_who_is_in_another(sets: list[Datalist]) -> None:
    given_sets = deepcopy(sets)
    merged = merge(sets)
    found = roles(merged)
    assert sets == given_sets and merged.keys() == set(SPLITS)
    assert all(len(splits) == 1 for splits in found.values())
    assert names([merged], "test") == names(sets, "test")
    kept = names([merged], *SPLITS)
    assert len(kept) == len(set(kept)) and set(kept) <= set(names(sets, *SPLITS))
    for number, datalist in enumerate(sets):
        elsewhere = {item["patient"] for other in sets[:number] for items in other.values() for item in items}
        for item in datalist["training"] + datalist.get("validation", []):
            assert item["name"] in kept or found[item["patient"]] == {"test"} or item["patient"] in elsewhere
    assert found.keys() == {item["patient"] for datalist in sets for items in datalist.values() for item in items}


@given(sets=datalists(), data=st.data())
def test_the_order_of_the_items_decides_nothing(sets: list[Datalist], data: st.DataObject) -> None:
    shuffled = [{split: data.draw(st.permutations(items)) for split, items in datalist.items()} for datalist in sets]
    first, second = merge(sets), merge(shuffled)
    assert roles(first) == roles(second)
    for split in SPLITS:
        assert sorted(names([first], split)) == sorted(names([second], split))


@given(patients=st.lists(st.text(max_size=3), max_size=40), data=st.data())
def test_the_last_tenth_is_a_tenth_whatever_the_order(patients: list[str], data: st.DataObject) -> None:
    found = last_tenth(patients)
    different = set(patients)
    assert found == last_tenth(data.draw(st.permutations(patients * 2)))
    assert found <= different and (not found or min(found) > max(different - found))
    assert len(found) == (max(1, round(len(different) / 10)) if len(different) > 1 else 0)
