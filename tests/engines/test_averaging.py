"""The moving average, against one computed by hand."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from retina_monai.engines import Averaged


class Counter(nn.Module):
    """One parameter and two buffers, of which one counts in whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.register_buffer("running", torch.tensor([10.0]))
        self.register_buffer("seen", torch.tensor(0))

    def set(self, weight: float) -> None:
        with torch.no_grad():
            self.weight.fill_(weight)
            self.running.fill_(10 * weight)
            self.seen += 1


def by_hand(values: list[float], decay: float) -> float:
    """``min(decay, (1 + n) / (10 + n))`` after the first, which is taken as it is."""
    average = values[0]
    for count, value in enumerate(values[1:], 1):
        rate = min(decay, (1 + count) / (10 + count))
        average = rate * average + (1 - rate) * value
    return average


@pytest.mark.parametrize(("decay", "every"), [(0.999, 1), (0.999, 4), (0.2, 1), (0.5, 2)])
def test_parameters_and_buffers_are_averaged_with_a_warm_up(decay: float, every: int) -> None:
    network = Counter()
    averaged = Averaged(network, decay, every=every)
    values = [3.0, 5.0, -2.0, 7.0, 0.5, 4.0]
    for step, value in enumerate(values, 1):
        network.set(value)
        averaged.update()
        expected = by_hand(values[:step], decay**every)
        assert averaged.network.weight.item() == pytest.approx(expected, rel=1e-5)
        assert averaged.network.running.item() == pytest.approx(10 * expected, rel=1e-5)
    assert network.weight.item() == 4.0 and averaged.network is not network
    assert averaged.network.seen.dtype == torch.int64


def test_a_small_decay_is_taken_from_the_beginning_and_a_large_one_later() -> None:
    assert by_hand([0.0, 1.0], 0.9) == pytest.approx(9 / 11)
    assert by_hand([0.0, 1.0], 0.1) == pytest.approx(0.9)


def engine_that_counts(network: Counter) -> Engine:
    return Engine(lambda engine, batch: network.set(float(batch)))


def test_it_updates_at_every_fourth_iteration() -> None:
    network = Counter()
    averaged = Averaged(network, decay=0.9, every=4)
    engine = engine_that_counts(network)
    averaged.attach(engine)
    engine.run(range(1, 14))
    assert averaged.network.weight.item() == pytest.approx(by_hand([4.0, 8.0, 12.0], 0.9**4), rel=1e-5)


def test_it_never_shows_the_first_weights_however_short_the_epoch() -> None:
    network = Counter()
    averaged = Averaged(network, every=4)
    engine = engine_that_counts(network)
    averaged.attach(engine)
    engine.run([7, 8, 9], max_epochs=1)
    assert averaged.network.weight.item() == 9.0


def test_the_average_evaluates_and_the_trained_network_trains_on() -> None:
    network = Counter().train()
    averaged = Averaged(network)
    assert network.training and not averaged.network.training


def test_disabled_it_is_the_trained_network() -> None:
    network = Counter()
    averaged = Averaged(network, enabled=False)
    engine = engine_that_counts(network)
    averaged.attach(engine)
    engine.run([7, 8, 9, 10], max_epochs=1)
    averaged.update()
    assert averaged.network is network and network.weight.item() == 10.0
    assert averaged.state_dict() == {}
    averaged.load_state_dict({})


def test_a_restored_average_goes_on_as_the_first() -> None:
    def run(values: list[float], averaged: Averaged) -> None:
        for value in values:
            averaged.source.set(value)
            averaged.update()

    straight, first, second = (Averaged(Counter(), 0.99) for _ in range(3))
    run([3.0, 5.0, 1.0, 4.0], straight)
    run([3.0, 5.0], first)
    second.load_state_dict(first.state_dict())
    run([1.0, 4.0], second)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(second.network.state_dict()[name], value) or name == "seen"


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, 2])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=rf"decay must be in \(0, 1\), got {decay}"):
        Averaged(Counter(), decay)
