"""Compare the power spectra of training and test eyes of the same camera.

The ratio of the mean radial spectra of training and test eyes inside the field of view is the best that a generator
trained on the training eyes can be expected to reach. Run with ``--dataset_dir`` as for training.
"""

from __future__ import annotations

import fire
import numpy as np
import torch

from retina_monai.data import LoadEyed, find_datalist
from retina_monai.metrics import radial_power_spectrum, spectrum_ratio
from retina_monai.transforms import Appearance, ReduceEyed, apply_appearance, measure_appearance


def main(dataset_dir: str | list[str], size: int = 256) -> None:
    """Print a Markdown table: lowest and highest ratio over all rings, and the share of rings within 25 %.

    Args:
        dataset_dir: a data set or a list of them.
        size: side length in pixels.
    """
    datalist = find_datalist(dataset_dir)
    print("| data set | training / test eyes | lowest | highest | rings within 25 % |")
    print("|---|---|---|---|---|")
    for name in sorted({item["dataset"] for item in datalist["test"]}):
        eyes = [
            [_load(item, size) for item in datalist[split] if item["dataset"] == name] for split in ("training", "test")
        ]
        ratio = spectrum_ratio(*(_spectra(group, eyes[1]) for group in eyes)).numpy()
        within = np.mean(np.abs(ratio - 1) <= 0.25)
        counts = f"{len(eyes[0])} / {len(eyes[1])}"
        print(f"| {name} | {counts} | {ratio.min():.2f} | {ratio.max():.2f} | {within:.0%} |")


def _load(item: dict[str, str], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    eye = ReduceEyed(["image"], 2)(LoadEyed(2 * size)(item))
    return eye["image"], eye["fov"]


def _spectra(
    eyes: list[tuple[torch.Tensor, torch.Tensor]], like: list[tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """Spectra of eyes in the appearances of ``like``, in turn, as for generated photographs."""
    appearances = [measure_appearance(*other) for other in like]
    given = [_given(eye, appearances[index % len(appearances)]) for index, eye in enumerate(eyes)]
    return torch.cat([radial_power_spectrum(image[None], fov[None]) for image, fov in given])


def _given(eye: tuple[torch.Tensor, torch.Tensor], appearance: Appearance) -> tuple[torch.Tensor, torch.Tensor]:
    image, fov = eye
    return apply_appearance(image, fov, appearance), fov


if __name__ == "__main__":
    fire.Fire(main)
