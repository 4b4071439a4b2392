"""Usefulness: a set that teaches and one that does not, equal steps, and finished trainings that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_eyes import SIZE, painted, toy_eye

from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.usefulness import segmenter, usefulness
from retina_monai.evaluation.families.usefulness.usefulness import ARMS, MODES, Plan, usefulness_section
from retina_monai.evaluation.report import report
from retina_monai.evaluation.report.section import Section

TRAINING = [toy_eye(number) for number in range(8)]
TEST = [toy_eye(number, "test") for number in range(100, 108)]
GOOD = [painted(eye) for eye in TRAINING]
BAD = [painted(eye, mask_of=TRAINING[(place + 3) % 8]) for place, eye in enumerate(TRAINING)]
SHIPPED = [plan for plan in MODES.values() if plan is not None]
TINY = Plan(("U-Net",), steps=40, seeds=1, most=100)


class Spy:
    """Counts trainings; where they are to be quick, the networks stay as they begin."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.stop_after = stop_after

    def __call__(self, network: str, eyes: Any, steps: int, seed: int, **how: Any) -> torch.nn.Module:
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append({"network": network, "eyes": len(eyes), "steps": steps, "seed": seed, **how})
        torch.manual_seed(100 * seed + len(eyes))
        return segmenter.NETWORKS[network]().eval()


Measure = Callable[..., Section]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("usefulness")


@pytest.fixture
def measure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """With one cache for the module, since the arm of real eyes is the same in all; a tiny plan is enough for toys."""
    monkeypatch.setattr(usefulness, "FEWEST_SEEDS", 1)
    monkeypatch.setattr(usefulness, "PLATEAU", 0.5)

    def run(synthetic: Any, plan: Plan = TINY, **given: Any) -> Section:
        monkeypatch.setitem(MODES, "full", plan)
        paths = {"output_dir": folder, "cache_dir": folder / "cache"}
        eyes = {"training": TRAINING, "test": TEST}
        return usefulness_section(synthetic, **({"mode": "full", "seed": 0} | eyes | paths | given))

    return run


def test_a_good_set_is_green(measure: Measure) -> None:
    section = measure(GOOD)
    arms = section.figures["results"]["U-Net"]["arms"]
    assert section.light == "green", section.answer
    assert arms["real"]["dice"]["mean"] > section.figures["dice_of_marking_everything"] + 0.2
    assert arms["real"]["auc"]["mean"] > 0.85
    assert arms["synthetic"]["dice"]["N"] == 8 and arms["synthetic"]["dice"]["groups"] == 4
    assert arms["real"]["dice"]["low"] <= arms["real"]["dice"]["mean"] <= arms["real"]["dice"]["high"]


def test_shuffled_masks_are_red(measure: Measure) -> None:
    section = measure(BAD)
    loss = section.figures["results"]["U-Net"]["real_minus_synthetic"]
    assert section.light == "red", section.answer
    assert loss["low"] > 0.1 and f"a loss of {loss['mean']:.3f} (95 % interval {loss['low']:.3f} to" in section.answer


def test_what_is_shown(measure: Measure, folder: Path) -> None:
    section = measure(GOOD)
    assert [row[1] for row in section.tables[0].rows] == list(ARMS)
    assert [row[2] for row in section.tables[0].rows] == [8, 8, 16]
    plot, grid = section.pictures
    with Image.open(plot.path) as picture:
        assert picture.format == "PNG" and picture.width >= 800
    with Image.open(grid.path) as picture:
        assert picture.width == 4 + 5 * (SIZE + 4)
    assert any("40 steps" in note for note in section.notes)


def test_the_same_seed_gives_the_same_figures(measure: Measure, tmp_path: Path) -> None:
    plan = replace(TINY, steps=4)
    first = measure(GOOD, plan, cache_dir=tmp_path / "one")
    state = torch.get_rng_state()
    again = measure(GOOD, plan, cache_dir=tmp_path / "two")
    assert torch.equal(torch.get_rng_state(), state), "torch's random state stays"
    other = measure(GOOD, plan, cache_dir=tmp_path / "three", seed=1)
    assert first.figures["results"] == again.figures["results"] != other.figures["results"]


