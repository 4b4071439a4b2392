"""Refuse synthetic sets that contain information on test eyes, since networks trained on them could not be tested.

The manifest records from whose mask each photograph was made. It may be wrong, as in a copied folder or for maps
without their data set, so the vessel maps are also compared. They are first normalised to one centre and one spread, so
that cropped and resized maps are recognised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from retina_monai.errors import RetinaError, join_first
from retina_monai.evaluation.measuring.eye import Eye, Eyes
from retina_monai.progress import progress

__all__ = ["LeakError", "refuse_leaks"]

GRID = 128  # side in points of the grid on which maps are compared
SPREAD = 0.22  # root mean square distance of the vessels from their centre, in sides of the grid
FINE = 3  # points; wider structures, such as the arcades, are alike in all eyes and are removed
SCALES = (0.94, 0.97, 1.0, 1.03, 1.06)  # tested scales and shifts in points, since cropping changes centre and spread
SHIFTS = (-4, -2, 0, 2, 4)
SAME = 0.35  # correlation. For each of 68 eyes (CHASE_DB1, HRF, FIVES) it is at least 0.40 with itself: in its whole
# frame, cropped by 5 % per side, or drawn by a second observer. It is at most 0.31 with the other eyes, mirrored or
# not, and at most 0.26 with itself after the warp of ``synthesize --augment``
ADVICE = "write the set from training maps or phantoms: synthesize --split training --augment 1"

Floats = NDArray[np.float32]


class LeakError(RetinaError):
    """The set may contain information on a test patient, so usefulness cannot be measured; other families can."""


def refuse_leaks(synthetic: Eyes, training: Eyes, test: Eyes, key: str = "vessel") -> None:
    """Refuse sets that may contain information on a test patient.

    Args:
        synthetic: synthetic eyes, read once.
        training: real eyes.
        test: real eyes.
        key: the mask that is learned. Vessel maps are compared by similarity, whichever mask is learned, since no two
            eyes share one. Other masks must be equal pixel by pixel.

    Raises:
        LeakError: a synthetic eye does not record its patient, was made from the mask of a test patient, or has one; a
            patient is in both the training and the test split.
    """
    known = _Known(test, key)
    if both := sorted({eye.patient for eye in training} & known.patients):
        raise LeakError(f"{join_first(both)}: patients are both in training and in test: correct the splits")
    unknown, derived, shown = [], [], []
    for eye in progress(synthetic, "usefulness: looking for test eyes"):
        if eye.condition is None or not eye.condition.patient:
            unknown.append(eye.name)
        elif patients := known.patients & {eye.condition.patient, eye.patient}:
            derived.append(f"{eye.name} (of {min(patients)})")
        elif twin := known.twin(eye):
            shown.append(f"{eye.name} (of {twin})")
    count = len(synthetic)
    if unknown:
        raise LeakError(
            f"{len(unknown)} of {count} synthetic eyes do not record from whose mask they were made "
            f"({join_first(unknown, 3)}), so test eyes may be among them: {ADVICE}"
        )
    if derived:
        raise LeakError(
            f"{len(derived)} of {count} synthetic eyes were made from masks of test patients "
            f"({join_first(derived, 3)}): {ADVICE}"
        )
    if shown:
        raise LeakError(
            f"{len(shown)} of {count} synthetic eyes have the masks of test eyes, despite their manifest "
            f"({join_first(shown, 3)}): {ADVICE}"
        )


class _Known:
    """Patients of the test eyes, and their masks in the form for comparison."""

    def __init__(self, test: Eyes, key: str) -> None:
        self.key = key
        self.patients: set[str] = set()
        self.names: list[str] = []
        self.equal: dict[bytes, str] = {}
        maps = [np.zeros((0, GRID**2), np.float32)]
        for eye in test:
            self.patients.add(eye.patient)
            if "vessel" in eye.masks and eye.masks["vessel"].any():
                (aligned,) = _aligned(eye.masks["vessel"], 1.0)
                maps += [_flat(aligned), _flat(aligned[:, ::-1])]
                self.names += 2 * [eye.name]
            self.equal |= dict.fromkeys(_contents(eye, key), eye.name)
        self.maps = np.concatenate(maps)

    def twin(self, eye: Eye) -> str:
        """Name of the test eye whose mask a synthetic eye has; empty if there is none."""
        for content in _contents(eye, self.key):
            if content in self.equal:
                return self.equal[content]
        if not self.names or "vessel" not in eye.masks or not eye.masks["vessel"].any():
            return ""
        likeness = (_placed(eye.masks["vessel"]) @ self.maps.T).max(axis=0)
        return self.names[int(likeness.argmax())] if likeness.max() >= SAME else ""


def _contents(eye: Eye, key: str) -> Iterator[bytes]:
    """The mask and its mirror image."""
    masks: Mapping[str, Floats] = eye.masks
    mask = masks[key] >= 0.5 if key in masks else np.zeros((1, 1), bool)
    if mask.any():
        yield np.packbits(mask).tobytes()
        yield np.packbits(mask[:, ::-1]).tobytes()


def _placed(mask: Floats) -> Floats:
    """(N, GRID²), each of length 1: the map at all tested scales and shifts."""
    scaled = _flat(*_aligned(mask, *SCALES)).reshape(-1, GRID, GRID)
    shifted = [np.roll(scaled, (row, column), (1, 2)) for row in SHIFTS for column in SHIFTS]
    return np.concatenate(shifted).reshape(-1, GRID**2)


def _aligned(mask: Floats, *scales: float) -> list[Floats]:
    """(GRID, GRID) each: the fine structure of a map that is not empty, centred, at each scale."""
    place = np.arange(len(mask), dtype=np.float64)
    rows, columns = mask.sum(1) / mask.sum(), mask.sum(0) / mask.sum()
    middle = np.array([rows @ place, columns @ place])
    spread = np.sqrt(rows @ (place - middle[0]) ** 2 + columns @ (place - middle[1]) ** 2)
    step = max(float(spread), 1.0) / (SPREAD * GRID)
    smooth = ndimage.gaussian_filter(np.asarray(mask, np.float32), max(step / 2, 1.0))
    return [_fine(smooth, middle, scale * step) for scale in scales]


def _fine(smooth: Floats, middle: NDArray[np.float64], step: float) -> Floats:
    start = middle - step * (GRID - 1) / 2
    aligned = ndimage.affine_transform(smooth, [step, step], start, (GRID, GRID), order=1, output=np.float32)
    fine: Floats = aligned - ndimage.gaussian_filter(aligned, FINE)
    return fine


def _flat(*aligned: Floats) -> Floats:
    """(N, GRID²), each of length 1, so that products are correlations."""
    flat = np.stack(aligned).reshape(len(aligned), -1)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: Floats = (flat / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
