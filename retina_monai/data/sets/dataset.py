"""Data set of eyes with cached deterministic transforms and random transforms seeded by (seed, epoch, index)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, PersistentDataset, get_track_meta, set_track_meta
from monai.data.utils import pickle_hashing
from torch.utils.data import Sampler
from tqdm import tqdm

from retina_monai.data.files.checking import refuse_or_skip
from retina_monai.errors import RetinaError, parse_switch, root_error
from retina_monai.files import make_folder
from retina_monai.group import group_rank, group_size, own_share
from retina_monai.seeds import augmentation_seed, draw_latent

__all__ = ["CachedEyes", "SeededSampler", "eye_loader", "untracked"]

logger = logging.getLogger("retina_monai")
Draw = tuple[int, int]


class CachedEyes(PersistentDataset):
    """MONAI's ``PersistentDataset`` with an additional cache in memory and reproducible random transforms.

    The transforms before the first random one are computed once per item. Results are cached in memory up to
    ``memory_mb`` and on disk in ``cache_dir``, which later runs reuse. The cache key includes size and modification
    time of each file, so modified files are read again.

    Args:
        data: datalist items. For each value that is the path of a file, the key includes the file's size and time.
        transform: MONAI transforms, deterministic ones first.
        cache_dir: folder of the disk cache, or ``None`` for no disk cache. If its disk is full, a warning is logged and
            the run continues without it.
        memory_mb: size limit of the cache in memory, in MiB (2^20 bytes).
        seed: seed of the random transforms. Item ``(epoch, index)`` is the same in any order and in any worker.
        skip_unreadable: switch, whether to leave out and log eyes for which a transform raises a ``RetinaError``.

    Raises:
        RetinaError: if transforms raise a ``RetinaError`` for any eye (one sentence lists all); if no eye is left; or
            if ``cache_dir`` cannot be created. Eyes beyond the memory limit are checked here only if there is a disk
            cache. Otherwise their errors are raised on access.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[..., Any] | Sequence[Callable[..., Any]],
        cache_dir: str | Path | None = None,
        memory_mb: float = 2048,
        seed: int = 0,
        skip_unreadable: bool | str = False,
    ) -> None:
        if cache_dir is not None:
            make_folder(cache_dir)
        super().__init__(data, transform, cache_dir, hash_func=_content_key, hash_transform=pickle_hashing)
        self.seed = seed
        self.memory: dict[int, Any] = {}
        self._fill(memory_mb * 2**20, parse_switch(skip_unreadable, "skip_unreadable"))

    def __getitem__(self, index: Any) -> Any:
        """The item at ``index`` in epoch 0, or at ``(epoch, index)``, with a ``latent`` that seeds its noise."""
        epoch, place = index if isinstance(index, tuple) else (0, index)
        self.transform.set_random_state(seed=augmentation_seed(self.seed, int(epoch), int(place)))
        with untracked():
            item = self._post_transform(self.deterministic(int(place)))
        return {**item, "latent": draw_latent(self.seed, int(place), int(epoch))}

    def deterministic(self, place: int) -> dict[str, Any]:
        """The cached item at ``place``, before the first random transform."""
        return dict(self.memory[place]) if place in self.memory else dict(self._cachecheck(self.data[place]))

    def _cachecheck(self, item_transformed: Any) -> Any:
        """Extend MONAI's method: truncated cache files are rewritten, and the cache is dropped if its disk is full.

        Raises:
            RetinaError: if a transform raises one. MONAI's wrapper is removed, since a loader's worker would lose it.
        """
        try:
            return super()._cachecheck(item_transformed)
        except (RuntimeError, EOFError, OSError) as error:
            if mistake := root_error(error):
                raise RetinaError(str(mistake)) from error
            if self.cache_dir is None:
                raise
            if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):  # torch's error if the disk is full
                _warn_of_full_cache(self.cache_dir)
                self._cached(item_transformed).unlink(missing_ok=True)
                self.cache_dir = None
                return super()._cachecheck(item_transformed)
            cached = self._cached(item_transformed)
            if not cached.is_file():
                raise
            cached.unlink(missing_ok=True)
            return super()._cachecheck(item_transformed)

    def _cached(self, item: dict[str, Any]) -> Path:
        """Path of an item in the disk cache."""
        return Path(self.cache_dir or "") / f"{_content_key(item).decode()}{self.transform_hash}.pt"

    def _fill(self, budget: float, skip_unreadable: bool) -> None:
        """Fill the cache in memory up to ``budget`` bytes, before workers are forked so that they share it.

        Items beyond the budget are computed if there is a disk cache, so that all faults are found at once.
        """
        faults: list[list[str]] = []
        kept: list[dict[str, Any]] = []
        for item in tqdm(self.data, desc="reading eyes", leave=False, disable=None):
            try:
                if budget >= 0 or (self.cache_dir is not None and not self._cached(item).is_file()):
                    value = self._cachecheck(item)
                    budget -= sum(part.nbytes for part in value.values() if isinstance(part, torch.Tensor | np.ndarray))
                    if budget >= 0:
                        self.memory[len(kept)] = value
                kept.append(item)
            except RetinaError as error:
                faults.append([str(error)])
        refuse_or_skip(faults, len(self.data), skip_unreadable)
        self.data = kept if faults else self.data


