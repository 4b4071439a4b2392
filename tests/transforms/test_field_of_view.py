"""Fields of view of drawn eyes and of real ones; the square crop; resizing by area."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.transform import resize_local_mean

from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.errors import RetinaError
from retina_monai.transforms.field_of_view import black_outside, circle, compute_fov, crop_square, fov_box, resize_area

RNG = np.random.default_rng(0)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (np.hypot(rows - row, columns - column) < radius).astype(np.uint8)[None]


def paint(fov: np.ndarray, light: float = 150) -> np.ndarray:
    """A noisy photograph ``(3, H, W)``: orange inside the field of view, nearly black outside."""
    colours = np.array([1, 0.6, 0.3])[:, None, None] * light
    noise = RNG.normal(0, 3, (3, *fov.shape[1:]))
    return np.clip(np.where(fov, colours, 3) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "row", "column", "radius"),
    [
        ((256, 256), 127.5, 127.5, 120),
        ((300, 400), 149, 205, 180),
        ((64, 64), 31, 33, 28),
        ((1200, 1000), 640, 480, 450),
    ],
    ids=["within", "cut above and below", "small", "large"],
)
def test_a_disc_is_found(shape: tuple[int, int], row: float, column: float, radius: float) -> None:
    expected = disc(shape, row, column, radius)
    found = compute_fov(paint(expected))
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    assert dice(found, expected) > 0.99


def test_rim_notch_caption_and_dark_vessels_do_not_matter() -> None:
    expected = disc((400, 400), 200, 200, 180)
    image = paint(expected)
    image[:, disc((400, 400), 200, 420, 235)[0] > 0] //= 60  # a crescent in the dark
    image[:, 60:85, 60:85] = 150  # a notch
    image[:, 5:15, 5:25] = 255  # a caption
    image[:, 190:200, 100:300] = 2  # something dark across the middle
    assert dice(compute_fov(image), expected) > 0.98


def test_a_disc_cut_flat_within_the_picture_stays_cut() -> None:
    expected = disc((400, 400), 200, 200, 180)
    expected[:, :70] = expected[:, 330:] = 0
    assert dice(compute_fov(paint(expected)), expected) > 0.99


def test_what_is_not_round_is_filled_to_its_convex_hull_and_a_full_frame_is_all_inside() -> None:
    square = np.zeros((1, 200, 300), dtype=np.uint8)
    square[:, 30:170, 40:260] = 1
    assert dice(compute_fov(paint(square)), square) > 0.98
    assert compute_fov(paint(np.ones((1, 100, 120), dtype=np.uint8))).all()


@pytest.mark.parametrize("level", [255, 230, 128])
@pytest.mark.parametrize("place", ["margins", "cut by the frame", "caption", "black frame"])
def test_a_photograph_on_a_page_has_the_disc_as_its_field_of_view(level: int, place: str) -> None:
    fov = disc((400, 520), 200, 250, 190 if place != "cut by the frame" else 230)
    image = paint(fov)
    page = ~(disc((400, 520), 200, 250, 196 if place != "cut by the frame" else 236)[0] > 0)
    if place == "black frame":
        page[:] = True
        page[6:394, 50:450] = False
    image[:, page] = level
    if place == "caption":
        image[:, 385:395, 5:60:2] = 0
    noisy = np.clip(image + RNG.normal(0, 2, (1, *image.shape[1:])), 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(np.moveaxis(image, 0, 2)).save(file, "JPEG", quality=60)
    for picture in (image, noisy, np.moveaxis(np.asarray(Image.open(file)), 2, 0)):
        found = compute_fov(picture)
        assert dice(found, fov) > 0.97
        blackened = black_outside(picture, found)
        assert not (blackened * (1 - found)).any()
        np.testing.assert_array_equal(blackened * found, picture * found)


def test_grey_photographs_that_fill_the_frame_are_no_page() -> None:
    rows, columns = np.mgrid[:200, :240]
    vignette = 180 - np.hypot(rows - 100, columns - 120) / 2
    even = np.full((200, 240), 140.0)
    for picture in (vignette, even + RNG.normal(0, 8, even.shape), even):
        image = np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[None], 3, 0)
        assert compute_fov(image).all()
        np.testing.assert_array_equal(black_outside(image, disc((200, 240), 100, 120, 60)), image)
    dark = paint(disc((200, 240), 100, 120, 90))
    assert black_outside(dark, compute_fov(dark)) is dark


def test_a_black_picture_has_no_field_of_view() -> None:
    with pytest.raises(RetinaError, match="is black"):
        compute_fov(np.zeros((3, 64, 64), dtype=np.uint8))


def test_the_same_picture_has_the_same_field_of_view() -> None:
    image = paint(disc((200, 220), 100, 110, 90))
    np.testing.assert_array_equal(compute_fov(image), compute_fov(image.copy()))


def test_box() -> None:
    fov = np.zeros((1, 10, 12), dtype=np.uint8)
    fov[0, 2:7, 3:11] = 1
    assert fov_box(fov) == (2, 3, 7, 11)
    with pytest.raises(RetinaError, match="is empty"):
        fov_box(fov * 0)


@pytest.mark.parametrize("box", [(0, 0, 6, 10), (1, 2, 6, 5), (0, 3, 6, 9), (5, 9, 6, 10)])
def test_a_square_crop_keeps_the_box_and_pads_evenly(box: tuple[int, int, int, int]) -> None:
    array = RNG.integers(1, 256, (3, 6, 10), dtype=np.uint8)
    top, left, bottom, right = box
    square = crop_square(array, box)
    side = max(bottom - top, right - left)
    assert square.shape == (3, side, side)
    assert square.dtype == np.uint8
    inside = fov_box(square[:1])
    np.testing.assert_array_equal(crop_square(square, inside), square)
    np.testing.assert_array_equal(
        square[:, inside[0] : inside[2], inside[1] : inside[3]], array[:, top:bottom, left:right]
    )
    assert 0 <= (side - inside[2]) - inside[0] <= 1
    assert 0 <= (side - inside[3]) - inside[1] <= 1


def test_a_square_crop_of_a_cut_disc_is_not_squashed() -> None:
    fov = disc((100, 200), 49.5, 99.5, 80)
    square = crop_square(fov, fov_box(fov))
    assert square.shape == (1, 160, 160)
    np.testing.assert_array_equal(square, square[:, ::-1])
    np.testing.assert_array_equal(square, square[:, :, ::-1])


@pytest.mark.parametrize("size", [1, 2, 7, 64, 255])
def test_circle_touches_all_sides_and_is_symmetric(size: int) -> None:
    fov = circle(size)
    assert fov.dtype == np.uint8
    assert fov_box(fov) == (0, 0, size, size)
    np.testing.assert_array_equal(fov, fov.transpose(0, 2, 1))
    np.testing.assert_array_equal(fov, fov[:, ::-1])
    assert size < 64 or abs(fov.mean() - np.pi / 4) < 0.01


@pytest.mark.parametrize(
    ("shape", "size"), [((37, 37), 10), ((64, 64), 16), ((50, 31), 12), ((9, 9), 9), ((100, 99), 98)]
)
def test_reduction_is_the_mean_over_areas(shape: tuple[int, int], size: int) -> None:
    array = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    expected = resize_local_mean(array.astype(np.float64), (size, size), channel_axis=0, preserve_range=True)
    resized = resize_area(array, size)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, expected, atol=1e-3)
    np.testing.assert_allclose(resized.mean(), array.mean(), rtol=1e-5)


def test_a_mask_becomes_coverage() -> None:
    mask = np.zeros((1, 6, 6), dtype=np.uint8)
    mask[0, :, :2] = 1
    np.testing.assert_allclose(resize_area(mask, 4), np.tile([1, 1 / 3, 0, 0], (1, 4, 1)), atol=1e-6)


def test_enlargement_is_linear() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (1, 8, 1))
    resized = resize_area(ramp, 24)
    np.testing.assert_allclose(resized[0, 5], np.clip((np.arange(24) + 0.5) / 3 - 0.5, 0, 7), atol=1e-5)
    np.testing.assert_array_equal(resize_area(np.full((1, 5, 5), 7, dtype=np.uint8), 13), 7)


def test_fields_of_view_of_chase_db1_are_those_that_others_drew(real_set: Callable[[str], Path]) -> None:
    drawn = sorted(real_set("CHASE_DB1_fov").glob("*.gif"))
    photographs = [real_set("CHASE_DB1") / f"{path.stem}.jpg" for path in drawn]
    agreement = [
        dice(compute_fov(read_photograph(photograph)), read_mask(path))
        for photograph, path in zip(photographs, drawn, strict=True)
    ]
    assert len(agreement) == 28
    assert min(agreement) >= 0.99


@pytest.mark.parametrize(
    ("name", "pattern", "radius", "tolerance"),
    [("HRF", "images/*.jpg", 1630, 6), ("FIVES", "train/Original/*.png", 1003, 6)],
)
def test_fields_of_view_of_one_camera_agree(
    real_set: Callable[[str], Path], name: str, pattern: str, radius: float, tolerance: float
) -> None:
    """A camera's aperture has one size, so the widest row of each field of view has one length."""
    for path in sorted(real_set(name).glob(pattern))[:8]:
        fov = compute_fov(read_photograph(path))
        assert abs(fov[0].sum(axis=1).max() / 2 - radius) < tolerance, path
        assert ndimage.label(fov[0])[1] == 1
