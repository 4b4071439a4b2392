"""The privacy section on phantoms: what it calls a copy, what it leaves out, and when it does not judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from retina_monai.data import generate_phantom
from retina_monai.evaluation.families.privacy import privacy_section as privacy
from retina_monai.evaluation.families.privacy.nearest_eyes import collect, join_real
from retina_monai.evaluation.families.privacy.privacy_section import privacy_section
from retina_monai.evaluation.measuring.eye import Condition, Eye
from retina_monai.evaluation.report.section import Section

SIZE = 96


def mean_colours(images: Tensor) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)


def eyes(seeds: range, split: str = "") -> list[Eye]:
    made = []
    for seed in seeds:
        phantom = generate_phantom(seed, SIZE, grade=None)
        masks = {"vessel": phantom["vessel"][0].astype(np.float32)}
        fov = phantom["fov"][0].astype(bool)
        made.append(Eye(f"eye{seed}", f"phantom/{seed}", "phantom", phantom["image"], fov, masks, split))
    return made


@pytest.fixture(scope="module")
def training() -> list[Eye]:
    return eyes(range(6), "training")


@pytest.fixture(scope="module")
def fresh() -> list[Eye]:
    return eyes(range(50, 54))


@pytest.fixture(scope="module")
def measure(training: list[Eye], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Section]:
    held_out = eyes(range(80, 82), "test")

    def section(
        synthetic: list[Eye], training: list[Eye] = training, held_out: list[Eye] = held_out, unjudged: str = ""
    ) -> Section:
        how = {"extractor": mean_colours, "extractor_name": "mean colours", "seed": 0, "unjudged": unjudged}
        return privacy_section(synthetic, training, held_out, **how, output_dir=tmp_path_factory.mktemp("privacy"))

    return section


def test_a_copy_among_fresh_eyes_is_red_and_shown(measure: Callable, training: list[Eye], fresh: list[Eye]) -> None:
    flipped = replace(training[2], image=training[2].image[:, :, ::-1].copy(), fov=training[2].fov[:, ::-1].copy())
    section = measure([*fresh, replace(flipped, name="copy", patient="phantom/x", masks={}, split="")])
    copies = section.figures["copies"]
    assert section.light == "red"
    assert "1 of 5 photographs are unmistakable copies of training eyes" in section.answer
    assert (copies["unmistakable"]["hits"], copies["unseen"]["count"]) == (1, 5)
    assert copies["judged"]["hits"] >= 1
    assert section.figures["calibration"]["score"]["high"] > 0.3  # six patients: fresh eyes may be called copies, too
    assert section.figures["counts"]["unseen"] == 5
    pairs = next(table for table in section.tables if table.title == "Nearest pairs")
    assert list(pairs.rows[0][:2]) == ["copy", "eye2"]
    assert set(section.figures["membership"]) == {"pixels", "embedding"}
    assert section.figures["extractor"] == "mean colours"
    assert 0 < section.figures["nearest"]["held_out"]["ssim"] < 1
    assert {(value["others"], value["low"]) for value in section.figures["membership"].values()} == {(2, None)}
    json.dumps(section.figures, allow_nan=False)
    assert [Image.open(picture.path).format for picture in section.pictures] == ["PNG", "PNG"]
    assert any("memorisation is expected" in note for note in section.notes)


def test_conditions_that_were_trained_on_cannot_be_judged(
    measure: Callable, training: list[Eye], fresh: list[Eye]
) -> None:
    by_content = replace(fresh[0], masks={"vessel": training[0].masks["vessel"][:, ::-1].copy()})
    by_name = replace(fresh[1], masks={}, condition=Condition(training[1].patient, training[1].name))
    section = measure([by_content, by_name])
    assert section.light == "grey"
    assert "vessel maps of training eyes" in section.answer
    assert section.figures["counts"]["trained"] == 2
    assert section.figures["copies"]["judged"] is None
    assert section.figures["membership"] == {}


def test_few_photographs_are_not_judged(measure: Callable, fresh: list[Eye]) -> None:
    section = measure(fresh)
    assert section.light == "grey" and "of 4 photographs" in section.answer
    assert "Not judged: this needs 20 photographs" in section.answer


def test_training_eyes_that_do_not_suffice_give_no_light_but_certain_copies_do(
    measure: Callable, training: list[Eye], fresh: list[Eye], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "FEWEST_JUDGED", 2)
    assert measure(fresh).light != "grey"
    section = measure(fresh, unjudged="it is not known who was trained on")
    assert section.light == "grey" and section.answer.endswith("Not judged: it is not known who was trained on.")
    assert section.figures["copies"]["judged"]["count"] == 4
    copy = replace(training[2], name="copy", patient="phantom/x", masks={})
    assert measure([*fresh, copy], unjudged="it is not known who was trained on").light == "red"
    nobody = measure(fresh, training=[], unjudged="no such patient is there")
    assert nobody.light == "grey" and "no such patient is there" in nobody.answer


def test_a_warped_training_map_is_judged_between_the_vessels(
    measure: Callable, training: list[Eye], fresh: list[Eye], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "FEWEST_JUDGED", 2)
    condition = Condition(training[3].patient, training[3].name, augmented=True)
    section = measure([replace(fresh[0], condition=condition), fresh[1]], held_out=[])
    counts = section.figures["counts"]
    assert (counts["warped"], counts["unseen"], counts["held_out"]) == (1, 1, 0)
    assert section.light == "amber"
    assert "there are no other real eyes for comparison" in section.answer
    assert any("depend on the condition" in note for note in section.notes)
    copies = next(table for table in section.tables if table.title == "Copies")
    assert "95 % interval" in copies.note
    assert section.figures["false_positives"] is None


def test_without_training_eyes_or_patients_nothing_is_judged(measure: Callable, training: list[Eye]) -> None:
    assert measure(training, training=[]).light == "grey"
    assert "no training eyes" in measure(training, training=[]).answer
    assert "no synthetic eyes" in measure([]).answer
    one = [replace(eye, patient="one") for eye in training]
    section = measure(training[:2], training=one)
    assert (section.light, section.figures) == ("grey", {})
    assert "1 training patient, where 4 are needed" in section.answer


def test_a_doubled_photograph_is_no_pair_of_two_patients(measure: Callable, training: list[Eye]) -> None:
    """Else its score of 1 would be the threshold that a copy has to pass; here it is darker than its twin, too."""
    twin = replace(training[1], name="twin", patient="x", image=(training[1].image * 0.9).astype(np.uint8))
    half = replace(training[2], name="copy", patient="y", masks={}, split="")
    drawn = replace(half, name="drawn", condition=Condition("x", "twin"))
    figures = measure([half, drawn], [*training, twin]).figures
    assert figures["calibration"]["score"]["value"] < 0.9
    assert figures["copies"]["judged"]["hits"] == figures["counts"]["unseen"] == 1
    assert figures["counts"]["trained"] == 1  # the patient of a condition may be called by either name
    assert figures["counts"]["training_patients"] == len(training)


def test_a_photograph_that_was_trained_on_and_held_out_is_of_one_patient(training: list[Eye]) -> None:
    twin = replace(training[1], name="twin", patient="x")
    trained, held_out = (collect(some, range(len(some)), mean_colours, "") for some in (training, [twin]))
    join_real(trained, held_out)
    assert held_out.patients == [training[1].patient] and held_out.aliases == {"x"}
    assert trained.patients == [eye.patient for eye in training]
