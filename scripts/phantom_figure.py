"""Draw docs/images/phantom.png (twenty phantoms and twenty real eyes) or docs/images/phantom_disease.png.

    python scripts/phantom_figure.py --dataset_dir CHASE_DB1 HRF FIVES --output docs/images/phantom.png
    python scripts/phantom_figure.py --disease --output docs/images/phantom_disease.png

The real eyes are training eyes of data sets whose licence allows it (CC BY 4.0). The caption in docs/phantom.md names
the data sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from retina_monai.data.files.reading import read_photograph
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.phantom.fundus.camera import CAMERAS
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.errors import RetinaError
from retina_monai.handlers.grid import image_grid
from retina_monai.transforms.field_of_view import compute_fov, crop_square, fov_box, resize_area

PUBLISHABLE = ("CHASE_DB1", "HRF", "FIVES")
ROWS, COLUMNS = 4, 5

MARKS = {  # colours of the masks
    "vessel": (90, 90, 90),
    "disc": (150, 150, 150),
    "atrophy": (225, 225, 160),
    "soft_exudates": (140, 200, 255),
    "hard_exudates": (255, 225, 0),
    "haemorrhages": (220, 30, 30),
    "microaneurysms": (255, 130, 180),
    "neovascularisation": (60, 220, 90),
}
GRADED, MYOPIC, SEEN = 20, (15, 19, 16), 21  # seeds with clearly visible findings


def fitted(image: np.ndarray, fov: np.ndarray, size: int) -> np.ndarray:
    """Crop to the field of view, pad square, and resize."""
    square = crop_square(image * fov, fov_box(fov))
    return np.clip(np.rint(resize_area(square, size)), 0, 255).astype(np.uint8)


def phantoms(size: int) -> Iterator[np.ndarray]:
    for seed in range(ROWS * COLUMNS):
        sample = generate_phantom(seed, 2 * size)
        yield fitted(sample["image"], sample["fov"], size)


def painted(sample: dict[str, Any]) -> np.ndarray:
    """Draw all masks of a phantom in one picture, (3, S, S)."""
    picture = np.zeros_like(sample["image"])
    for key, mark in MARKS.items():
        picture = np.where(sample[key] > 0, np.array(mark, np.uint8)[:, None, None], picture)
    return picture


def disease(size: int) -> np.ndarray:
    """Draw grades 0 to 4 of one eye and three myopic eyes, with their masks below, and one eye with each camera."""
    titles = [f"grade {grade}" for grade in range(5)] + [f"myopia {degree}" for degree in (0.5, 0.8, 1)]
    traits = [(GRADED, {"grade": grade}) for grade in range(5)]
    traits += [(seed, {"myopia": degree}) for seed, degree in zip(MYOPIC, (0.5, 0.8, 1), strict=True)]
    samples = [generate_phantom(seed, 2 * size, **chosen) for seed, chosen in traits]
    rows = [
        [fitted(picture, sample["fov"], size) for picture, sample in zip(pictures, samples, strict=True)]
        for pictures in ([sample["image"] for sample in samples], [painted(sample) for sample in samples])
    ]
    return np.concatenate([image_grid(rows, titles), cameras(size, len(titles))], axis=1)


def cameras(size: int, columns: int) -> np.ndarray:
    samples = [generate_phantom(SEEN, 2 * size, grade=2, camera=name) for name in CAMERAS]
    pictures = [fitted(sample["image"], sample["fov"], size) for sample in samples]
    rest = columns - len(pictures)
    return image_grid([[*pictures, *[np.full_like(pictures[0], 255)] * rest]], [*CAMERAS, *[""] * rest])


def real_eyes(folders: list[str], size: int) -> Iterator[np.ndarray]:
    """Training eyes, one per patient, with the data sets in turn."""
    for item in interleaved(folders):
        image = read_photograph(item["image"])
        yield fitted(image, compute_fov(image), size)


def interleaved(folders: list[str]) -> Iterator[dict[str, str]]:
    sets = []
    for folder in folders:
        patients = {item["patient"]: item for item in find_datalist(folder)["training"]}
        sets.append(list(patients.values()))
        if (name := sets[-1][0]["dataset"]) not in PUBLISHABLE:
            raise RetinaError(f"{folder} is {name}, which must not be published: give {', '.join(PUBLISHABLE)}")
    return (item for items in zip_longest(*sets) for item in items if item is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset_dir", nargs="+", default=[], help=f"folders of {', '.join(PUBLISHABLE)}")
    parser.add_argument("--disease", action="store_true", help="grades, myopia and cameras instead of healthy eyes")
    parser.add_argument("--output", type=Path, default=Path("docs/images/phantom.png"))
    parser.add_argument("--size", type=int, default=176, help="side length of each picture in pixels")
    arguments = parser.parse_args()
    if arguments.disease:
        write_png(arguments.output, disease(arguments.size))
        print(arguments.output)
        return
    real = list(islice(real_eyes(arguments.dataset_dir, arguments.size), ROWS * COLUMNS))
    if len(real) < ROWS * COLUMNS:
        raise RetinaError(
            f"dataset_dir must have at least {ROWS * COLUMNS} training patients, got {len(real)}: give more data sets"
        )
    drawn = list(phantoms(arguments.size))
    rows = [
        [pictures[row * COLUMNS + column] for pictures in (drawn, real) for column in range(COLUMNS)]
        for row in range(ROWS)
    ]
    # Not marked as synthetic, because half of the eyes are real.
    write_png(arguments.output, image_grid(rows, ["phantom"] * COLUMNS + ["real"] * COLUMNS), synthetic=False)
    print(arguments.output)


if __name__ == "__main__":
    try:
        main()
    except RetinaError as error:
        raise SystemExit(str(error)) from error
