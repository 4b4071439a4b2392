"""Reading of an engine's output by metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.metrics import Metric
from monai.utils import convert_to_tensor
from torch import Tensor

__all__ = ["read_tensor"]


def read_tensor(metric: Metric, item: Mapping[str, Any], key: str) -> Tensor:
    """One entry of one image's dictionary, without metadata.

    Raises:
        KeyError: the dictionary has no such key.
    """
    if key not in item:
        raise KeyError(f"{type(metric).__name__} finds no {key!r} in the engine's output, which has {sorted(item)}")
    tensor: Tensor = convert_to_tensor(item[key], track_meta=False)
    return tensor
