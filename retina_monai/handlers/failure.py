"""What is put in order when a run fails, whichever handlers it has."""

from __future__ import annotations

from collections.abc import Callable

from ignite.engine import Engine, Events

__all__ = ["on_failure"]


def on_failure(engine: Engine, clean_up: Callable[[], None]) -> None:
    """Call ``clean_up`` when a run of an engine fails, and raise its error after all that was to be cleaned up.

    Ignite drops an exception as soon as ``EXCEPTION_RAISED`` has any handler, unless a handler raises it again, and
    then calls no further one. So no ``clean_up`` raises it: one handler does, which stays behind all others, in
    whatever order they are attached. Only a foreign handler that was attached earlier and raises the error too (MONAI's
    ``StatsHandler``) comes first: attach it last.

    Args:
        engine: whose run may fail.
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
