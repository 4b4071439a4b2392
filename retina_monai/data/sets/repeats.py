"""Repeat or balance eyes within an epoch, and reject synthetic ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.data import Dataset

from retina_monai.data.files.writing import is_synthetic
from retina_monai.data.listing.layout import Datalist
from retina_monai.data.sets.dataset import CachedEyes
from retina_monai.errors import RetinaError, join_first
from retina_monai.seeds import augmentation_seed
from retina_monai.settings import Number, Rule

__all__ = ["BalancedEyes", "RepeatedEyes", "refuse_synthetic"]

SETTINGS: dict[str, Rule] = {"found_weight": Number(0, open="low")}

FIRST = -2  # augmentation_seed has -1 for the order of eyes


class RepeatedEyes(Dataset):
    """Repeat each eye within an epoch, with different random transforms but a shared cache.

    Args:
        eyes: data set to repeat.
        times: number of repetitions.
    """

    def __init__(self, eyes: CachedEyes, times: int) -> None:
        super().__init__(eyes.data)
        self.eyes = eyes
        self.times = times
        self.seed = eyes.seed

    def __len__(self) -> int:
        return self.times * len(self.eyes)

    def __getitem__(self, index: Any) -> Any:
        """The item at ``index`` in epoch 0, or at ``(epoch, index)``."""
        epoch, place = index if isinstance(index, tuple) else (0, index)
        time, eye = divmod(int(place), len(self.eyes))
        return self.eyes[int(epoch) * self.times + time, eye]


class BalancedEyes(Dataset):
    """Draw the eyes of every camera equally often, or in given proportions.

    An epoch has as many draws as there are eyes. Each eye is drawn in proportion to its weight by systematic sampling:
    its number of draws differs from the expected number by less than one. Repeated draws of an eye in an epoch differ
    in their random transforms. If all weights are equal, each eye is drawn once.

    Args:
        eyes: data set to draw from. The camera of an item is its ``dataset``.
        found_weight: weight of an eye whose vessel map was segmented by a network (``vessel_by``), relative to one with
            a map drawn by an observer.
        camera_weights: weight of each camera by name, 1 if not listed.

    Raises:
        RetinaError: a weight is not positive.
    """

    def __init__(
        self, eyes: CachedEyes, found_weight: float = 1.0, camera_weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(eyes.data)
        self.eyes = eyes
        self.seed = eyes.seed
        given = dict(camera_weights or {})
        for camera, weight in given.items():
            if not (isinstance(weight, int | float) and weight > 0):
                raise RetinaError(f"camera_weights of {camera} must be > 0, got {weight}")
        cameras = Counter(item.get("dataset") for item in eyes.data)
        weights = [
            given.get(item.get("dataset", ""), 1.0)
            * (found_weight if item.get("vessel_by") else 1.0)
            / cameras[item.get("dataset")]
            for item in eyes.data
        ]
        expected = len(weights) * np.array(weights) / sum(weights)
        self._ends = np.cumsum(expected)
        self._most = int(np.ceil(expected.max() - 1e-9))

    def __getitem__(self, index: Any) -> Any:
        """The item at ``index`` in epoch 0, or at ``(epoch, index)``."""
        epoch, place = index if isinstance(index, tuple) else (0, index)
        offset = augmentation_seed(self.seed, int(epoch), FIRST) / 2**32
        eye = min(int(np.searchsorted(self._ends, int(place) + offset, side="right")), len(self.eyes) - 1)
        first = int(np.ceil(self._ends[eye - 1] - offset)) if eye else 0
        return self.eyes[int(epoch) * self._most + int(place) - first, eye]


def refuse_synthetic(datalist: Datalist, dataset_dir: Any, allow_synthetic: bool = False) -> None:
    """Reject synthetic photographs, including phantoms, as training data of judges of synthetic photographs.

    Args:
        datalist: items by split.
        dataset_dir: data set given by the user. ``None`` stands for phantoms and is accepted, since they are logged
            where they are created.
        allow_synthetic: whether to skip the check.

    Raises:
        RetinaError: if items are marked as synthetic.
    """
    if dataset_dir is None or allow_synthetic:
        return
    found = [str(item["name"]) for items in datalist.values() for item in items if is_synthetic(item)]
    if found:
        raise RetinaError(
            f"dataset_dir {dataset_dir} holds {len(found)} eyes marked as synthetic ({join_first(found, 3)}): give "
            "real ones, or give --allow_synthetic true and do not use the weights to judge synthetic photographs"
        )
