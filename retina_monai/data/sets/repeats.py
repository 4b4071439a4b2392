"""Repeat eyes within an epoch for patch-based training, and reject synthetic ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from monai.data import Dataset

from retina_monai.data.files.writing import is_synthetic
from retina_monai.data.listing.layout import Datalist, Item
from retina_monai.data.sets.dataset import CachedEyes
from retina_monai.errors import RetinaError, join_first

__all__ = ["RepeatedEyes", "refuse_synthetic"]


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
    found = [str(item["name"]) for item in _eyes(datalist) if is_synthetic(item)]
    if found:
        raise RetinaError(
            f"dataset_dir {dataset_dir} holds {len(found)} eyes marked as synthetic ({join_first(found, 3)}): give "
            "real ones, or give --allow_synthetic true and do not use the weights to judge synthetic photographs"
        )


def _eyes(datalist: Datalist) -> Iterable[Item]:
    return (item for items in datalist.values() for item in items)
