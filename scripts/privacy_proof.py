"""Measure the sensitivity of the privacy report to planted copies of real eyes, and its false positives.

Prints a Markdown table. Patients are split into folds. For each fold the eyes of the other folds are the training set,
which sets the threshold and is copied, and the eyes of the fold are unseen. Every eye is copied once in each way.

    python scripts/privacy_proof.py DATA/CHASE_DB1 DATA/HRF DATA/FIVES DATA/IDRiD

In a folder without vessel maps, each photograph is treated as a separate patient.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F
from tqdm import tqdm

from retina_monai.data import LoadEyed, find_datalist
from retina_monai.data.files.reading import read_photograph
from retina_monai.data.sets.eyes import find_fov
from retina_monai.errors import RetinaError
from retina_monai.metrics.alignment import SIDE, Descriptor, Gallery, describe
from retina_monai.metrics.privacy import clopper_pearson, copy_threshold
from retina_monai.transforms.field_of_view import crop_square, fov_box, resize_area

FOLDS = 4
RATE = 0.05
CLEAN = 19  # unseen eyes per copy, so that copies are 5 % of the set
Photograph = tuple[NDArray[np.uint8], NDArray[np.bool_]]
Eye = tuple[str, NDArray[np.uint8], NDArray[np.bool_]]


def moved(photograph: Photograph, degrees: float = 0.0, size: float = 1.0, shift: float = 0.0) -> Photograph:
    """Rotate, crop and shift a photograph; ``size`` and ``shift`` are shares of its side length."""
    cosine, sine = size * np.cos(np.radians(degrees)), size * np.sin(np.radians(degrees))
    placement = torch.tensor([[[cosine, -sine, shift], [sine, cosine, shift]]], dtype=torch.float32)
    planes = torch.from_numpy(np.concatenate([photograph[0], 255 * photograph[1][None].astype(np.uint8)])).float()[None]
    grid = F.affine_grid(placement, list(planes.shape), align_corners=False)
    pixels = F.grid_sample(planes, grid, mode="bicubic", align_corners=False)[0].clamp(0, 255).round().numpy()
    return pixels[:3].astype(np.uint8), pixels[3] >= 128


def recompressed(photograph: Photograph, quality: int) -> Photograph:
    file = io.BytesIO()
    Image.fromarray(photograph[0].transpose(1, 2, 0)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).transpose(2, 0, 1).copy(), photograph[1]


COPIES: dict[str, Callable[[Photograph], Photograph]] = {
    "exact": lambda p: p,
    "flipped": lambda p: (p[0][:, :, ::-1].copy(), p[1][:, ::-1].copy()),
    "brightened by 30 %": lambda p: ((p[0] * 1.3).clip(0, 255).astype(np.uint8), p[1]),
    "cropped by 5 %": lambda p: moved(p, size=0.95, shift=0.02),
    "rotated by 5 degrees": lambda p: moved(p, degrees=5),
    "recompressed (JPEG, quality 30)": lambda p: recompressed(p, 30),
    "all but recompressed, at once": lambda p: COPIES["brightened by 30 %"](COPIES["flipped"](moved(p, 5, 0.95, 0.02))),
}


def read(folder: Path) -> list[Eye]:
    try:
        items = [item for part in find_datalist(folder).values() for item in part]
        eyes = [(item["patient"], LoadEyed(SIDE)(item)) for item in tqdm(items, desc=folder.name, disable=None)]
        return [(patient, eye["image"].numpy(), eye["fov"][0].numpy() >= 128) for patient, eye in eyes]
    except (RetinaError, KeyError):
        paths = sorted(path for path in folder.rglob("*.jpg") if not path.name.startswith("."))
        return [(str(path), *read_plain(path)) for path in tqdm(paths, desc=folder.name, disable=None)]


def read_plain(path: Path) -> Photograph:
    image = read_photograph(path)
    fov = find_fov(image, path)
    box = fov_box(fov)
    fitted = [resize_area(crop_square(a.astype(np.float32), box), SIDE) for a in (image, 255 * fov)]
    return np.rint(fitted[0]).astype(np.uint8), fitted[1][0] >= 128


def scores(gallery: Gallery, descriptor: Descriptor, leave_out: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """The highest copy score, and the highest score of the texture between the vessels."""
    found = gallery.nearest(descriptor, leave_out)
    return found[0].score, max(match.between for match in found)


def measure(eyes: list[Eye], seed: int = 0) -> dict[str, list[tuple[float, float, float, float, float]]]:
    """Kind of eye -> per eye both scores, both thresholds, and the highest score among ``CLEAN`` unseen eyes."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(sorted({patient for patient, *_ in eyes}))
    fold_of = {patient: place % FOLDS for place, patient in enumerate(names)}
    folds, patients = np.array([fold_of[eye[0]] for eye in eyes]), np.array([eye[0] for eye in eyes])
    descriptors = [describe(image, fov) for _, image, fov in eyes]
    results: dict[str, list[tuple[float, float, float, float, float]]] = {"unseen": [], **{kind: [] for kind in COPIES}}
    for fold in range(FOLDS):
        training = np.flatnonzero(folds != fold)
        gallery = Gallery([descriptors[place] for place in training])
        owners = patients[training]
        real = [scores(gallery, descriptors[place], owners == patients[place]) for place in tqdm(training, "training")]
        limits = [copy_threshold(column, owners, RATE).value for column in zip(*real, strict=True)]
        unseen = [scores(gallery, descriptors[place]) for place in tqdm(np.flatnonzero(folds == fold), "unseen")]
        results["unseen"] += [(*pair, limits[0], limits[1], 0.0) for pair in unseen]
        planted = [place for place in training if fold_of[patients[place]] == (fold + 1) % FOLDS]
        for kind, alter in COPIES.items():
            for place in tqdm(planted, kind):
                found = scores(gallery, describe(*alter(eyes[place][1:])))
                clean = rng.choice([score for score, _ in unseen], min(CLEAN, len(unseen)), replace=False)
                results[kind].append((*found, limits[0], limits[1], float(clean.max())))
    return results


def share(hits: NDArray[np.bool_]) -> str:
    low, high = clopper_pearson(int(hits.sum()), len(hits))
    return f"{hits.sum()} of {len(hits)}: {hits.mean():.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    torch.set_num_threads(1)
    eyes = [eye for folder in sys.argv[1:] for eye in read(Path(folder))]
    print(
        "| judged | called a copy | by what is between the vessels | first in a set of 20 | lowest, median, highest |"
    )
    print("|---|---|---|---|---|")
    for kind, rows in measure(eyes).items():
        score, between, limit, limit_between, clean = np.array(rows).T
        spread = ", ".join(f"{value:.2f}" for value in np.quantile(score, [0, 0.5, 1]))
        first = "" if kind == "unseen" else share(score > clean)
        print(f"| {kind} | {share(score > limit)} | {share(between > limit_between)} | {first} | {spread} |")


if __name__ == "__main__":
    main()
