"""Weights for Inception-v3, whose trained ones are not in this repository."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from io import BytesIO

import pytest
import torch
from torch import Tensor

from retina_monai.evaluation.measuring.inception import _torch_fidelity


@cache
def inception_state() -> dict[str, Tensor]:
    """Random ones, with which activations neither die nor explode; random statistics of the batch norms too."""
    if find_spec("torch_fidelity") is None:
        pytest.skip("needs torch-fidelity, which scripts/setup.sh installs")
    nothing = BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)

    class Untrained(_torch_fidelity().FeatureExtractorInceptionV3):
        def load_state_dict(self, state: dict[str, Tensor]) -> None:
            pass

    generator = torch.Generator().manual_seed(0)
    filled = {}
    for name, value in Untrained("untrained", ["2048"], nothing).state_dict().items():
        if name.endswith(("running_var", "bn.weight")):
            filled[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.is_floating_point():
            fan = value[0].numel() if value.ndim > 1 else 100
            filled[name] = torch.randn(value.shape, generator=generator) * (2 / fan) ** 0.5
        else:
            filled[name] = value
    return filled
