"""Synthesise retinal images with their labels.

``retina_monai.load("pix2pix_vessel")(vessel)`` generates a photograph from a vessel map,
``retina_monai.generate("pix2pix_vessel", n=4, seed=0)`` generates the vessels as well, and
``retina_monai.load("iternet_vessel")(photograph)`` segments the vessels of a photograph. Importing this package imports
neither torch nor MONAI. Its subpackages (``retina_monai.data``, ``retina_monai.networks``, ...) are imported on first
access.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from retina_monai.synthesis import generate, load

__all__ = ["__version__", "generate", "load"]


def __getattr__(name: str) -> Any:
    if name in ("generate", "load"):
        return getattr(importlib.import_module("retina_monai.synthesis"), name)
    if any(module.name == name for module in pkgutil.iter_modules(__path__)):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
