"""Does a synthetic set look like a real one, in quality and in variety: KID over its floor, FID, density and coverage.

What is compared with the floor is taken as the floor is. The floor: the real set is parted at random into two halves,
no patient in both, two hundred times, and the KID of the halves is measured each time. The synthetic set: half of the
real set against as many synthetic eyes, none made from a map of a patient in that half, since such eyes resemble each
other without the set being any better. So both are KIDs of N against N unrelated eyes.
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
"""Floors up to which KID is good: the aim of this project. The floor is a mean absolute value, so that three of it are
2.4 standard deviations of a normal distribution; a mean over many draws, as KID is, stays below if nothing differs."""
AMBER = 10.0
"""Floors up to which KID has reservations: beyond, at eight standard deviations, nothing is left to chance."""
FEW = 8
"""Photographs on a side below which no light is given: the floor is then so high that little rises above it."""
CONFIDENT = 1.96
"""Standard errors on each side of KID: its 95 % interval."""
NARROW = 0.5
"""Share of real photographs' coverage below which a set is too narrow to be good, whatever its KID: half of the real
eyes that another real set comes near to have no synthetic one near."""
REPEATED = 0.01
"""Share of photographs that equal an earlier one above which a set is not good: a generator never paints the same
photograph twice, if it draws anything at all."""
FEWEST = 4
"""Photographs of each set without which there is nothing to halve."""
LARGEST = 1000
"""Photographs on a side at most: more only cost time, as published KIDs are means over subsets of as many."""
SPLITS = 200
NEIGHBOURS = 5
MANIFOLD_SPLITS = 10
SHARE = 0.1
"""Difference of a data set's share of the two sets from which on a note says that they are made up differently."""
QUESTION = "Does the set look like real photographs, in quality and in variety?"
FIGURES = ("precision", "recall", "density", "coverage")

Pairs = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Comparison:
    """Of the features of one extractor.

    Attributes:
        kid: of N synthetic to N unrelated real eyes, many times.
        floor: of N real to N real eyes.
        fid: of all eyes.
        equal_fid: mean FID of N synthetic to N unrelated real eyes: what the floor's FID compares with.
        manifold: of all eyes, or of the samples that were kept.
        manifolds: of N synthetic to N real eyes, a few times.
        floor_manifolds: of N real to N real eyes, as often.
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
        """KID in floors; NaN if the floor is 0, where no feature tells one real eye from another."""
        return self._floors(self.kid.value)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the ratio, by the standard error of KID."""
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
) -> Section:
    """Compare a synthetic set with a real one as a whole.

    Args:
        synthetic: eyes, gone through once.
        real: eyes, gone through once.
        extractors: by name; the first gives the headline.
        size: pixels a side of the eyes.
        seed: of halves and samples.
        output_dir: where the pictures go.

    Returns:
        The section ``distribution``; grey if a set has fewer than four eyes.

    Raises:
        RetinaError: a picture cannot be written.
        ValueError: no extractor, or one that does not return finite features ``(B, D)``.
    """
    if not extractors:
        raise ValueError("the sets can only be compared by the features of an extractor, and none is given")
    if min(len(synthetic), len(real)) < FEWEST:
        counts = f"there are {len(synthetic)} synthetic and {len(real)} real ones"
        answer = f"Not judged: sets are compared from {FEWEST} photographs of each on, and {counts}."
        return Section("distribution", QUESTION, "grey", answer, {})
    made = look_over(synthetic, extractors, seed, "synthetic photographs")
    true = look_over(real, extractors, seed, "real photographs")
    results = {name: compare_sets(made, true, name, size, seed) for name in extractors}
    light, answer = _judge(next(iter(results.values())), made, true)
    return Section(
        "distribution",
        QUESTION,
        light,
        answer,
        _figures(results, made, true),
        [_kid_table(results), _fid_table(results), _manifold_table(results), _colour_table(made, true)],
        _pictures(results, made, true, size, output_dir),
        _notes(results, made, true),
    )


