"""Agreement of masks against counting pixel by pixel, MONAI and scipy, on hand-made cases, and inside an engine."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable

import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from monai.bundle import ConfigParser
from monai.engines import SupervisedEvaluator
from monai.metrics import DiceMetric, ROCAUCMetric
from scipy.stats import mannwhitneyu

from retina_monai.errors import RetinaError
from retina_monai.metrics import segmentation_quality
from retina_monai.metrics.segmentation_quality import (
    SegmentationQuality,
    accuracy,
    dice,
    roc_auc,
    sensitivity,
    specificity,
)

BINARY = [dice, sensitivity, specificity, accuracy]
NAMES = ["dice", "sensitivity", "specificity", "accuracy", "roc_auc"]


def maps(batch: int = 3, size: tuple[int, int] = (12, 15), seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Probabilities in steps of a tenth, so that many are tied, vessels that they favour, and a field of view."""
    random = torch.Generator().manual_seed(seed)
    target = (
        torch.rand((batch, 1, *size), generator=random) < torch.linspace(0.1, 0.6, batch).view(-1, 1, 1, 1)
    ).long()
    probability = ((torch.rand(target.shape, generator=random) * 0.8 + 0.2 * target) * 10).round() / 10
    fov = torch.zeros_like(target)
    fov[..., 1:-3, 4:] = 1
    return probability, target, fov


def count(pred: torch.Tensor, target: torch.Tensor, fov: torch.Tensor) -> dict[str, float]:
    """The metrics of one image, pixel by pixel."""
    tally = {(0, 0): 0, (0, 1): 0, (1, 0): 0, (1, 1): 0}
    for found, real, inside in zip(pred.flatten(), target.flatten(), fov.flatten(), strict=True):
        if inside:
            tally[int(found), int(real)] += 1
    tn, fn, fp, tp = tally.values()
    return {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
    }


@pytest.mark.parametrize("measure", BINARY)
def test_equals_counting_pixel_by_pixel(measure: Callable[..., torch.Tensor]) -> None:
    probability, target, fov = maps()
    pred = (probability >= 0.5).long()
    for field in (fov, torch.ones_like(fov)):
        expected = [count(*image)[measure.__name__] for image in zip(pred, target, field, strict=True)]
        torch.testing.assert_close(measure(pred, target, field), torch.tensor(expected))
        assert len(set(expected)) > 1
    torch.testing.assert_close(measure(pred, target), torch.tensor(expected))


