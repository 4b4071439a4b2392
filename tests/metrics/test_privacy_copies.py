"""Planted copies are found on phantoms, always, and on real eyes, where they are; other eyes are not called copies."""

from __future__ import annotations

import doctest
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.transform import AffineTransform, warp

from retina_monai.data import LoadEyed, find_datalist, generate_phantom
from retina_monai.metrics import alignment
from retina_monai.metrics.alignment import SIDE, Gallery, describe, lay_over
from retina_monai.metrics.image_quality import ssim
from retina_monai.metrics.privacy import copy_threshold

Photograph = tuple[NDArray[np.uint8], NDArray[np.bool_]]
COUNT, SIZE = 9, 192


def moved(photograph: Photograph, degrees: float = 0.0, size: float = 1.0, shift: float = 0.0) -> Photograph:
    """With scikit-image: turned about the middle, cropped to a share of the side, off the middle."""
    image, fov = photograph
    middle = (image.shape[-1] - 1) / 2
    placement = (
        AffineTransform(translation=(-middle, -middle))
        + AffineTransform(scale=size, rotation=np.radians(degrees))
        + AffineTransform(translation=(middle + shift * middle, middle + shift * middle))
    )
    planes = [warp(plane.astype(float), placement, order=3) for plane in (*image, 255 * fov.astype(np.uint8))]
    pixels = np.rint(np.stack(planes)).clip(0, 255)
    return pixels[:3].astype(np.uint8), pixels[3] >= 128


def recompressed(photograph: Photograph, quality: int = 30) -> Photograph:
    file = io.BytesIO()
    Image.fromarray(photograph[0].transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).transpose(2, 0, 1).copy(), photograph[1]


def recoloured(photograph: Photograph) -> Photograph:
    return (photograph[0][[1, 0, 2]] * 0.8 + 20 * photograph[1]).astype(np.uint8), photograph[1]


COPIES: dict[str, Callable[[Photograph], Photograph]] = {
    "exact": lambda p: p,
    "flipped": lambda p: (p[0][:, :, ::-1].copy(), p[1][:, ::-1].copy()),
    "brightened": lambda p: ((p[0] * 1.3).clip(0, 255).astype(np.uint8), p[1]),
    "cropped": lambda p: moved(p, size=0.95, shift=0.02),
    "rotated": lambda p: moved(p, degrees=5),
    "recompressed": recompressed,
    "recoloured": recoloured,
}


def photographs(seeds: range) -> list[Photograph]:
    eyes = [generate_phantom(seed, SIZE, grade=None) for seed in seeds]
    return [(eye["image"], eye["fov"][0].astype(bool)) for eye in eyes]


@pytest.fixture(scope="module")
def trained() -> list[Photograph]:
    return photographs(range(COUNT))


@pytest.fixture(scope="module")
def gallery(trained: list[Photograph]) -> Gallery:
    return Gallery([describe(*photograph) for photograph in trained])


@pytest.fixture(scope="module")
def threshold(gallery: Gallery) -> float:
    return calibrated(gallery, list(range(len(gallery))))


def calibrated(gallery: Gallery, patients: list) -> float:
    owners = np.array(patients)
    real = [gallery.nearest(d, owners == owner)[0].score for d, owner in zip(gallery.descriptors, owners, strict=True)]
    return copy_threshold(real, patients).value


def test_the_examples_of_the_docstrings_run() -> None:
    failed, tried = doctest.testmod(alignment)
    assert not failed and tried


@pytest.mark.parametrize("kind", COPIES)
def test_every_planted_copy_is_found(kind: str, trained: list, gallery: Gallery, threshold: float) -> None:
    found = [gallery.nearest(describe(*COPIES[kind](photograph)), count=2)[0] for photograph in trained[:4]]
    assert [match.index for match in found] == [0, 1, 2, 3]
    assert min(match.score for match in found) > max(threshold, 0.6)


def test_other_eyes_are_no_copies(gallery: Gallery, threshold: float) -> None:
    scores = [gallery.nearest(describe(*eye))[0].score for eye in photographs(range(100, 104))]
    assert max(scores) < threshold < 0.6


def test_an_eye_is_itself_and_left_out_it_is_not(trained: list, gallery: Gallery) -> None:
    [match] = gallery.nearest(gallery.descriptors[2], count=1)
    assert match.index == 2
    assert match.score == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(match.placement, np.eye(3)[:2], atol=1e-3)
    others = gallery.nearest(gallery.descriptors[2], np.arange(COUNT) == 2, count=COUNT)
    assert 2 not in [match.index for match in others] and len(others) == COUNT - 1
    assert gallery.nearest(gallery.descriptors[2], np.ones(COUNT, bool)) == []
    assert Gallery().nearest(gallery.descriptors[2]) == []


