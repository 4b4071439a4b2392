"""Measurements of single eyes for faithfulness, which keep numbers but no pictures.

The judge's segmentation of a photograph is compared with the masks. Vessels, disc and atrophy have biomarkers, and
vessels and fovea a contrast to their surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retina_monai.evaluation.measuring.eye import Eye, Eyes, Judge, as_image, as_mask
from retina_monai.metrics import (
    betti_0_error,
    betti_1_error,
    biomarker_values,
    cldice,
    convergence,
    dice,
    fovea_darkening,
    measure_biomarkers,
    measure_region,
    region_contrast,
    roc_auc,
    vessel_contrast,
)
from retina_monai.metrics.branch_removal import calibre_class
from retina_monai.progress import progress

__all__ = ["MEASURES", "REGIONS", "VESSEL", "VISIBILITY", "Measured", "measure_eyes", "run_judge", "stack_values"]

Map = NDArray[np.float32]

VESSEL = 0.5  # threshold of probabilities and covered shares for vessels and disc
BATCH = 4  # eyes per call of a judge
REGIONS = ("disc", "atrophy")
MEASURES: Mapping[str, Mapping[str, Callable[..., Tensor]]] = {
    "vessel": {
        "dice": dice,
        "cldice": cldice,
        "roc_auc": roc_auc,
        "betti_0_error": betti_0_error,
        "betti_1_error": betti_1_error,
    },
    "disc": {"dice": dice, "dice_085": lambda *masks: dice(*masks) >= 0.85},
}
"""Measures of a judge's map by kind of mask."""
VISIBILITY = ("contrast", "contrast_p10", "recall")
"""Measures of the vessels of a calibre class: median and 10th percentile of their contrast along the centre line, and
the share of the centre line that the judge finds."""
FEW_PIXELS = 20  # of the centre lines of a class, below which an eye has no such measures


@dataclass(frozen=True)
class Measured:
    """Measurements of one eye.

    Attributes:
        name, dataset, patient, split: as of the eye.
        agreement: ``vessel/dice``, ... -> agreement of the judge's map with the mask; empty without such a mask.
        visibility: calibre class -> measures of :data:`VISIBILITY`, as far as they are defined.
        values: ``photograph/tortuosity``, ``mask/tortuosity``, ``disc/area``, ... -> (K,) values of a biomarker.
    """

    name: str
    dataset: str
    patient: str
    split: str
    agreement: Mapping[str, float]
    visibility: Mapping[str, Mapping[str, float]]
    values: Mapping[str, Map]


def measure_eyes(
    eyes: Eyes, judges: Mapping[str, Judge], title: str
) -> Iterator[tuple[Eye, Mapping[str, Map], Measured]]:
    """Iterate over a set once: each eye, the judges' maps (S, S) of its photograph, and its measurements.

    Args:
        eyes: the set.
        judges: kind of mask -> judge that segments it in photographs.
        title: title of the progress bar.

    Raises:
        ValueError: a judge does not return one probability per pixel.
    """
    with progress(title=title, total=len(eyes)) as bar:
        for start in range(0, len(eyes), BATCH):
            batch = [eyes[place] for place in range(start, min(start + BATCH, len(eyes)))]
            maps = {key: run_judge(judge, batch) for key, judge in judges.items()}
            for place, eye in enumerate(batch):
                own = {key: array[place] for key, array in maps.items()}
                yield eye, own, _measure(eye, own)
                bar.update()


def run_judge(judge: Judge, eyes: Sequence[Eye]) -> Map:
    """A judge's probabilities (N, S, S) for some photographs, 0 outside their fields of view.

    Raises:
        ValueError: as :func:`measure_eyes`.
    """
    image, fov = torch.cat([as_image(eye) for eye in eyes]), torch.cat([as_mask(eye.fov) for eye in eyes])
    with torch.inference_mode():
        found = torch.as_tensor(judge(image, fov)).as_subclass(Tensor).float().cpu()
    if found.shape != fov.shape or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"a judge must return probabilities in [0, 1] of shape {tuple(fov.shape)}")
    return np.asarray((found * fov)[:, 0], np.float32)


