"""Eyes that several patches are taken of in an epoch, and the promise that none of them was generated."""

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
    """Each eye several times in an epoch, with another patch each time; in memory and on disk it is there once.

    Args:
        eyes: to repeat.
        times: how often.
    """

    def __init__(self, eyes: CachedEyes, times: int) -> None:
        super().__init__(eyes.data)
        self.eyes = eyes
        self.times = times
        self.seed = eyes.seed

    def __len__(self) -> int:
        return self.times * len(self.eyes)

    def __getitem__(self, index: Any) -> Any:
        """The item at ``index``, or at ``(epoch, index)``: of each its own random transforms."""
        epoch, place = index if isinstance(index, tuple) else (0, index)
        time, eye = divmod(int(place), len(self.eyes))
        return self.eyes[int(epoch) * self.times + time, eye]


def refuse_synthetic(datalist: Datalist, dataset_dir: Any, allow_synthetic: bool = False) -> None:
    """Refuse to train what judges generated photographs on generated photographs, phantoms included.

    Args:
        datalist: lists of eyes by their split.
        dataset_dir: what the user gave; ``None``: phantoms, which is logged where they are made.
        allow_synthetic: refuse nothing.

    Raises:
        RetinaError: the data set's files say that they are synthetic.
    """
    if dataset_dir is None or allow_synthetic:
        return
    found = [str(item["name"]) for item in _eyes(datalist) if is_synthetic(item)]
    if found:
        raise RetinaError(
            f"dataset_dir {dataset_dir} holds {len(found)} eyes that say they are synthetic ({join_first(found, 3)}): "
            "give real ones, or --allow_synthetic true and keep the weights from judging what is generated"
        )


def _eyes(datalist: Datalist) -> Iterable[Item]:
    return (item for items in datalist.values() for item in items)
