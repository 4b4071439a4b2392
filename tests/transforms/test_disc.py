"""The disc of a probability map: its area, outline, confidence and side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from retina_monai.data import generate_phantom
from retina_monai.transforms import FindDiscd
from retina_monai.transforms.disc import disc_in_photograph, draw_outline, find_disc, which_eye
from retina_monai.transforms.field_of_view import crop_square, fov_box

SIZE = 128
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE].astype(np.float64)


def spot(row: float, column: float, radius: float, probability: float = 1.0) -> NDArray[np.float64]:
    """A circle with an edge of one pixel."""
    return probability * np.clip(radius + 0.5 - np.hypot(ROWS - row, COLUMNS - column), 0, 1)


def overlap(first: NDArray, second: NDArray) -> float:
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))


def area(outline: NDArray[np.float64]) -> float:
    """By the shoelace formula."""
    y, x = outline.T
    return float(abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2)


def test_a_clear_disc_is_found_between_pixels() -> None:
    found = find_disc(spot(40.3, 80.6, 10))
    assert area(found.outline) == pytest.approx(np.pi * 10**2, rel=0.02)
    assert (found.outline.min(0) + found.outline.max(0)) / 2 == pytest.approx([40.3, 80.6], abs=0.1)
    assert found.confidence > 0.95


def test_the_area_with_the_most_probability_is_kept() -> None:
    """A small bright exudate beside a larger, less certain disc."""
    found = find_disc(np.maximum(spot(40, 90, 10, 0.8), spot(90, 30, 4, 1.0)))
    assert overlap(draw_outline(found.outline, (SIZE, SIZE)), spot(40, 90, 10) >= 0.5) > 0.97
    alone = find_disc(spot(40, 90, 10, 0.8))
    assert 0.6 < found.confidence < alone.confidence <= 0.8


def test_holes_and_dents_are_filled() -> None:
    """Vessels on the disc are dark, and the network may miss them."""
    whole, probability = spot(64, 64, 12) >= 0.5, spot(64, 64, 12)
    probability[52:60, 63:66] = 0
    probability[66:70, 62:68] = 0
    found = find_disc(probability)
    assert overlap(draw_outline(found.outline, (SIZE, SIZE)), whole) > 0.97
    assert found.confidence < find_disc(spot(64, 64, 12)).confidence


def test_two_equal_spots_halve_the_confidence() -> None:
    twice = find_disc(np.maximum(spot(30, 30, 10), spot(90, 90, 10)))
    assert twice.confidence == pytest.approx(find_disc(spot(30, 30, 10)).confidence / 2, rel=0.01)


@pytest.mark.parametrize(("probability", "most"), [(0.05, 0.05), (0.3, 0.3)])
def test_a_faint_answer_has_a_low_confidence(probability: float, most: float) -> None:
    assert 0 < find_disc(spot(40, 80, 10, probability)).confidence <= most


def test_a_dot_is_no_disc() -> None:
    assert find_disc(spot(40, 80, 1)).confidence < 0.2


def test_where_nothing_is_there_is_no_disc() -> None:
    found = find_disc(np.zeros((SIZE, SIZE)))
    assert found.outline.shape == (0, 2) and found.confidence == 0
    assert not draw_outline(found.outline, (SIZE, SIZE)).any() and which_eye(found.outline, SIZE) == ""


def test_a_disc_that_the_frame_cuts_ends_at_the_frame() -> None:
    mask = draw_outline(find_disc(spot(64, 124, 10)).outline, (SIZE, SIZE))
    assert mask[64, -1] and overlap(mask, spot(64, 124, 10) >= 0.5) > 0.95


def test_thin_areas_and_single_pixels_have_an_outline() -> None:
    """A line at the level itself, beside a brighter pixel: their hulls must not be flat."""
    probability = np.zeros((SIZE, SIZE))
    probability[10, 10] = 1.0
    probability[50, 20:24] = 0.5
    assert draw_outline(find_disc(probability).outline, (SIZE, SIZE)).any()


def test_everything_alike_is_found_without_an_error() -> None:
    assert find_disc(np.full((SIZE, SIZE), 0.01)).confidence < 0.02


@pytest.mark.parametrize(
    ("probability", "message"),
    [(np.zeros((3, 4)), "must be"), (np.full((4, 4), 1.5), "must be in"), (np.full((4, 4), np.nan), "must be in")],
)
def test_what_is_no_map_of_probabilities_is_refused(probability: NDArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_disc(probability)


@pytest.mark.parametrize(("column", "side"), [(64, ""), (70, ""), (100, "R"), (28, "L")])
def test_the_side_is_that_of_the_disc_against_the_middle(column: float, side: str) -> None:
    assert which_eye(find_disc(spot(60, column, 8)).outline, SIZE) == side


def test_the_side_is_that_of_the_phantoms() -> None:
    """Their discs are nasal, and their photographs are centred on the disc or on the macula."""
    sides = []
    for seed in range(12):
        eye = generate_phantom(seed, SIZE)
        disc = crop_square(eye["disc"], fov_box(eye["fov"]))[0].astype(float)
        sides.append((which_eye(find_disc(disc).outline, len(disc)), eye["laterality"]))
    assert sum(side == "" for side, _ in sides) < 12
    assert all(side in ("", laterality) for side, laterality in sides)


def test_a_disc_lies_in_the_photograph_where_it_lay_in_the_square() -> None:
    """The photograph is 400 x 600, its field of view 300 x 500, and the square is reduced fivefold."""
    fov, drawn = np.zeros((2, 1, 400, 600), np.uint8)
    fov[:, 50:350, 60:560] = 1
    rows, columns = np.mgrid[:400, :600]
    drawn[0] = np.hypot(rows - 180, columns - 450) <= 40
    box = fov_box(fov)
    square = crop_square(drawn, box).reshape(1, 100, 5, 100, 5).mean((2, 4)).astype(np.float32)
    mask, confidence, side = disc_in_photograph(square, box, fov, 0.5)
    assert mask.shape == (1, 400, 600) and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 1}
    assert overlap(mask > 0, drawn > 0) > 0.98 and confidence > 0.8 and side == "R"


def test_below_the_least_confidence_there_is_no_disc() -> None:
    fov = np.ones((1, 200, 200), np.uint8)
    mask, confidence, side = disc_in_photograph(spot(40, 100, 10, 0.3)[None], (0, 0, 200, 200), fov, 0.5)
    assert not mask.any() and 0 < confidence < 0.5 and side == ""


def test_the_mask_stays_inside_the_field_of_view() -> None:
    fov = np.zeros((1, 128, 128), np.uint8)
    fov[:, :, :90] = 1
    mask, _, _ = disc_in_photograph(spot(64, 88, 10)[None], (0, 0, 128, 128), fov)
    assert mask.any() and not mask[:, :, 90:].any()


def test_the_transform_gives_what_the_function_gives() -> None:
    fov = np.ones((1, 200, 260), np.uint8)
    square, box = spot(40, 100, 10)[None], np.array([0, 0, 200, 260])
    item = {"pred": torch.from_numpy(square), "fov": torch.from_numpy(fov), "box": torch.from_numpy(box)}
    result = FindDiscd("pred", least_confidence=0.5)(item)
    mask, confidence, side = disc_in_photograph(square, box, fov, 0.5)
    assert np.array_equal(result["pred"].numpy(), mask)
    assert (result["confidence"], result["side"]) == (confidence, side)
