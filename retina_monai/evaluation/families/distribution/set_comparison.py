"""Realism: KID relative to its floor, FID, and precision, recall, density and coverage of a synthetic set.

KID and its floor are measured in the same way. For the floor, the real set is split at random into halves that share no
patient, two hundred times, and the KID of the halves is measured. For the synthetic set, half of the real set is
compared with as many synthetic eyes. None of these is made from the map of a patient in that half, since such eyes
resemble each other and would make the set look better than it is. Both are KIDs of N against N unrelated eyes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retina_monai.errors import counted
from retina_monai.evaluation.families.distribution.distribution_plots import (
    plot_colours,
    plot_floors,
    plot_manifolds,
    plot_projections,
)
from retina_monai.evaluation.families.distribution.overview import Overview, look_over
from retina_monai.evaluation.families.distribution.two_sample import TwoSample, two_sample_test
from retina_monai.evaluation.families.image.spectral_ratio import describe_ratio
from retina_monai.evaluation.measuring.eye import Extractor, Eyes
from retina_monai.evaluation.report.plots import plot_spectrum
from retina_monai.evaluation.report.section import Light, Picture, Section, Table
from retina_monai.metrics import (
    FID,
    KID,
    Manifold,
    RealFloor,
    compare_manifolds,
    fid,
    floor_of_halves,
    frequencies,
    halves,
    kid_of_subsets,
    sample_fid,
)
from retina_monai.progress import progress

__all__ = ["AMBER", "FEW", "GREEN", "Comparison", "compare_sets", "distribution_section", "unrelated"]

GREEN = 3.0
"""Number of floors up to which KID is good: the aim of this project. The floor is a mean absolute value, so three of
them are 2.4 standard deviations of a normal distribution. KID is a mean over many draws, which stays below this limit
for equal distributions."""
AMBER = 10.0
"""Number of floors up to which KID has reservations: beyond, at eight standard deviations, chance is excluded."""
FEW = 8
"""Number of photographs per side below which there is no light, because the floor is then too high."""
CONFIDENT = 1.96
"""Half-width of KID's 95 % interval in standard errors."""
NARROW = 0.5
"""Coverage relative to that of real photographs below which a set is too narrow to be good, whatever its KID. At this
value, half of the real eyes near which another real set has an eye have no synthetic eye nearby."""
TOLD_APART = 0.75
"""AUC of the two-sample test above which, by the whole 95 % interval, a set is not good: the aim of this project. A
network then distinguishes three of four pairs of a generated and a real photograph."""
REPEATED = 0.01
"""Share of photographs equal to an earlier one above which a set is not good. A generator with any random input never
generates the same photograph twice."""
FEWEST = 4
"""Smallest number of photographs per set that can be halved."""
LARGEST = 1000
"""Largest number of photographs per side. Published KIDs are means over subsets of this size."""
SPLITS = 200
NEIGHBOURS = 5
MANIFOLD_SPLITS = 10
SHARE = 0.1
"""Difference of a data set's shares in the two sets from which a note reports a different composition."""
QUESTION = "Does the set look like real photographs, in quality and in variety?"
FIGURES = ("precision", "recall", "density", "coverage")