def compare_sets(synthetic: Overview, real: Overview, name: str, size: int, seed: int) -> Comparison:
    """All that is measured on the features of one extractor.

    Args:
        synthetic: what was kept of the synthetic set.
        real: of the real one; at least four eyes of each.
        name: of the extractor.
        size: pixels a side.
        seed: of the halves.
    """
    how: dict[str, Any] = {"extractor": name, "resolution": size}
    made, true = synthetic.features[name], real.features[name]
    pairs, apart, by_patient = unrelated(real.patients, synthetic.patients, np.random.default_rng(seed))
    few, few_apart = pairs[:MANIFOLD_SPLITS], apart[:MANIFOLD_SPLITS]

    def shown(pairs: Pairs, what: str) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return progress(pairs, f"distribution: {what} by {name}", "split")

    return Comparison(
        kid=kid_of_subsets(true, made, apart, **how),
        floor=floor_of_halves(true, pairs, by_patient=by_patient, **how),
        fid=fid(real.statistics[name], synthetic.statistics[name], **how),
        equal_fid=float(np.mean([sample_fid(true[one], made[other]) for one, other in shown(few_apart, "FID")])),
        manifold=_manifold(true, made, how),
        manifolds=[_manifold(true[one], made[other], how) for one, other in shown(few_apart, "coverage")],
        floor_manifolds=[_manifold(true[one], true[other], how) for one, other in shown(few, "coverage of real eyes")],
        points=_project(true, made),
    )


