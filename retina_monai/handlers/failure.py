"""Clean up when a run fails."""

from __future__ import annotations

from collections.abc import Callable

from ignite.engine import Engine, Events

__all__ = ["on_failure"]


def on_failure(engine: Engine, clean_up: Callable[[], None]) -> None:
    """Call ``clean_up`` when a run of an engine fails, and re-raise the error after all clean-ups.

    Ignite swallows an exception if ``EXCEPTION_RAISED`` has any handler, unless a handler re-raises it. Re-raising
    skips all further handlers. Therefore no ``clean_up`` re-raises: a single handler does, which is kept last whatever
    the order of attachment. Attach other handlers that re-raise (MONAI's ``StatsHandler``) last.

    Args:
        engine: engine whose run may fail.
        clean_up: may be called more than once for one error.
    """

    def call(engine: Engine, error: BaseException) -> None:
        clean_up()

    engine.add_event_handler(Events.EXCEPTION_RAISED, call)
    _raise_last(engine)
    engine.add_event_handler(Events.STARTED, _raise_last)


def _raise_last(engine: Engine) -> None:
    if engine.has_event_handler(_raise, Events.EXCEPTION_RAISED):
        engine.remove_event_handler(_raise, Events.EXCEPTION_RAISED)
    engine.add_event_handler(Events.EXCEPTION_RAISED, _raise)


def _raise(engine: Engine, error: BaseException) -> None:
    raise error
