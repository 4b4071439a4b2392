"""The training eye of which each photograph is most likely a copy, by pixels, features and vessel maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from retina_monai.data.listing.twins import find_twins, join_patients, thumbnail
from retina_monai.evaluation.measuring.eye import Extractor, Eye, Eyes, as_image, as_mask
from retina_monai.metrics.alignment import Descriptor, Gallery, Match, describe, lay_over
from retina_monai.metrics.features import extract_features
from retina_monai.metrics.image_quality import ssim
from retina_monai.progress import progress

__all__ = ["KINDS", "Judged", "Kind", "Nearest", "Reference", "collect", "join_real", "judge", "nearest_real"]

TRAINED_DICE = 0.7  # of unaligned vessel maps; different eyes in the known sets have at most 0.34
WARPED_DICE = 0.5  # of aligned vessel maps, where chance is slightly higher
SMALL = 128  # side in pixels at which vessel maps are compared
BATCH = 16

Kind = Literal["unseen", "warped", "trained"]
KINDS: Mapping[Kind, str] = {
    "unseen": "from conditions not used in training",
    "warped": "from warped training vessel maps (judged between the vessels)",
    "trained": "from unaltered training vessel maps (not judged)",
}
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Nearest:
    """A photograph and the training eye of which it is most likely a copy.

    Attributes:
        name: name of the photograph.
        patient: its patient, or the patient of its condition.
        kind: kind of its condition.
        match: match with the training eye.
        ssim: SSIM in grey after alignment, with the brightness and contrast of the training eye.
        rmse: root mean squared difference (L2) in the same way; white is 1.
        vessel_dice: Dice of both vessel maps, unaligned or aligned; 0 if either has none.
    """

    name: str
    patient: str
    kind: Kind
    match: Match
    ssim: float
    rmse: float
    vessel_dice: float = 0.0

    @property
    def score(self) -> float:
        """The score that is judged: the copy score, or the similarity between given vessels."""
        return self.match.score if self.kind == "unseen" else self.match.between


@dataclass
class Reference:
    """Descriptors, small vessel maps (uint8, 128 x 128) and features (N, D) of real eyes.

    ``aliases`` are the patients' names before :func:`join_real`.
    """

    gallery: Gallery = field(default_factory=Gallery)
    names: list[str] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    vessels: list[NDArray[np.uint8] | None] = field(default_factory=list)
    features: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    aliases: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Judged:
    """Result of :func:`judge`.

    Attributes:
        nearest: the training eye for each synthetic eye.
        features: features of the synthetic eyes, (N, D).
        training, held_out: best coarse agreement of each real eye with a judged synthetic one, in [-1, 1].
    """

    nearest: Sequence[Nearest]
    features: Floats
    training: Floats
    held_out: Floats


def _small_vessels(eye: Eye) -> NDArray[np.uint8] | None:
    if "vessel" not in eye.masks or not np.any(eye.masks["vessel"]):
        return None
    mask = as_mask(eye.masks["vessel"])
    mode = "area" if mask.shape[-1] > SMALL else "bilinear"
    return (255 * F.interpolate(mask, (SMALL, SMALL), mode=mode)[0, 0]).round().numpy().astype(np.uint8)


class _Embedding:
    """Features of eyes that are added one at a time and extracted in batches."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self.waiting: list[torch.Tensor] = []
        self.features: list[Floats] = []

    def add(self, eye: Eye) -> None:
        self.waiting.append(as_image(eye))
        if len(self.waiting) == BATCH:
            self._extract()

    def finish(self) -> Floats:
        if self.waiting:
            self._extract()
        return np.concatenate(self.features) if self.features else np.zeros((0, 0), np.float32)

    @torch.no_grad()
    def _extract(self) -> None:
        self.features.append(extract_features(self.extractor, torch.cat(self.waiting)))
        self.waiting = []


def collect(eyes: Eyes, places: Sequence[int], extractor: Extractor, what: str) -> Reference:
    """Collect the data of the real eyes at ``places`` with which others are compared."""
    kept, embedding = Reference(), _Embedding(extractor)
    for place in progress(places, f"privacy: {what}"):
        eye = eyes[place]
        kept.gallery.add(describe(eye.image, eye.fov))
        kept.names.append(eye.name)
        kept.patients.append(eye.patient)
        kept.vessels.append(_small_vessels(eye))
        embedding.add(eye)
    kept.features = embedding.finish()
    return kept


