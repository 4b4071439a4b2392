"""Photographs per second and peak memory of each family of metrics, on a small and on a large set."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import nn
from tqdm import tqdm

from benchmarks.costs import Cost, cost_of, median_cost
from benchmarks.measuring import Effort, table
from retina_monai.bundle import find_bundle
from retina_monai.data import generate_phantom
from retina_monai.evaluation.families.distribution.overview import look_over
from retina_monai.evaluation.families.distribution.set_comparison import compare_sets
from retina_monai.evaluation.families.privacy.privacy_section import privacy_section
from retina_monai.evaluation.measuring.eye import Eye, as_image, as_mask
from retina_monai.evaluation.measuring.judge import VesselJudge
from retina_monai.metrics import (
    betti_0_error,
    betti_1_error,
    cldice,
    cosine_similarity,
    dice,
    measure_biomarkers,
    ms_ssim,
    mse,
    psnr,
    radial_power_spectrum,
    roc_auc,
    ssim,
)
from retina_monai.metrics.image_quality import MS_WEIGHTS

PHANTOMS = 20
TRAINING = 100  # real eyes to whose number privacy's time is in proportion
SMALL, LARGE = "small", "large"


class VariedEyes(Sequence[Eye]):
    """Any number of eyes made lazily from a few phantoms by mirroring and brightening.

    Args:
        count: number of eyes.
        size: side length in pixels.
        seed: seed of the phantoms.
    """

    def __init__(self, count: int, size: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.phantoms = [generate_phantom(seed * PHANTOMS + place, size) for place in range(min(count, PHANTOMS))]

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, index: int) -> Eye: ...
    @overload
    def __getitem__(self, index: slice) -> list[Eye]: ...
    def __getitem__(self, index: int | slice) -> Eye | list[Eye]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.count))]
        drawn, turn = self.phantoms[index % len(self.phantoms)], index // len(self.phantoms)
        image, fov, vessel = (_mirrored(drawn[key], turn) for key in ("image", "fov", "vessel"))
        bright = np.round(image * (1 - 0.2 * (turn % 50) / 50)).astype(np.uint8)
        masks = {"vessel": vessel[0].astype(np.float32)}
        return Eye(f"{self.seed}/{index}", f"{self.seed}/{index // 2}", "phantoms", bright, fov[0] > 0, masks)


def _mirrored(picture: np.ndarray, turn: int) -> np.ndarray:
    axes = [axis for bit, axis in ((1, 1), (2, 2)) if turn & bit]
    return np.ascontiguousarray(np.flip(picture, axes))


def _image(count: int, size: int) -> Callable[[], object]:
    """Compare each photograph with the next."""
    eyes = VariedEyes(count, size, 1)
    scales = sum(size >= 11 * 2**scale for scale in range(len(MS_WEIGHTS)))
    measures = (
        mse,
        partial(psnr, data_range=2.0),
        partial(ssim, data_range=2.0),
        partial(ms_ssim, data_range=2.0, weights=MS_WEIGHTS[:scales]),
        cosine_similarity,
    )

    def measure() -> None:
        for place in range(count):
            pred, eye = as_image(eyes[place]), eyes[(place + 1) % count]
            target, fov = as_image(eye), as_mask(eye.fov)
            for metric in measures:
                metric(pred, target, fov=fov)
            radial_power_spectrum(pred, fov)

    return measure


def _distribution(count: int, size: int) -> Callable[[], object]:
    """KID with its floor, FID, precision, recall, density, coverage, spectra and colours of as many real eyes."""
    made, real = VariedEyes(count, size, 1), VariedEyes(count, size, 2)
    extractors = {"encoder": _network("retina_encoder")}

    def measure() -> None:
        compare_sets(look_over(made, extractors, 0, "made"), look_over(real, extractors, 0, "real"), "encoder", size, 0)

    return measure


def _faithfulness(count: int, size: int) -> Callable[[], object]:
    """Metrics of two vessel maps, the second of which is the first shifted by a pixel; the judge is measured apart."""
    eyes = VariedEyes(count, size, 1)

    def measure() -> None:
        for place in range(count):
            eye = eyes[place]
            target, fov = as_mask(eye.masks["vessel"] >= 0.5), as_mask(eye.fov)
            pred = torch.roll(target, 1, -1)
            for metric in (dice, cldice, roc_auc, betti_0_error, betti_1_error):
                metric(pred, target, fov)
            measure_biomarkers(eye.masks["vessel"] >= 0.5, eye.fov)

    return measure


def _privacy(count: int, size: int) -> Callable[[], object]:
    made, real = VariedEyes(count, size, 1), VariedEyes(TRAINING if count >= TRAINING else count, size, 2)
    held_out, encoder = VariedEyes(PHANTOMS, size, 3), _network("retina_encoder")

    def measure() -> None:
        with tempfile.TemporaryDirectory() as folder:
            how = {"extractor": encoder, "extractor_name": "encoder", "seed": 0, "output_dir": Path(folder)}
            privacy_section(made, real, held_out, **how)

    return measure


def _judge(count: int, size: int) -> Callable[[], object]:
    eyes, judge = VariedEyes(count, size, 1), VesselJudge(_network("iternet_vessel"))

    def measure() -> None:
        for place in range(count):
            judge(as_image(eyes[place]), as_mask(eyes[place].fov))

    return measure


FAMILIES: Mapping[str, Callable[[int, int], Callable[[], object]]] = {
    "image": _image,
    "distribution": _distribution,
    "faithfulness": _faithfulness,
    "privacy": _privacy,
    "judge": _judge,
}
FEWER = {"judge": 10}
"""Divisors of the set size for slow families whose cost is proportional to the number of photographs."""


def _network(bundle: str) -> nn.Module:
    """Build the network with initial weights, which are as fast as released ones."""
    parser = ConfigParser()
    parser.read_config(find_bundle(bundle) / "configs" / "inference.json")
    torch.manual_seed(0)
    network: nn.Module = parser.get_parsed_content("network_def").eval().requires_grad_(False)
    return network


def time_family(name: str, count: int, size: int) -> Cost:
    """Cost of one family on ``count`` photographs, without drawing phantoms and building networks."""
    job = FAMILIES[name](count, size)
    with torch.inference_mode():
        FAMILIES[name](min(count, 1 if name in FEWER else 5), size)()  # what is made once, by the first call
        return cost_of(count, job)


def measure_metrics(eyes: Path, effort: Effort) -> str:
    costs = {}
    for name in tqdm(FAMILIES, "metrics"):
        for label, count in zip((SMALL, LARGE), effort.metric_counts, strict=True):
            number = max(1, count // FEWER.get(name, 1))
            costs[name, label] = median_cost(partial(time_family, name, number, effort.metric_size), effort.rounds)
    return describe_metrics(costs, effort.metric_size)


def describe_metrics(costs: Mapping[tuple[str, str], Cost], size: int) -> str:
    rows = []
    for name in dict.fromkeys(name for name, _ in costs):
        small, large = costs[name, SMALL], costs[name, LARGE]
        rates = (f"{cost.eyes / cost.seconds:.1f}" for cost in (small, large))
        peaks = (f"{cost.peak:.0f}" for cost in (small, large))
        numbers = f"{small.eyes} to {large.eyes}"
        rows.append((name, numbers, *rates, f"{large.seconds / small.seconds:.1f}", *peaks, large.peak_over(small)))
    head = (
        "family",
        "photographs",
        "small, per second",
        "large, per second",
        "time x",
        "small, MiB",
        "large, MiB",
        "x",
    )
    return f"""\
Each family is run on a small and on a large set of {size} px, in a separate process with torch's threads. Phantoms,
mirrored and brightened, are drawn on demand. Networks have initial weights, which take as long as released ones. Time
should grow with the number of photographs and memory should not; *x* is large over small. Peak memory is measured
beyond that of the process after everything was imported, created and called once.

- *image*: MSE, PSNR, SSIM, MS-SSIM, cosine similarity and spectrum of pairs
- *distribution*: features, KID with its floor of 200 splits, FID, precision, recall, density, coverage, spectra and
  colours, with as many real photographs
- *faithfulness*: Dice, clDice, AUC, Betti errors and biomarkers of two vessel maps
- *privacy*: the whole section against {TRAINING} training eyes
- *judge*: one photograph at a time, a tenth of the number

{table(head, rows)}"""
