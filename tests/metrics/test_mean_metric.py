"""What all means over images have in common; what is measured is tested with the measures."""

from __future__ import annotations

import doctest
import math

import pytest
import torch
from ignite.exceptions import NotComputableError

from retina_monai.metrics import ImageQuality, MeanMetric, SegmentationQuality, TopologyQuality, mean_metric


def value_of(pred: torch.Tensor, target: torch.Tensor, fov: torch.Tensor | None = None) -> torch.Tensor:
    return pred.mean((1, 2, 3)) if fov is None else (pred * fov).sum((1, 2, 3)) / fov.sum((1, 2, 3))


def item(value: float) -> dict[str, torch.Tensor]:
    left = torch.tensor([[[1.0, 0.0]]])
    return {"pred": value * left, "image": left, "fov": left}


def test_the_mean_is_over_what_is_defined() -> None:
    metric = MeanMetric(value_of)
    metric.update([item(2.0), item(math.nan), item(6.0)])
    assert (metric.compute(), metric.undefined) == (2.0, 1)
    metric.update([item(2.0) | {"pred": torch.full((1, 1, 2), math.inf)}])
    assert (metric.compute(), metric.undefined) == (math.inf, 1)


def test_inside_the_field_of_view() -> None:
    metric = MeanMetric(value_of, inside_fov="yes")  # text, as the command line gives it
    metric.update([item(2.0), item(6.0)])
    assert metric.compute() == 4.0


def test_nothing_defined_is_no_mean() -> None:
    metric = MeanMetric(value_of)
    metric.update([item(math.nan)])
    with pytest.raises(NotComputableError, match="MeanMetric has seen no image with a defined value"):
        metric.compute()


def test_sum_and_counts_are_saved_and_loaded() -> None:
    metric, other = MeanMetric(value_of), MeanMetric(value_of)
    metric.update([item(2.0), item(math.nan), item(6.0)])
    other.load_state_dict(metric.state_dict())
    assert (other.compute(), other.undefined) == (2.0, 1)


def test_metrics_of_images_and_of_masks_are_such_means() -> None:
    for metric in (ImageQuality("mse"), SegmentationQuality("dice"), TopologyQuality("cldice")):
        assert isinstance(metric, MeanMetric)
        with pytest.raises(KeyError, match=f"{type(metric).__name__} finds no 'pred'"):
            metric.update([{}])


def test_the_examples_run() -> None:
    assert doctest.testmod(mean_metric).failed == 0
