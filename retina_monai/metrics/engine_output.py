"""What the metrics that attach to an engine have in common: how they read its output and put processes together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import ignite.distributed as idist
from ignite.metrics import Metric
from monai.utils import convert_to_tensor
from torch import Tensor

__all__ = ["gather_parts", "read_tensor"]

Part = TypeVar("Part")


def read_tensor(metric: Metric, item: Mapping[str, Any], key: str) -> Tensor:
    """One entry of one image's dictionary, without metadata.

    Raises:
        KeyError: there is none of that key.
    """
    if key not in item:
        raise KeyError(f"{type(metric).__name__} finds no {key!r} in the engine's output, which has {sorted(item)}")
    tensor: Tensor = convert_to_tensor(item[key], track_meta=False)
    return tensor


def gather_parts(part: Part) -> list[Part]:
    """What each process has seen, in the order of their ranks; any object that can be pickled."""
    if idist.get_world_size() == 1:
        return [part]
    parts: Any = idist.all_gather(part)
    return list(parts)
