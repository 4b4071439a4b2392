"""Samples without images, for networks that start from noise."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from monai.data import Dataset

from retina_monai.seeds import draw_latent

__all__ = ["Noise"]


class Noise(Dataset):
    """Samples for generation from noise, with ``name``, ``patient`` (equal to the name), ``index`` and ``latent``.

    Sample ``i`` depends only on ``(seed, i)``, so that a set can be enlarged later.

    Args:
        count: number of samples.
        seed: seed of the run.
        finished: names of samples to leave out, such as those of an interrupted run.
    """

    kinds = ()
    """Kinds of image in a sample: none."""

    def __init__(self, count: int, seed: int = 0, finished: Container[str] = ()) -> None:
        super().__init__([index for index in range(count) if _name(index) not in finished])
        self.seed = seed

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that determine the samples."""
        return {"seed": self.seed}

    def _transform(self, index: int) -> dict[str, Any]:
        place = self.data[index]
        name = _name(place)
        return {"name": name, "patient": name, "index": place, "latent": draw_latent(self.seed, place)}


def _name(index: int) -> str:
    return f"sample_{index:05d}"