class SeededSampler(Sampler[Draw]):
    """Sample ``(epoch, index)`` pairs, distributed over a process group.

    For training, the order is shuffled by (seed, epoch), and all ranks get the same number of pairs. Remaining pairs
    are left out of the epoch, so that ``n`` processes with batch size ``b`` see exactly the batches of one process with
    batch size ``n * b``.

    For validation, each rank gets consecutive pairs (:func:`retina_monai.group.own_share`), without omission or
    repetition. Concatenating the results of the ranks gives the order of one process. A rank may have no pairs.

    Args:
        dataset: data set to index.
        seed: seed of the shuffling.
        shuffle: whether to sample for training; otherwise the order of the data set is kept.
        batch_size: batch size of one process.
    """

    def __init__(self, dataset: Sized, seed: int = 0, shuffle: bool = True, batch_size: int = 1) -> None:
        self.dataset = dataset
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if not self.shuffle or group_size() == 1:
            return len(own_share(len(self.dataset)))
        return len(self.dataset) // (self.batch_size * group_size()) * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        if not self.shuffle:
            return iter([(self.epoch, index) for index in own_share(len(self.dataset))])
        order = np.random.default_rng(augmentation_seed(self.seed, self.epoch, -1)).permutation(len(self.dataset))
        if group_size() > 1:
            batches = order[: len(self) * group_size()].reshape(-1, group_size(), self.batch_size)
            order = batches[:, group_rank()].reshape(-1)
        return iter([(self.epoch, int(index)) for index in order])


def eye_loader(dataset: CachedEyes, batch_size: int = 1, num_workers: int = 0, shuffle: bool = True) -> DataLoader:
    """Create a loader whose order and augmentation depend only on (seed, epoch, index), not on torch's random state.

    Args:
        dataset: data set of eyes.
        batch_size: batch size of one process. Partial training batches are dropped unless there is no full one.
        num_workers: number of worker processes.
        shuffle: whether to shuffle for training; otherwise this process's eyes are loaded in the order of the data set,
            including the last partial batch.
    """
    return DataLoader(
        dataset,
        sampler=SeededSampler(dataset, dataset.seed, shuffle, batch_size),
        batch_size=batch_size,
        num_workers=num_workers,
        drop_last=shuffle and len(dataset) >= batch_size,
        generator=torch.Generator().manual_seed(dataset.seed),
        pin_memory=torch.cuda.is_available(),
    )


@contextmanager
def untracked() -> Iterator[None]:
    """Disable MONAI's tracking of applied transforms, which is not needed and takes a sixth of the loading time."""
    tracked = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(tracked)


@cache
def _warn_of_full_cache(cache_dir: Path) -> None:
    logger.warning("cache_dir %s cannot be written, its disk may be full: continuing without it", cache_dir)


def _content_key(item: dict[str, Any]) -> bytes:
    """SHA-256 of the item and of size and modification time of each file in it."""
    files = {}
    for key, value in item.items():
        if isinstance(value, str) and (path := Path(value)).is_file():
            status = path.stat()
            files[key] = (status.st_size, status.st_mtime_ns)
    return hashlib.sha256(json.dumps([item, files], sort_keys=True).encode()).hexdigest().encode()
