"""Eyes as a data set: the deterministic part cached, the random part drawn from (seed, epoch, index) alone."""

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
    """MONAI's ``PersistentDataset``, with an in-memory share and random transforms that a resumed run repeats.

    What precedes the first random transform is computed once per file: kept in memory up to ``memory_mb``, on disk in
    ``cache_dir`` beyond (and for the next run). Size and modification time of each file are part of the key, so a file
    that changed is read again.

    Args:
        data: datalist items; every text that is the path of a file enters the key by the file's size and time.
        transform: MONAI transforms; deterministic ones first.
        cache_dir: folder of the disk cache; ``None`` keeps nothing on disk. Where its disk is full, what is read from
            then on is not kept either, and a warning says so.
        memory_mb: budget of the in-memory share in MiB (2^20 bytes).
        seed: of the random transforms. Item ``(epoch, index)`` is the same whatever was drawn before, in any worker.
        skip_unreadable: a switch: leave out the eyes in whose pictures a transform finds a mistake, and log them.

    Raises:
        RetinaError: what the transforms found wrong with all eyes, in one sentence; no eye is left; ``cache_dir``
            cannot be made. Beyond the budget, eyes are read here only if ``cache_dir`` keeps what was read; else a
            mistake in one comes up in its turn.
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
        """The item at ``index`` as in epoch 0, or at ``(epoch, index)``, with a ``latent`` of its own for its noise."""
        epoch, place = index if isinstance(index, tuple) else (0, index)
        self.transform.set_random_state(seed=augmentation_seed(self.seed, int(epoch), int(place)))
        with untracked():
            item = self._post_transform(self.deterministic(int(place)))
        return {**item, "latent": draw_latent(self.seed, int(place), int(epoch))}

    def deterministic(self, place: int) -> dict[str, Any]:
        """The item at ``place`` as it is cached: before the first random transform."""
        return dict(self.memory[place]) if place in self.memory else dict(self._cachecheck(self.data[place]))

    def _cachecheck(self, item_transformed: Any) -> Any:
        """MONAI's; a cached file that a kill cut short is written anew, and a full disk of the cache is gone without.

        Raises:
            RetinaError: of a transform, without MONAI's wrapping, of which a loader's worker would hand on no more.
        """
        try:
            return super()._cachecheck(item_transformed)
        except (RuntimeError, EOFError, OSError) as error:
            if mistake := root_error(error):
                raise RetinaError(str(mistake)) from error
            if self.cache_dir is None:
                raise
            if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):  # torch's, where the disk is full
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
        """The file of the disk cache that holds an item, once it was computed."""
        return Path(self.cache_dir or "") / f"{_content_key(item).decode()}{self.transform_hash}.pt"

    def _fill(self, budget: float, skip_unreadable: bool) -> None:
        """Compute (or read from disk) what fits the budget, in order, before workers are forked: they share it.

        What does not fit is computed where a disk cache keeps it, so that all mistakes are found now.
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
    """``(epoch, index)`` pairs, shared out over a process group; for training shuffled by (seed, epoch) alone.

    For training all ranks get equally many; the few pairs that do not divide are left out of this epoch, so that a
    group of ``n`` processes at batch ``b`` sees exactly the batches of one process at ``n * b``. For validation every
    pair is one rank's and none is left out or repeated: consecutive ones, so that what the ranks found, one after the
    other, is in the order of one process (:func:`retina_monai.group.own_share`); a rank may have none.

    Args:
        dataset: what is indexed.
        seed: of the shuffling.
        shuffle: for training; if not, the order is that of the data set.
        batch_size: of one process.
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
    """A loader whose order and augmentation depend on (seed, epoch, index) alone; it draws nothing from torch.

    Args:
        dataset: eyes.
        batch_size: of one process; a training batch that is not full is left out.
        num_workers: processes that load.
        shuffle: for training; otherwise this process's eyes in the order of the data set, the last, partial batch too.
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
    """Without MONAI's record of applied transforms, which no sample needs: it takes a sixth of the loading time."""
    tracked = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(tracked)


@cache
def _warn_of_full_cache(cache_dir: Path) -> None:
    logger.warning("cache_dir %s cannot be written, its disk may be full: going on without it", cache_dir)


def _content_key(item: dict[str, Any]) -> bytes:
    """SHA-256 over the item and the size and modification time of each file that it names."""
    files = {}
    for key, value in item.items():
        if isinstance(value, str) and (path := Path(value)).is_file():
            status = path.stat()
            files[key] = (status.st_size, status.st_mtime_ns)
    return hashlib.sha256(json.dumps([item, files], sort_keys=True).encode()).hexdigest().encode()
