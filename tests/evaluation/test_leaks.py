"""A synthetic set that knows the test eyes is refused, whatever its manifest says; others are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.sets.vessel_maps import FineMap, fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.usefulness.leaks import refuse_leaks
from retina_monai.evaluation.measuring.eye import Condition, Eye
from retina_monai.transforms.field_of_view import circle, resize_area
from retina_monai.transforms.vessel_warp import draw_warp

SIZE = 128


def eye_of(number: int, vessel: np.ndarray | None = None) -> Eye:
    if vessel is None:
        sample = generate_phantom(number, 2 * SIZE)
        vessel = fit_vessel_map(sample["vessel"], sample["fov"], SIZE)["vessel_share"][0] / 255
    fov = circle(SIZE)[0].astype(bool)
    image = np.full((3, SIZE, SIZE), 100, np.uint8)
    return Eye(f"eye{number}", f"phantom/{number}", "phantom", image, fov, {"vessel": vessel.astype(np.float32)})


def made_from(vessel: np.ndarray, patient: str = "phantom/90") -> Eye:
    return replace(eye_of(90, vessel), condition=Condition(patient, "eye90"))


@pytest.fixture(scope="module")
def training() -> list[Eye]:
    return [eye_of(number) for number in (0, 1, 2)]


@pytest.fixture(scope="module")
def test() -> list[Eye]:
    return [eye_of(number) for number in (10, 11)]


def smaller(vessel: np.ndarray) -> np.ndarray:
    """In a frame with a margin, as a map is that was given without its field of view."""
    small = np.zeros_like(vessel)
    side = round(0.93 * SIZE)
    small[5 : 5 + side, 8 : 8 + side] = resize_area(vessel[None], side)[0]
    return small


def cropped(vessel: np.ndarray) -> np.ndarray:
    edge = round(0.05 * SIZE)
    return resize_area(vessel[None, edge:-edge, edge:-edge], SIZE)[0]


def test_sets_of_training_eyes_pass(training: list[Eye], test: list[Eye]) -> None:
    told = [made_from(eye.masks["vessel"], eye.patient) for eye in training]
    refuse_leaks(told, training, test)
    sample = generate_phantom(0, 2 * SIZE)
    maps = [FineMap(sample["vessel"], sample["fov"], SIZE).warped(draw_warp(0, index)) for index in range(4)]
    refuse_leaks([made_from(each["vessel_share"][0] / 255, training[0].patient) for each in maps], training, test)


def test_a_condition_of_a_test_patient_is_refused(training: list[Eye], test: list[Eye]) -> None:
    synthetic = [made_from(eye.masks["vessel"], eye.patient) for eye in (*training, test[1])]
    with pytest.raises(RetinaError, match=r"^1 of 4 synthetic eyes were made from masks of test patients \(eye90 \(of"):
        refuse_leaks(synthetic, training, test)


def test_a_set_that_names_no_patients_is_refused(training: list[Eye], test: list[Eye]) -> None:
    named = made_from(training[0].masks["vessel"], training[0].patient)
    with pytest.raises(RetinaError, match=r"^1 of 2 synthetic eyes do not record from whose mask .*\(eye7\)"):
        refuse_leaks([named, eye_of(7)], training, test)
    with pytest.raises(RetinaError, match="write the set from training maps or phantoms: synthesize --split training"):
        refuse_leaks([replace(named, condition=Condition("", "eye90"))], training, test)


@pytest.mark.parametrize("change", [np.copy, np.fliplr, smaller, cropped, np.round], ids=lambda change: change.__name__)
def test_a_test_eyes_map_under_another_name_is_refused(
    change: Callable[[np.ndarray], np.ndarray], training: list[Eye], test: list[Eye]
) -> None:
    secret = made_from(change(test[1].masks["vessel"]), "phantom/90")
    with pytest.raises(RetinaError, match=r"^1 of 2 synthetic eyes have the masks of test .*\(eye90 \(of eye11\)\)"):
        refuse_leaks([made_from(training[0].masks["vessel"]), secret], training, test)


def test_another_mask_must_be_equal(training: list[Eye], test: list[Eye]) -> None:
    """Two discs are alike, so that likeness proves nothing."""
    rows, columns = np.indices((SIZE, SIZE))

    def with_disc(eye: Eye, column: int) -> Eye:
        disc = np.hypot(rows - 90, columns - column) < 14
        return replace(eye, masks={"disc": disc.astype(np.float32)})

    real = [with_disc(eye, 60) for eye in test]
    near, equal, mirrored = (with_disc(made_from(np.zeros(1)), column) for column in (61, 60, SIZE - 1 - 60))
    refuse_leaks([near], training, real, "disc")
    for eye in (equal, mirrored):
        with pytest.raises(RetinaError, match="have the masks of test eyes"):
            refuse_leaks([near, eye], training, real, "disc")


def test_a_patient_in_two_splits_is_refused(training: list[Eye], test: list[Eye]) -> None:
    with pytest.raises(RetinaError, match=r"^phantom/1: patients are both in training and in test: correct the splits"):
        refuse_leaks([], training, [*test, training[1]])