def stack_values(measured: Sequence[Measured], key: str) -> NDArray[np.float64]:
    """(N, K) values of a biomarker, NaN for eyes without it; (N, 1) of NaN if no eye has it."""
    length = max((len(eye.values[key]) for eye in measured if key in eye.values), default=1)
    empty = np.full(length, np.nan)
    return np.array([eye.values.get(key, empty) for eye in measured], np.float64).reshape(len(measured), length)


def _measure(eye: Eye, maps: Mapping[str, Map]) -> Measured:
    masks = {key: (mask >= VESSEL) & eye.fov for key, mask in eye.masks.items()}
    agreement = {
        f"{key}/{name}": value
        for key, found in maps.items()
        if key in masks and masks[key].any()
        for name, value in _agreement(key, found, masks[key], eye.fov).items()
    }
    vessels = {"photograph": maps["vessel"] >= VESSEL} if "vessel" in maps else {}
    vessels |= {"mask": masks["vessel"]} if "vessel" in masks else {}
    values = {
        f"{where}/{name}": value for where, own in vessels.items() for name, value in _vessels(own, eye.fov).items()
    }
    tree = vessels.get("mask", vessels.get("photograph"))
    for key in REGIONS:
        if key in masks:
            values |= {
                f"{key}/{name}": np.array([value], np.float32) for name, value in _region(eye, masks, key, tree).items()
            }
    disc = masks.get("disc", maps["disc"] >= VESSEL if "disc" in maps else None)
    if disc is not None:
        values["fovea/darkening"] = np.array([fovea_darkening(eye.image, disc, eye.fov, tree)], np.float32)
    visibility = _visibility(eye, masks["vessel"], maps.get("vessel")) if "vessel" in masks else {}
    return Measured(eye.name, eye.dataset, eye.patient, eye.split, agreement, visibility, values)


def _agreement(key: str, found: Map, mask: NDArray[np.bool_], fov: NDArray[np.bool_]) -> dict[str, float]:
    pred, target, inside = as_mask(found), as_mask(mask), as_mask(fov)
    return {
        name: float(measure(pred if measure is roc_auc else pred >= VESSEL, target, inside))
        for name, measure in MEASURES[key].items()
    }


def _visibility(eye: Eye, vessel: NDArray[np.bool_], found: Map | None) -> dict[str, dict[str, float]]:
    """Contrast and, with a judge, recall of the vessels of each calibre class."""
    contrast, calibre, line = vessel_contrast(eye.image, vessel, eye.fov)
    classes = np.array([calibre_class(width) for width in calibre])
    measured = {}
    for name in dict.fromkeys(classes):
        own = classes == name
        if own.sum() >= FEW_PIXELS:
            measured[str(name)] = {
                "contrast": float(np.median(contrast[own])),
                "contrast_p10": float(np.quantile(contrast[own], 0.1)),
            }
            if found is not None:
                measured[str(name)]["recall"] = float((found[tuple(line[own].T)] >= VESSEL).mean())
    return measured


def _vessels(mask: NDArray[np.bool_], fov: NDArray[np.bool_]) -> dict[str, Map]:
    values = biomarker_values(measure_biomarkers(mask, fov))
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def _region(
    eye: Eye, masks: Mapping[str, NDArray[np.bool_]], key: str, tree: NDArray[np.bool_] | None
) -> dict[str, Any]:
    measured = asdict(measure_region(masks[key], eye.fov))
    measured["contrast"] = region_contrast(eye.image, masks[key], eye.fov)
    if key == "disc" and tree is not None:
        measured["convergence"] = convergence(tree, masks[key], eye.fov)
    return measured
