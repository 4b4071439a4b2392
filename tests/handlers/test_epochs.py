"""An epoch is a function of (seed, epoch, rank); rates fall over the second half, also when a run is resumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from torch import distributed, nn

from retina_monai.handlers import GrowingShare, LinearDecay, SeededEpochs


class Sampler:
    def __init__(self) -> None:
        self.epochs: list[int] = []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


def run(seed: int, epochs: int, start: int = 0, disturb: bool = False) -> tuple[list[float], list[int]]:
    """What torch draws first in each epoch, and the epochs that the sampler was told."""
    drawn: list[float] = []
    engine = Engine(lambda engine, batch: torch.rand(3) if disturb else None)
    sampler = Sampler()
    SeededEpochs(seed, sampler).attach(engine)
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: drawn.append(torch.rand(1).item()))

    @engine.on(Events.STARTED)
    def resume() -> None:
        engine.state.epoch = start

    engine.run([0, 1], max_epochs=epochs)
    return drawn, sampler.epochs


def test_noise_depends_on_seed_and_epoch_alone() -> None:
    drawn, told = run(seed=0, epochs=4)
    assert told == [1, 2, 3, 4] and len(set(drawn)) == 4
    assert run(seed=0, epochs=4, disturb=True)[0] == drawn
    assert run(seed=0, epochs=4, start=2) == (drawn[2:], [3, 4])
    assert not set(run(seed=1, epochs=4)[0]) & set(drawn)


def test_ranks_draw_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run(seed=0, epochs=2)[0]
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    drawn = []
    for rank in range(2):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        drawn.append(run(seed=0, epochs=2)[0])
    assert drawn[0] == alone and not set(drawn[1]) & set(alone)


def optimizers(rate: float = 1.0) -> dict[str, torch.optim.Optimizer]:
    networks = [nn.Linear(1, 1) for _ in range(2)]
    generator = torch.optim.Adam(
        [{"params": [networks[0].weight]}, {"params": [networks[0].bias], "lr": rate / 2}], rate
    )
    return {"generator": generator, "discriminator": torch.optim.Adam(networks[1].parameters(), 4 * rate)}


def rates(
    by_name: dict[str, Any], epochs: int, enabled: bool = True, start: int = 0, states: dict[str, Any] | None = None
) -> list[tuple[float, ...]]:
    """The rates of each epoch; ``states`` are loaded when the engine starts, as a checkpoint is."""
    seen: list[tuple[float, ...]] = []
    engine = Engine(lambda engine, batch: None)

    @engine.on(Events.STARTED)
    def resume() -> None:
        engine.state.epoch = start
        for name, state in (states or {}).items():
            by_name[name].load_state_dict(state)

    LinearDecay(by_name, enabled).attach(engine)
    groups = Events.ITERATION_COMPLETED
    engine.add_event_handler(
        groups, lambda: seen.append(tuple(g["lr"] for o in by_name.values() for g in o.param_groups))
    )
    engine.run([0], max_epochs=epochs)
    return seen


def test_rates_stay_for_the_first_half_and_fall_to_nearly_0() -> None:
    seen = rates(optimizers(), epochs=10)
    factors = [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    for factor, of_epoch in zip(factors, seen, strict=True):
        assert of_epoch == pytest.approx((factor, factor / 2, 4 * factor))


def test_disabled_they_stay() -> None:
    assert rates(optimizers(), epochs=4, enabled=False) == [(1.0, 0.5, 4.0)] * 4


@pytest.mark.parametrize("done", [2, 5, 8])
def test_a_resumed_run_has_the_rates_of_the_uninterrupted_one(done: int) -> None:
    straight = rates(optimizers(), epochs=10)
    interrupted = optimizers()
    rates(interrupted, epochs=10)
    for optimizer in interrupted.values():
        for group in optimizer.param_groups:
            group["lr"] *= 0.123
    states = {name: optimizer.state_dict() for name, optimizer in interrupted.items()}
    assert rates(optimizers(), epochs=10, start=done, states=states) == straight[done:]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_resumed_run_takes_the_rate_of_its_own_command(enabled: bool) -> None:
    """What the message of an early end advises: a lower rate, then ``--resume true``."""
    states = {name: optimizer.state_dict() for name, optimizer in optimizers(rate=1.0).items()}
    assert rates(optimizers(rate=0.01), 4, enabled, start=1, states=states)[0] == pytest.approx((0.01, 0.005, 0.04))


def test_the_share_of_generated_input_grows_from_nothing_to_all_of_it() -> None:
    """In a resumed run as in the uninterrupted one."""

    class Objective:
        generated_share = 0.5

    def shares(start: int) -> list[float]:
        told: list[float] = []
        objective, engine = Objective(), Engine(lambda engine, batch: None)
        GrowingShare(objective, 0.8).attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: told.append(objective.generated_share))

        @engine.on(Events.STARTED)
        def resume() -> None:
            engine.state.epoch = start

        engine.run([0], max_epochs=5)
        return told

    assert shares(0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert shares(3) == pytest.approx([0.6, 0.8])
