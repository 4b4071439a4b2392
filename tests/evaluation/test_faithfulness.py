"""Faithfulness on phantoms' vessels with a judge and painters whose answer is known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.faithfulness import faithfulness
from retina_monai.evaluation.families.faithfulness.faithfulness import faithfulness_section
from retina_monai.evaluation.families.faithfulness.faithfulness_plots import colour_errors
from retina_monai.evaluation.measuring.eye import Condition, Eye, as_image, as_mask
from retina_monai.evaluation.report.section import Section
from retina_monai.metrics import betti_0_error, cldice, dice, roc_auc

SIZE = 96
GREY, DARK, BRIGHT = 150, 90, 80
PATIENTS = 8  # of each of two sets


def picture(vessel: np.ndarray, disc: np.ndarray | float = 0.0) -> np.ndarray:
    """A photograph of exactly these vessels, in green, and of this disc, in red."""
    green = GREY - DARK * vessel
    return np.rint(np.stack([GREY + BRIGHT * disc + 0 * vessel, green, green])).astype(np.uint8)


def judge(image: Tensor, fov: Tensor) -> Tensor:
    """How dark green is; above a half exactly where a map of shares is."""
    return ((GREY - 127.5 * (image[:, 1:2] + 1)) / DARK).clamp(0, 1) * fov


def disc_judge(image: Tensor, fov: Tensor) -> Tensor:
    return ((127.5 * (image[:, :1] + 1) - GREY) / BRIGHT).clamp(0, 1)


def with_macula(eye: Eye) -> np.ndarray:
    """Its photograph with a dark macula beside the disc, on the side of the longer way to the edge."""
    rows, columns = np.indices((SIZE, SIZE))
    disc = eye.masks["disc"] >= 0.5
    centre, width = np.argwhere(disc).mean(axis=0), 2 * np.sqrt(disc.sum() / np.pi)
    row, column = centre + width * np.array([0.35, -2.6 if centre[1] > SIZE / 2 else 2.6])
    shade = 1 - 0.5 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (0.7 * width) ** 2)
    image = eye.image * np.array([np.ones_like(shade), shade, shade])
    return np.rint(image).astype(np.uint8)


def paint(vessel: np.ndarray, fov: np.ndarray, like: Eye) -> np.ndarray:
    return picture(vessel)


def deaf(vessel: np.ndarray, fov: np.ndarray, like: Eye) -> np.ndarray:
    """Paints what the set shows, whatever the map."""
    return like.image


class Reading(Sequence[Eye]):
    """Eyes that count how often they are read."""

    def __init__(self, eyes: list[Eye]) -> None:
        self.eyes, self.read = eyes, [0] * len(eyes)

    def __len__(self) -> int:
        return len(self.eyes)

    def __getitem__(self, index: Any) -> Any:
        self.read[index] += 1
        return self.eyes[index]


def phantom_eye(seed: int, split: str = "") -> Eye:
    phantom = generate_phantom(seed, 2 * SIZE)
    shares = {
        key: phantom[key][0].reshape(SIZE, 2, SIZE, 2).mean((1, 3)).astype(np.float32)
        for key in ("vessel", "disc", "fov")
    }
    masks = {key: shares[key] * (shares["fov"] >= 0.5) for key in ("vessel", "disc")}
    image = picture(masks["vessel"], masks["disc"])
    dataset = ("A", "B")[seed % 2]
    return Eye(f"{seed}", f"{dataset}/{seed // 2}", dataset, image, shares["fov"] >= 0.5, masks, split)


@pytest.fixture(scope="session")
def real() -> list[Eye]:
    """Eyes of eight patients in each of two sets, half test; on the right, photographs show vessels a pixel lower."""
    right = np.arange(SIZE) >= SIZE // 2
    eyes = [phantom_eye(seed, "training" if seed < PATIENTS else "test") for seed in range(2 * PATIENTS)]
    return [
        dataclasses.replace(
            eye,
            image=picture(
                np.where(right, np.roll(eye.masks["vessel"], 1, axis=0), eye.masks["vessel"]), eye.masks["disc"]
            ),
        )
        for eye in eyes
    ]


@pytest.fixture(scope="session")
def faithful(real: list[Eye]) -> list[Eye]:
    """Generated from the test eyes' maps, exactly."""
    return [
        dataclasses.replace(
            eye,
            image=picture(eye.masks["vessel"]),
            masks={"vessel": eye.masks["vessel"]},
            vessel_share=eye.masks["vessel"],
            split="",
            condition=Condition(eye.patient, eye.name),
        )
        for eye in real
        if eye.split == "test"
    ]


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Section]:
    """The section, in its form; pictures are drawn where a test asks for them."""

    def run(synthetic: Sequence[Eye], real: Sequence[Eye], pictures: bool = False, **options: Any) -> Section:
        if not pictures:
            monkeypatch.setattr(faithfulness, "_pictures", lambda *_: [])
        given = {"judge": judge, "judge_name": "darkness 1", "paint": None, "seed": 0, "output_dir": tmp_path}
        section = faithfulness_section(synthetic, real, **(given | options))
        json.dumps(section.figures, allow_nan=False)
        for table in section.tables:
            assert all(len(row) == len(table.columns) for row in table.rows) and table.rows
            assert not any(isinstance(cell, float) and np.isnan(cell) for row in table.rows for cell in row)
        for shown in section.pictures:
            with Image.open(shown.path) as file:
                assert file.format == "PNG" and min(file.size) > 100
        return section

    return run


