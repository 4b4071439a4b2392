"""Data sets, phantoms and readers. They are imported on first access, since importing torch is slow."""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Appearances": "sets.appearances",
    "BalancedEyes": "sets.repeats",
    "CachedEyes": "sets.dataset",
    "ColorVessels": "sets.color_vessels",
    "LoadAnatomyd": "sets.anatomy",
    "LoadEyed": "sets.eyes",
    "NetworkInputs": "sets.network_format",
    "Noise": "sets.noise",
    "Photographs": "sets.photographs",
    "RepeatedEyes": "sets.repeats",
    "SeededSampler": "sets.dataset",
    "VesselMaps": "sets.vessel_maps",
    "WithAppearance": "sets.appearances",
    "check_anatomy": "sets.anatomy",
    "check_contents": "files.checking",
    "check_files": "files.checking",
    "choose_splits": "sets.anatomy",
    "collate_photographs": "sets.photographs",
    "eye_loader": "sets.dataset",
    "find_anatomy": "sets.anatomy",
    "find_datalist": "listing.layouts",
    "find_eyes": "sets.eyes",
    "find_photographs": "sets.photographs",
    "fit_label": "sets.vessel_maps",
    "fit_vessel_map": "sets.vessel_maps",
    "fingerprint": "listing.layouts",
    "generate_phantom": "phantom.fundus.fundus_phantom",
    "input_or_phantoms": "sets.eyes",
    "outpainting_input": "sets.color_vessels",
    "refuse_synthetic": "sets.repeats",
    "repeat_photographs": "sets.anatomy",
    "write_phantoms": "phantom.fundus.fundus_phantom",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
