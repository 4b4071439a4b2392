"""Every derivation of a random seed.

What is drawn for a sample depends on the seed of the run and the sample's index (in a training, on the epoch too), and
on nothing else: not on batch sizes, processes or interruptions. Each use has a stream of its own, independent of the
others.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

__all__ = [
    "appearance_number",
    "augmentation_seed",
    "draw_latent",
    "epoch_noise_seed",
    "phantom_seed",
    "texture_generator",
    "warp_generator",
]

NO_EPOCH = 2**32 - 1
WARP = 0x77617270
TEXTURE = b"texture"


def draw_latent(seed: int, index: int, epoch: int = NO_EPOCH) -> int:
    """The number from which all noise of a sample is hashed, in [0, 2^63).

    Args:
        seed: of the run, below 2^32.
        index: of the sample, below 2^32.
        epoch: of a training, below 2^32 - 1; generated samples have none, hence no noise of any training.
    """
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)[0] >> 1)


def texture_generator(seed: int, index: int) -> np.random.Generator:
    """The generator that draws the texture of sample ``index``."""
    return np.random.default_rng((seed, index, *TEXTURE))


def warp_generator(seed: int, index: int) -> np.random.Generator:
    """The generator that draws the warp of vessel map ``index``."""
    return np.random.default_rng([WARP, seed, index])


def phantom_seed(seed: int, index: int) -> int:
    """The seed of the phantom from whose vessel tree sample ``index`` is generated, in [0, 2^32)."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])


def appearance_number(seed: int, index: int) -> int:
    """A number in [0, 2^64) that chooses the appearance of sample ``index``."""
    return _hashed("appearance", seed, index)


def augmentation_seed(seed: int, epoch: int, index: int) -> int:
    """The seed of the random transforms of eye ``index`` in an epoch, in [0, 2^32); -1: of the order of the eyes."""
    return _hashed(seed, epoch, index) >> 32


def epoch_noise_seed(seed: int, epoch: int, rank: int) -> int:
    """The seed of torch's own generator (dropout, say) of a process in an epoch, in [0, 2^63)."""
    return _hashed("noise", seed, epoch, rank) >> 1


def _hashed(*words: str | int) -> int:
    """64 bits of the SHA-256 of words and numbers."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:8], "big")
