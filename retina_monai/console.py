"""Errors as a user reads them: importing this module makes the root ``RetinaError`` the last line on the screen.

MONAI and Fire wrap an error in several others. The configs import this module, so that a mistake ends with one
sentence and exit status 1; ``RETINA_DEBUG=1`` brings the traceback back. Library users catch ``RetinaError``.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from retina_monai.errors import root_error

__all__ = ["install_excepthook"]

_previous = sys.excepthook


def install_excepthook() -> None:
    """Print the root ``RetinaError`` of an uncaught exception as the last line; other exceptions as before."""
    sys.excepthook = _excepthook


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    mistake = root_error(error)
    if mistake is None or os.environ.get("RETINA_DEBUG") == "1":
        _previous(kind, error, traceback)
    if mistake is not None:
        sys.stdout.flush()
        print(f"error: {mistake}", file=sys.stderr, flush=True)


install_excepthook()
