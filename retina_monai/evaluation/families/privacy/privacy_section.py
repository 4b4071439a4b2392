"""Privacy: copies, authenticity and membership inference, to see whether a set reveals its training patients.

Each synthetic photograph is aligned with the training eyes. Its copy score with the nearest one (see
``retina_monai.metrics.alignment``) is compared with a threshold that 5 % of real eyes exceed with the nearest eye of
another patient. Real photographs that are one picture count as one patient. A photograph generated from the unaltered
vessel map of a training eye resembles that eye by construction and is left out. One generated from a warped training
map is judged by the pixels between the vessels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.errors import counted
from retina_monai.evaluation.families.privacy.nearest_eyes import (
    KINDS,
    Judged,
    Nearest,
    Reference,
    collect,
    join_real,
    judge,
    nearest_real,
)
from retina_monai.evaluation.families.privacy.privacy_tables import Calibration, draw_pairs, draw_scores, privacy_tables
from retina_monai.evaluation.measuring.eye import Extractor, Eyes
from retina_monai.evaluation.report.section import Light, Section
from retina_monai.evaluation.report.tables import FEWEST
from retina_monai.metrics.privacy import (
    authenticity,
    clopper_pearson,
    copy_threshold,
    infer_membership,
    nearest_distances,
)
from retina_monai.progress import progress

__all__ = ["privacy_section"]

QUESTION = "Does the synthetic set give its training patients away?"

RATE = 0.05  # usual false positive rate on unseen real eyes
UNMISTAKABLE = 0.6  # copy score far above that of any two different eyes (scripts/privacy_proof.py)
ENOUGH_PATIENTS = 19  # smallest number for a 5 % threshold without assumptions
FEWEST_JUDGED = 20  # below it, a set with one copy in twenty photographs may show none, so there is no light
MOST = 2000  # largest number of judged photographs, at random: shares are then known to 1 %
PRIOR = "With few training images, memorisation is expected: such a generator can repeat what it has often seen."
REAL = "The pictures of this section show real photographs. Treat them with the same care as the real set."

Floats = NDArray[np.float64]


def privacy_section(
    synthetic: Eyes,
    training: Eyes,
    held_out: Eyes,
    *,
    extractor: Extractor,
    extractor_name: str,
    seed: int,
    output_dir: Path,
    unjudged: str = "",
) -> Section:
    """Judge whether synthetic photographs are copies of training eyes.

    Memory: 0.3 MB for each real eye; for synthetic eyes, only numbers and features are kept. Time: 0.2 s per photograph
    on one core with 100 training eyes, proportional to their number with more.

    Args:
        synthetic: the judged set; a random sample of 2,000 if it is larger.
        training: eyes on which the generator was trained.
        held_out: real eyes on which it was not trained; may be empty. A random sample of 2,000 if there are more.
        extractor: extractor of the embedding.
        extractor_name: name of the extractor in the result.
        seed: seed of samples and bootstrap.
        output_dir: folder for ``nearest_pairs.png`` and ``copy_scores.png``.
        unjudged: reason why the training eyes do not suffice for a light; empty if they do. Unmistakable copies are
            red even then.

    Raises:
        RetinaError: a picture cannot be written.
        ValueError: features are not finite.
    """
    if not (len(synthetic) and len(training)):
        missing = f"There are no {'synthetic' if len(training) else 'training'} eyes, so nothing can be compared"
        return _grey(f"{missing}: {unjudged}." if unjudged else f"{missing}.")
    rng = np.random.default_rng(seed)
    reference = collect(training, range(len(training)), extractor, "training eyes")
    calibrating = _drawn(len(training), rng)
    others = collect(held_out, _drawn(len(held_out), rng), extractor, "other real eyes")
    join_real(reference, others)
    patients = len(set(reference.patients))
    if patients < FEWEST:
        return _grey(f"Not judged: {counted(patients, 'training patient')}, where {FEWEST} are needed.")
    calibration = _calibrate(reference, calibrating)
    unseen = nearest_real(others, reference)
    places = _drawn(len(synthetic), rng)
    judged = judge(synthetic, places, reference, others, extractor)
    figures = {
        "counts": _counts(judged, reference, others, len(synthetic)),
        "copies": _copies(judged.nearest, calibration),
        "calibration": {"score": asdict(calibration.score), "between": asdict(calibration.between)},
        "false_positives": _share([eye.match.score > calibration.score.value for eye in unseen]),
        "nearest": _nearest(judged, unseen, reference, others, calibration),
        "authenticity": _authenticity(judged, reference, others),
        "membership": _membership(judged, reference, others, seed),
        "extractor": extractor_name,
    }
    light, answer = _verdict(figures, unjudged)
    pictures = [
        draw_pairs(judged, reference, synthetic, training, places, output_dir / "nearest_pairs.png"),
        draw_scores(judged, unseen, calibration, output_dir / "copy_scores.png"),
    ]
    tables = privacy_tables(figures, judged, reference)
    return Section("privacy", QUESTION, light, answer, figures, tables, pictures, _notes(figures, synthetic))


def _grey(reason: str) -> Section:
    return Section("privacy", QUESTION, "grey", reason, {}, notes=[PRIOR])


def _drawn(count: int, rng: np.random.Generator) -> list[int]:
    places: list[int] = np.sort(rng.choice(count, min(count, MOST), replace=False)).tolist() if count else []
    return places


def _calibrate(reference: Reference, places: Sequence[int]) -> Calibration:
    """Thresholds from training eyes, each compared with those of other patients by the search for synthetic eyes."""
    patients = np.array(reference.patients)
    owners, scores, between = patients[places].tolist(), [], []
    for place in progress(places, "privacy: calibration on real pairs"):
        found = reference.gallery.nearest(reference.gallery.descriptors[place], patients == patients[place])
        scores.append(found[0].score)
        between.append(max(match.between for match in found))
    return Calibration(copy_threshold(scores, owners, RATE), copy_threshold(between, owners, RATE), scores)


def _counts(judged: Judged, reference: Reference, others: Reference, synthetic: int) -> dict[str, int]:
    kinds = [eye.kind for eye in judged.nearest]
    return {
        "synthetic": synthetic,
        "drawn": len(kinds),
        **{kind: kinds.count(kind) for kind in KINDS},
        "training": len(reference.names),
        "training_patients": len(set(reference.patients)),
        "held_out": len(others.names),
        "held_out_patients": len(set(others.patients)),
    }


def _share(hits: Sequence[bool]) -> dict[str, float] | None:
    if not hits:
        return None
    low, high = clopper_pearson(sum(hits), len(hits))
    return {"count": len(hits), "hits": sum(hits), "share": sum(hits) / len(hits), "low": low, "high": high}


def _copies(nearest: Sequence[Nearest], calibration: Calibration) -> dict[str, dict[str, float] | None]:
    """Shares of copies by kind, among all judged photographs, and of unmistakable copies."""
    called = {kind: [e.score > calibration.threshold(kind).value for e in nearest if e.kind == kind] for kind in KINDS}
    certain = [eye.score > UNMISTAKABLE for eye in nearest]
    shares = {str(kind): _share(hits) for kind, hits in called.items()}
    return shares | {"judged": _share(called["unseen"] + called["warped"]), "unmistakable": _share(certain)}


def _nearest(
    judged: Judged, unseen: Sequence[Nearest], reference: Reference, others: Reference, calibration: Calibration
) -> dict[str, dict[str, float | None]]:
    """Medians over the judged synthetic eyes, the held-out eyes and the training eyes."""
    kept = [place for place, eye in enumerate(judged.nearest) if eye.kind != "trained"]
    distances = _distances(judged.features[kept], reference, None)
    apart = _distances(others.features, reference, others.patients)
    training = _distances(reference.features, reference, reference.patients)
    return {
        "synthetic": _medians([judged.nearest[place] for place in kept], distances),
        "held_out": _medians(unseen, apart),
        "training": {**_medians([], training), "score": float(np.median(calibration.scores))},
    }


def _distances(features: NDArray, reference: Reference, patients: Sequence[str] | None) -> Floats:
    if not len(features):
        return np.zeros(0)
    owners = None if patients is None else reference.patients
    return nearest_distances(features, reference.features, patients, owners)[0]


def _medians(eyes: Sequence[Nearest], distances: Floats) -> dict[str, float | None]:
    columns: dict[str, Sequence[float]] = {
        "score": [eye.match.score for eye in eyes],
        "whole": [eye.match.whole for eye in eyes],
        "between": [eye.match.between for eye in eyes],
        "ssim": [eye.ssim for eye in eyes],
        "rmse": [eye.rmse for eye in eyes],
        "distance": distances[np.isfinite(distances)].tolist(),
    }
    return {key: float(np.nanmedian(values)) if len(values) else None for key, values in columns.items()}


def _authenticity(judged: Judged, reference: Reference, others: Reference) -> dict[str, float | None]:
    kept = [place for place, eye in enumerate(judged.nearest) if eye.kind != "trained"]
    sets = {"synthetic": judged.features[kept], "held_out": others.features}
    return {key: authenticity(reference.features, part) if len(part) else None for key, part in sets.items()}


def _membership(judged: Judged, reference: Reference, others: Reference, seed: int) -> dict[str, Any]:
    """By pixels and by embedding. Held-out eyes whose vessel map was a condition are excluded."""
    kept = [place for place, eye in enumerate(judged.nearest) if eye.kind != "trained"]
    conditions = {eye.patient for eye in judged.nearest}
    free = [place for place, patient in enumerate(others.patients) if patient not in conditions]
    alone = set(reference.patients) - {others.patients[place] for place in free}
    if not (kept and free and alone):
        return {}
    near, far = (nearest_distances(real.features, judged.features[kept])[0] for real in (reference, others))
    distances: dict[str, tuple[NDArray, NDArray]] = {
        "pixels": (1 - judged.training, 1 - judged.held_out),
        "embedding": (near, far),
    }
    patients = [others.patients[place] for place in free]
    found = {
        key: asdict(infer_membership(members, rest[free], reference.patients, patients, seed))
        for key, (members, rest) in distances.items()
    }
    unknown = {"low": None, "high": None}
    return {
        key: value | (unknown if min(value["members"], value["others"]) < FEWEST else {})
        for key, value in found.items()
    }


def _verdict(figures: Mapping[str, Any], unjudged: str) -> tuple[Light, str]:
    certain, judged = figures["copies"]["unmistakable"], figures["copies"]["judged"]
    if certain["hits"]:
        text = f"{certain['hits']:,} of {certain['count']:,} photographs are unmistakable copies of training eyes"
        return "red", f"{text}: do not share this set."
    if judged is None:
        return (
            "grey",
            "All photographs were generated from vessel maps of training eyes, which they resemble by construction.",
        )
    text = f"{judged['hits']:,} of {judged['count']:,} photographs ({judged['share']:.1%}) count as copies"
    text = f"{text}, compared with {RATE:.0%} expected of real eyes"
    if unjudged:
        return "grey", f"{text}. Not judged: {unjudged}."
    if judged["low"] > max(threshold["high"] for threshold in figures["calibration"].values()):
        return "red", f"{text}: more than chance explains."
    if judged["count"] < FEWEST_JUDGED:
        return "grey", f"{text}. Not judged: this needs {FEWEST_JUDGED} photographs."
    reasons = _reservations(figures)
    if reasons:
        return "amber", f"{text}, but {'; and '.join(reasons)}."
    return "green", f"{text}."


def _reservations(figures: Mapping[str, Any]) -> list[str]:
    judged, counts, found = figures["copies"]["judged"], figures["counts"], []
    if judged["share"] > RATE:
        found.append("that is more than expected, though chance may explain it")
    if counts["training_patients"] < ENOUGH_PATIENTS:
        found.append(f"{counts['training_patients']} training patients give a coarse threshold")
    leaking = [key for key, value in figures["membership"].items() if (value["low"] or 0) > 0.5]
    if leaking and not counts["warped"]:
        found.append(f"training eyes are nearer to the set than other eyes, by {' and '.join(leaking)}")
    if not figures["membership"]:
        found.append("there are no other real eyes for comparison")
    return found


def _notes(figures: Mapping[str, Any], synthetic: Eyes) -> list[str]:
    counts = figures["counts"]
    notes = [PRIOR, REAL]
    if counts["trained"]:
        left_out = counted(counts["trained"], "photograph", "was", "were")
        kind = KINDS["trained"].split(" (")[0]
        notes.append(f"{left_out} left out, since those {kind} resemble these eyes by construction.")
    if counts["warped"]:
        text = "their vessels, and so membership inference, depend on the condition and not on the generator"
        notes.append(f"{counted(counts['warped'], 'photograph')} {KINDS['warped'].split(' (')[0]}: {text}.")
    if counts["drawn"] < counts["synthetic"]:
        notes.append(f"A random sample of {counts['drawn']:,} of {counts['synthetic']:,} photographs was judged.")
    if not any("vessel" in eye.masks for eye in _some(synthetic)):
        notes.append("The set has no vessel maps, so its conditions are known from its manifest at best.")
    return notes


def _some(eyes: Eyes) -> list[Any]:
    return [eyes[place] for place in range(min(len(eyes), 4))]
