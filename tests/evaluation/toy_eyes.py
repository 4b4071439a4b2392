"""Eyes of a few lines of code, whose vessels a network learns in seconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from retina_monai.evaluation.measuring.eye import Condition, Eye
from retina_monai.transforms.field_of_view import circle

SIZE = 48


def toy_eye(number: int, split: str = "training", size: int = SIZE) -> Eye:
    """Dark curves on a bright disc, two eyes of each patient."""
    rng = np.random.default_rng(number)
    fov = circle(size)[0].astype(bool)
    place = np.arange(size)
    mask = np.zeros((size, size), bool)
    for _ in range(4):
        phase, height, length = rng.uniform(0, 2 * np.pi), rng.uniform(2, 8), rng.uniform(10, 25)
        rows = np.rint(rng.uniform(0.15, 0.85) * size + height * np.sin(place / length * 3 + phase)).astype(int)
        mask[rows.clip(0, size - 1), place] = True
        if rng.random() < 0.5:
            mask = mask.T.copy()
    mask = ndimage.binary_dilation(mask) & fov
    light = rng.uniform(90, 160) + rng.normal(0, 6, (size, size)) - 45 * mask
    image = (np.stack([1.2 * light, light, 0.4 * light]) * fov).clip(0, 255).astype(np.uint8)
    disc = (np.hypot(*np.indices((size, size)) - rng.uniform(15, 30, (2, 1, 1))) < rng.uniform(5, 7)) & fov
    masks = {"vessel": mask.astype(np.float32), "disc": disc.astype(np.float32)}
    return Eye(f"eye{number}", f"toy/{number // 2}", "toy", image, fov, masks, split)


def painted(eye: Eye, mask_of: Eye | None = None, patient: str | None = None) -> Eye:
    """A synthetic eye that looks like a real one, with its mask, or with another's."""
    patient = eye.patient if patient is None else patient
    condition = Condition(patient, eye.name, augmented=True)
    masks = (eye if mask_of is None else mask_of).masks
    return replace(eye, name=f"{eye.name}_a1", patient=patient, masks=masks, split="", condition=condition)
