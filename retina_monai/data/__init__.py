"""Data sets, phantoms, readers. What needs torch is imported when it is first asked for."""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Appearances": "appearances",
    "CachedEyes": "dataset",
    "ColorVessels": "color_vessels",
    "LoadAnatomyd": "anatomy",
    "LoadEyed": "eyes",
    "Photographs": "photographs",
    "RepeatedEyes": "patches",
    "SeededSampler": "dataset",
    "VesselMaps": "vessel_maps",
    "check_anatomy": "anatomy",
    "check_contents": "checking",
    "check_files": "checking",
    "choose_splits": "anatomy",
    "collate_photographs": "photographs",
    "eye_loader": "dataset",
    "find_anatomy": "anatomy",
    "find_datalist": "layouts",
    "find_eyes": "eyes",
    "find_photographs": "photographs",
    "fit_label": "vessel_maps",
    "fit_vessel_map": "vessel_maps",
    "fingerprint": "layouts",
    "generate_phantom": "phantom",
    "input_or_phantoms": "eyes",
    "refuse_synthetic": "patches",
    "repeat_photographs": "anatomy",
    "write_phantoms": "phantom",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