def test_the_placement_is_the_turn_and_the_size_that_were_planted(trained: list, gallery: Gallery) -> None:
    [match] = gallery.nearest(describe(*moved(trained[1], 6, 0.93)), count=1)
    angle, size = np.radians(6), 0.93
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / size
    np.testing.assert_allclose(match.placement[:, :2], turn, atol=0.01)
    np.testing.assert_allclose(match.placement[:, 2], 0, atol=0.01)


def test_a_copy_laid_over_is_the_eye_again(trained: list, gallery: Gallery) -> None:
    copy = moved(trained[0], 5)
    descriptor = describe(*copy)
    [match] = gallery.nearest(descriptor, count=1)
    pred, target, seen = gallery.pixels(descriptor, match)
    assert ssim(pred, target, 1.0, seen).item() > 0.9
    laid = lay_over(copy[0], match)[:, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].astype(float)
    eye = trained[0][0][:, SIZE // 4 : -SIZE // 4, SIZE // 4 : -SIZE // 4].astype(float)
    assert np.abs(laid - eye).mean() < 3


def test_what_lies_between_the_vessels_betrays_a_copy_with_other_vessels(trained: list, gallery: Gallery) -> None:
    def parts(image: NDArray[np.uint8]) -> tuple[NDArray, NDArray]:
        closed = np.stack([ndimage.grey_closing(plane, 11) for plane in image]).astype(float)
        return closed, image / closed.clip(1)

    background, vessels = parts(trained[0][0])[0], parts(trained[1][0])[1]
    fov = trained[0][1] & trained[1][1]
    repainted = (background * vessels * fov).clip(0, 255).astype(np.uint8)
    first, second = sorted(gallery.nearest(describe(repainted, fov), count=COUNT), key=lambda m: -m.between)[:2]
    assert first.index == 0
    assert first.between > first.whole
    assert first.between > second.between + 0.2


def test_the_size_of_the_photographs_hardly_matters(gallery: Gallery) -> None:
    small = generate_phantom(3, 96, grade=None)
    [match] = gallery.nearest(describe(small["image"], small["fov"][0].astype(bool)), count=1)
    assert match.index == 3
    assert match.score > 0.6


def test_descriptors_are_small_and_of_one_size(gallery: Gallery) -> None:
    kept = gallery.descriptors[0]
    parts = (kept.whole, kept.between, kept.inside, kept.grey)
    assert all(part.shape == (SIDE, SIDE) for part in parts)
    assert sum(part.nbytes for part in parts) == 4 * SIDE**2


@pytest.mark.parametrize(
    ("image", "fov", "message"),
    [
        (np.zeros((3, 8, 9), np.uint8), np.ones((8, 9), bool), r"image must be \(3, S, S\)"),
        (np.zeros((3, 8, 8), np.uint8), np.ones((9, 9), bool), r"got \(3, 8, 8\) and \(9, 9\)"),
        (np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8), bool), "fov is empty"),
    ],
)
def test_what_is_no_eye_is_refused(image: NDArray, fov: NDArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        describe(image, fov)


def test_a_black_photograph_resembles_nothing(gallery: Gallery) -> None:
    black = describe(np.zeros((3, 64, 64), np.uint8), np.ones((64, 64), bool))
    assert gallery.nearest(black)[0].score == pytest.approx(0, abs=0.05)


@pytest.fixture(scope="module")
def real(real_set: Callable[[str], Path]) -> list[tuple[str, Photograph]]:
    """Both eyes of seven children."""
    items = [item for part in find_datalist(real_set("CHASE_DB1")).values() for item in part]
    eyes = [LoadEyed(SIDE)(item) for item in sorted(items, key=lambda item: item["name"])[:14]]
    return [(eye["patient"], (eye["image"].numpy(), eye["fov"][0].numpy() >= 128)) for eye in eyes]


@pytest.fixture(scope="module")
def real_gallery(real: list[tuple[str, Photograph]]) -> Gallery:
    return Gallery([describe(*photograph) for _, photograph in real])


@pytest.mark.slow
def test_copies_of_real_eyes_are_found_and_fellow_eyes_are_none(real: list, real_gallery: Gallery) -> None:
    patients = [patient for patient, _ in real]
    threshold = calibrated(real_gallery, patients)
    for place, (patient, photograph) in enumerate(real[:6:2]):
        for alter in COPIES.values():
            match = real_gallery.nearest(describe(*alter(photograph)), count=1)[0]
            assert (match.index, match.score > threshold + 0.1) == (2 * place, True)
        fellow = np.array(patients) == patient
        fellow[2 * place] = False
        [match] = real_gallery.nearest(describe(*photograph), ~fellow)
        assert match.score < threshold
