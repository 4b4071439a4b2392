"""Every loss that an objective has is explained, and nothing else."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from retina_monai.objectives import DeepSupervision, EncoderTasks, Lama, Pix2Pix


@pytest.mark.parametrize("objective", [DeepSupervision, EncoderTasks, Lama, Pix2Pix])
def test_the_losses_are_those_that_are_explained(objective: Any) -> None:
    methods = [method for name, method in inspect.getmembers(objective, inspect.isfunction) if name.endswith("losses")]
    names = {name for method in methods for name in re.findall(r'"([a-z]_\w+)"', inspect.getsource(method))}
    assert names == set(objective.meanings)
