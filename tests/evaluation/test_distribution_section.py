"""Sets compared as a whole: a fresh one, spoilt ones, copies, repeats, few photographs; what stands beside a KID."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from eyes import SIZE, blurred, noisy, real_set, synthetic_set
from PIL import Image

from retina_monai.evaluation.families.distribution import overview
from retina_monai.evaluation.families.distribution import set_comparison as distribution
from retina_monai.evaluation.families.distribution.overview import look_over
from retina_monai.evaluation.families.distribution.set_comparison import GREEN, distribution_section, unrelated
from retina_monai.evaluation.measuring.eye import Extractor, Eye, as_image, as_mask
from retina_monai.evaluation.report.kept import as_plain
from retina_monai.evaluation.report.section import Section
from retina_monai.metrics import extract_features, polynomial_mmd, radial_power_spectrum, sample_fid


def plain(images: torch.Tensor) -> torch.Tensor:
    """Colours and detail; near 1 each, as the kernel expects."""
    detail = radial_power_spectrum(images, bins=8).clamp_min(1e-9).log10() / 4
    return torch.cat([images.mean((2, 3)), images.std((2, 3)), detail], 1)


def colours(images: torch.Tensor) -> torch.Tensor:
    return images.mean((2, 3))


EXTRACTORS: dict[str, Extractor] = {"plain 1.0": plain, "colours": colours}


def section(synthetic: list[Eye], real: list[Eye], folder: Path, **changes: object) -> Section:
    how = {"extractors": EXTRACTORS, "size": SIZE, "seed": 0, "output_dir": folder} | changes
    return distribution_section(synthetic, real, **how)


@pytest.fixture(scope="module")
def real() -> list[Eye]:
    return real_set(24)


@pytest.fixture(scope="module")
def fresh() -> list[Eye]:
    return synthetic_set(real_set(24, 24))


@pytest.fixture(scope="module")
def good(real: list[Eye], fresh: list[Eye], tmp_path_factory: pytest.TempPathFactory) -> Section:
    return section(fresh, real, tmp_path_factory.mktemp("good"))


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures but those of ``good``, which take longer than all else."""
    request.getfixturevalue("good")
    monkeypatch.setattr(distribution, "_pictures", lambda *arguments: [])
    monkeypatch.setattr(distribution, "SPLITS", 40)


def first(result: Section) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = result.figures["extractors"]["plain 1.0"]
    return figures


def test_a_fresh_set_is_within_the_floor(good: Section) -> None:
    figures = first(good)
    assert good.key == "distribution" and good.light == "green"
    assert figures["kid"]["ratio"] < GREEN
    assert figures["kid"]["ratio"] == pytest.approx(figures["kid"]["value"] / figures["floor"]["kid"])
    assert figures["manifold_at_the_floors_N"]["coverage"] > 0.8
    assert "photographs per side can show, the set looks like the real one" in good.answer


def test_beside_every_figure_stands_what_it_was_measured_by(good: Section) -> None:
    figures = first(good)
    assert (figures["resolution"], figures["dimension"]) == (SIZE, 14)
    assert figures["kid"]["N"] == figures["floor"]["N"] == 12
    assert (figures["kid"]["of"], figures["kid"]["real_of"]) == (24, 24)
    assert figures["floor"]["by_patient"] is True
    kids, fids, *_ = good.tables
    assert kids.rows[0][0] == "plain 1.0" and kids.rows[1][0] == "colours"
    assert dict(zip(kids.columns, kids.rows[0], strict=True))["KID"] == figures["kid"]["value"]
    assert list(kids.rows[0][-3:]) == [12, SIZE, 14]
    assert [row[-1] for row in fids.rows[:3]] == ["24 to 24", "12 to 12", "12 to 12"]
    assert all(len(row) == len(table.columns) for table in good.tables for row in table.rows)
    assert "plain 1.0, N = 12 against 12 at 64 px" in good.answer
    assert any("With 12 per side the floor is high" in note for note in good.notes)
    json.dumps(as_plain(good.figures), allow_nan=False)


