"""What a checkpoint is chosen by, from a stand-in for faithfulness and colours as features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from torch import Tensor

from retina_monai.metrics import KernelDistance, Selection, kid
from retina_monai.metrics.segmentation_quality import SegmentationQuality


def colour(images: Tensor) -> Tensor:
    return images.mean((2, 3))


def selection(**arguments: Any) -> Selection:
    return Selection(SegmentationQuality("dice", pred_key="judged"), KernelDistance(colour, "colour"), **arguments)


def run(count: int, shift: float) -> list[dict[str, Tensor]]:
    """Photographs of one colour each, generated ones brighter by ``shift``; of two vessel pixels one is found."""
    images = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 4, 4)
    vessel = torch.tensor([[[1.0, 1.0, 0.0]]])
    judged = torch.tensor([[[0.9, 0.1, 0.2]]])
    return [{"image": image, "pred": image + shift, "vessel": vessel, "judged": judged} for image in images]


def test_it_is_faithfulness_less_the_weighted_kid() -> None:
    metric = selection(kid_weight=0.5)
    output = run(6, 0.4)
    metric.update(output[:4])
    metric.update(output[4:])
    features = [np.stack([colour(item[key][None]).numpy()[0] for item in output]) for key in ("image", "pred")]
    distance = kid(*features, np.random.default_rng(0), extractor="colour", resolution=4).value
    assert distance > 0.02
    assert metric.compute() == pytest.approx(2 / 3 - 0.5 * distance, abs=1e-6)


def test_a_generator_far_from_real_photographs_is_worth_less() -> None:
    values = []
    for shift in (0.0, 0.2, 0.4):
        metric = selection()
        metric.update(run(6, shift))
        values.append(metric.compute())
    assert values == sorted(values, reverse=True) and values[0] > values[2] + 0.1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_of_few_photographs_there_is_no_kid(count: int) -> None:
    metric = selection()
    metric.update(run(count, 0.4))
    assert metric.compute() == pytest.approx(2 / 3)
    assert metric.formula == f"faithfulness without KID, which needs 4 eyes and has {count}"


def test_the_engine_is_left_the_formula_beside_the_value() -> None:
    formulas = {}
    for weight in (0, 0.5):
        engine = Engine(lambda engine, batch: batch)
        selection(kid_weight=weight).attach(engine, "selection")
        engine.run([run(4, 0.4)])
        formulas[weight] = engine.state.formulas
        assert (engine.state.metrics["selection"] < 0.66) is (weight > 0)
    assert formulas == {
        0: {"selection": "faithfulness without KID, whose weight is 0"},
        0.5: {"selection": "faithfulness - 0.5 KID by colour"},
    }


def test_a_new_run_forgets_the_former() -> None:
    metric = selection()
    metric.update(run(6, 0.4))
    metric.reset()
    metric.update(run(1, 0.0))
    assert metric.compute() == pytest.approx(2 / 3)


def test_nothing_to_choose_by_is_refused() -> None:
    with pytest.raises(NotComputableError):
        selection().compute()
    with pytest.raises(ValueError, match="kid_weight must be at least 0, got -1"):
        selection(kid_weight=-1)
