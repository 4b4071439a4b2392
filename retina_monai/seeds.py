"""All derivations of random seeds.

Random numbers of a sample depend only on the seed of the run and the index of the sample, and in training on the epoch.
They do not depend on batch sizes, processes or interruptions. Each use has its own independent stream.
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
    """The number in [0, 2^63) from which all noise of a sample is hashed.

    Args:
        seed: seed of the run, below 2^32.
        index: index of the sample, below 2^32.
        epoch: epoch of the training, below 2^32 - 1. The default is for generated samples, whose noise thus differs
            from that of any training.
    """
    return int(np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)[0] >> 1)


def texture_generator(seed: int, index: int) -> np.random.Generator:
    """The random generator of the texture of sample ``index``."""
    return np.random.default_rng((seed, index, *TEXTURE))


def warp_generator(seed: int, index: int) -> np.random.Generator:
    """The random generator of the warp of vessel map ``index``."""
    return np.random.default_rng([WARP, seed, index])


def phantom_seed(seed: int, index: int) -> int:
    """The seed in [0, 2^32) of the phantom whose vessel tree is the input of sample ``index``."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])


def appearance_number(seed: int, index: int) -> int:
    """The number in [0, 2^64) that selects the appearance of sample ``index``."""
    return _hashed("appearance", seed, index)


def augmentation_seed(seed: int, epoch: int, index: int) -> int:
    """The seed in [0, 2^32) of the random transforms of eye ``index`` in an epoch; index -1 seeds the order of eyes."""
    return _hashed(seed, epoch, index) >> 32


def epoch_noise_seed(seed: int, epoch: int, rank: int) -> int:
    """The seed in [0, 2^63) of torch's global generator, used by dropout, of a process in an epoch."""
    return _hashed("noise", seed, epoch, rank) >> 1


def _hashed(*words: str | int) -> int:
    """The first 64 bits of the SHA-256 of words and numbers."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:8], "big")
