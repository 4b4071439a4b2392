"""Arrays given in Python are checked as files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import retina_monai
from retina_monai.data import generate_phantom
from retina_monai.errors import RetinaError
from retina_monai.synthesis.arrays import as_mask

SIZE = 256
PHANTOM = generate_phantom(3, SIZE)
VESSEL, FOV = PHANTOM["vessel"][0] > 0, PHANTOM["fov"][0] > 0


@pytest.mark.parametrize(
    "given",
    [
        VESSEL,
        VESSEL[None],
        VESSEL[..., None],
        VESSEL.astype(np.uint8),
        VESSEL * np.uint8(255),
        VESSEL.astype(np.float64),
        VESSEL * 255.0,
        torch.from_numpy(VESSEL),
        Image.fromarray(VESSEL),
    ],
)
def test_a_mask_in_any_usual_form(given: Any) -> None:
    mask = as_mask(given, "vessel")
    assert mask.dtype == np.uint8 and np.array_equal(mask, VESSEL[None])


NAN = np.where(np.arange(SIZE) < SIZE // 2, np.nan, VESSEL.astype(np.float32))
WRONG = {
    "a path": ("map.png", r"vessel must be an array, got the path map\.png"),
    "a Path": (Path("map.png"), "vessel must be an array, got the path"),
    "nothing": (None, "vessel must be a non-empty numeric array"),
    "no pixel": (np.zeros((0, 4)), "vessel must be a non-empty numeric array"),
    "NaN": (NAN, "vessel holds values .*NaN"),
    "infinite": (np.where(VESSEL, np.inf, 0), "vessel holds values"),
    "negative": (VESSEL * 2.0 - 1, "vessel holds values from -1"),
    "labels": (VESSEL + 2 * (PHANTOM["disc"][0] > 0).astype(np.uint8), "vessel has"),
    "probabilities": (VESSEL * 0.7, "vessel holds values between 0 and 1"),
    "a photograph": (PHANTOM["image"], "vessel has shape"),
    "a grey photograph": (PHANTOM["image"][1], "vessel is a photograph where a vessel map belongs"),
    "empty": (VESSEL & False, "vessel has no vessel in it"),
    "inverted": (~VESSEL, "vessel marks .* it is inverted"),
    "a field of view": (FOV, "vessel marks"),
    "a disc": (PHANTOM["disc"][0] > 0, "vessel marks"),
}


@pytest.fixture(scope="module")
def paint() -> Any:
    return retina_monai.load("pix2pix_vessel")


@pytest.mark.parametrize(("given", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_no_vessel_map_is_refused(given: Any, sentence: str, paint: Any) -> None:
    with pytest.raises(RetinaError, match=sentence):
        paint(given)


def test_fields_of_view_and_photographs_are_checked_too(paint: Any) -> None:
    with pytest.raises(RetinaError, match="fov is an inverted field of view"):
        paint(VESSEL, ~FOV)
    with pytest.raises(RetinaError, match="fov is an empty field of view"):
        paint(VESSEL, FOV & False)
    find = retina_monai.load("iternet_vessel")
    with pytest.raises(RetinaError, match="photograph must be an array, got the path"):
        find("eye.png")
    with pytest.raises(RetinaError, match="fov is an inverted field of view"):
        find(PHANTOM["image"], ~FOV)


def test_shares_of_the_first_stage_are_checked() -> None:
    color = retina_monai.load("pix2pix_color_vessel")
    with pytest.raises(RetinaError, match="share holds values"):
        color(np.full((512, 512), np.nan, np.float32))
    with pytest.raises(RetinaError, match="share marks"):
        color(255 - 255 * VESSEL.astype(np.float32).repeat(2, axis=0).repeat(2, axis=1))
