"""Measure the realism of phantoms: compare their biomarkers with real eyes, and train a U-Net on phantoms alone.

    python scripts/phantom_realism.py --dataset_dir "['CHASE_DB1','HRF','FIVES']" --output vessels.png --final

prints the tables of docs/phantom.md. Settings were chosen on training and validation eyes; ``--final`` also segments
the test eyes.
"""

from __future__ import annotations

import time

import fire
import numpy as np
import torch
from realism.comparison import comparison
from torch import nn
from tqdm import tqdm

from retina_monai.data import LoadEyed, find_datalist
from retina_monai.data.files.writing import write_png
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.usefulness.segmenter import local_contrast, segment, train_segmenter
from retina_monai.handlers.grid import image_grid
from retina_monai.metrics import dice
from retina_monai.metrics.biomarkers import Biomarkers, measure_biomarkers
from retina_monai.transforms.field_of_view import crop_square, fov_box, resize_area

Eye = dict[str, np.ndarray]
TRAINING_SEEDS = 100_000  # of the U-Net's phantoms: no other part of the project uses them


def main(
    dataset_dir: str | list[str],
    output: str | None = None,
    size: int = 512,
    count: int = 60,
    training: int = 120,
    iterations: int = 800,
    seed: int = 0,
    final: bool = False,
) -> None:
    """Print both tables.

    Args:
        dataset_dir: two or more data sets to compare with.
        output: PNG of twenty vessel maps of phantoms and twenty real ones; by default none is drawn.
        size: side length in pixels to which all eyes are resized.
        count: number of phantoms for biomarkers, with seeds from 0.
        training: number of phantoms to train the U-Net on.
        iterations: training iterations of the U-Net.
        seed: seed of its training.
        final: whether to segment the test eyes too.
    """
    torch.set_num_threads(1)
    real = real_eyes(dataset_dir, size, ["training", "validation"])
    if len(real) < 2:
        raise RetinaError(f"dataset_dir must be two or more data sets, got {dataset_dir}")
    drawn = [phantom_map(number, size) for number in tqdm(range(count), "phantoms", disable=None)]
    if output is not None:
        write_png(output, figure(drawn, real), synthetic=False)
    measured = {name: [measured_eye(eye) for eye in eyes] for name, eyes in real.items()}
    print("\n".join(comparison([measured_eye(eye) for eye in drawn], measured)))
    start = time.perf_counter()
    grown = [phantom(TRAINING_SEEDS + number, size) for number in tqdm(range(training), "phantoms", disable=None)]
    with tqdm(total=iterations, desc="training", disable=None) as bar:
        model = train_segmenter("U-Net", grown, iterations, seed, after_step=lambda *_: bar.update())
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"\nU-Net of {weights:,} weights, {iterations} iterations, {time.perf_counter() - start:.0f} s")
    parts = {"training and validation": real} | ({"test": real_eyes(dataset_dir, size, ["test"])} if final else {})
    print("\n| eyes | N | Dice | 95 % | each |\n|---|---|---|---|---|")
    for part, sets in parts.items():
        for name, eyes in sets.items():
            patients = [str(eye["patient"]) for eye in eyes]
            print(dice_row(f"{name}, {part}", patients, [dice_of(model, eye) for eye in eyes]))


def real_eyes(dataset_dir: str | list[str], size: int, splits: list[str]) -> dict[str, list[Eye]]:
    """Eyes by the name of their set."""
    datalist, load = find_datalist(dataset_dir), LoadEyed(size)
    found: dict[str, list[Eye]] = {}
    for item in tqdm([item for split in splits for item in datalist[split]], "reading eyes", disable=None):
        eye = load(item)
        image, vessel, fov = (eye[key].numpy() for key in ("image", "vessel", "fov"))
        binary = {"vessel": (vessel >= 128).astype(np.uint8), "fov": (fov >= 128).astype(np.uint8)}
        described = {"image": local_contrast(image, binary["fov"][0]), "patient": np.array(item["patient"])}
        found.setdefault(item["dataset"], []).append(binary | described)
    return found


def phantom_map(number: int, size: int) -> Eye:
    """Vessel map of one phantom, drawn at twice the size and reduced in the same way as real ones."""
    sample = generate_phantom(number, 2 * size)
    box = fov_box(sample["fov"])
    shares = {key: resize_area(crop_square(sample[key].astype(np.float32), box), size) for key in ("vessel", "fov")}
    return {key: (share >= 0.5).astype(np.uint8) for key, share in shares.items()}


def phantom(number: int, size: int) -> Eye:
    """One phantom to train on."""
    sample = generate_phantom(number, size)
    return {"image": local_contrast(sample["image"], sample["fov"][0]), "mask": sample["vessel"].astype(np.float32)}


def dice_of(model: nn.Module, eye: Eye) -> float:
    """Dice of the vessels found, probability at least 0.5, inside the field of view."""
    found = torch.as_tensor(segment(model, eye["image"]) >= 0.5)[None, None]
    truth, inside = (torch.as_tensor(eye[key])[None] for key in ("vessel", "fov"))
    return dice(found, truth, inside).item()


def measured_eye(eye: Eye) -> Biomarkers:
    return measure_biomarkers(eye["vessel"][0], eye["fov"][0])


def dice_row(title: str, patients: list[str], values: list[float]) -> str:
    """Row of the Dice table with the bootstrap interval of the mean over patients."""
    groups = [[value for value, own in zip(values, patients, strict=True) if own == patient] for patient in {*patients}]
    groups.sort()
    rng = np.random.default_rng(0)
    means = [
        np.mean([value for pick in rng.integers(len(groups), size=len(groups)) for value in groups[pick]])
        for _ in range(2000)
    ]
    low, high = np.percentile(means, (2.5, 97.5))
    each = " ".join(f"{value:.2f}" for value in values)
    return f"| {title} | {len(values)} | {np.mean(values):.3f} | {low:.3f} to {high:.3f} | {each} |"


def figure(
    drawn: list[Eye], real: dict[str, list[Eye]], side: int = 112, rows: int = 4, columns: int = 5
) -> np.ndarray:
    """Draw vessel maps of phantoms on the left and of real eyes, with the data sets in turn, on the right."""
    each = -(-rows * columns // len(real))
    others = [eyes[number * len(eyes) // each] for number in range(each) for eyes in real.values()]

    def picture(eye: Eye) -> np.ndarray:
        grey = resize_area((eye["vessel"] * 255 + (1 - eye["fov"]) * 40).astype(np.float32), side)
        return np.repeat(np.rint(grey).astype(np.uint8), 3, axis=0)

    lines = [
        [picture(group[row * columns + column]) for group in (drawn, others) for column in range(columns)]
        for row in range(rows)
    ]
    return image_grid(lines, ["phantom"] * columns + ["real"] * columns)


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except RetinaError as error:
        raise SystemExit(str(error)) from error
