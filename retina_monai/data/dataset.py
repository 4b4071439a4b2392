"""Eyes as a data set: the deterministic part cached, the random part drawn from (seed, epoch, index) alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, PersistentDataset
from monai.data.utils import pickle_hashing
from torch import distributed
from torch.utils.data import Sampler
from tqdm import tqdm

from retina_monai.errors import RetinaError, root_error

__all__ = ["CachedEyes", "SeededSampler", "eye_loader"]

Draw = tuple[int, int]


class CachedEyes(PersistentDataset):
    """MONAI's ``PersistentDataset``, with an in-memory share and random transforms that a resumed run repeats.

    What precedes the first random transform is computed once per file: kept in memory up to ``memory_mb``, on disk in
    ``cache_dir`` beyond (and for the next run). Size and modification time of each file are part of the key, so a file
    that changed is read again.

    Args:
        data: datalist items; every text that is the path of a file enters the key by the file's size and time.
        transform: MONAI transforms; deterministic ones first.
        cache_dir: folder of the disk cache; ``None`` keeps nothing on disk.
        memory_mb: budget of the in-memory share in MiB (2^20 bytes).
        seed: of the random transforms. Item ``(epoch, index)`` is the same whatever was drawn before, in any worker.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[..., Any] | Sequence[Callable[..., Any]],
        cache_dir: str | Path | None = None,
        memory_mb: float = 2048,
        seed: int = 0,
    ) -> None:
        super().__init__(data, transform, cache_dir, hash_func=_content_key, hash_transform=pickle_hashing)
        self.seed = seed
        self.memory: dict[int, Any] = {}
        self._fill(memory_mb * 2**20)

    def __getitem__(self, index: Any) -> Any:
        """The item at ``index`` as in epoch 0, or at ``(epoch, index)``."""
        epoch, place = index if isinstance(index, tuple) else (0, index)
        self.transform.set_random_state(seed=_mix(self.seed, int(epoch), int(place)))
        return self._post_transform(self.deterministic(int(place)))

    def deterministic(self, place: int) -> dict[str, Any]:
        """The item at ``place`` as it is cached: before the first random transform."""
        return dict(self.memory[place]) if place in self.memory else dict(self._cachecheck(self.data[place]))

    def _cachecheck(self, item_transformed: Any) -> Any:
        """MONAI's; a cached file that a kill or a full disk cut short is written anew.

        Raises:
            RetinaError: of a transform, without MONAI's wrapping, of which a loader's worker would hand on no more.
        """
        try:
            return super()._cachecheck(item_transformed)
        except (RuntimeError, EOFError) as error:
            if mistake := root_error(error):
                raise RetinaError(str(mistake)) from error
            if self.cache_dir is None:
                raise
            cached = self.cache_dir / f"{_content_key(item_transformed).decode()}{self.transform_hash}.pt"
            if not cached.is_file():
                raise
            cached.unlink(missing_ok=True)
            return super()._cachecheck(item_transformed)

    def _fill(self, budget: float) -> None:
        """Compute (or read from disk) what fits the budget, in order, before workers are forked: they share it."""
        for place in tqdm(range(len(self.data)), desc="reading eyes", leave=False, disable=None):
            item = self._cachecheck(self.data[place])
            budget -= sum(value.nbytes for value in item.values() if isinstance(value, torch.Tensor | np.ndarray))
            if budget < 0:
                return
            self.memory[place] = item


class SeededSampler(Sampler[Draw]):
    """``(epoch, index)`` pairs; for training shuffled by (seed, epoch) alone and shared out over a process group.

    All ranks get equally many; the few pairs that do not divide are left out of this epoch, so that a group of ``n``
    processes at batch ``b`` sees exactly the batches of one process at ``n * b``.

    Args:
        dataset: what is indexed.
        seed: of the shuffling.
        shuffle: for training; if not, every rank gets the whole data set in its order.
        batch_size: of one process.
    """

    def __init__(self, dataset: Sized, seed: int = 0, shuffle: bool = True, batch_size: int = 1) -> None:
        self.dataset = dataset
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.epoch = 0
        grouped = shuffle and distributed.is_available() and distributed.is_initialized()
        self.rank, self.ranks = (distributed.get_rank(), distributed.get_world_size()) if grouped else (0, 1)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if self.ranks == 1:
            return len(self.dataset)
        return len(self.dataset) // (self.batch_size * self.ranks) * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng(_mix(self.seed, self.epoch, -1)).permutation(order)
        if self.ranks > 1:
            batches = order[: len(self) * self.ranks].reshape(-1, self.ranks, self.batch_size)
            order = batches[:, self.rank].reshape(-1)
        return iter([(self.epoch, int(index)) for index in order])


def eye_loader(dataset: CachedEyes, batch_size: int = 1, num_workers: int = 0, shuffle: bool = True) -> DataLoader:
    """A loader whose order and augmentation depend on (seed, epoch, index) alone; it draws nothing from torch.

    Args:
        dataset: eyes.
        batch_size: of one process; a training batch that is not full is left out.
        num_workers: processes that load.
        shuffle: for training; otherwise the order of the data set and its last, partial batch.
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


def _mix(*numbers: int) -> int:
    """One 32-bit seed from several numbers, by SHA-256."""
    return int.from_bytes(hashlib.sha256(json.dumps(numbers).encode()).digest()[:4], "big")


def _content_key(item: dict[str, Any]) -> bytes:
    """SHA-256 over the item and the size and modification time of each file that it names."""
    files = {}
    for key, value in item.items():
        if isinstance(value, str) and (path := Path(value)).is_file():
            status = path.stat()
            files[key] = (status.st_size, status.st_mtime_ns)
    return hashlib.sha256(json.dumps([item, files], sort_keys=True).encode()).hexdigest().encode()