def test_dice_equals_monai() -> None:
    probability, target, _ = maps()
    pred = (probability >= 0.5).long()
    torch.testing.assert_close(dice(pred, target), DiceMetric(reduction="none")(pred, target)[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_auc_equals_mann_and_whitney(dtype: torch.dtype) -> None:
    probability, target, fov = maps()
    probability = probability.to(dtype)
    for index, value in enumerate(roc_auc(probability, target, fov).tolist()):
        inside = fov[index] == 1
        scores, real = probability[index][inside].double().numpy(), target[index][inside].numpy() == 1
        pairs = real.sum() * (~real).sum()
        assert value == pytest.approx(mannwhitneyu(scores[real], scores[~real]).statistic / pairs, abs=1e-6)
        assert 0.55 < value < 0.9


def test_auc_equals_monai_without_ties() -> None:
    _, target, _ = maps(1)
    probability = torch.rand(target.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    metric = ROCAUCMetric()
    metric(probability.flatten(), target.flatten())
    assert roc_auc(probability, target).item() == pytest.approx(metric.aggregate(), abs=1e-6)


def test_auc_is_that_of_the_order_alone() -> None:
    probability, target, fov = maps()
    torch.testing.assert_close(roc_auc(probability**3, target, fov), roc_auc(probability, target, fov))
    torch.testing.assert_close(roc_auc(1 - probability, target, fov), 1 - roc_auc(probability, target, fov))
    assert roc_auc(torch.full_like(probability, 0.3), target).tolist() == [0.5] * 3


def test_auc_is_exact_for_as_many_pixels_as_a_photograph_has() -> None:
    """The pairs of 2^22 pixels, more than float32 counts: 2^21 vessels, every other one tied with the background."""
    target = torch.zeros(1, 1, 2048, 2048)
    target[..., :1024, :] = 1
    probability = torch.full_like(target, 0.5)
    probability[..., :1024, ::2] = 1
    assert roc_auc(probability, target).item() == 0.75
    probability[0, 0, 0, 0] = 0  # one vessel of 2^21 below all of the background: 2^21 pairs of 2^42 lost
    assert roc_auc(probability, target).item() == pytest.approx(0.75 - 2**-21, abs=2**-24)


def test_identical_masks_and_opposite_ones() -> None:
    _, target, fov = maps()
    for measure in [*BINARY, roc_auc]:
        assert measure(target, target, fov).tolist() == [1, 1, 1]
        assert measure(1 - target, target, fov).tolist() == [0, 0, 0]


def test_empty_masks() -> None:
    empty, full = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert dice(empty, empty).item() == 1
    assert dice(full, empty).item() == dice(empty, full).item() == 0
    assert specificity(empty, empty).item() == sensitivity(full, full).item() == 1
    assert math.isnan(sensitivity(full, empty).item())
    assert math.isnan(specificity(empty, full).item())
    assert math.isnan(roc_auc(full, empty).item())
    assert math.isnan(roc_auc(full, full).item())


def test_what_is_outside_of_the_fov_does_not_count() -> None:
    probability, target, fov = maps()
    pred = (probability >= 0.5).long()
    for measure, given in [*((measure, pred) for measure in BINARY), (roc_auc, probability)]:
        outside = torch.where(fov == 1, given, 1 - given)
        torch.testing.assert_close(measure(outside, target, fov), measure(given, target, fov))
        torch.testing.assert_close(measure(given, target | (1 - fov), fov), measure(given, target, fov))
        assert not torch.equal(measure(given, target), measure(given, target, fov))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_masks_of_any_type_count_alike(dtype: torch.dtype) -> None:
    probability, target, fov = maps()
    pred = (probability >= 0.5).long()
    for measure in BINARY:
        value = measure(pred.to(dtype), target.to(dtype), fov.to(dtype))
        torch.testing.assert_close(value, measure(pred, target, fov))
        assert value.dtype == torch.float32
    torch.testing.assert_close(roc_auc(probability, target.to(dtype)), roc_auc(probability, target))


MASK = torch.zeros(2, 1, 4, 4)
HALF = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)


@pytest.mark.parametrize("measure", [*BINARY, roc_auc])
@pytest.mark.parametrize(
    ("pred", "target", "fov", "message"),
    [
        (MASK, MASK[:1], None, "one shape, not"),
        (MASK[..., :3], MASK, None, "one shape, not"),
        (MASK[:, 0], MASK[:, 0], None, r"\(B, 1, H, W\) of one shape"),
        (MASK.expand(2, 3, 4, 4), MASK.expand(2, 3, 4, 4), None, r"\(B, 1, H, W\) of one shape"),
        (MASK, MASK + 255, None, "target must hold 0 and 1"),
        (MASK - 4, MASK, None, "pred must hold"),
        (MASK * math.nan, MASK, None, "pred must hold"),
        (MASK, MASK * math.nan, None, "target must hold 0 and 1"),
        (MASK, MASK, MASK[:1] + 1, "fov must be"),
        (MASK, MASK, MASK + 255, "fov must hold 0 and 1"),
        (MASK, MASK, HALF, "fov is empty"),
    ],
)
def test_wrong_input_is_refused(measure, pred, target, fov, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(pred, target, fov)


def test_probabilities_are_no_mask_and_logits_no_probabilities() -> None:
    with pytest.raises(ValueError, match="apply a threshold"):
        dice(MASK + 0.4, MASK)
    with pytest.raises(ValueError, match="apply the sigmoid"):
        roc_auc(MASK + 1.5, MASK)


def items(number: int) -> list[dict[str, torch.Tensor]]:
    return [{"pred": p, "vessel": t, "fov": f} for p, t, f in zip(*maps(number), strict=True)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inside_fov", [False, True])
def test_the_metric_averages_over_images_whatever_the_batches(name: str, inside_fov: bool) -> None:
    eyes = items(5)
    engine = Engine(lambda engine, batch: batch)
    SegmentationQuality(name, threshold=0.6, inside_fov=inside_fov).attach(engine, "quality")
    batches = [eyes[:3], eyes[3:4], eyes[4:]]
    first = engine.run(batches).metrics["quality"]
    probability, target, fov = maps(5)
    pred = probability if name == "roc_auc" else probability >= 0.6
    expected = getattr(segmentation_quality, name)(pred, target, fov if inside_fov else None).mean().item()
    assert first == pytest.approx(expected, rel=1e-5)
    assert engine.run(batches).metrics["quality"] == first


def test_the_metric_in_a_monai_evaluator() -> None:
    config = {
        "_target_": "retina_monai.metrics.segmentation_quality.SegmentationQuality",
        "metric": "roc_auc",
        "inside_fov": "false",
        "target_key": "label",
    }
    quality = ConfigParser({"quality": config}).get_parsed_content("quality")
    probability, target, _ = maps()
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[{"image": p[None], "label": t[None]} for p, t in zip(probability, target, strict=True)],
        network=torch.nn.Identity(),
        key_val_metric={"val_auc": quality},
    )
    evaluator.run()
    assert evaluator.state.metrics["val_auc"] == pytest.approx(roc_auc(probability, target).mean().item(), rel=1e-6)


def test_the_metric_leaves_out_images_for_which_it_is_undefined() -> None:
    eyes = items(2)
    quality = SegmentationQuality("roc_auc")
    quality.update(eyes)
    expected = quality.compute()
    quality.update([{**eyes[0], "vessel": torch.zeros_like(eyes[0]["vessel"])}])
    assert quality.compute() == expected
    assert quality.undefined == 1
    quality.reset()
    assert quality.undefined == 0


def test_the_metric_takes_a_function_and_other_keys() -> None:
    quality = SegmentationQuality(lambda pred, target, fov=None: (pred - target).amax((1, 2, 3)), target_key="disc")
    quality.update([{"pred": torch.full((1, 4, 4), 5.0), "disc": torch.ones(1, 4, 4)}])
    assert quality.compute() == 4


def test_the_metric_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="must be one of dice, sensitivity, specificity, accuracy, roc_auc"):
        SegmentationQuality("cldice")
    for threshold in (0, 1.01, 50, math.nan):
        with pytest.raises(ValueError, match=r"threshold must lie in \(0, 1\]"):
            SegmentationQuality("dice", threshold=threshold)
    with pytest.raises(RetinaError, match="inside_fov is a switch"):
        SegmentationQuality("dice", inside_fov="perhaps")  # a wrong type on purpose
    with pytest.raises(NotComputableError, match="SegmentationQuality has seen no image"):
        SegmentationQuality("dice").compute()
    with pytest.raises(KeyError, match="SegmentationQuality finds no 'fov'"):
        SegmentationQuality("dice", inside_fov=True).update([{"pred": MASK[0], "vessel": MASK[0]}])
    with pytest.raises(ValueError, match="apply the sigmoid"):
        SegmentationQuality("dice").update([{"pred": MASK[0] + 3, "vessel": MASK[0]}])


def test_the_examples_run() -> None:
    assert doctest.testmod(segmentation_quality).failed == 0
