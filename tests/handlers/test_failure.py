"""A run that fails: everything is put in order, and the error reaches whoever started it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ignite.engine import Engine, Events
from mlflow import MlflowClient

from retina_monai.handlers import Checkpoints, Tracker, sqlite_uri
from retina_monai.handlers.failure import on_failure


class Logs:
    """A handler of someone else's that looks at the error and does not raise it again."""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: None)


def fail(handlers: Sequence[Any], error: type[BaseException]) -> None:
    def stumble(engine: Engine, batch: Any) -> None:
        raise error

    engine = Engine(stumble)
    for handler in handlers:
        handler.attach(engine)
    with pytest.raises(error):
        engine.run([0], max_epochs=1)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("order", [*permutations(range(3)), (0,), (0, 2), (2, 0)])
def test_whichever_handlers_are_attached(tmp_path: Path, order: Sequence[int], error: type[BaseException]) -> None:
    tracker = Tracker(sqlite_uri(tmp_path), "bundle", tmp_path)
    assert tracker.enabled
    checkpoints = Checkpoints(tmp_path, SimpleNamespace(network=None), tracker=tracker)
    fail([(checkpoints, tracker, Logs())[place] for place in order], error)
    assert not (tmp_path / ".lock").exists()
    if 1 in order:
        assert MlflowClient(sqlite_uri(tmp_path)).get_run(str(tracker.run_id)).info.status == "FAILED"


def test_a_handler_attached_after_the_run_was_set_up_does_not_swallow_the_error() -> None:
    engine, done = Engine(lambda engine, batch: 1 / batch), []
    on_failure(engine, lambda: done.append("first"))
    engine.add_event_handler(Events.STARTED, lambda: on_failure(engine, lambda: done.append("second")))
    Logs().attach(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([0])
    assert set(done) == {"first", "second"}