def test_faithful_photographs_are_green(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye], tmp_path: Path
) -> None:
    made, true = Reading(faithful), Reading(real)
    section = measure(made, true, paint=paint, pictures=True)
    assert (section.key, section.light) == ("faithfulness", "green")
    assert set(made.read) == set(true.read) == {1}
    assert section.notes[0] == "Judge: darkness 1." and all("more contrast" in note for note in section.notes[1:])
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted(shown.path.name for shown in section.pictures)
    assert [len(table.rows) for table in section.tables[:1]] == [10] and len(section.pictures) == 4
    assert section.answer.startswith(
        "The judge's segmentation of the vessels in generated photographs reaches Dice 1.00 (real: 0."
    )
    assert "Of these, 100% disappeared without other changes." in section.answer
    lines = section.figures["branches"]
    assert lines["all"]["passed"] == lines["all"]["shown"] == 1 and lines["all"]["branches"] > 10
    assert 0.2 < lines["all"]["shown_in_real"] < 0.8 and lines["all"]["spread"] == 0
    assert section.figures["repainted"] == 0


def test_scores_are_those_of_the_metrics(measure: Callable[..., Section], real: list[Eye]) -> None:
    made = [dataclasses.replace(eye, split="", image=eye.image[:, ::-1].copy()) for eye in real[:6]]
    section = measure(made, real)
    scores = section.figures["agreement"]["vessel"]["A"]
    for name, function in {"dice": dice, "cldice": cldice, "roc_auc": roc_auc, "betti_0_error": betti_0_error}.items():
        for side, eyes in (("generated", made), ("real", [eye for eye in real if eye.split == "test"])):
            values = []
            for eye in (eye for eye in eyes if eye.dataset == "A"):
                found, inside = judge(as_image(eye), as_mask(eye.fov)), as_mask(eye.fov)
                pred = found if name == "roc_auc" else found >= 0.5
                values.append(float(function(pred, as_mask(eye.masks["vessel"] >= 0.5), inside)))
            assert scores[name][side]["mean"] == pytest.approx(np.mean(values), abs=1e-6)
            assert scores[name][side]["N"] == len(values)
        assert scores[name]["difference"]["mean"] == pytest.approx(
            scores[name]["generated"]["mean"] - scores[name]["real"]["mean"]
        )