def test_all_arms_take_equal_steps(measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And real eyes alone are learned from a second time, with half of the steps, to see whether they were enough."""
    spy = Spy()
    monkeypatch.setattr(segmenter, "train_segmenter", spy)
    plan = Plan(("U-Net", "IterNet"), steps=6, seeds=2, most=100)
    section = measure([*GOOD, *(replace(eye, name=f"{eye.name}_2") for eye in GOOD)], plan, cache_dir=tmp_path)
    assert [(call["network"], call["eyes"], call["steps"], call["seed"]) for call in spy.calls] == [
        (network, eyes, steps, seed)
        for network in ("U-Net", "IterNet")
        for seed in (0, 1)
        for eyes, steps in ((16, 6), (8, 6), (24, 6), (8, 3))
    ]
    assert len({call["patch"] for call in spy.calls}) == 1
    weights = spy.calls[2]["weights"]
    assert sum(weights[:16]) == pytest.approx(0.5) and sum(weights[16:]) == pytest.approx(0.5)
    gain = section.figures["results"]["U-Net"]["gain_of_second_half"]
    assert gain["mean"] == pytest.approx(0) and gain["groups"] == 4, "the spy's networks depend on seed and eyes alone"


def test_every_step_is_taken() -> None:
    steps: list[int] = []
    eyes = [{"image": np.zeros((1, SIZE, SIZE), np.float32), "mask": np.zeros((1, SIZE, SIZE), np.uint8)}]
    for network in segmenter.NETWORKS:
        steps.clear()
        model = segmenter.train_segmenter(
            network, eyes, 3, 0, patch=16, batch_size=2, after_step=lambda step, _: steps.append(step)
        )
        assert steps == [1, 2, 3] and not model.training
        found = segmenter.segment(model, eyes[0]["image"])
        assert found.shape == (SIZE, SIZE) and 0 <= found.min() <= found.max() <= 1


def test_finished_trainings_are_kept(measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(TINY, steps=4, seeds=2)
    spy = Spy(stop_after=4)
    monkeypatch.setattr(segmenter, "train_segmenter", spy)
    with pytest.raises(KeyboardInterrupt):
        measure(GOOD, plan, cache_dir=tmp_path)
    spy.stop_after = None
    first = measure(GOOD, plan, cache_dir=tmp_path)
    assert len(spy.calls) == 8, "four before the interruption, four after it"
    again = measure(GOOD, plan, cache_dir=tmp_path)
    assert len(spy.calls) == 8 and again.figures == first.figures
    measure(BAD, plan, cache_dir=tmp_path)
    assert len(spy.calls) == 8 + 4, "the real arm has learned from the same eyes"
    measure(GOOD, replace(plan, steps=6), cache_dir=tmp_path)
    assert len(spy.calls) == 12 + 8
    measure(GOOD, plan, cache_dir=tmp_path, seed=1)
    assert len(spy.calls) == 20 + 4, "the second seed of the first is the first of the second"


def test_a_large_set_is_drawn_from(measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    monkeypatch.setattr(segmenter, "train_segmenter", spy)
    section = measure(GOOD, replace(TINY, most=3), cache_dir=tmp_path)
    assert [call["eyes"] for call in spy.calls] == [3, 3, 6, 3]
    assert section.figures["eyes"] == {"synthetic": 3, "real": 3, "test": 8}


def test_another_mask(measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter, "train_segmenter", Spy())
    section = measure(GOOD, cache_dir=tmp_path, key="disc")
    share = [eye.masks["disc"][eye.fov].mean() for eye in TEST]
    expected = np.mean([2 * each / (1 + each) for each in share])
    assert section.figures["dice_of_marking_everything"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("eyes", "reason"),
    [
        ({"test": []}, "there are no real test eyes"),
        ({"training": []}, "there are no real training eyes"),
        ({"key": "cup"}, "no synthetic eye for training and no real eye for training and no test eye has a cup mask"),
        ({"test": [replace(TEST[0], masks={})]}, "no test eye has a vessel mask"),
    ],
)
def test_what_cannot_be_judged_is_grey(measure: Measure, eyes: dict[str, Any], reason: str) -> None:
    section = measure(GOOD, **eyes)
    assert section.light == "grey" and reason in section.answer and not section.pictures


def test_leaks_are_refused_before_anything_is_trained(measure: Measure, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match="do not record from whose mask they were made"):
        measure([*GOOD, replace(GOOD[0], condition=None)], cache_dir=tmp_path)
    with pytest.raises(RetinaError, match="were made from masks of test patients"):
        measure([*GOOD, painted(TEST[0])], cache_dir=tmp_path)
    with pytest.raises(RetinaError, match="have the masks of test eyes"):
        measure([*GOOD, painted(TEST[0], patient="toy/0")], cache_dir=tmp_path)
    assert not any(tmp_path.iterdir())


def test_quick_trains_nothing(measure: Measure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    monkeypatch.setattr(segmenter, "train_segmenter", spy)
    section = measure(GOOD, mode="quick", cache_dir=tmp_path)
    assert section.light == "grey" and section.answer.endswith("Use --mode full.")
    assert not spy.calls and not section.pictures
    assert tuple(MODES) == report.MODES
    assert all(plan.seeds >= 3 and plan.steps % 2 == 0 for plan in SHIPPED)


def figures_of(synthetic: float, both: float, loss: tuple[float, float], gain: float, late: float = 0.01) -> Any:
    """Real eyes alone reach 0.80; limits of the loss, lower limit of the gain, gain of the second half."""
    arms = {"synthetic": synthetic, "real": 0.80, "real + synthetic": both}
    return {
        "arms": {arm: {"dice": {"mean": value}} for arm, value in arms.items()},
        "real_minus_synthetic": {"mean": 0.80 - synthetic, "low": loss[0], "high": loss[1], "groups": 6},
        "both_minus_real": {"mean": both - 0.80, "low": gain, "high": 0.05, "groups": 6},
        "gain_of_second_half": {"mean": late, "low": 0.0, "high": 0.05, "groups": 6},
    }


@pytest.mark.parametrize(
    ("synthetic", "both", "loss", "gain", "light"),
    [
        (0.76, 0.80, (0.03, 0.05), -0.01, "green"),
        (0.76, 0.80, (0.03, 0.06), -0.01, "amber"),
        (0.85, 0.80, (-0.09, -0.01), -0.01, "green"),
        (0.71, 0.80, (0.06, 0.12), -0.01, "amber"),
        (0.68, 0.80, (0.06, 0.18), -0.01, "red"),
        (0.68, 0.80, (0.04, 0.20), -0.01, "amber"),
        (0.60, 0.82, (0.15, 0.25), 0.01, "green"),
    ],
)
def test_lights_depend_on_intervals(
    synthetic: float, both: float, loss: tuple[float, float], gain: float, light: str
) -> None:
    figures = figures_of(synthetic, both, loss, gain)
    judged, answer = usefulness.judge(figures, 0.2, replace(TINY, seeds=3))
    assert judged == light and f"{synthetic:.3f}" in answer and f"{loss[0]:.3f} to {loss[1]:.3f}" in answer


def test_no_light_without_patients_seeds_and_a_plateau() -> None:
    plan = replace(TINY, seeds=3)
    good = figures_of(0.79, 0.80, (0.0, 0.02), -0.01)
    assert usefulness.judge(good, 0.2, plan)[0] == "green"
    judged, answer = usefulness.judge(good, 0.71, plan)
    assert judged == "grey" and "marking every pixel gives 0.710" in answer
    judged, answer = usefulness.judge(good | {"gain_of_second_half": {"mean": 0.03}}, 0.2, plan)
    assert judged == "grey" and "gain 0.030" in answer and "--mode thorough" in answer
    assert usefulness.judge(good, 0.2, replace(plan, seeds=2))[0] == "grey"
    none = {"mean": 0.01, "low": float("nan"), "high": float("nan"), "groups": 3}
    judged, answer = usefulness.judge(good | {"real_minus_synthetic": none, "both_minus_real": none}, 0.2, plan)
    assert judged == "grey" and "0.010 (3 patients: no interval)" in answer


def test_networks_are_tested_on_another_camera_too(measure: Measure) -> None:
    other = [replace(toy_eye(number), patient=f"other/{number}", dataset="other") for number in range(200, 204)]
    dark = [replace(eye, image=(0.6 * eye.image).astype(np.uint8)) for eye in other]
    plain, section = measure(GOOD), measure(GOOD, external=dark)
    figures = section.figures["external"]["U-Net"]
    assert figures["datasets"] == ["other"] and {line["N"] for line in figures["arms"].values()} == {4}
    assert figures["real_minus_synthetic"]["mean"] == pytest.approx(
        figures["arms"]["real"]["mean"] - figures["arms"]["synthetic"]["mean"]
    )
    assert section.light == plain.light and section.figures["results"] == plain.figures["results"]
    assert "On another camera (other), synthetic eyes reach" in section.answer
    assert section.tables[-1].title == "Tested on another camera: other" and len(section.tables[-1].rows) == 5
    assert plain.figures["external"] == {} and len(plain.tables) == 2
    with pytest.raises(RetinaError, match="patients are both in training and in test"):
        measure(GOOD, external=TRAINING)
