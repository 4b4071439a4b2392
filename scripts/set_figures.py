"""Draw docs/images/appearances.png (a vessel map with six appearances) and docs/images/set.png (a sample of a set).

    python scripts/set_figures.py [--output docs/images]

Both are painted by ``two_stage`` around the vessel maps of docs/examples, which come from test eyes.
"""

from __future__ import annotations

from pathlib import Path

import fire
import numpy as np

from retina_monai.data.files.reading import read_mask
from retina_monai.data.files.writing import write_png
from retina_monai.data.sets.vessel_maps import fit_label, fit_vessel_map
from retina_monai.handlers.grid import image_grid
from retina_monai.synthesis import PhotographGenerator, load
from retina_monai.synthesis.chains import completed
from retina_monai.transforms.field_of_view import resize_area

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"
VARIED, SHOWN = "HRF_06_h", "HRF_06_g"
APPEARANCES = ("CHASE_DB1", "HRF", "FIVES", "IDRiD", "random:FIVES", "random:IDRiD")


def main(output: str = str(ROOT / "docs" / "images")) -> None:
    """Draw both pictures.

    Args:
        output: folder of the pictures.
    """
    chain = load("two_stage")
    vessel, fov = masks(VARIED)
    painted = [chain(vessel, fov, appearance, seed=2) for appearance in APPEARANCES]
    tiles = [np.rint(resize_area(picture, chain.size // 2)).astype(np.uint8) for picture in painted]
    titles = [appearance.replace("random:", "an eye of ") for appearance in APPEARANCES]
    halves = [image_grid([tiles[place : place + 3]], titles[place : place + 3]) for place in (0, 3)]
    write_png(Path(output) / "appearances.png", np.concatenate(halves, axis=1))
    write_png(Path(output) / "set.png", sample(chain))


def masks(name: str) -> tuple[np.ndarray, np.ndarray]:
    """An example's vessel map and field of view, ``(1, H, W)`` in {0, 1}."""
    vessel, fov = (read_mask(EXAMPLES / folder / f"{name}.png") for folder in ("vessels", "fovs"))
    return vessel, fov


def sample(chain: PhotographGenerator) -> np.ndarray:
    """A photograph at full size with its labels, ``(3, H, W)``."""
    vessel, fov = masks(SHOWN)
    disc = completed(fit_vessel_map(vessel, fov, chain.size), chain.bundles[0])["disc"]
    labels = [mask * np.uint8(255) for mask in (fit_label(vessel, fov, chain.size), disc)]
    return image_grid([[chain(vessel, fov, "FIVES", seed=1), *labels]], ["images", "vessels", "discs"])


if __name__ == "__main__":
    fire.Fire(main)
