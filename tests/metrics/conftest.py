from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from unittest.mock import MagicMock

import pytest

ABSENT = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of torch-fidelity by its name; of torchvision, whose data sets and networks it names, a stand-in."""
    for name in ABSENT:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    for name in [name for name in sys.modules if name.startswith("torch_fidelity")]:
        monkeypatch.delitem(sys.modules, name)
    pytest.importorskip("torch_fidelity", reason="needs torch-fidelity, which scripts/setup.sh installs")
    return lambda name: importlib.import_module(f"torch_fidelity.{name}")
