"""Faithfulness: do the photographs show what their masks say?

The judge is a segmentation network that was trained on real photographs only. It segments the vessels of each generated
photograph, and the result is compared with the map from which the photograph was made. The ceiling is the score of the
judge on real photographs with manual annotations. (A frozen segmenter as the judge of a conditional generator: Konz et
al., "Anatomically-controllable medical image generation with segmentation-guided diffusion models", MICCAI 2024.)

Branches are also removed from maps, to test whether they disappear from the photograph. Biomarkers of synthetic and
real eyes are measured with the same judge and compared. Disc and atrophy are measured likewise in sets with such masks.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retina_monai.errors import RetinaError, counted
from retina_monai.evaluation.families.faithfulness.branch_trials import BranchTrials, Paint, RealBranches
from retina_monai.evaluation.families.faithfulness.eye_measurements import (
    VESSEL,
    VISIBILITY,
    Measured,
    measure_eyes,
    stack_values,
)
from retina_monai.evaluation.families.faithfulness.faithfulness_figures import Findings, Score, summarize_findings
from retina_monai.evaluation.families.faithfulness.faithfulness_plots import (
    BRIGHTER,
    colour_errors,
    draw_eyes,
    draw_trials,
    plot_distributions,
    plot_scores,
)
from retina_monai.evaluation.families.faithfulness.faithfulness_tables import (
    BIOMARKERS,
    TITLES,
    biomarker_name,
    faithfulness_tables,
)
from retina_monai.evaluation.measuring.comparing import Distance
from retina_monai.evaluation.measuring.eye import Eye, Eyes, Judge
from retina_monai.evaluation.report.section import Light, Picture, Section
from retina_monai.evaluation.report.tables import FEWEST

__all__ = ["faithfulness_section"]

QUESTION = "Do the photographs show what their masks say?"

NEAR = 0.05  # Dice and clDice below the ceiling: twice the spread of good networks on one set (DRIVE: 0.80 to 0.825)
PASSING = 0.9  # share of visible branches that must pass: one in ten may be an error of the judge
DISTANT = 3.0  # multiple of the Wasserstein distance of real halves, the same as for KID
CONTRAST, PATCHY, RECALL = 0.1, 0.2, 0.03  # tolerated differences of the visibility of vessels: of the median contrast
# and its 10th percentile relative to real photographs, and of the judge's recall
FEW_PATIENTS = 6  # with fewer, halves of the real set have one or two patients, and their distance is chance
ALIKE = 10.0  # grey levels between a photograph and its repetition, above which the report has a note
SHOWN = 3  # worst and best eyes in a picture
NAMED = 3  # data sets in a sentence; of more, only the worst is named
JUDGED = {"vessel": ("dice", "cldice"), "disc": ("dice",)}  # measures that determine the light
SEVERITY: Sequence[Light] = ("grey", "green", "amber", "red")

Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def faithfulness_section(
    synthetic: Eyes,
    real: Eyes,
    *,
    judge: Judge | None,
    judge_name: str,
    paint: Paint | None,
    seed: int,
    output_dir: Path,
    disc_judge: Judge | None = None,
) -> Section:
    """Measure whether photographs show the vessels, the disc and the atrophy of their masks.

    The light is based on the difference of the judge's Dice and clDice between generated and real photographs of the
    same data set. It is green if the 95 % interval of the difference reaches 0 and lies above ``-NEAR``. It is amber if
    the interval reaches 0, if the mean lies above ``-NEAR``, or if branches or biomarkers fail. Otherwise it is red. It
    is grey without a judge, vessel maps or a ceiling, or with fewer than four patients on either side.

    Args:
        synthetic: eyes with ``vessel`` or ``disc`` and the photographs generated from them.
        real: real eyes. The ceiling is measured on those of the test split, or on all of a data set without one.
        judge: segments vessels in photographs; ``None`` if there is none.
        judge_name: name of the judge with version or digest.
        paint: the generator of the set. With ``None``, no branches are removed.
        seed: seed of bootstraps, halves, eyes and branches.
        output_dir: folder for the pictures.
        disc_judge: segments the disc in photographs; ``None`` if there is none.

    Raises:
        RetinaError: a set is empty, or a picture cannot be written.
        ValueError: a judge does not return one probability per pixel.
    """
    for name, eyes in (("synthetic", synthetic), ("real", real)):
        if not len(eyes):
            raise RetinaError(f"the {name} set must not be empty: faithfulness compares synthetic with real eyes")
    judges = {key: own for key, own in (("vessel", judge), ("disc", disc_judge)) if own is not None}
    trials = None if judge is None or paint is None else BranchTrials(paint, judge, len(synthetic), seed)
    branches, examples = RealBranches(0 if trials is None else len(real), seed), _Examples()
    synthetic_eyes, real_eyes = [], []
    for place, (eye, maps, measured) in enumerate(measure_eyes(synthetic, judges, "faithfulness, synthetic")):
        synthetic_eyes.append(measured)
        examples.add(place, eye, maps, measured)
        if trials is not None:
            trials.add(place, eye)
    for place, (eye, maps, measured) in enumerate(measure_eyes(real, judges, "faithfulness, real")):
        real_eyes.append(measured)
        branches.add(place, eye, maps)
    findings = summarize_findings(synthetic_eyes, real_eyes, trials, branches, seed)
    light, answer = _verdict(findings, judge is not None)
    return Section(
        key="faithfulness",
        question=QUESTION,
        light=light,
        answer=answer,
        figures={"judge": judge_name if judges else None, **findings.figures},
        tables=faithfulness_tables(findings),
        pictures=_pictures(findings, examples, trials, Path(output_dir)),
        notes=_notes(findings, judge_name, judges, trials),
    )


def _verdict(findings: Findings, has_judge: bool) -> tuple[Light, str]:
    """The light, and the sentences that justify it."""
    key = next((key for key in JUDGED if _has_ceiling(findings, key)), None)
    if key is None:
        return "grey", _why_grey(findings, has_judge)
    lights = {
        dataset: max((_light(scores[name]) for name in JUDGED[key]), key=SEVERITY.index)
        for dataset, scores in findings.scores[key].items()
    }
    worst = max(lights.values(), key=SEVERITY.index)
    reservations = _reservations(findings)
    sentences = [_in_words(findings.scores[key], key), *reservations]
    if few := [dataset for dataset, light in lights.items() if light == "grey"]:
        sentences.append(f"Not judged: {_join(few)}, since this needs {FEWEST} generated and {FEWEST} real patients.")
    if findings.lines and not any(sentence == _branches_in_words(findings) for sentence in reservations):
        sentences.insert(1, _branches_in_words(findings))
    return "amber" if worst == "green" and reservations else worst, " ".join(sentences)


def _has_ceiling(findings: Findings, key: str) -> bool:
    """Whether masks of this kind were compared in generated and in real photographs."""
    return any(score.real.N for scores in findings.scores.get(key, {}).values() for score in scores.values())


def _light(score: Score) -> Light:
    difference = score.difference
    if math.isnan(difference.low):
        return "grey"
    if difference.high >= 0 and difference.low >= -NEAR:
        return "green"
    return "amber" if difference.high >= 0 or difference.mean >= -NEAR else "red"


def _why_grey(findings: Findings, has_judge: bool) -> str:
    if not has_judge:
        return "There is no judge to segment the vessels in the photographs."
    if not any("vessel/dice" in eye.agreement for eye in findings.synthetic):
        return "No eye of the synthetic set has a vessel map to compare its photograph with."
    return "No eye of the real set has a vessel map, so the judge's score on real photographs is unknown."


def _in_words(scores: Mapping[str, Mapping[str, Score]], key: str) -> str:
    names = JUDGED[key]

    def shortfall(dataset: str) -> float:
        return min(scores[dataset][name].difference.mean for name in names)

    listed = list(scores) if len(scores) <= NAMED else [min(scores, key=shortfall)]
    parts = [
        " and ".join(
            f"{TITLES[name]} {scores[dataset][name].generated.mean:.2f} (real: {scores[dataset][name].real.mean:.2f})"
            for name in names
        )
        + f" on {dataset}"
        for dataset in listed
    ]
    worst = "" if len(listed) == len(scores) else ", the lowest of its data sets"
    found = "vessels" if key == "vessel" else key
    return f"The judge's segmentation of the {found} in generated photographs reaches {'; '.join(parts)}{worst}."


def _reservations(findings: Findings) -> list[str]:
    """Reasons that turn green into amber, one sentence each."""
    line = findings.lines.get("all")
    reasons = [_branches_in_words(findings)] if line is not None and not line.passed_of_shown >= PASSING else []
    reasons += [*_missing_discs(findings), *_faint_vessels(findings), *_missing_foveas(findings)]
    if distant := [biomarker_name(key) for key, own in findings.distances.items() if _is_distant(key, own)]:
        reasons.append(
            f"More than {DISTANT:.0f} times as far from real eyes as real eyes are from each other: {_join(distant)}."
        )
    return reasons


def _missing_discs(findings: Findings) -> Iterator[str]:
    for dataset, scores in findings.scores.get("disc", {}).items():
        share = scores["dice_085"].generated.mean
        if share < PASSING:
            yield f"Only in {share:.0%} of the photographs of {dataset}, the judge finds the disc of the mask."


def _faint_vessels(findings: Findings) -> Iterator[str]:
    """Calibre classes that are less visible than in real photographs, by the whole 95 % interval."""
    for dataset, kinds in findings.visibility.items():
        for kind, scores in kinds.items():
            median, low, recall = (scores[name] for name in VISIBILITY)
            if median.difference.high < -CONTRAST * abs(median.real.mean):
                yield _seen(f"{kind} vessels of {dataset} are fainter", "contrast", median)
            elif low.difference.high < -PATCHY * abs(low.real.mean):
                yield _seen(f"{kind} vessels of {dataset} are patchier", "10th percentile of the contrast", low)
            elif recall.difference.high < -RECALL:
                yield _seen(f"{kind} vessels of {dataset} are found less often", "recall", recall)


def _strong_vessels(findings: Findings) -> Iterator[str]:
    """Calibre classes with more contrast than in real photographs, by the whole 95 % interval."""
    for dataset, kinds in findings.visibility.items():
        for kind, scores in kinds.items():
            score = scores[VISIBILITY[0]]
            if score.difference.low > CONTRAST * abs(score.real.mean):
                yield (
                    _seen(f"{kind} vessels of {dataset} have more contrast", "median", score)
                    + " They are exaggerated, or the annotations of real photographs are less precise."
                )


def _seen(text: str, measure: str, score: Score) -> str:
    figures = f"{measure} {score.generated.mean:.2f}, real {score.real.mean:.2f}"
    return f"{text[:1].upper()}{text[1:]} than in real photographs ({figures})."


def _missing_foveas(findings: Findings) -> Iterator[str]:
    for dataset, score in findings.foveas.items():
        if score.generated.mean < PASSING * score.real.mean:
            yield (
                f"A fovea is visible in {score.generated.mean:.0%} of the photographs of {dataset}, in real ones in "
                f"{score.real.mean:.0%}."
            )


def _branches_in_words(findings: Findings) -> str:
    line = findings.lines["all"]
    if not line.shown:
        return f"No branch to be removed ({line.branches}) was visible in the photographs."
    return (
        f"Of {line.branches} branches to be removed from vessel maps, {line.shown:.0%} were visible in photographs. Of "
        f"these, {line.passed_of_shown:.0%} disappeared without other changes."
    )


def _is_distant(key: str, distance: Distance) -> bool:
    """Whether a biomarker of the photograph is distant; masks are the generator's input and do not count."""
    shows = key.startswith("photograph/") or key.endswith(("/contrast", "/convergence", "/darkening"))
    return shows and distance.real_patients >= FEW_PATIENTS and distance.ratio > DISTANT