def test_kid_and_fid_are_those_of_unrelated_eyes(real: list[Eye], fresh: list[Eye], good: Section) -> None:
    true, made = (np.concatenate([extract_features(plain, as_image(eye)) for eye in eyes]) for eyes in (real, fresh))
    patients, others = ([eye.patient for eye in eyes] for eyes in (real, fresh))
    pairs, beside, _ = unrelated(patients, others, np.random.default_rng(0))
    figures = first(good)
    expected = [polynomial_mmd(true[one], made[other]) for one, other in beside]
    assert figures["kid"]["value"] == pytest.approx(np.mean(expected), rel=1e-5)
    floor = [abs(polynomial_mmd(true[one], true[other])) for one, other in pairs]
    assert figures["floor"]["kid"] == pytest.approx(np.mean(floor), rel=1e-5)
    assert figures["fid"]["value"] == pytest.approx(sample_fid(true, made), rel=1e-4)


def test_the_pictures_are_there_and_readable(good: Section) -> None:
    assert [picture.path.name for picture in good.pictures] == [
        "kid.png",
        "projection.png",
        "manifold.png",
        "spectrum.png",
        "colours.png",
    ]
    for picture in good.pictures:
        pixels = np.asarray(Image.open(picture.path).convert("RGB"))
        assert pixels.shape[1] >= 700 and pixels.std() > 10
        assert picture.caption


def test_it_repeats_with_its_seed(real: list[Eye], fresh: list[Eye], tmp_path: Path) -> None:
    one, same, other = (section(fresh, real, tmp_path, seed=seed) for seed in (0, 0, 1))
    assert one.figures == same.figures
    assert first(other)["kid"]["value"] != first(one)["kid"]["value"]


@pytest.mark.parametrize(
    ("change", "factor"),
    [(blurred, 10), (lambda image: image[[1, 0, 2]], 10), (lambda image: image * 0.6, 5)],
    ids=["blurred", "red and green exchanged", "darker"],
)
def test_a_spoilt_set_is_not(real, fresh, good: Section, tmp_path: Path, change, factor: float) -> None:
    spoilt = section(synthetic_set(fresh, change), real, tmp_path)
    assert spoilt.light in ("amber", "red")
    assert first(spoilt)["kid"]["ratio"] > max(GREEN, factor * first(good)["kid"]["ratio"])
    assert first(spoilt)["fid"]["value"] > first(good)["fid"]["value"]


def test_a_set_of_one_repeated_photograph_says_so(real: list[Eye], fresh: list[Eye], tmp_path: Path) -> None:
    repeats = [replace(fresh[index % 2], name=str(index)) for index in range(24)]
    result = section(repeats, real, tmp_path)
    assert result.light in ("amber", "red")
    assert result.figures["repeated"] == 22
    assert result.light == "red" or "But 22 of 24 photographs are identical to an earlier one" in result.answer
    assert any("22 synthetic photographs are identical to an earlier one" in note for note in result.notes)


def test_copies_of_real_photographs_are_no_synthetic_ones(real: list[Eye], fresh: list[Eye], tmp_path: Path) -> None:
    result = section([*fresh[:-3], *real[:3]], real, tmp_path)
    assert result.light == "red" and result.figures["identical_to_real"] == 3
    assert "has 3 photographs of the real set: identical" in result.answer
    whole = section(real, real, tmp_path)
    assert whole.light == "red" and "The synthetic set is the real set: identical" in whole.answer


def test_few_photographs_are_not_judged(real: list[Eye], fresh: list[Eye], tmp_path: Path) -> None:
    few = section(fresh[:8], real[:12], tmp_path)
    assert few.light == "grey" and "Not judged: this needs 8 photographs per side" in few.answer
    assert any("plain 1.0" in warning and "12 real and 8 generated" in warning for warning in [_fid_note(few)])
    fewer = section(fresh[:3], real, tmp_path)
    assert fewer.light == "grey" and "needs 4 photographs of each set, and there are 3 synthetic and 24" in fewer.answer
    assert section(fresh[:4], real[:4], tmp_path).light == "grey"


def _fid_note(result: Section) -> str:
    return f"{result.tables[1].rows[0][0]}: {result.tables[1].note}"


def test_a_real_set_of_one_patient_is_parted_by_eye(real: list[Eye], fresh: list[Eye], tmp_path: Path) -> None:
    result = section(fresh[:8], [replace(eye, patient="one") for eye in real[:8]], tmp_path)
    assert first(result)["floor"]["by_patient"] is False
    assert any("too few patients" in note for note in result.notes)


def test_features_that_tell_no_eye_from_another_judge_nothing(real, fresh, tmp_path: Path) -> None:
    result = section(fresh, real, tmp_path, extractors={"constant": lambda images: torch.ones(len(images), 2)})
    assert result.light == "grey" and "gives all real photographs the same features" in result.answer
    with pytest.raises(ValueError, match="extractors must not be empty"):
        section(fresh, real, tmp_path, extractors={})


