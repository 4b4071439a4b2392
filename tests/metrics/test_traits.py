from __future__ import annotations

import doctest
import math

import pytest
import torch
from ignite.exceptions import NotComputableError

from retina_monai.metrics import TraitAccuracy, traits


def test_the_example_runs() -> None:
    assert doctest.testmod(traits, extraglobs={"torch": torch}).failed == 0


def test_what_is_known_counts_alike_whatever_the_batches() -> None:
    told = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    target = torch.rand(5, 7, generator=torch.Generator().manual_seed(1))
    target[torch.rand(5, 7, generator=torch.Generator().manual_seed(2)) < 0.4] = math.nan
    whole, parts = TraitAccuracy(), TraitAccuracy()
    whole.update(list(zip(told, target, strict=True)))
    for pair in zip(told, target, strict=True):
        parts.update([pair])
    known = ~target.isnan()
    assert whole.compute() == pytest.approx(1 - (told - target)[known].abs().mean().item())
    assert parts.compute() == pytest.approx(whole.compute())
    parts.reset()
    parts.update([(told[0], told[0])])
    assert parts.compute() == 1


def test_nothing_known_has_no_accuracy() -> None:
    accuracy = TraitAccuracy()
    accuracy.update([(torch.zeros(2), torch.full((2,), math.nan))])
    with pytest.raises(NotComputableError, match="has seen no known trait"):
        accuracy.compute()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(3,\)"):
        TraitAccuracy().update([(torch.zeros(2), torch.zeros(3))])
