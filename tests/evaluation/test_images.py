"""Pairs of photographs of one vessel map: which they are, their figures, and the light over another real eye."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eyes import SIZE, noisy, phantom, real_set, synthetic_set
from PIL import Image

from retina_monai.evaluation.families.image.images import AS_IS, MATCHED, OTHER, _correlation, find_pairs, image_section
from retina_monai.evaluation.measuring.eye import Condition, Eye, as_image, as_mask
from retina_monai.evaluation.report.kept import as_plain
from retina_monai.metrics import ms_ssim, psnr, radial_power_spectrum, spectrum_ratio, ssim
from retina_monai.metrics.image_quality import MS_WEIGHTS
from retina_monai.transforms import apply_appearance, measure_appearance


@pytest.fixture(scope="module")
def real() -> list[Eye]:
    return real_set(12)


def test_pairs_are_eyes_painted_around_a_real_map_as_it_is(real: list[Eye]) -> None:
    synthetic = synthetic_set(real[:3])
    synthetic[1] = replace(synthetic[1], condition=Condition(real[1].patient, real[1].name, augmented=True))
    synthetic += [
        replace(synthetic[0], condition=None),
        replace(synthetic[0], condition=Condition("phantom/0", real[0].name)),
        replace(synthetic[0], condition=Condition(real[0].patient, "unknown")),
    ]
    assert [(pair.synthetic, pair.real, pair.other) for pair in find_pairs(synthetic, real)] == [(0, 0, 2), (2, 2, 4)]


def test_the_other_eye_is_of_the_same_data_set_and_of_another_patient() -> None:
    real = [replace(phantom(seed), dataset="A" if seed < 5 else "B") for seed in range(8)]
    found = {pair.real: pair.other for pair in find_pairs(synthetic_set(real), real)}
    assert found == {0: 2, 1: 2, 2: 4, 3: 4, 4: 0, 5: 6, 6: 5, 7: 5}
    assert find_pairs(synthetic_set(real[:2]), real[:2])[0].other is None


def test_without_pairs_nothing_is_judged(real: list[Eye], tmp_path: Path) -> None:
    result = image_section(synthetic_set(real, noisy, augmented=True), real, output_dir=tmp_path)
    assert result.key == "image" and result.light == "grey" and result.figures == {"pairs": 0}
    assert "no synthetic photograph was made from an unaltered vessel map" in result.answer


@pytest.fixture(scope="module")
def near(real: list[Eye], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Eye], object]:
    """Noisy, and of other colours."""
    synthetic = synthetic_set(real, lambda image: noisy(image) * np.array([0.8, 0.9, 1.0])[:, None, None])
    return synthetic, image_section(synthetic, real, output_dir=tmp_path_factory.mktemp("near"))


def test_near_photographs_are_green_and_their_figures_those_of_the_metrics(real: list[Eye], near) -> None:
    synthetic, result = near
    assert result.light == "green" and "with their own eye exceeds that of another real eye" in result.answer
    figures = result.figures["by_dataset"]["phantoms"]
    pred, target = (torch.cat([as_image(eye) for eye in eyes]) for eyes in (synthetic, real))
    fov = torch.cat([as_mask(eye.fov) for eye in real])
    assert figures[AS_IS]["psnr"]["mean"] == pytest.approx(psnr(pred, target, 2.0, fov).mean().item(), rel=1e-5)
    assert figures[AS_IS]["ssim"]["mean"] == pytest.approx(ssim(pred, target, 2.0, fov).mean().item(), rel=1e-5)
    scaled = ms_ssim(pred, target, 2.0, fov, MS_WEIGHTS[:3])
    assert figures[AS_IS]["ms_ssim"]["mean"] == pytest.approx(scaled.mean().item(), rel=1e-5)
    assert any("MS-SSIM uses 3 of its 5 scales at 64 px" in note for note in result.notes)
    assert figures[AS_IS]["psnr"]["N"] == 12 and figures[AS_IS]["psnr"]["groups"] == 6


def test_matching_the_colours_takes_their_share_out(near) -> None:
    figures = near[1].figures["by_dataset"]["phantoms"]
    assert figures[MATCHED]["psnr"]["mean"] > figures[AS_IS]["psnr"]["mean"] + 5
    assert figures[MATCHED]["ssim"]["mean"] > figures[OTHER]["ssim"]["mean"] + 0.1


def test_the_spectrum_is_that_of_the_mean_power_over_the_real_one(real: list[Eye], near) -> None:
    synthetic, result = near
    fovs = [as_mask(eye.fov) for eye in real]
    made, true = ([as_image(eye) for eye in eyes] for eyes in (synthetic, real))
    given = [
        apply_appearance(image, fov, measure_appearance(target[0], fov[0]))
        for image, target, fov in zip(made, true, fovs, strict=True)
    ]
    powers = [radial_power_spectrum(torch.cat(images), torch.cat(fovs)) for images in (made, true, given)]
    ratio, matched = spectrum_ratio(*powers[:2]).numpy(), spectrum_ratio(powers[2], powers[1]).numpy()
    figures = result.figures["spectrum"]["phantoms"]
    assert list(figures) == [AS_IS, MATCHED, OTHER]
    assert figures[AS_IS]["lowest"] == pytest.approx(ratio.min(), rel=1e-4)
    assert figures[AS_IS]["highest"] == pytest.approx(ratio.max(), rel=1e-4)
    assert figures[AS_IS]["within"] == pytest.approx(((ratio >= 0.75) & (ratio <= 1.25)).mean())
    assert figures[MATCHED]["highest"] == pytest.approx(matched.max(), rel=1e-4)
    assert figures[OTHER] != figures[MATCHED] != figures[AS_IS]
    assert result.tables[0].rows[1][-1] == f"{figures[MATCHED]['within']:.0%}"


def test_the_section_is_complete(near) -> None:
    _, result = near
    (table,) = result.tables
    assert [row[1] for row in table.rows] == [AS_IS, MATCHED, OTHER]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [picture.path.name for picture in result.pictures] == ["similarity.png", "spectrum.png", "pairs.png"]
    assert all(np.asarray(Image.open(picture.path).convert("L")).std() > 5 for picture in result.pictures)
    assert Image.open(result.pictures[-1].path).size[0] > 3 * SIZE
    json.dumps(as_plain(result.figures), allow_nan=False)


def test_photographs_of_other_eyes_are_not_green(real: list[Eye], tmp_path: Path) -> None:
    """Painted around the map of one eye, they show another one."""
    swapped = [
        replace(eye, image=(real[(place + 4) % 12].image * eye.fov).astype(np.uint8))
        for place, eye in enumerate(synthetic_set(real, noisy))
    ]
    result = image_section(swapped, real, output_dir=tmp_path)
    assert result.light in ("amber", "red")
    assert abs(result.figures["gain_of_correlation"]["mean"]) < 0.1


def test_photographs_that_are_the_real_ones_are_said_to_be(real: list[Eye], tmp_path: Path) -> None:
    copies = synthetic_set(real)
    result = image_section(copies, real, output_dir=tmp_path)
    assert result.light == "red" and "All 12 pairs are identical photographs" in result.answer
    some = image_section([*copies[:2], *synthetic_set(real, noisy)[2:]], real, output_dir=tmp_path)
    assert some.light == "red" and "2 more are real photographs, identical in every pixel" in some.answer
    assert some.figures["identical_to_real"] == 2
    assert some.figures["by_dataset"]["phantoms"][AS_IS]["mse"]["N"] == 10


def test_a_pair_of_one_patient_gets_figures_and_no_light(real: list[Eye], tmp_path: Path) -> None:
    result = image_section(synthetic_set(real[:2], noisy), real[:2], output_dir=tmp_path)
    assert result.light == "grey" and "this needs pairs of 4 patients" in result.answer
    assert list(result.figures["by_dataset"]["phantoms"]) == [AS_IS, MATCHED]
    assert any("no other real eye" in note for note in result.notes)


def test_black_and_flat_photographs_have_figures_too(real: list[Eye], tmp_path: Path) -> None:
    result = image_section(synthetic_set(real, lambda image: 0 * image), real, output_dir=tmp_path)
    figures = result.figures["by_dataset"]["phantoms"][AS_IS]
    assert figures["cosine_similarity"]["mean"] == 0
    assert all(np.isfinite(figures[name]["mean"]) for name in figures)
    assert figures["correlation"]["mean"] == 0
    assert result.light in ("amber", "red")


def test_the_correlation_is_of_detail_alone(real: list[Eye]) -> None:
    image, fov = as_image(real[0]), as_mask(real[0].fov)
    shaded = 0.3 * image + torch.linspace(-0.3, 0.3, SIZE)[:, None]
    assert _correlation(image, image, fov) == pytest.approx(1)
    assert _correlation(-image, image, fov) == pytest.approx(-1)
    assert _correlation(shaded, image, fov) > 0.95
    assert abs(_correlation(as_image(real[4]), image, fov)) < 0.5
    outside = torch.where(fov > 0, image, torch.rand_like(image))
    assert _correlation(outside, image, fov) == pytest.approx(1, abs=1e-6)