def test_photographs_of_other_vessels_are_red(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    images = [eye.image for eye in faithful[2:] + faithful[:2]]
    wrong = [dataclasses.replace(eye, image=image) for eye, image in zip(faithful, images, strict=True)]
    section = measure(wrong, real)
    assert section.light == "red"
    assert section.figures["agreement"]["vessel"]["B"]["dice"]["difference"]["mean"] < -0.2


def test_a_little_below_the_ceiling_is_amber(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    rng = np.random.default_rng(1)
    clean = [dataclasses.replace(eye, image=picture(eye.masks["vessel"])) for eye in real]
    images = [picture(eye.masks["vessel"] * (rng.random((SIZE, SIZE)) > 0.04)) for eye in faithful]
    near = [dataclasses.replace(eye, image=image) for eye, image in zip(faithful, images, strict=True)]
    section = measure(near, clean)
    assert section.light == "amber"
    difference = section.figures["agreement"]["vessel"]["A"]["dice"]["difference"]
    assert -0.05 < difference["mean"] < difference["high"] < 0


def test_a_generator_that_is_deaf_to_the_map_is_amber(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    section = measure(faithful, real, paint=deaf)
    assert section.light == "amber"
    assert section.answer.endswith("Of these, 0% disappeared without other changes.")
    assert section.figures["branches"]["all"]["ghost"] == 1


def test_another_generator_than_the_set_s_is_named(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    dark = [dataclasses.replace(eye, image=eye.image - np.uint8(30)) for eye in faithful]
    section = measure(dark, real, paint=paint)
    assert any("differ from the set by 30.0 grey levels" in note for note in section.notes)


def test_vessels_unlike_real_ones_are_amber(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    """Every map is the lower half of a real one, and painted exactly."""
    halves = []
    for eye in faithful:
        vessel = eye.masks["vessel"] * (np.arange(SIZE) >= SIZE // 2)[:, None]
        halves.append(dataclasses.replace(eye, image=picture(vessel), masks={"vessel": vessel}))
    clean = [dataclasses.replace(eye, image=picture(eye.masks["vessel"])) for eye in real]
    section = measure(halves, clean)
    assert section.light == "amber" and "More than 3 times as far" in section.answer
    assert "vessel density (vessels in photographs)" in section.answer
    distances = section.figures["biomarkers"]
    assert distances["photograph/vessel_density"] == distances["mask/vessel_density"]
    assert distances["photograph/vessel_density"]["ratio"] > 3


def test_what_cannot_be_judged_is_grey(measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]) -> None:
    bare, masked = ([dataclasses.replace(eye, masks={}) for eye in eyes] for eyes in (faithful, real))
    for section, words in (
        (measure(faithful, real, judge=None), "There is no judge"),
        (measure(bare, real), "No eye of the synthetic set has a vessel map"),
        (measure(faithful, masked), "No eye of the real set has a vessel map"),
    ):
        assert section.light == "grey" and words in section.answer
    without = measure(faithful, real, judge=None, paint=paint)
    assert without.figures["judge"] is None and without.figures["biomarkers"]["mask/tortuosity"]["N"] == len(faithful)
    assert without.notes == []


def test_a_set_without_test_eyes_says_so(measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]) -> None:
    unmarked = [dataclasses.replace(eye, split="" if eye.dataset == "A" else eye.split) for eye in real]
    section = measure(faithful, unmarked)
    assert section.figures["agreement"]["vessel"]["A"]["dice"]["real"]["N"] == PATIENTS
    assert section.figures["agreement"]["vessel"]["B"]["dice"]["real"]["N"] == PATIENTS // 2
    assert any(
        note.startswith("No eye of A is in a test split, so all of them are the ceiling") for note in section.notes
    )


def test_a_data_set_without_real_eyes_is_held_against_all(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    strange = [dataclasses.replace(eye, dataset="phantom") for eye in faithful]
    section = measure(strange, real)
    assert section.figures["agreement"]["vessel"]["phantom"]["dice"]["real"]["N"] == PATIENTS
    assert any(note.startswith("There is no real eye of phantom,") for note in section.notes)


def test_two_eyes_are_measured_and_not_judged_and_empty_maps_are_left_out(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    empty = dataclasses.replace(faithful[0], masks={"vessel": np.zeros((SIZE, SIZE), np.float32)})
    section = measure([empty, faithful[1]], [real[1], real[3]], paint=paint)
    assert section.light == "grey" and section.figures["agreement"]["vessel"]["B"]["dice"]["generated"]["N"] == 1
    assert "Not judged: B, since this needs 4 generated" in section.answer
    assert any("1 vessel map is empty" in note for note in section.notes)
    assert section.figures["agreement"]["vessel"]["B"]["dice"]["difference"]["low"] is None


def test_discs_are_held_against_a_judge_of_discs(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    discs = [dataclasses.replace(eye, masks={"disc": eye.masks["disc"]}) for eye in real]
    section = measure(discs[PATIENTS:], discs, judge=None, disc_judge=disc_judge)
    assert section.light == "green" and section.answer.startswith("The judge's segmentation of the disc")
    assert section.figures["agreement"]["disc"]["A"]["dice"]["generated"]["mean"] == 1
    assert {"disc/area", "disc/offset", "disc/aspect", "disc/contrast"} <= set(section.figures["biomarkers"])
    blind = [dataclasses.replace(eye, image=picture(0 * eye.masks["disc"])) for eye in discs[PATIENTS:]]
    assert measure(blind, discs, judge=None, disc_judge=disc_judge).light == "red"
    absent = [dataclasses.replace(eye, masks=own.masks) for eye, own in zip(faithful, real[PATIENTS:], strict=True)]
    absent = measure(absent, real)  # their photographs show no disc where the mask has one
    assert absent.figures["biomarkers"]["disc/contrast"]["ratio"] > 3
    assert absent.light == "amber" and "contrast to the surroundings (disc)" in absent.answer


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    first, second = (measure(faithful, real, paint=paint).figures for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "wrong", [lambda image, fov: 9 * fov, lambda image, fov: image, lambda image, fov: fov * torch.nan]
)
def test_a_judge_returns_probabilities(measure: Callable[..., Section], faithful: list[Eye], wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\] of shape \(4, 1, 96, 96\)"):
        measure(faithful, faithful, judge=wrong)


def test_an_empty_set_is_refused(measure: Callable[..., Section], faithful: list[Eye]) -> None:
    with pytest.raises(RetinaError, match="the real set must not be empty"):
        measure(faithful, [])


def test_errors_are_coloured() -> None:
    found, told = np.array([[True, True], [False, False]]), np.array([[True, False], [True, False]])
    colours = colour_errors(found, told).transpose(1, 2, 0).reshape(4, 3).tolist()
    assert colours == [[255, 255, 255], [230, 159, 0], [86, 180, 233], [0, 0, 0]]


def test_faint_and_patchy_vessels_are_amber(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    sharp = [dataclasses.replace(eye, image=picture(eye.masks["vessel"], eye.masks["disc"])) for eye in real]
    fair = measure(faithful, sharp)
    assert fair.light == "green" and not any("contrast than" in note for note in fair.notes)
    stripes = np.arange(SIZE) % 4 == 0
    changes = {"fainter": 0.8 + 0 * stripes, "patchier": np.where(stripes, 0.0, 1.0)}
    for word, strength in changes.items():
        eyes = [dataclasses.replace(eye, image=picture(strength * eye.masks["vessel"])) for eye in faithful]
        section = measure(eyes, sharp)
        assert section.light != "green" and f"are {word} than in real photographs" in section.answer
    scores = fair.figures["visibility"]["A"]["wide"]
    assert scores["contrast"]["generated"]["mean"] == pytest.approx(scores["contrast"]["real"]["mean"], rel=0.05)
    assert scores["recall"]["generated"]["mean"] == 1


def test_photographs_without_the_disc_and_the_fovea_of_their_masks_are_amber(
    measure: Callable[..., Section], faithful: list[Eye], real: list[Eye]
) -> None:
    with_discs = [dataclasses.replace(eye, masks=own.masks) for eye, own in zip(faithful, real[PATIENTS:], strict=True)]
    section = measure(with_discs, real, disc_judge=disc_judge)
    assert "Only in 0% of the photographs of A, the judge finds the disc of the mask." in section.answer
    shown = [
        dataclasses.replace(eye, image=real_eye.image)
        for eye, real_eye in zip(with_discs, real[PATIENTS:], strict=True)
    ]
    assert "finds the disc" not in measure(shown, real, disc_judge=disc_judge).answer
    dark = [dataclasses.replace(eye, image=with_macula(eye)) for eye in real]
    section = measure(shown, dark, disc_judge=disc_judge)
    assert any(table.title == "Photographs with a visible fovea" for table in section.tables)
    assert "A fovea is visible in 0% of the photographs of" in section.answer