def _pictures(findings: Findings, examples: _Examples, trials: BranchTrials | None, folder: Path) -> list[Picture]:
    pictures = []
    if _has_ceiling(findings, "vessel"):
        path = folder / "faithfulness_scores.png"
        plot_scores(_vessel_scores(findings), path)
        caption = "Generated photographs should reach the scores of real ones. Bars: 95 % intervals."
        pictures.append(Picture("Segmentation scores, generated and real", path, caption))
    if samples := _samples(findings):
        path = folder / "faithfulness_biomarkers.png"
        plot_distributions(samples, path)
        caption = (
            "The largest vertical gap of two curves is the KS distance, the area between them the Wasserstein distance."
        )
        pictures.append(Picture("Biomarkers of the vessels in photographs", path, caption))
    if rows := examples.rows():
        path = folder / "faithfulness_eyes.png"
        draw_eyes(rows, path)
        caption = "The worst eyes by Dice, then the best. Orange: false positive. Blue: false negative."
        pictures.append(Picture("Worst and best eyes", path, caption))
    if trials is not None and trials.pictures:
        path = folder / "faithfulness_branches.png"
        draw_trials(trials.pictures, path)
        caption = f"The orange branch is removed from the map. The change is amplified {BRIGHTER} times."
        pictures.append(Picture("Removed branches", path, caption))
    return pictures


