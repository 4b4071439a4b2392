"""Samples of nothing but a number each, for networks that start from noise."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from monai.data import Dataset

from retina_monai.seeds import draw_latent

__all__ = ["Noise"]


class Noise(Dataset):
    """Samples to generate from noise: ``name``, ``patient`` (nobody: its own name), ``index`` and ``latent``.

    Sample ``i`` depends on ``(seed, i)`` alone, so that a set can be enlarged later.

    Args:
        count: how many.
        seed: of the run.
        finished: names to leave out (an interrupted run's, say).
    """

    kinds = ()
    """It has no pictures."""

    def __init__(self, count: int, seed: int = 0, finished: Container[str] = ()) -> None:
        super().__init__([index for index in range(count) if _name(index) not in finished])
        self.seed = seed

    @property
    def settings(self) -> dict[str, Any]:
        """What the samples depend on."""
        return {"seed": self.seed}

    def _transform(self, index: int) -> dict[str, Any]:
        place = self.data[index]
        name = _name(place)
        return {"name": name, "patient": name, "index": place, "latent": draw_latent(self.seed, place)}


def _name(index: int) -> str:
    return f"sample_{index:05d}"
