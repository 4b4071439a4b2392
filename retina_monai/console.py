"""Readable errors on the command line: importing this module prints the root ``RetinaError`` as the last line.

MONAI and Fire wrap an error in several others. The configs import this module, so that an invalid input ends the run
with one sentence and exit status 1. ``RETINA_DEBUG=1`` shows the traceback. Library users catch ``RetinaError``.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from retina_monai.errors import root_error

__all__ = ["install_excepthook"]

_previous = sys.excepthook


def install_excepthook() -> None:
    """Print the root ``RetinaError`` of an uncaught exception as the last line. Other exceptions are not affected."""
    sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    root = root_error(error)
    if root is None or os.environ.get("RETINA_DEBUG") == "1":
        _previous(kind, error, traceback)
    if root is not None:
        sys.stdout.flush()
        print(f"error: {root}", file=sys.stderr, flush=True)


install_excepthook()