Pairs = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Comparison:
    """Comparison of two sets by the features of one extractor.

    Attributes:
        kid: KID of N synthetic and N unrelated real eyes, over many draws.
        floor: KID of N real and N other real eyes.
        fid: FID of all eyes.
        equal_fid: mean FID of N synthetic and N unrelated real eyes, comparable with the FID of the floor.
        manifold: precision, recall, density and coverage of all eyes, or of the samples that were kept.
        manifolds: the same for N synthetic and N real eyes, over a few draws.
        floor_manifolds: the same for N real and N other real eyes, over as many draws.
        points: first two principal components of real and of synthetic eyes, ``(K, 2)`` each.
    """

    kid: KID
    floor: RealFloor
    fid: FID
    equal_fid: float
    manifold: Manifold
    manifolds: Sequence[Manifold]
    floor_manifolds: Sequence[Manifold]
    points: tuple[NDArray[np.float64], NDArray[np.float64]]

    @property
    def ratio(self) -> float:
        """KID in floors; NaN if the floor is 0, that is if all real eyes have the same features."""
        return self._floors(self.kid.value)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the ratio, from the standard error of KID."""
        reach = CONFIDENT * self.kid.standard_error
        return self._floors(self.kid.value - reach), self._floors(self.kid.value + reach)

    def _floors(self, kid: float) -> float:
        return kid / self.floor.kid if self.floor.kid > 0 else math.nan


def distribution_section(
    synthetic: Eyes,
    real: Eyes,
    *,
    extractors: Mapping[str, Extractor],
    size: int,
    seed: int,
    output_dir: Path,
    classify: bool = False,
) -> Section:
    """Compare a synthetic set with a real one as a whole.

    Args:
        synthetic: eyes, read once.
        real: eyes, read once.
        extractors: extractors by name; the first determines the light.
        size: side of the eyes in pixels.
        seed: seed of halves and samples.
        output_dir: folder for the pictures.
        classify: whether to train networks for the two-sample test, which takes minutes.

    Returns:
        The section ``distribution``; grey if a set has fewer than four eyes.

    Raises:
        RetinaError: a picture cannot be written.
        ValueError: there is no extractor, or one does not return finite features ``(B, D)``.
    """
    if not extractors:
        raise ValueError("extractors must not be empty")
    if min(len(synthetic), len(real)) < FEWEST:
        counts = f"there are {len(synthetic)} synthetic and {len(real)} real ones"
        answer = f"Not judged: the comparison needs {FEWEST} photographs of each set, and {counts}."
        return Section("distribution", QUESTION, "grey", answer, {})
    synthetic_overview = look_over(synthetic, extractors, seed, "synthetic photographs")
    real_overview = look_over(real, extractors, seed, "real photographs")
    results = {name: compare_sets(synthetic_overview, real_overview, name, size, seed) for name in extractors}
    test = _two_sample(synthetic, real, seed) if classify else None
    light, answer = _judge(next(iter(results.values())), synthetic_overview, real_overview, test)
    return Section(
        "distribution",
        QUESTION,
        light,
        answer,
        _figures(results, synthetic_overview, real_overview) | ({"two_sample": asdict(test)} if test else {}),
        [
            _kid_table(results),
            _fid_table(results),
            _manifold_table(results),
            *([_two_sample_table(test)] if test else []),
            _colour_table(synthetic_overview, real_overview),
        ],
        _pictures(results, synthetic_overview, real_overview, size, output_dir),
        _notes(results, synthetic_overview, real_overview),
    )


def compare_sets(synthetic: Overview, real: Overview, name: str, size: int, seed: int) -> Comparison:
    """Compare two sets by the features of one extractor.

    Args:
        synthetic: overview of the synthetic set.
        real: overview of the real set. Both have at least four eyes.
        name: name of the extractor.
        size: side in pixels.
        seed: seed of the halves.
    """
    how: dict[str, Any] = {"extractor": name, "resolution": size}
    synthetic_features, real_features = synthetic.features[name], real.features[name]
    pairs, apart, by_patient = unrelated(real.patients, synthetic.patients, np.random.default_rng(seed))
    few, few_apart = pairs[:MANIFOLD_SPLITS], apart[:MANIFOLD_SPLITS]

    def shown(pairs: Pairs, what: str) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return progress(pairs, f"distribution: {what} by {name}", "split")

    return Comparison(
        kid=kid_of_subsets(real_features, synthetic_features, apart, **how),
        floor=floor_of_halves(real_features, pairs, by_patient=by_patient, **how),
        fid=fid(real.statistics[name], synthetic.statistics[name], **how),
        equal_fid=float(
            np.mean(
                [sample_fid(real_features[one], synthetic_features[other]) for one, other in shown(few_apart, "FID")]
            )
        ),
        manifold=_manifold(real_features, synthetic_features, how),
        manifolds=[
            _manifold(real_features[one], synthetic_features[other], how) for one, other in shown(few_apart, "coverage")
        ],
        floor_manifolds=[
            _manifold(real_features[one], real_features[other], how)
            for one, other in shown(few, "coverage of real eyes")
        ],
        points=_project(real_features, synthetic_features),
    )


def unrelated(
    real: Sequence[str], synthetic: Sequence[str], generator: np.random.Generator, splits: int = SPLITS
) -> tuple[Pairs, Pairs, bool]:
    """Random halves of a real set, and for each split one half with synthetic eyes of none of its patients.

    Of the two halves, the one with more unrelated synthetic eyes is used. At least half of them are unrelated to it.

    Args:
        real: patient of each real eye. If patients cannot be separated, eyes are.
        synthetic: patient of the condition of each synthetic eye.
        generator: random generator of the draws.
        splits: number of splits.

    Returns:
        Index pairs (real, real) and (real, synthetic), all of one length, and whether the halves share no patient.
    """
    size = min(LARGEST, len(synthetic) - 1)
    pairs: Pairs = halves(len(real), generator, real, splits, size) if len(set(real)) > 1 else []
    by_patient = bool(pairs) and len(pairs[0][0]) > 1
    if not by_patient:
        pairs = halves(len(real), generator, None, splits, size)
    beside = [_strangers(pair, real, synthetic) for pair in pairs]
    count = min(len(side) for pair in beside for side in pair)
    cut = [[_cut(pair, count, generator) for pair in side] for side in (pairs, beside)]
    return cut[0], cut[1], by_patient


def _strangers(
    pair: tuple[NDArray[np.int64], NDArray[np.int64]], real: Sequence[str], synthetic: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    patients = np.array(synthetic)
    free = [np.flatnonzero(~np.isin(patients, [real[place] for place in half])) for half in pair]
    half = int(len(free[1]) > len(free[0]))
    every = np.arange(len(patients))
    return pair[half], free[half] if len(free[half]) > 1 else every


def _cut(
    pair: tuple[NDArray[np.int64], NDArray[np.int64]], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, other = (np.sort(generator.choice(side, count, replace=False)) for side in pair)
    return one, other


def _manifold(real: NDArray[Any], generated: NDArray[Any], how: Mapping[str, Any]) -> Manifold:
    neighbours = min(NEIGHBOURS, len(real) - 1, len(generated) - 1)
    return compare_manifolds(real, generated, neighbours=neighbours, **how)


def _project(real: NDArray[Any], generated: NDArray[Any], most: int = 500) -> tuple[NDArray[Any], NDArray[Any]]:
    """First two principal components of both sets together; of one where there is but one feature."""
    sides = [np.asarray(features[:most], np.float64) for features in (real, generated)]
    both = np.concatenate(sides)
    _, _, axes = np.linalg.svd(both - both.mean(0), full_matrices=False)
    placed = (both - both.mean(0)) @ axes[:2].T
    placed = np.pad(placed, ((0, 0), (0, 2 - placed.shape[1])))
    return placed[: len(sides[0])], placed[len(sides[0]) :]


def _two_sample(synthetic: Eyes, real: Eyes, seed: int) -> TwoSample | None:
    """The two-sample test; ``None`` if a set has one patient, so that none could be held out."""
    if any(len({eye.patient for eye in eyes}) < 2 for eyes in (synthetic, real)):
        return None
    return two_sample_test(synthetic, real, seed)


def _judge(result: Comparison, synthetic: Overview, real: Overview, test: TwoSample | None = None) -> tuple[Light, str]:
    if copies := synthetic.shared_with(real):
        which = (
            "is the real set" if copies == synthetic.count else f"has {counted(copies, 'photograph')} of the real set"
        )
        return "red", f"The synthetic set {which}: identical photographs are not synthetic."
    few = result.floor.real_count
    answer = _answer(result) + (f" {_test_in_words(test)}" if test else "")
    if math.isnan(result.ratio):
        return "grey", f"Not judged: {result.kid.extractor} gives all real photographs the same features."
    if few < FEW:
        return "grey", f"{answer} Not judged: this needs {FEW} photographs per side."
    low, high = result.interval
    if result.ratio > AMBER and low > GREEN:
        return "red", f"{answer} The set does not look like the real one."
    if result.ratio > GREEN:
        return "amber", f"{answer} The set is near the real one, but distinguishable from it."
    if synthetic.repeated > REPEATED * synthetic.count:
        return (
            "amber",
            f"{answer} But {synthetic.repeated} of {synthetic.count} photographs are identical to an earlier one.",
        )
    if _means(result.manifolds)["coverage"] < NARROW * _means(result.floor_manifolds)["coverage"]:
        return "amber", f"{answer} The synthetic photographs are near real ones, but not varied enough."
    if test is not None and test.low > TOLD_APART:
        return "amber", f"{answer} The set is near the real one by KID, but a network can distinguish them."
    if high > GREEN:
        return "amber", f"{answer} That is little, but the interval extends beyond {GREEN:g} floors."
    return "green", f"{answer} As far as {few} photographs per side can show, the set looks like the real one."


def _answer(result: Comparison) -> str:
    kid, floor = result.kid, result.floor
    return (
        f"KID is {kid.value:.3g} (standard error {kid.standard_error:.1g}; {kid.extractor}, N = {kid.subset_size} "
        f"against {kid.subset_size} at {kid.resolution} px), {_times(result.ratio)} the floor of {floor.kid:.2g} "
        f"between as many real photographs of different patients{_interval(result)}. {_variety(result)}"
    )


def _test_in_words(test: TwoSample) -> str:
    span = "" if math.isnan(test.low) else f" (95 % interval {test.low:.2f} to {test.high:.2f})"
    return f"A network trained to distinguish the sets has an AUC of {test.auc:.2f} on other patients{span}."


def _two_sample_table(test: TwoSample) -> Table:
    note = (
        "A small network learns to distinguish generated from real photographs and is tested on patients it has not "
        f"seen (four folds). 0.5: indistinguishable. A set with the whole interval above {TOLD_APART} is not good."
    )
    row = [test.auc, *(None if math.isnan(end) else end for end in (test.low, test.high)), test.N, test.real_N]
    return Table("Classifier two-sample test", ("AUC", "low", "high", "N", "N real"), [row], note)


def _interval(result: Comparison) -> str:
    low, high = result.interval
    return "" if math.isnan(low) else f" (95 % interval {low:.1f} to {high:.1f} times)"


def _variety(result: Comparison) -> str:
    own, real = _means(result.manifolds), _means(result.floor_manifolds)
    return (
        f"Precision is {own['precision']:.2f} and recall {own['recall']:.2f}. Real photographs have "
        f"{real['precision']:.2f} and {real['recall']:.2f}."
    )


def _times(ratio: float) -> str:
    return "at most" if ratio <= 1 else f"{ratio:.1f} times"


def _figures(results: Mapping[str, Comparison], synthetic: Overview, real: Overview) -> dict[str, Any]:
    ratio = synthetic.spectrum / real.spectrum
    return {
        "N": synthetic.count,
        "real_N": real.count,
        "identical_to_real": synthetic.shared_with(real),
        "repeated": synthetic.repeated,
        "extractors": {name: _figures_of(result) for name, result in results.items()},
        "colour": dict(zip(("red", "green", "blue"), synthetic.colour_distance(real), strict=True)),
        "spectrum": {
            **describe_ratio(ratio),
            "distance_db": float(np.sqrt(np.mean((10 * np.log10(ratio)) ** 2))),
        },
    }


def _figures_of(result: Comparison) -> dict[str, Any]:
    kid, floor = result.kid, result.floor
    return {
        "kid": {
            "value": kid.value,
            "standard_error": kid.standard_error,
            "ratio": result.ratio,
            "ratio_low": result.interval[0],
            "ratio_high": result.interval[1],
            "N": kid.subset_size,
            "of": kid.generated_count,
            "real_of": kid.real_count,
            "subsets": kid.subsets,
        },
        "floor": {
            "kid": floor.kid,
            "kid_percentile_95": floor.percentile_95,
            "fid": floor.fid,
            "N": floor.real_count,
            "splits": len(floor.kids),
            "by_patient": floor.by_patient,
        },
        "fid": {
            "value": result.fid.value,
            "N": result.fid.generated_count,
            "real_N": result.fid.real_count,
            "rank_deficient": result.fid.rank_deficient,
            "at_the_floors_N": result.equal_fid,
        },
        "manifold": {key: value for key, value in asdict(result.manifold).items() if key != "extractor"},
        "manifold_at_the_floors_N": _means(result.manifolds),
        "manifold_floor": _means(result.floor_manifolds),
        "resolution": kid.resolution,
        "dimension": kid.dimension,
    }


def _means(manifolds: Sequence[Manifold]) -> dict[str, float]:
    return {name: float(np.mean([getattr(manifold, name) for manifold in manifolds])) for name in FIGURES}


def _kid_table(results: Mapping[str, Comparison]) -> Table:
    rows: list[list[str | float | None]] = [
        [
            name,
            result.kid.value,
            result.kid.standard_error,
            result.floor.kid,
            result.ratio,
            result.kid.subset_size,
            result.kid.resolution,
            result.kid.dimension,
        ]
        for name, result in results.items()
    ]
    columns = ("extractor", "KID", "standard error", "floor", "KID / floor", "N against N", "px", "features")
    note = (
        f"Unbiased KID (kernel (x . y / D + 1)^3), mean over {SPLITS} draws of N real against N synthetic photographs "
        "that share no patient. Floor: mean absolute KID of N real against N other real photographs, over as many "
        f"draws. Up to {GREEN:g} floors with the whole 95 % interval is good; above {AMBER:g} is not. "
        f"There is no light below {FEW} photographs per side."
    )
    return Table("KID and its floor", columns, rows, note)


def _fid_table(results: Mapping[str, Comparison]) -> Table:
    rows: list[list[str | float | None]] = []
    for name, result in results.items():
        counts = f"{result.fid.generated_count} to {result.fid.real_count}"
        number = result.floor.real_count
        rows += [
            [name, "all", result.fid.value, counts],
            [name, "as many as in the floor", result.equal_fid, f"{number} to {number}"],
            [name, "floor: real to real", result.floor.fid, f"{number} to {number}"],
        ]
    warnings = [result.fid.warning for result in results.values() if result.fid.warning]
    return Table("FID", ("extractor", "photographs", "FID", "N"), rows, ". ".join(warnings))


def _manifold_table(results: Mapping[str, Comparison]) -> Table:
    rows: list[list[str | float | None]] = []
    for name, result in results.items():
        number = result.floor.real_count
        whole = {figure: float(getattr(result.manifold, figure)) for figure in FIGURES}
        lines = (
            (f"{result.manifold.generated_count} to {result.manifold.real_count}", whole),
            (f"{number} to {number}", _means(result.manifolds)),
            (f"real: {number} to {number}", _means(result.floor_manifolds)),
        )
        rows += [[name, label, *figures.values()] for label, figures in lines]
    note = (
        "Precision: share of synthetic photographs among real ones. Recall: share of real ones among synthetic ones. "
        "Density: number of real neighbourhoods around a synthetic photograph, relative to its expected value. "
        "Coverage: share of real ones with a synthetic one nearby. All depend on N: compare the last two lines."
    )
    return Table("Precision, recall, density and coverage", ("extractor", "N", *FIGURES), rows, note)


def _colour_table(synthetic: Overview, real: Overview) -> Table:
    rows: list[list[str | float | None]] = [
        [name, *(float(overview.colour_mean()[channel]) for overview in (real, synthetic)), distance]
        for channel, (name, distance) in enumerate(
            zip(("red", "green", "blue"), synthetic.colour_distance(real), strict=True)
        )
    ]
    columns = ("channel", "real mean", "synthetic mean", "Wasserstein distance")
    return Table("Colours inside the field of view", columns, rows, "Grey levels in [0, 255] over all pixels.")


def _pictures(
    results: Mapping[str, Comparison], synthetic: Overview, real: Overview, size: int, output_dir: Path
) -> list[Picture]:
    paths = {name: output_dir / f"{name}.png" for name in ("kid", "projection", "manifold", "spectrum", "colours")}
    plot_floors({name: (result.kid, result.floor) for name, result in results.items()}, GREEN, paths["kid"])
    plot_projections({name: result.points for name, result in results.items()}, paths["projection"])
    manifolds = {name: (result.manifolds, result.floor_manifolds) for name, result in results.items()}
    plot_manifolds(manifolds, paths["manifold"])
    plot_spectrum(
        frequencies(size).numpy(), {"real": real.spectrum, "synthetic": synthetic.spectrum}, paths["spectrum"]
    )
    plot_colours(real.colours, synthetic.colours, paths["colours"])
    return [
        Picture(title, paths[name], caption)
        for name, title, caption in (
            ("kid", "KID and its floor", "Where orange overlaps blue, the set is as near as real photographs are."),
            ("projection", "Both sets in two dimensions", "First two principal components of the features."),
            ("manifold", "Precision and recall", "Synthetic marks should lie where the real ones do."),
            ("spectrum", "Power spectrum", "Below 1 on the right: too smooth. Above 1: too grainy."),
            ("colours", "Colours inside the field of view", "Share of the pixels at each level."),
        )
    ]


def _notes(results: Mapping[str, Comparison], synthetic: Overview, real: Overview) -> list[str]:
    first = next(iter(results.values()))
    notes = [
        f"The synthetic set has {synthetic.count} photographs and the real one {real.count}. KID, FID, coverage and "
        "floors are comparable only at the same N, resolution and extractor."
    ]
    if first.floor.real_count < 100:
        notes.append(
            f"There are few photographs. With {first.floor.real_count} per side the floor is high, and faults below a "
            f"KID of {GREEN * first.floor.kid:.2g} cannot be distinguished from chance."
        )
    if not first.floor.by_patient:
        notes.append("The real set has too few patients to separate them, so the floor is too low.")
    if first.kid.value < -GREEN * first.floor.kid:
        notes.append("KID is far below 0, which suggests that the sets share photographs.")
    if max(synthetic.count, real.count) > max(len(synthetic.patients), len(real.patients)):
        notes.append(
            f"KID, precision and recall are measured on random samples of {len(synthetic.patients)} photographs."
        )
    if synthetic.repeated:
        repeats = counted(synthetic.repeated, "synthetic photograph", "is", "are")
        notes.append(f"{repeats} identical to an earlier one.")
    return notes + _mixture(synthetic.datasets, real.datasets)


def _mixture(synthetic: Counter[str], real: Counter[str]) -> list[str]:
    shares = [
        (name, synthetic[name] / synthetic.total(), real[name] / real.total())
        for name in dict.fromkeys([*real, *synthetic])
    ]
    off = [f"{name} {one:.0%} and {other:.0%}" for name, one, other in shares if abs(one - other) > SHARE]
    if not off:
        return []
    return [f"The composition of the sets differs (synthetic and real: {', '.join(off)}), which raises KID."]
