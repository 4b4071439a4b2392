from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: $RETINA_DATA, or shared/data beside the repository; skips where there is none."""
    folder = Path(os.environ.get("RETINA_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data, and {folder} is not there: set RETINA_DATA")
    return folder


@pytest.fixture(scope="session")
def real_set(real_data: Path) -> Callable[[str], Path]:
    """From a data set's name to its folder; skips where it is not there."""

    def folder(name: str) -> Path:
        if not (real_data / name).is_dir():
            pytest.skip(f"needs {name}, which is not in {real_data}")
        return real_data / name

    return folder
