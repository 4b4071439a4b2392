"""What is a mask, in any encoding, and what is a label map or a photograph instead."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from retina_monai.data.files.masks import MASKS, PhotographAsMaskError, to_mask
from retina_monai.data.files.reading import read_mask
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.errors import RetinaError
from retina_monai.transforms.field_of_view import resize_area

SIZE = 256
PHANTOM = generate_phantom(1, SIZE)
ARTERY, VEIN, VESSEL, DISC, CUP = (PHANTOM[key][0] > 0 for key in ("artery", "vein", "vessel", "disc", "cup"))
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
WIDE = np.hypot(ROWS - 128, COLUMNS - 90) < 40
NARROW = np.hypot(ROWS - 128, COLUMNS - 90) < 25
THIN = VESSEL & ~(np.roll(VESSEL, 1, 0) & np.roll(VESSEL, 1, 1))  # down to a pixel


def labels(*parts: tuple[NDArray[np.bool_], int], background: int = 0) -> NDArray[np.uint8]:
    picture = np.full((SIZE, SIZE), background, np.uint8)
    for part, value in parts:
        picture[part] = value
    return picture


def jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def colours(*parts: tuple[NDArray[np.bool_], tuple[int, int, int]]) -> NDArray[np.uint8]:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    for part, colour in parts:
        picture[part] = colour
    return picture


LABELS = {
    "vessel 1, ignore 255": labels((VESSEL, 1), (WIDE, 255)),
    "surroundings 255": labels((VESSEL, 1), (np.hypot(ROWS - 128, COLUMNS - 128) > 120, 255)),
    "artery 127, vein 255": labels((ARTERY, 127), (VEIN, 255)),
    "colours as grey": labels((VEIN, 29), (ARTERY, 76), (ARTERY & VEIN, 150)),
    "lines of a pixel": labels((THIN & (COLUMNS < 128), 76), (THIN & (COLUMNS >= 128), 255)),
    "vessel 85, disc 170, cup 255": labels((VESSEL, 85), (WIDE, 170), (NARROW, 255)),
    "disc 127, cup 255": labels((WIDE, 127), (NARROW, 255)),
    "disc 200, cup 255": labels((WIDE, 200), (NARROW, 255)),
    "REFUGE": labels((WIDE, 128), (NARROW, 0), background=255),
    "disc 127, cup 255, JPEG": jpeg(labels((WIDE, 127), (NARROW, 255)), 75),
    "numbers": labels((VEIN, 1), (ARTERY, 2), (WIDE, 3)),
    "dark colours": colours((ARTERY, (200, 0, 0)), (VEIN, (0, 0, 90))),
}


@pytest.mark.parametrize("case", LABELS)
def test_label_maps_are_refused(case: str) -> None:
    picture = LABELS[case]
    for array in (picture, picture / 255.0, picture.astype(np.uint16) * 257):
        with pytest.raises(RetinaError, match=r"^map has .*: a mask has 0 and 1, or 0 and 255, not labels"):
            to_mask(array, "map")


def test_the_values_of_a_label_map_are_named(tmp_path: Path) -> None:
    Image.fromarray(LABELS["vessel 1, ignore 255"]).save(tmp_path / "e0.png")
    with pytest.raises(
        RetinaError, match=r"e0\.png has the values 0, 1 and 255: .* a vessel map that marks only vessels"
    ):
        read_mask(tmp_path / "e0.png", key="vessel")


def soft(picture: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    return np.rint(resize_area(picture[None] * np.float32(255), size))[0].astype(np.uint8)


def rings(width: float) -> NDArray[np.uint8]:
    """Four experts of different opinion."""
    radius = np.hypot(ROWS - 128, COLUMNS - 90)
    agreed = sum((radius < 30 + width * expert).astype(int) for expert in range(4))
    return np.array([0, 64, 128, 191, 255], np.uint8)[agreed]


MASKS_STORED: dict[str, Callable[[NDArray[np.bool_]], NDArray]] = {
    "Boolean": lambda mask: mask,
    "colour": lambda mask: colours((mask & (COLUMNS < 128), (255, 0, 0)), (mask & (COLUMNS >= 128), (0, 0, 255))),
    "dark": lambda mask: mask * np.uint8(76),
    "fractions": lambda mask: mask.astype(np.float32),
    "fractions, not quite": lambda mask: mask * np.float32(1.0000001),
    "almost white": lambda mask: np.where(mask & (COLUMNS % 9 > 0), 255, mask * 254).astype(np.uint8),
    "JPEG 50": lambda mask: jpeg(mask * np.uint8(255), 50),
    "JPEG 90": lambda mask: jpeg(mask * np.uint8(255), 90),
    "JPEG 100": lambda mask: jpeg(mask * np.uint8(255), 100),
}


@pytest.mark.parametrize("case", MASKS_STORED)
def test_masks_of_two_values_keep_every_pixel_but_for_jpeg(case: str) -> None:
    for mask in (VESSEL, WIDE, THIN):
        found = to_mask(MASKS_STORED[case](mask), "map")[0]
        assert found.dtype == np.uint8
        assert np.count_nonzero(found != mask) <= (0.01 * mask.size if "JPEG" in case else 0)


@pytest.mark.parametrize("size", [200, 128, 64])
def test_anti_aliased_and_voted_masks_pass_at_one_half(size: int) -> None:
    for picture in (soft(VESSEL, size), soft(WIDE, size), jpeg(soft(VESSEL, size), 75), rings(1), rings(3)):
        np.testing.assert_array_equal(to_mask(picture, "map")[0], picture >= 128)
        np.testing.assert_array_equal(to_mask(picture / np.float32(255), "map")[0], picture >= 128)
    halves = VESSEL.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    for picture in (halves * 255, np.asarray(Image.fromarray(VESSEL * np.uint8(255)).resize((512, 512), 2))):
        np.testing.assert_array_equal(to_mask(picture.astype(np.uint8), "map")[0], picture.astype(np.uint8) >= 128)


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).convert("L"))


PHOTOGRAPHS: dict[str, Callable[[NDArray[np.uint8]], NDArray]] = {
    "colour": lambda image: image,
    "JPEG": lambda image: jpeg(image, 90),
    "grey": grey,
    "green": lambda image: image[..., 1],
    "fractions": lambda image: grey(image) / np.float32(255),
    "16 bits": lambda image: grey(image).astype(np.uint16) * 257,
    "dim": lambda image: grey(image) // 3,
    "with a black frame": lambda image: np.pad(image, ((40, 40), (90, 90), (0, 0))),
}


@pytest.mark.parametrize("case", PHOTOGRAPHS)
def test_photographs_are_refused_as_masks(case: str) -> None:
    picture = PHOTOGRAPHS[case](PHANTOM["image"].transpose(1, 2, 0))
    with pytest.raises(PhotographAsMaskError, match=r"^eye is a photograph where a vessel map belongs.*iternet_vessel"):
        to_mask(picture, "eye", "vessel")
    with pytest.raises(PhotographAsMaskError, match=r"^eye is a photograph where a disc mask belongs"):
        to_mask(picture, "eye", "disc")


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 1e6])
def test_values_that_no_picture_has_are_refused(value: float) -> None:
    array = VESSEL.astype(np.float32)
    array[:, :128] = value
    with pytest.raises(RetinaError, match=r"^map holds"):
        to_mask(array, "map")


def test_every_kind_of_mask_in_a_datalist_is_described() -> None:
    from retina_monai.data.files.checking import PHOTOGRAPHS as photographs
    from retina_monai.kinds import PICTURES

    assert set(MASKS) == set(PICTURES) - set(photographs)


REAL = {
    "CHASE_DB1": "*HO.png",
    "CHASE_DB1_fov": "*.gif",
    "HRF": "manual1/*.tif",
    "HRF_rest": "m*/*.tif",
    "FIVES": "train/Ground truth/*.png",
    "IDRiD": "vessels_avmapnet/*.png",
    "OCTA-500": "*/GT_*/*.bmp",
    "ROSSA": "*/label/*.png",
}


@pytest.mark.parametrize("name", REAL)
def test_no_real_mask_is_refused(real_set: Callable[[str], Path], name: str) -> None:
    paths = sorted(real_set(name).glob(REAL[name]))
    assert paths
    for path in paths[:: max(len(paths) // 3, 1)]:
        assert read_mask(path, key="fov" if "fov" in name else "").any()


@pytest.mark.parametrize(
    "pattern", ["CHASE_DB1/*.jpg", "HRF_rest/images/*.jpg", "PALM_small/*/*.jpg", "OCTA-500/*/FULL/*"]
)
def test_real_photographs_are_refused_as_masks(real_data: Path, pattern: str) -> None:
    paths = sorted(real_data.glob(pattern))
    if not paths:
        pytest.skip(f"needs {pattern}, which is not in {real_data}")
    for path in paths[:: max(len(paths) // 3, 1)]:
        with pytest.raises(PhotographAsMaskError):
            read_mask(path)
