"""Means over an epoch, one line about it, and an end where there is nothing to average any more."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence

import pytest
import torch
from ignite.engine import Engine, Events

from retina_monai.errors import RetinaError
from retina_monai.handlers import EpochLine, EpochLosses, StopOnNaN


def engine_of_losses() -> Engine:
    """An engine whose data are the losses of its iterations."""

    def iterate(engine: Engine, batch: dict[str, float]) -> None:
        engine.state.losses = {name: torch.tensor(value) for name, value in batch.items()}

    return Engine(iterate)


def run(handlers: Sequence, losses: Sequence[dict[str, float]], epochs: int = 1) -> Engine:
    engine = engine_of_losses()
    for handler in handlers:
        handler.attach(engine)
    engine.run(losses, max_epochs=epochs, epoch_length=len(losses) // epochs)
    return engine


def test_means_over_the_epoch() -> None:
    losses = [{"g_l1": value, "loss": 2 * value} for value in (1.0, 2.0, 6.0)]
    assert run([EpochLosses()], losses).state.metrics == {"g_l1": 3.0, "loss": 6.0}


def test_each_epoch_begins_anew() -> None:
    means = []
    engine = engine_of_losses()
    EpochLosses().attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: means.append(engine.state.metrics["loss"]))
    engine.run([{"loss": value} for value in (1.0, 3.0, 10.0, 20.0)], max_epochs=2, epoch_length=2)
    assert means == [2.0, 15.0]


def test_losses_of_half_precision_are_summed_in_full() -> None:
    def iterate(engine: Engine, batch: float) -> None:
        engine.state.losses = {"loss": torch.tensor(1.0, dtype=torch.bfloat16)}

    engine = Engine(iterate)
    EpochLosses().attach(engine)
    engine.run(range(1000), max_epochs=1)
    assert engine.state.metrics["loss"] == 1.0


def test_other_metrics_stay_and_the_engines_losses_are_not_changed() -> None:
    engine = engine_of_losses()
    EpochLosses().attach(engine)
    engine.add_event_handler(Events.EPOCH_STARTED, lambda: engine.state.metrics.update(ssim=0.5))
    engine.run([{"loss": 1.0}, {"loss": 5.0}], max_epochs=1)
    assert engine.state.metrics == {"ssim": 0.5, "loss": 3.0}
    assert engine.state.losses["loss"].item() == 5.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_training_ends_before_a_checkpoint_of_it_is_written(bad: float) -> None:
    """The third iteration breaks in the second epoch of two iterations."""
    saved = []
    engine = engine_of_losses()
    StopOnNaN(every=50).attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: saved.append(engine.state.epoch))
    losses = [{"loss": value} for value in (1.0, 1.0, bad, 1.0, 1.0, 1.0)]
    with pytest.raises(RetinaError, match=r"NaN or infinite by iteration 4 \(epoch 2\): lower --learning_rate"):
        engine.run(losses, max_epochs=3, epoch_length=2)
    assert saved == [1] and engine.state.epoch == 2


@pytest.mark.parametrize(("every", "iteration"), [(1, 3), (2, 4), (5, 5), (50, 8)])
def test_it_looks_as_often_as_it_is_told(every: int, iteration: int) -> None:
    losses = [{"loss": math.nan if index == 2 else 1.0} for index in range(8)]
    with pytest.raises(RetinaError, match=rf"by iteration {iteration} \(epoch 1\)"):
        run([StopOnNaN(every)], losses)


def test_finite_losses_train_to_the_end() -> None:
    engine = run([StopOnNaN(every=2)], [{"loss": 1e30}, {"loss": -5.0}] * 4, epochs=2)
    assert engine.state.iteration == 8


def test_one_line_per_epoch_with_losses_and_the_validation_of_that_epoch(caplog: pytest.LogCaptureFixture) -> None:
    evaluator = Engine(lambda engine, batch: None)
    evaluator.run([0], max_epochs=1)
    evaluator.state.metrics = {"ssim_fov": 0.71234}
    evaluator.state.epoch = 2
    with caplog.at_level(logging.INFO, "retina_monai"):
        run(
            [EpochLosses(), EpochLine(evaluator)],
            [{"loss": 1.0}, {"loss": 2.0}, {"loss": 4.0}, {"loss": 4.0}],
            epochs=2,
        )
    lines = [record.getMessage() for record in caplog.records if record.name == "retina_monai"]
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2: loss 1.5000 (") and lines[0].endswith(" it/s)")
    assert lines[1].startswith("epoch 2/2: loss 4.0000, ssim_fov 0.7123 (")


def test_a_formula_stands_behind_its_metric(caplog: pytest.LogCaptureFixture) -> None:
    evaluator = Engine(lambda engine, batch: None)
    evaluator.run([0], max_epochs=1)
    evaluator.state.metrics = {"selection": 0.5, "dice": 0.25}
    evaluator.state.formulas = {"selection": "faithfulness without KID"}
    with caplog.at_level(logging.INFO, "retina_monai"):
        run([EpochLine(evaluator)], [{"loss": 1.0}])
    (line,) = (record.getMessage() for record in caplog.records if record.name == "retina_monai")
    assert line.startswith("epoch 1/1: selection 0.5000 (faithfulness without KID), dice 0.2500 (")


@pytest.mark.parametrize(("patience", "lines"), [(0.0, [2]), (1e6, [])])
def test_the_first_epoch_says_how_long_it_will_take(
    patience: float, lines: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run: that of the third epoch is one that was resumed after the second."""
    engine = engine_of_losses()
    EpochLine(patience=patience).attach(engine)

    @engine.on(Events.STARTED)
    def resume() -> None:
        engine.state.epoch, engine.state.iteration = 2, 6

    with caplog.at_level(logging.INFO, "retina_monai"):
        engine.run([{"loss": 1.0}] * 3, max_epochs=4)
    texts = [record.getMessage() for record in caplog.records if record.name == "retina_monai"]
    forecasts = [text for text in texts if " iterations after " in text]
    assert [int(text.split()[2]) for text in forecasts] == lines
    assert all(
        re.match(r"epoch 3/4: 2 of 3 iterations after 0 s, about 0 s an epoch and 0 s in all$", text)
        for text in forecasts
    )
    assert [text.partition(":")[0] for text in texts if text not in forecasts] == ["epoch 3/4", "epoch 4/4"]


def test_other_ranks_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "retina_monai"):
        run([EpochLosses(), EpochLine(enabled=False)], [{"loss": 1.0}])
    assert not [record for record in caplog.records if record.name == "retina_monai"]