def _vessel_scores(findings: Findings) -> dict[str, dict[str, Score]]:
    sets = findings.scores["vessel"]
    return {TITLES[name]: {dataset: scores[name] for dataset, scores in sets.items()} for name in JUDGED["vessel"]}


def _samples(findings: Findings) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    samples = {}
    for key in (key for key in findings.distances if key.startswith("photograph/")):
        title, unit = BIOMARKERS[key.split("/")[1]]
        synthetic, real = (unit * _known(eyes, key) for eyes in (findings.synthetic, findings.real))
        if len(synthetic) and len(real):
            samples[title] = (synthetic, real)
    return samples


def _known(eyes: Sequence[Measured], key: str) -> NDArray[np.float64]:
    values = stack_values(eyes, key)
    return values[~np.isnan(values)]


def _notes(findings: Findings, judge_name: str, judges: Mapping[str, Judge], trials: BranchTrials | None) -> list[str]:
    notes = []
    if judges:
        notes += [f"Judge: {judge_name}.", *_notes_on_ceiling(findings)]
    if "vessel" in judges and trials is None:
        notes.append("The generator of the set is not available, so no branch was removed from its vessel maps.")
    if trials is not None and not findings.lines:
        notes.append("No vessel map had a branch that could be removed without cutting off others.")
    if trials is not None and trials.from_labels:
        notes.append(
            f"For {counted(trials.from_labels, 'synthetic eye')}, the set lacks the input of its generator "
            "(`vessel_shares/`). Branches were removed from their labels, from which synthesis does not generate."
        )
    notes += _strong_vessels(findings)
    if findings.repainted > ALIKE:
        notes.append(
            "Photographs with and without a branch are generated without texture. Those with the branch differ from "
            f"the set by {findings.repainted:.1f} grey levels on average."
        )
    return notes


