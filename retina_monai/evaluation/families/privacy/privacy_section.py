"""Does a synthetic set give its training patients away: copies, authenticity, membership inference.

Each synthetic photograph is laid over the training eyes, and its copy score with the nearest (see
``retina_monai.metrics.alignment``) is held against a threshold that 5 % of real eyes exceed with the nearest eye of
another patient. Real photographs that are one picture are of one patient: no such pair counts. A photograph painted
from a training eye's own vessel map is near to it by construction: it tells nothing of the generator and is left out.
One painted from a training map that was warped is judged by what lies between the vessels alone.
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

RATE = 0.05  # of false positives on unseen real eyes, as is usual
UNMISTAKABLE = 0.6  # copy score that no two different eyes came near (scripts/privacy_proof.py)
ENOUGH_PATIENTS = 19  # with fewer, no threshold holds 5 % without an assumption
FEWEST_JUDGED = 20  # with fewer, a set in which one photograph in twenty is a copy may well show none: no light
MOST = 2000  # photographs of a set that are judged, drawn by the seed: shares are then known to 1 %
PRIOR = "With few training images memorisation is expected: a generator of this kind can repeat what it has seen often."
REAL = "The pictures of this section show real photographs: handle them as the real set."

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

    Memory: 0.3 MB for each real eye; of synthetic ones numbers and features alone are kept. Time: some 0.2 s for each
    photograph on one core with 100 training eyes, in proportion to their number with more.

    Args:
        synthetic: the set that is judged; of a larger one 2,000, drawn by the seed.
        training: eyes that the generator was trained on.
        held_out: real eyes that it was not trained on; may be empty. Of many, 2,000.
        extractor: of the embedding.
        extractor_name: stands in the result.
        seed: of draws and bootstrap.
        output_dir: where ``nearest_pairs.png`` and ``copy_scores.png`` are written.
        unjudged: why the training eyes do not suffice for a light, where they do not; copies beyond mistake are red all
            the same.

    Raises:
        RetinaError: a picture cannot be written.
        ValueError: features that are not finite.
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
        return _grey(f"Not judged: {counted(patients, 'training patient')}, and a light takes {FEWEST}.")
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
    """Thresholds from training eyes, each held against those of other patients: the same search as for synthetic."""
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
    """Share of copies of each kind and of all that are judged, and of copies that cannot be mistaken."""
    called = {kind: [e.score > calibration.threshold(kind).value for e in nearest if e.kind == kind] for kind in KINDS}
    certain = [eye.score > UNMISTAKABLE for eye in nearest]
    shares = {str(kind): _share(hits) for kind, hits in called.items()}
    return shares | {"judged": _share(called["unseen"] + called["warped"]), "unmistakable": _share(certain)}


def _nearest(
    judged: Judged, unseen: Sequence[Nearest], reference: Reference, others: Reference, calibration: Calibration
) -> dict[str, dict[str, float | None]]:
    """Medians, over the synthetic eyes that are judged, the held-out and the training ones."""
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
    """By pixels and by embedding; eyes whose own vessel map was a condition do not count among the others."""
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
        text = f"{certain['hits']:,} of {certain['count']:,} photographs are copies of training eyes beyond mistake"
        return "red", f"{text}: do not give this set away."
    if judged is None:
        return (
            "grey",
            "All photographs were painted from the vessel maps of training eyes, to which they are near anyway.",
        )
    text = f"{judged['hits']:,} of {judged['count']:,} photographs ({judged['share']:.1%}) are called copies"
    text = f"{text}, where {RATE:.0%} of real eyes would be"
    if unjudged:
        return "grey", f"{text}. Not judged: {unjudged}."
    if judged["low"] > max(threshold["high"] for threshold in figures["calibration"].values()):
        return "red", f"{text}: more than chance explains."
    if judged["count"] < FEWEST_JUDGED:
        return "grey", f"{text}. Not judged: that takes {FEWEST_JUDGED} photographs."
    reasons = _reservations(figures)
    if reasons:
        return "amber", f"{text}; but {'; and '.join(reasons)}."
    return "green", f"{text}."


def _reservations(figures: Mapping[str, Any]) -> list[str]:
    judged, counts, found = figures["copies"]["judged"], figures["counts"], []
    if judged["share"] > RATE:
        found.append("that is more than expected, though chance may explain it")
    if counts["training_patients"] < ENOUGH_PATIENTS:
        found.append(f"{counts['training_patients']} training patients calibrate the threshold coarsely")
    leaking = [key for key, value in figures["membership"].items() if (value["low"] or 0) > 0.5]
    if leaking and not counts["warped"]:
        found.append(f"training eyes are nearer to the set than others are, by {' and '.join(leaking)}")
    if not figures["membership"]:
        found.append("no eyes that were not trained on are left to compare with")
    return found


def _notes(figures: Mapping[str, Any], synthetic: Eyes) -> list[str]:
    counts = figures["counts"]
    notes = [PRIOR, REAL]
    if counts["trained"]:
        left_out = counted(counts["trained"], "photograph", "was", "were")
        notes.append(f"{left_out} left out: made {KINDS['trained'].split(' (')[0]}, and so near to these eyes.")
    if counts["warped"]:
        text = "their vessels, and with them membership inference, tell of the condition and not of the generator"
        notes.append(f"{counted(counts['warped'], 'photograph')} {KINDS['warped'].split(' (')[0]}: {text}.")
    if counts["drawn"] < counts["synthetic"]:
        notes.append(f"{counts['drawn']:,} of {counts['synthetic']:,} photographs were judged, drawn by the seed.")
    if not any("vessel" in eye.masks for eye in _some(synthetic)):
        notes.append("The set has no vessel maps: what it was painted from is known by its manifest alone, if at all.")
    return notes


def _some(eyes: Eyes) -> list[Any]:
    return [eyes[place] for place in range(min(len(eyes), 4))]