def join_real(*references: Reference) -> None:
    """Treat patients whose photographs are one picture as one patient, since a photograph and its copy are one eye."""
    patients = [patient for kept in references for patient in kept.patients]
    twins = find_twins([thumbnail(eye.grey) for kept in references for eye in kept.gallery.descriptors])
    first = join_patients([(patients[one], patients[other]) for one, other in twins])
    for kept in references:
        kept.aliases = set(kept.patients)
        kept.patients = [first.get(patient, patient) for patient in kept.patients]


def judge(
    synthetic: Eyes, places: Sequence[int], reference: Reference, others: Reference, extractor: Extractor
) -> Judged:
    """Compare the synthetic eyes at ``places`` with the training eyes, and coarsely with the held-out ones."""
    found, embedding, vessels = [], _Embedding(extractor), _VesselMaps(reference)
    training, held_out = (np.full(len(real.names), -1, np.float32) for real in (reference, others))
    for place in progress(places, "privacy: synthetic eyes"):
        eye = synthetic[place]
        descriptor = describe(eye.image, eye.fov)
        placed = reference.gallery.place(descriptor)
        matches = reference.gallery.nearest(descriptor, placed=placed)
        kind, dice = vessels.kind_of(eye, matches)
        best = max(matches, key=lambda match: match.score if kind == "unseen" else match.between)
        found.append(Nearest(eye.name, eye.patient, kind, best, *_pixels(descriptor, best, reference), dice))
        embedding.add(eye)
        if kind != "trained":
            training = np.maximum(training, placed[0].numpy())
            held_out = np.maximum(held_out, others.gallery.place(descriptor)[0].numpy())
    return Judged(found, embedding.finish(), training, held_out)


def nearest_real(others: Reference, reference: Reference) -> list[Nearest]:
    """The nearest training eye of another patient for each held-out eye; eyes without one are left out."""
    found, patients = [], np.array(reference.patients)
    for place in progress(range(len(others.names)), "privacy: held-out eyes"):
        descriptor, patient = others.gallery.descriptors[place], others.patients[place]
        matches = reference.gallery.nearest(descriptor, patients == patient)
        for best in matches[:1]:
            pixels = _pixels(descriptor, best, reference)
            found.append(Nearest(others.names[place], patient, "unseen", best, *pixels))
    return found


def _pixels(descriptor: Descriptor, match: Match, reference: Reference) -> tuple[float, float]:
    """SSIM and root mean squared difference after alignment; NaN if the overlap is too small."""
    pred, target, seen = reference.gallery.pixels(descriptor, match)
    if not seen[..., 5:-5, 5:-5].any():
        return float("nan"), float("nan")
    rmse = ((pred - target).square().sum() / seen.sum()).sqrt()
    return float(ssim(pred, target, 1.0, seen)), float(rmse)


class _VesselMaps:
    """Whether a photograph's vessel map is that of a training eye, according to the set and to the map itself."""

    def __init__(self, reference: Reference) -> None:
        self.patients = reference.aliases | set(reference.patients)
        self.maps = reference.vessels
        self.known = [place for place, vessels in enumerate(self.maps) if vessels is not None]

    def kind_of(self, eye: Eye, matches: Sequence[Match]) -> tuple[Kind, float]:
        """The kind of condition, and the Dice with the most similar training map, unaligned or aligned."""
        as_it_lies, laid_over = self._dice(eye, matches)
        named = eye.condition is not None and eye.condition.patient in self.patients
        augmented = eye.condition is not None and eye.condition.augmented
        if as_it_lies >= TRAINED_DICE or (named and not augmented):
            return "trained", as_it_lies
        same = max(as_it_lies, laid_over)
        return ("warped" if named or same >= WARPED_DICE else "unseen"), same

    def _dice(self, eye: Eye, matches: Sequence[Match]) -> tuple[float, float]:
        vessels = _small_vessels(eye)
        if vessels is None or not self.known:
            return 0.0, 0.0
        turned = [np.rot90(v, quarter) for v in (vessels, vessels[:, ::-1]) for quarter in range(4)]
        lying = max(_soft_dice(v, self.maps[place]) for v in turned for place in self.known)
        return lying, max((_soft_dice(lay_over(vessels[None], m)[0], self.maps[m.index]) for m in matches), default=0.0)


def _soft_dice(first: NDArray[np.uint8], second: NDArray[np.uint8] | None) -> float:
    if second is None:
        return 0.0
    a, b = first.ravel().astype(np.float32), second.ravel().astype(np.float32)
    return 2 * float(a @ b) / max(float(a @ a) + float(b @ b), 1.0)