def test_a_set_that_is_made_up_differently_is_said_to_be(real: list[Eye], fresh: list[Eye], tmp_path: Path) -> None:
    mixed = [replace(eye, dataset="HRF" if place % 2 else "FIVES") for place, eye in enumerate(real)]
    result = section([replace(eye, dataset="FIVES") for eye in fresh], mixed, tmp_path)
    assert any("FIVES 100% and 50%, HRF 0% and 50%" in note for note in result.notes)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_of_a_real_half_made_a_synthetic_eye_beside_it(seed: int) -> None:
    real = [f"p{place // 2}" for place in range(20)]
    for synthetic in (real[:9], real[::-1], ["p3"] * 12, ["other"] * 6):
        pairs, beside, by_patient = unrelated(real, synthetic, np.random.default_rng(seed), splits=20)
        assert by_patient and len(pairs) == len(beside) == 20
        for (one, other), (half, strangers) in zip(pairs, beside, strict=True):
            assert len(one) == len(other) == len(half) == len(strangers) == len(set(strangers)) >= 2
            assert not {real[place] for place in one} & {real[place] for place in other}
            assert not {real[place] for place in half} & {synthetic[place] for place in strangers}


def test_an_overview_keeps_numbers_of_all_eyes(real: list[Eye]) -> None:
    kept = look_over(real, EXTRACTORS, 0, "eyes")
    inside = np.concatenate([eye.image[:, eye.fov] for eye in real], axis=1)
    np.testing.assert_allclose(kept.colour_mean(), inside.mean(1))
    np.testing.assert_array_equal(kept.colours.sum(1), [inside.shape[1]] * 3)
    spectra = [radial_power_spectrum(as_image(eye), as_mask(eye.fov))[0].double().numpy() for eye in real]
    np.testing.assert_allclose(kept.spectrum, np.mean(spectra, axis=0), rtol=1e-6)
    assert kept.datasets == Counter(phantoms=24) and kept.count == 24 and kept.repeated == 0
    assert list(kept.patients) == [eye.patient for eye in real]


def test_the_distance_of_colours_is_the_shift_of_their_levels(real: list[Eye]) -> None:
    shifted = [replace(eye, image=(eye.image // 2 + 7).astype(np.uint8)) for eye in real]
    plain_half = [replace(eye, image=(eye.image // 2).astype(np.uint8)) for eye in real]
    one, other = (look_over(eyes, {"colours": colours}, 0, "eyes") for eyes in (plain_half, shifted))
    assert one.colour_distance(other) == pytest.approx([7, 7, 7])
    assert one.colour_distance(one) == [0, 0, 0]


def test_what_is_outside_of_the_field_of_view_does_not_count(real: list[Eye]) -> None:
    painted = [replace(eye, image=np.where(eye.fov, eye.image, 200).astype(np.uint8)) for eye in real[:4]]
    black = [replace(eye, image=(eye.image * eye.fov).astype(np.uint8)) for eye in real[:4]]
    one, other = (look_over(eyes, EXTRACTORS, 0, "eyes") for eyes in (painted, black))
    np.testing.assert_array_equal(one.features["plain 1.0"], other.features["plain 1.0"])
    np.testing.assert_array_equal(one.colours, other.colours)


def test_of_a_large_set_a_sample_of_features_is_kept(real: list[Eye], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "CAPACITY", 10)
    kept, again = (look_over(real, {"plain": plain}, seed, "eyes") for seed in (0, 1))
    assert kept.features["plain"].shape == (10, 14) and len(kept.patients) == 10
    assert kept.statistics["plain"].count == kept.count == 24
    assert list(kept.patients) != list(again.patients)
    black = [as_image(eye) * as_mask(eye.fov) + as_mask(eye.fov) - 1 for eye in real]
    every = np.concatenate([extract_features(plain, image) for image in black])
    assert all(np.isclose(every, row, atol=1e-5).all(1).any() for row in kept.features["plain"])


def test_eyes_made_from_their_own_maps_do_not_lower_the_distance(real: list[Eye], tmp_path: Path) -> None:
    """Copies with a little noise are as near as real eyes of other patients are, and not nearer."""
    figures = first(section(synthetic_set(real, noisy), real, tmp_path))
    assert abs(figures["kid"]["value"]) < figures["floor"]["kid"]
    assert 0.3 < figures["fid"]["at_the_floors_N"] / figures["floor"]["fid"] < 3
