"""Weights of trainings, to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def checkpoint(folder: Path, epoch: int = 2) -> dict[str, Any]:
    """The checkpoint of an epoch."""
    return torch.load(folder / "checkpoints" / f"epoch_{epoch:04d}.pt", weights_only=True)


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two states have the same tensors."""
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())
