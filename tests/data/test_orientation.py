"""A vessel map lies on its photograph as it was drawn: each other orientation is noticed, and no true pair is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from retina_monai.data.files.checking import check_eye
from retina_monai.data.files.orientation import ORIENTATIONS, vessel_fit
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.camera import CAMERAS
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.errors import RetinaError

ITEM = {"image": "photo.jpg", "vessel": "map.png"}
MENDED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda array: array,
    "mirrored left to right": np.fliplr,
    "mirrored top to bottom": np.flipud,
    "turned by 180 degrees": lambda array: np.rot90(array, 2),
    "transposed, rows for columns": np.transpose,
    "turned by 90 degrees clockwise": lambda array: np.rot90(array, -1),
    "turned by 90 degrees anticlockwise": np.rot90,
    "transposed along the other diagonal": lambda array: np.rot90(array, 2).T,
}
"""What each advice does to a map."""


@pytest.fixture(scope="module")
def eye() -> dict[str, np.ndarray]:
    return generate_phantom(3, 160, grade=2, camera="hrf")


@pytest.mark.parametrize("advice", ORIENTATIONS)
def test_the_advice_brings_a_map_back(eye: dict[str, np.ndarray], advice: str) -> None:
    stored = next(
        way(eye["vessel"][0])
        for way in MENDED.values()
        if (MENDED[advice](way(eye["vessel"][0])) == eye["vessel"][0]).all()
    )
    fits = vessel_fit(eye["image"], stored[None], eye["fov"])
    assert ORIENTATIONS[int(fits.argmax())] == advice
    assert fits.max() > 0.3 and np.sort(fits)[-2] < 0.12
    if advice == "as it is":
        check_eye(eye["image"], stored[None], ITEM, eye["fov"])
        return
    for fov in (eye["fov"], None):
        with pytest.raises(RetinaError, match=rf"^map\.png fits its photograph photo\.jpg only when it is {advice}: "):
            check_eye(eye["image"], stored[None], ITEM, fov)


def test_a_frame_that_is_not_square_has_four_orientations(eye: dict[str, np.ndarray]) -> None:
    image, vessel = eye["image"][:, 20:130], eye["vessel"][:, 20:130]
    fits = vessel_fit(image, vessel)
    assert fits[0] > 0.3 and not fits[4:].any()
    with pytest.raises(RetinaError, match="mirrored top to bottom"):
        check_eye(image, vessel[:, ::-1], ITEM)
    with pytest.raises(RetinaError, match=r"map\.png is 110 x 160 .* photo\.jpg is 160 x 110: the mask lies on its"):
        check_eye(image, vessel.transpose(0, 2, 1), ITEM)


def test_brightness_is_read_from_the_green_channel_whatever_the_others_show(eye: dict[str, np.ndarray]) -> None:
    check_eye(eye["image"][::-1], eye["vessel"], ITEM, eye["fov"])
    with pytest.raises(RetinaError, match=r"photo\.jpg has vessels that are brighter .* negative"):
        check_eye((255 - eye["image"]) * eye["fov"], eye["vessel"], ITEM, eye["fov"])
    angiogram = np.repeat((255 - eye["image"][1:2]) * eye["fov"], 3, 0)
    check_eye(angiogram, eye["vessel"], ITEM, eye["fov"])
    with pytest.raises(RetinaError, match="turned by 180 degrees"):
        check_eye(angiogram, eye["vessel"][:, ::-1, ::-1], ITEM, eye["fov"])


def test_the_map_of_another_eye_is_warned_of(eye: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture) -> None:
    check_eye(eye["image"], eye["vessel"], ITEM, eye["fov"])
    assert not caplog.messages
    other = generate_phantom(8, 160)["vessel"]
    check_eye(eye["image"], other, ITEM, eye["fov"])
    assert len(caplog.messages) == 1 and "map.png fits its photograph photo.jpg in no orientation" in caplog.text
    check_eye(eye["image"], other, ITEM | {"synthetic": True}, eye["fov"])  # generators fail, and reports say so
    assert len(caplog.messages) == 1


def test_what_shows_no_vessels_is_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    tiny = generate_phantom(3, 32)
    check_eye(tiny["image"], tiny["vessel"][:, ::-1], ITEM, tiny["fov"])
    assert not caplog.messages
    flat = np.full((3, 96, 96), 90, np.uint8)
    assert np.abs(vessel_fit(flat, tiny["vessel"].repeat(3, 1).repeat(3, 2))).max() < 1e-3
    assert not vessel_fit(flat * 0, tiny["vessel"].repeat(3, 1).repeat(3, 2)).any()


@pytest.mark.parametrize("camera", [None, *CAMERAS])
def test_no_phantom_is_taken_for_turned(camera: str | None, caplog: pytest.LogCaptureFixture) -> None:
    for grade, size in ((0, 64), (4, 128)):
        phantom = generate_phantom(40 + grade, size, grade, True, camera)
        check_eye(phantom["image"], phantom["vessel"], ITEM, phantom["fov"])
    assert not caplog.messages


@pytest.mark.parametrize("name", ["CHASE_DB1", "FIVES", "HRF"])
def test_no_real_map_is_taken_for_turned(name: str, real_set: Callable[[str], Path]) -> None:
    items = [item for split in SPLITS for item in find_datalist(real_set(name))[split]]
    for item in items[::20]:
        image = read_photograph(item["image"])
        for key in ("vessel", "vessel_2nd"):
            if key in item:
                fits = vessel_fit(image, read_mask(item[key]))
                assert fits[0] > 0.3 and np.abs(fits[1:]).max() < 0.12
