"""Measure the faithfulness judge on real photographs at the size of generated ones: its upper bound, by data set.

The photographs are reduced to that size by area, and the judge enlarges them again. Vessel maps are reduced with their
topology kept, as in the report on a synthetic set. Run with ``--dataset_dir`` as for training. The judge's own size was
chosen with ``--split validation --looks 512,640,768``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fire
import torch

from retina_monai.data import LoadEyed, find_datalist, fit_label
from retina_monai.data.sets.eyes import read_eye
from retina_monai.evaluation.cards.vessel_report import METRICS, vessel_figures
from retina_monai.evaluation.measuring.judge import SIZE, load_judge
from retina_monai.evaluation.report.tables import markdown_table, summarize
from retina_monai.transforms import PhotographRanged


def main(
    dataset_dir: str | list[str],
    size: int = 256,
    split: str = "test",
    looks: int | tuple[int, ...] = SIZE,
    checkpoint: str | None = None,
) -> None:
    """Print a Markdown table with 95 % bootstrap intervals over patients.

    Args:
        dataset_dir: a data set or a list of them.
        size: side length of the photographs in pixels.
        split: split of the eyes: training, validation or test.
        looks: one or several input sizes of the judge in pixels.
        checkpoint: weights to use instead of the released ones.
    """
    judge: Any
    judge, name = load_judge(checkpoint)
    eyes = find_datalist(dataset_dir)[split]
    rows = []
    for judge.size in (looks,) if isinstance(looks, int) else looks:
        rows += [{"looks at": judge.size, **row} for row in _rows(judge, eyes, size)]
    print(f"{name}, {split} eyes at {size} pixels\n")
    print(markdown_table(summarize(rows, METRICS, by=("dataset", "looks at"))))


def _rows(judge: Any, eyes: list[dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
    for item in eyes:
        eye = PhotographRanged()(LoadEyed(size)(item))
        image, fov = (eye[key][None] for key in ("image", "fov"))
        whole = read_eye(item, ("vessel",))
        label = torch.from_numpy(fit_label(whole["vessel"], whole["fov"], size))[None]
        texts = {key: item[key] for key in ("dataset", "name", "patient")}
        yield texts | vessel_figures(judge(image, fov), label, fov)


if __name__ == "__main__":
    fire.Fire(main)
