"""Measure bright and dark spots in photographs and phantoms by the same rule.

    python scripts/lesion_contrast.py --photographs IDRiD/*/1*/*/*.jpg --degrees 50
    python scripts/lesion_contrast.py --phantoms 20

No masks are needed. The log green value of a spot differs from the median of its surroundings (1.2 mm wide) by more
than 0.25. A spot is at most 0.3 mm2 large, compact if dark (vessels are not), and away from the disc and the rim.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from retina_monai.data.files.reading import read_photograph
from retina_monai.data.phantom.fundus.camera import CAMERAS
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.phantom.fundus.phantom_eye import MM_PER_DEGREE
from retina_monai.transforms.field_of_view import compute_fov, crop_square, fov_box, resize_area

WIDTH = 1024  # width of the field of view in pixels for all measurements
SMALLEST, LARGEST = 6, 0.3  # pixels, mm2
GRADES = (2, 2, 3, 4)  # of the phantoms, in turn, since IDRiD's eyes have retinopathy


def photographs(paths: list[Path]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for path in paths:
        image = read_photograph(path)
        yield image, compute_fov(image)


def phantoms(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for seed in range(count):
        sample = generate_phantom(seed, WIDTH, GRADES[seed % len(GRADES)], camera="idrid")
        yield sample["image"], sample["fov"]


def contrast(image: np.ndarray, fov: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Log ratio of each pixel to the median of its surroundings, (3, S, S), and the mask of valid pixels, (S, S)."""
    square = resize_area(crop_square(image * fov, fov_box(fov)).astype(np.float32), WIDTH)
    seen = resize_area(crop_square(fov, fov_box(fov)).astype(np.float32), WIDTH)[0] > 0.99
    coarse = ndimage.median_filter(square[:, ::4, ::4], (1, *[round(1.2 * scale / 4) | 1] * 2))
    around = np.stack([ndimage.zoom(channel, 4, order=1, grid_mode=True, mode="nearest") for channel in coarse])
    disc = np.unravel_index(np.argmax(ndimage.gaussian_filter(square[1], 0.6 * scale) * seen), seen.shape)
    away = np.hypot(*(np.indices(seen.shape) - np.reshape(disc, (2, 1, 1)))) > 1.5 * scale
    return np.log((square + 1) / (around + 1)), ndimage.binary_erosion(seen, iterations=round(0.4 * scale)) & away


def find_spots(ratio: np.ndarray, judged: np.ndarray, sign: int, scale: float) -> list[tuple[float, np.ndarray]]:
    """Area in mm2 and median contrast of each spot."""
    pieces, _ = ndimage.label((sign * ratio[1] > 0.25) & judged)
    spots = []
    for index, place in enumerate(ndimage.find_objects(pieces), 1):
        inside = pieces[place] == index
        tall, wide = inside.shape
        compact = max(tall, wide) < 2.2 * min(tall, wide) and inside.mean() > 0.5
        if SMALLEST <= inside.sum() <= LARGEST * scale**2 and (sign > 0 or compact):
            spots.append((inside.sum() / scale**2, np.median(ratio[(slice(None), *place)][:, inside], axis=1)))
    return spots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", nargs="+", type=Path, default=[])
    parser.add_argument("--degrees", type=float, default=CAMERAS["idrid"].degrees, help="their field of view")
    parser.add_argument("--phantoms", type=int, default=0, help="number of phantoms")
    arguments = parser.parse_args()
    scale = WIDTH / (arguments.degrees * MM_PER_DEGREE)
    eyes = [contrast(*eye, scale) for eye in (*photographs(arguments.photographs), *phantoms(arguments.phantoms))]
    print("spots  | an eye: median, 10-90 % | area, mm2: median, 90 % | contrast of red, green, blue: median")
    for name, sign in (("bright", 1), ("dark", -1)):
        found = [find_spots(ratio, judged, sign, scale) for ratio, judged in eyes]
        low, middle, high = np.percentile([len(spots) for spots in found], (10, 50, 90))
        areas, colours = zip(*(spot for spots in found for spot in spots), strict=True)
        red, green, blue = np.median(colours, axis=0)
        area = " ".join(f"{value:.4f}" for value in np.percentile(areas, (50, 90)))
        print(f"{name:6} | {middle:.0f} ({low:.0f}-{high:.0f}) | {area} | {red:+.2f} {green:+.2f} {blue:+.2f}")


if __name__ == "__main__":
    main()
