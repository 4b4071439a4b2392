"""Sets of phantoms to evaluate, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from scipy import ndimage

from retina_monai.data import generate_phantom
from retina_monai.evaluation.measuring.eye import Condition, Eye

SIZE = 64


@cache
def phantom(seed: int, size: int = SIZE) -> Eye:
    """A real eye; two of a patient."""
    drawn = generate_phantom(seed, size)
    masks = {"vessel": drawn["vessel"][0].astype(np.float32)}
    name, patient = f"eye{seed}", f"patient{seed // 2}"
    return Eye(name, patient, "phantoms", drawn["image"], drawn["fov"][0].astype(bool), masks, "training")


def real_set(count: int, first: int = 0, size: int = SIZE) -> list[Eye]:
    return [phantom(seed, size) for seed in range(first, first + count)]


def synthetic_set(
    eyes: list[Eye], change: Callable[[np.ndarray], np.ndarray] = lambda image: image, augmented: bool = False
) -> list[Eye]:
    """The same photographs, changed, as if painted around the same vessel maps."""
    return [
        replace(
            eye,
            name=f"synthetic-{eye.name}",
            split="",
            image=np.clip(np.rint(change(eye.image.astype(np.float64))), 0, 255).astype(np.uint8) * eye.fov,
            condition=Condition(eye.patient, eye.name, augmented),
        )
        for eye in eyes
    ]


def blurred(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image, (0, 2, 2))


def noisy(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng(int(image.sum())).normal(0, 3, image.shape)