def unrelated(
    real: Sequence[str], synthetic: Sequence[str], generator: np.random.Generator, splits: int = SPLITS
) -> tuple[Pairs, Pairs, bool]:
    """Halves of a real set, and for each split one half beside synthetic eyes of none of its patients.

    Of the two halves the one to which more synthetic eyes are strangers is taken, which half of them at least are.

    Args:
        real: patient of each real eye; where they cannot be parted, eyes stand for themselves.
        synthetic: patient of the condition of each synthetic eye.
        generator: of the draws.
        splits: their number.

    Returns:
        Indices of real and real eyes, and of real and synthetic ones, of one number throughout; whether no patient is
        in both halves.
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


def _judge(result: Comparison, made: Overview, true: Overview) -> tuple[Light, str]:
    if copies := made.shared_with(true):
        which = "is the real set" if copies == made.count else f"holds {counted(copies, 'photograph')} of the real set"
        return "red", f"The synthetic set {which}, pixel by pixel: these are no synthetic photographs."
    few = result.floor.real_count
    answer = _answer(result)
    if math.isnan(result.ratio):
        return "grey", f"Not judged: {result.kid.extractor} gives all real photographs the same features."
    if few < FEW:
        return "grey", f"{answer} Not judged: that takes {FEW} photographs on a side."
    low, high = result.interval
    if result.ratio > AMBER and low > GREEN:
        return "red", f"{answer} The set does not look like the real one."
    if result.ratio > GREEN:
        return "amber", f"{answer} The set is near the real one, and can be told from it."
    if made.repeated > REPEATED * made.count:
        return "amber", f"{answer} But {made.repeated} of {made.count} photographs repeat another one pixel by pixel."
    if _means(result.manifolds)["coverage"] < NARROW * _means(result.floor_manifolds)["coverage"]:
        return "amber", f"{answer} The synthetic photographs are near real ones, but too much alike."
    if high > GREEN:
        return "amber", f"{answer} That is little, but the interval does not end before {GREEN:g} floors."
    return "green", f"{answer} So far as {few} photographs on a side can tell, the set looks like the real one."


def _answer(result: Comparison) -> str:
    kid, floor = result.kid, result.floor
    return (
        f"KID is {kid.value:.3g} (standard error {kid.standard_error:.1g}; {kid.extractor}, N = {kid.subset_size} "
        f"against {kid.subset_size} at {kid.resolution} px), {_times(result.ratio)} the {floor.kid:.2g} by which as "
        f"many real photographs of other patients differ{_interval(result)}. {_variety(result)}"
    )


def _interval(result: Comparison) -> str:
    low, high = result.interval
    return "" if math.isnan(low) else f" (95 % interval {low:.1f} to {high:.1f} times)"


def _variety(result: Comparison) -> str:
    own, real = _means(result.manifolds), _means(result.floor_manifolds)
    return (
        f"Precision is {own['precision']:.2f} and recall {own['recall']:.2f}, where real photographs have "
        f"{real['precision']:.2f} and {real['recall']:.2f}."
    )


def _times(ratio: float) -> str:
    return "no more than" if ratio <= 1 else f"{ratio:.1f} times"


def _figures(results: Mapping[str, Comparison], made: Overview, true: Overview) -> dict[str, Any]:
    ratio = made.spectrum / true.spectrum
    return {
        "N": made.count,
        "real_N": true.count,
        "identical_to_real": made.shared_with(true),
        "repeated": made.repeated,
        "extractors": {name: _figures_of(result) for name, result in results.items()},
        "colour": dict(zip(("red", "green", "blue"), made.colour_distance(true), strict=True)),
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
        "that share no patient. Floor: mean absolute KID of N real against N other real photographs, as often drawn. "
        f"Up to {GREEN:g} floors with the whole 95 % interval is good; above {AMBER:g} is not. "
        f"No light is given below {FEW} photographs on a side."
    )
    return Table("KID, beside the floor that real photographs set", columns, rows, note)


def _fid_table(results: Mapping[str, Comparison]) -> Table:
    rows: list[list[str | float | None]] = []
    for name, result in results.items():
        counts = f"{result.fid.generated_count} to {result.fid.real_count}"
        number = result.floor.real_count
        rows += [
            [name, "all", result.fid.value, counts],
            [name, "as many as the floor's", result.equal_fid, f"{number} to {number}"],
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
        "Precision: synthetic photographs among real ones; recall: real ones among synthetic ones; density: how deep "
        "among them; coverage: real ones with a synthetic one near. All depend on N: compare the last two lines."
    )
    return Table("Precision, recall, density and coverage", ("extractor", "N", *FIGURES), rows, note)


def _colour_table(made: Overview, true: Overview) -> Table:
    rows: list[list[str | float | None]] = [
        [name, *(float(overview.colour_mean()[channel]) for overview in (true, made)), distance]
        for channel, (name, distance) in enumerate(
            zip(("red", "green", "blue"), made.colour_distance(true), strict=True)
        )
    ]
    columns = ("channel", "real mean", "synthetic mean", "Wasserstein distance")
    return Table("Colours inside the field of view", columns, rows, "Grey levels from 0 to 255, over all pixels.")


def _pictures(
    results: Mapping[str, Comparison], made: Overview, true: Overview, size: int, output_dir: Path
) -> list[Picture]:
    paths = {name: output_dir / f"{name}.png" for name in ("kid", "projection", "manifold", "spectrum", "colours")}
    plot_floors({name: (result.kid, result.floor) for name, result in results.items()}, GREEN, paths["kid"])
    plot_projections({name: result.points for name, result in results.items()}, paths["projection"])
    manifolds = {name: (result.manifolds, result.floor_manifolds) for name, result in results.items()}
    plot_manifolds(manifolds, paths["manifold"])
    plot_spectrum(frequencies(size).numpy(), {"real": true.spectrum, "synthetic": made.spectrum}, paths["spectrum"])
    plot_colours(true.colours, made.colours, paths["colours"])
    return [
        Picture(title, paths[name], caption)
        for name, title, caption in (
            ("kid", "KID and its floor", "Where orange lies on blue, the set is as near as real photographs are."),
            ("projection", "Both sets in two dimensions", "The two principal components of the features of both."),
            ("manifold", "Precision and recall", "Synthetic marks should lie where the real ones do."),
            ("spectrum", "Detail of each size", "Below 1 on the right: too smooth; above 1: too grainy."),
            ("colours", "Colours inside the field of view", "Share of the pixels at each level."),
        )
    ]


def _notes(results: Mapping[str, Comparison], made: Overview, true: Overview) -> list[str]:
    first = next(iter(results.values()))
    notes = [
        f"The synthetic set has {made.count} photographs and the real one {true.count}; a KID, FID, coverage or floor "
        "of another N, resolution or extractor is another figure, and does not compare."
    ]
    if first.floor.real_count < 100:
        notes.append(
            f"Few photographs: with {first.floor.real_count} on a side the floor is high, and faults smaller than "
            f"a KID of {GREEN * first.floor.kid:.2g} cannot be told from chance."
        )
    if not first.floor.by_patient:
        notes.append("The real set has too few patients to part them: the floor is between eyes of one, and too low.")
    if first.kid.value < -GREEN * first.floor.kid:
        notes.append("KID is far below 0, as it is where sets share photographs.")
    if max(made.count, true.count) > max(len(made.patients), len(true.patients)):
        notes.append(f"KID, precision and recall are those of random samples of {len(made.patients)} photographs.")
    if made.repeated:
        repeats = counted(made.repeated, "synthetic photograph", "repeats", "repeat")
        notes.append(f"{repeats} another one pixel by pixel.")
    return notes + _mixture(made.datasets, true.datasets)


def _mixture(made: Counter[str], true: Counter[str]) -> list[str]:
    shares = [(name, made[name] / made.total(), true[name] / true.total()) for name in dict.fromkeys([*true, *made])]
    off = [f"{name} {one:.0%} and {other:.0%}" for name, one, other in shares if abs(one - other) > SHARE]
    if not off:
        return []
    return [f"The sets are made up differently (synthetic and real: {', '.join(off)}), which KID counts as a fault."]
