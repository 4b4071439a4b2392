"""Sensitivity of a feature extractor: KID of degraded photographs, by degradation and strength, beside a floor.

The eyes are repeatedly halved at random, with no patient in both halves. The KID of the two halves is the floor, the
distance of two samples of one distribution. The KID to the other half after degradation is what a generator with that
fault would get. A good extractor puts the second far above the spread of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from torch import Tensor

from retina_monai.files import write_json, write_text
from retina_monai.group import gather_items, group_rank
from retina_monai.metrics import extract_features, halve, polynomial_mmd
from retina_monai.transforms import DEGRADATIONS, STRUCTURES, degrade

__all__ = [
    "FEWEST",
    "REPEATED",
    "STRENGTHS",
    "Sensitivity",
    "SensitivityReport",
    "measure_sensitivity",
    "repeat",
    "spoil",
]

Features = NDArray[np.float32]

STRENGTHS = (0.25, 0.5, 1.0)
REPEATED = "repeated"
SPLITS = 20
FEWEST = 8  # patients: four in each half
BATCH = 8


@dataclass(frozen=True)
class Sensitivity:
    """KID (over all pairs) of degraded photographs to unaltered ones.

    Attributes:
        kind: degradation, a key of :data:`DEGRADATIONS` or ``repeated``.
        strength: strength in [0, 1].
        eyes: number of eyes that were halved.
        kid: mean over the halvings.
        floor: mean KID of the same halves without degradation.
        spread: standard deviation of the floor over the halvings.
    """

    kind: str
    strength: float
    eyes: int
    kid: float
    floor: float
    spread: float

    @property
    def ratio(self) -> float:
        """Distance above the floor in units of its spread."""
        return (self.kid - self.floor) / self.spread


def measure_sensitivity(
    clean: Features, spoilt: Mapping[tuple[str, float], Features], patients: Sequence[str], seed: int = 0
) -> list[Sensitivity]:
    """KID of each degradation to eyes of other patients, beside the floor.

    Args:
        clean: features ``(N, D)`` of unaltered photographs.
        spoilt: features of the same photographs after degradation, by kind and strength.
        patients: patient of each photograph.
        seed: seed of the halvings.

    Returns:
        One result for each entry of ``spoilt``, and for ``repeated`` at each of ``STRENGTHS``.

    Raises:
        ValueError: as :func:`retina_monai.metrics.polynomial_mmd` and :func:`retina_monai.metrics.halve`.
    """
    generator = np.random.default_rng(seed)
    halvings = [halve(len(clean), generator, patients) for _ in range(SPLITS)]
    floor = [polynomial_mmd(clean[first], clean[second]) for first, second in halvings]
    found = {key: [polynomial_mmd(clean[a], values[b]) for a, b in halvings] for key, values in spoilt.items()}
    for share in STRENGTHS:
        found[REPEATED, share] = [polynomial_mmd(clean[a], repeat(clean[b], share)) for a, b in halvings]
    return [
        Sensitivity(kind, strength, len(clean), mean(kids), mean(floor), stdev(floor))
        for (kind, strength), kids in found.items()
    ]


def repeat(features: Features, share: float) -> Features:
    """Features of which a share are copies of others, in the same number, as from a generator that repeats itself."""
    distinct = max(1, round(len(features) * (1 - share)))
    return features[np.arange(len(features)) % distinct]


def spoil(images: Tensor, fovs: Tensor, masks: Mapping[str, Tensor], kind: str, strength: float, seed: int) -> Tensor:
    """Degrade photographs ``(N, 3, S, S)``; photograph ``i`` depends only on ``(seed, i)``.

    Args:
        images: photographs in [-1, 1].
        fovs: ``(N, 1, S, S)`` in {0, 1}.
        masks: ``(N, 1, S, S)`` each, in [0, 1].
        kind, strength: as for :func:`retina_monai.transforms.degrade`.
        seed: seed of the noise.
    """
    degraded = [
        degrade(image, fov, kind, strength, {k: mask[i] for k, mask in masks.items()}, np.random.default_rng((seed, i)))
        for i, (image, fov) in enumerate(zip(images, fovs, strict=True))
    ]
    return torch.stack(degraded)


class SensitivityReport:
    """Measure an encoder's sensitivity on the eyes of an evaluation, and write ``table.md`` and ``report.json``.

    Args:
        encoder: ``(B, 3, S, S)`` in [-1, 1] -> features ``(B, D)``.
        output_dir: folder to write to.
        seed: seed of halvings and noise.
        about: description of the measured network, copied into ``report.json``.
    """

    def __init__(
        self,
        encoder: Callable[[Tensor], Tensor],
        output_dir: str | Path,
        seed: int = 0,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.encoder = encoder
        self.output_dir = Path(output_dir)
        self.seed = seed
        self.about = dict(about or {})
        self.items: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self.items.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)

    def collect(self, engine: Any) -> None:
        """Keep the eyes of a batch: ``image``, ``fov``, ``anatomy``, ``known`` and ``patient``."""
        for item in engine.state.output:
            kept = {key: _plain(item[key]).cpu() for key in ("image", "fov", "anatomy", "known")}
            self.items.append(kept | {"patient": str(item["patient"])})

    def write(self) -> None:
        """Measure each degradation on the eyes of all ranks that have the mask it needs, on the first rank."""
        items = gather_items(self.items)
        if group_rank() > 0:
            return
        results: list[Sensitivity] = []
        for needed in dict.fromkeys(way.needs for way in DEGRADATIONS.values()):
            kinds = [name for name, way in DEGRADATIONS.items() if way.needs == needed]
            eyes = [item for item in items if not needed or bool(item["known"][STRUCTURES.index(needed)])]
            if len({eye["patient"] for eye in eyes}) >= FEWEST:
                results += [found for found in self._measure(eyes, kinds) if found.kind in kinds or not needed]
        rows = [asdict(result) | {"ratio": result.ratio} for result in results]
        write_json(self.output_dir / "report.json", {"about": self.about, "sensitivity": rows})
        write_text(self.output_dir / "table.md", sensitivity_table(results))

    def _measure(self, eyes: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[Sensitivity]:
        images, fovs = (torch.stack([eye[key] for eye in eyes]) for key in ("image", "fov"))
        masks = _masks(eyes, images.shape[-1])
        spoilt = {
            (kind, strength): self._features(spoil(images, fovs, masks, kind, strength, self.seed))
            for kind in kinds
            for strength in STRENGTHS
        }
        return measure_sensitivity(self._features(images), spoilt, [eye["patient"] for eye in eyes], self.seed)

    def _features(self, images: Tensor) -> Features:
        return np.concatenate([extract_features(self.encoder, batch) for batch in images.split(BATCH)])


def sensitivity_table(results: Sequence[Sensitivity]) -> str:
    """Markdown table with a row for each degradation: KID at each strength, and in brackets its :attr:`ratio`."""
    lines = [f"| degradation | eyes | floor (spread) | {' | '.join(f'{value:g}' for value in STRENGTHS)} |"]
    lines.append("|---|---|---|" + "---|" * len(STRENGTHS))
    for kind in dict.fromkeys(result.kind for result in results):
        own = [result for result in results if result.kind == kind]
        cells = [f"{result.kid:.3f} ({result.ratio:.1f})" for result in own]
        first = own[0]
        lines.append(f"| {kind} | {first.eyes} | {first.floor:.3f} ({first.spread:.3f}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _masks(eyes: Sequence[Mapping[str, Any]], side: int) -> dict[str, Tensor]:
    anatomy = torch.stack([eye["anatomy"] for eye in eyes]).float() / 255
    anatomy = torch.nn.functional.interpolate(anatomy, (side, side), mode="bilinear")
    needed = {way.needs for way in DEGRADATIONS.values() if way.needs}
    return {key: anatomy[:, STRUCTURES.index(key), None] for key in sorted(needed)}


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