def _notes_on_ceiling(findings: Findings) -> list[str]:
    notes = []
    if findings.unmarked:
        notes.append(
            f"No eye of {_join(sorted(findings.unmarked))} is in a test split, so all of them are the ceiling. The "
            "judge may have been trained on them, which raises it."
        )
    known = {eye.dataset for eye in findings.ceiling}
    if strange := sorted({eye.dataset for eye in findings.synthetic} - known):
        notes.append(f"There is no real eye of {_join(strange)}, so all data sets are its ceiling.")
    empty = sum(
        "mask/vessel_density" in eye.values and not eye.values["mask/vessel_density"][0] for eye in findings.synthetic
    )
    if empty:
        maps = counted(empty, "vessel map", "is", "are")
        notes.append(f"{maps} empty and not part of the scores.")
    return notes


def _join(names: Sequence[str]) -> str:
    """A list in words: commas, and ``and`` before the last name."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


@dataclass
class _Examples:
    """The eyes with the lowest and the highest Dice, with their pictures."""

    worst: list[tuple[float, int, Pictures]] = field(default_factory=list)
    best: list[tuple[float, int, Pictures]] = field(default_factory=list)

    def add(self, place: int, eye: Eye, maps: Mapping[str, NDArray[np.float32]], measured: Measured) -> None:
        dice = measured.agreement.get("vessel/dice", math.nan)
        for heap, rank in ((self.worst, -dice), (self.best, dice)):
            if len(heap) < SHOWN and not math.isnan(dice):
                heapq.heappush(heap, (rank, place, _shown(eye, maps["vessel"])))
            elif heap and rank > heap[0][0]:
                heapq.heapreplace(heap, (rank, place, _shown(eye, maps["vessel"])))

    def rows(self) -> list[Pictures]:
        """The worst eyes first; each eye appears once."""
        eyes = {place: pictures for _, place, pictures in (*sorted(self.worst, reverse=True), *sorted(self.best))}
        return list(eyes.values())


def _shown(eye: Eye, found: NDArray[np.float32]) -> Pictures:
    expected = (eye.masks["vessel"] >= VESSEL) & eye.fov
    share, probability = (np.rint(255 * array).astype(np.uint8)[None] for array in (eye.masks["vessel"], found))
    return share, eye.image, probability, colour_errors(found >= VESSEL, expected)
