"""Classifier two-sample test: can a small network tell generated from real photographs of patients it has not seen?

If both sets have one distribution, no classifier exceeds an AUC of 0.5 on held-out photographs (Lopez-Paz and Oquab,
"Revisiting classifier two-sample tests", ICLR 2017, https://arxiv.org/abs/1610.06545). Unlike KID, the test depends on
no fixed features: it finds whatever distinguishes the sets, such as ripples, checkerboards and blotches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import compute_roc_auc
from monai.networks.nets import PatchDiscriminator
from numpy.typing import NDArray
from torch import Tensor, nn

from retina_monai.engines.process import choose_device
from retina_monai.evaluation.measuring.eye import Eye, Eyes
from retina_monai.evaluation.report.tables import FEWEST
from retina_monai.progress import progress

__all__ = ["TwoSample", "two_sample_test"]

CROP = 128  # side in pixels of the network's input, or the side of the eyes if that is smaller
CHANNELS = 24  # of the first layer of the network, a PatchGAN discriminator, whose answers are averaged
FOLDS, STEPS, BATCH, LEARNING_RATE = 4, 300, 8, 1e-3
MOST = 200  # photographs of a set in memory; a random sample of a larger one
LOOKS = 8  # crops of a photograph over which the network's answer is averaged
RESAMPLES = 1000
DETAIL = 8.0  # amplification of fine detail, a second input of the network, whose range is a fraction of the picture's

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class TwoSample:
    """Result of the test.

    Attributes:
        auc: area under the ROC curve over held-out photographs, 0.5 for indistinguishable sets.
        low, high: its 95 % bootstrap interval over patients; NaN with fewer than four patients in either set.
        N, real_N: numbers of photographs.
    """

    auc: float
    low: float
    high: float
    N: int
    real_N: int


def two_sample_test(synthetic: Eyes, real: Eyes, seed: int, steps: int = STEPS) -> TwoSample:
    """Train a small network to distinguish two sets, and test it on patients it has not seen.

    Patients are divided into four folds. For each, a network is trained on the others with as many generated as real
    crops per step. A generated photograph belongs to the patient of its condition.

    Args:
        synthetic: generated eyes, two patients or more.
        real: real eyes, two patients or more.
        seed: seed of folds, weights, crops and intervals.
        steps: training steps of each fold.
    """
    generator = np.random.default_rng(seed)
    sets = [_sample(eyes, generator) for eyes in (real, synthetic)]
    pictures = [eye.image * eye.fov for eyes in sets for eye in eyes]
    labels = np.repeat([0, 1], [len(eyes) for eyes in sets])
    patients = np.array([eye.patient for eyes in sets for eye in eyes])
    folds = _folds(patients, labels, generator)
    scores = np.zeros(len(labels))
    with progress(title="distribution: two-sample test", unit="step", total=FOLDS * steps) as bar:
        for fold in range(FOLDS):
            inside, outside = folds != fold, folds == fold
            if outside.any():
                network = _train(pictures, labels, np.flatnonzero(inside), seed + fold, steps, bar.update)
                scores[outside] = [_score(network, pictures[place]) for place in np.flatnonzero(outside)]
    low, high = _interval(scores, labels, patients, generator)
    return TwoSample(_auc(scores, labels), low, high, len(sets[1]), len(sets[0]))


def _sample(eyes: Eyes, generator: np.random.Generator) -> list[Eye]:
    return [eyes[place] for place in np.sort(generator.permutation(len(eyes))[:MOST])]


def _folds(patients: NDArray, labels: NDArray, generator: np.random.Generator) -> NDArray[np.int64]:
    """The fold of each photograph. Patients, first those of the set with fewer, are spread over the folds in turn."""
    fold: dict[str, int] = {}
    for names in sorted((list(dict.fromkeys(patients[labels == label])) for label in (0, 1)), key=len):
        own = [name for name in names if name not in fold]
        fold |= {own[place]: turn % FOLDS for turn, place in enumerate(generator.permutation(len(own)), len(fold))}
    return np.array([fold[name] for name in patients])


def _train(
    pictures: Sequence[Picture],
    labels: NDArray,
    places: NDArray[np.int64],
    seed: int,
    steps: int,
    after_step: Callable[[], object],
) -> nn.Module:
    """A network trained on the photographs at ``places``; torch's global random state is preserved."""
    generator, device = np.random.default_rng(seed), choose_device()
    side = min(CROP, pictures[0].shape[-1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = PatchDiscriminator(2, CHANNELS, 6, norm="INSTANCE", num_layers_d=3).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3 * LEARNING_RATE, total_steps=steps)
    sides = [places[labels[places] == label] for label in (0, 1)]
    target = torch.tensor([0.0, 1.0]).repeat_interleave(BATCH // 2).to(device)
    for _ in range(steps):
        chosen = np.concatenate([generator.choice(own, BATCH // 2) for own in sides])
        crops = torch.stack([_crop(pictures[place], side, generator) for place in chosen]).to(device)
        loss = nn.functional.binary_cross_entropy_with_logits(_answer(network, crops), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        after_step()
    return network.eval()


def _score(network: nn.Module, picture: Picture) -> float:
    """Mean logit over crops that depend on the size of the photograph alone."""
    generator, side = np.random.default_rng(0), min(CROP, picture.shape[-1])
    crops = torch.stack([_crop(picture, side, generator) for _ in range(LOOKS)])
    with torch.inference_mode():
        return float(_answer(network, crops.to(next(network.parameters()).device)).mean())


def _answer(network: nn.Module, crops: Tensor) -> Tensor:
    """Mean logit of each crop, (B,), from the crop and its detail, as in the forensics of edited photographs."""
    smooth = nn.functional.avg_pool2d(crops, 3, stride=1, padding=1, count_include_pad=False)
    answers: Tensor = network(torch.cat([crops, DETAIL * (crops - smooth)], 1))[-1]  # after the features of all layers
    return answers.mean((1, 2, 3))


def _crop(picture: Picture, side: int, generator: np.random.Generator) -> Tensor:
    """A random square (3, side, side) in [-1, 1], mirrored at random. Its centre is in the middle half of the frame."""
    room = picture.shape[-1] - side
    top, left = (int(np.clip(round(room / 2 + room * generator.uniform(-0.5, 0.5)), 0, room)) for _ in range(2))
    crop = picture[:, top : top + side, left : left + side]
    flipped = crop[:, :: generator.choice([-1, 1]), :: generator.choice([-1, 1])]
    return torch.from_numpy(flipped.astype(np.float32)) / 127.5 - 1


def _auc(scores: NDArray[np.float64], labels: NDArray) -> float:
    area = compute_roc_auc(torch.from_numpy(scores)[:, None], torch.from_numpy(labels)[:, None])
    return float(np.asarray(area))


def _interval(
    scores: NDArray[np.float64], labels: NDArray, patients: NDArray, generator: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile bootstrap interval; the patients of both sets are resampled with all their photographs."""
    places = {name: np.flatnonzero(patients == name) for name in dict.fromkeys(patients)}
    if min(len(set(patients[labels == label])) for label in (0, 1)) < FEWEST:
        return float("nan"), float("nan")
    names, drawn = list(places), []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([places[names[place]] for place in generator.integers(len(names), size=len(names))])
        if 0 < labels[chosen].sum() < len(chosen):
            drawn.append(_auc(scores[chosen], labels[chosen]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
