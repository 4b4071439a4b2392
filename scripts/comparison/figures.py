"""What the reports of the methods hold: a figure for each method, data set and measure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from comparison.methods import DATASETS, METHODS
from comparison.running import MINUTES, SETS
from comparison.showing import SECONDS
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.image.images import AS_IS, MATCHED, OTHER


class Figure(NamedTuple):
    """A value with its 95 % interval, whose ends are NaN where it has none."""

    value: float
    low: float = math.nan
    high: float = math.nan


class Results(NamedTuple):
    """Of one method.

    Attributes:
        reports: by kind and data set (``test_HRF``).
        minutes: of each training, and what it was.
        seconds: of each photograph.
    """

    reports: Mapping[str, Mapping[str, Any]]
    minutes: Mapping[str, Mapping[str, Any]]
    seconds: list[float]

    def of(self, kind: str, dataset: str, family: str) -> Any:
        """Figures of a family."""
        return self.reports[f"{kind}_{dataset}"]["sections"][family]["figures"]


class Measure(NamedTuple):
    """What methods are compared by.

    Attributes:
        title: of it.
        of: its figure of one method and data set.
        better: 1 where more is better, -1 where less is.
        form: of the value, as Python formats it.
        ceiling: the same of real photographs, and the difference from it, where the report has them.
    """

    title: str
    of: Callable[[Results, str], Figure]
    better: int
    form: str
    ceiling: Callable[[Results, str], tuple[Figure, Figure]] | None = None


def read_results(folder: Path) -> dict[str, Results]:
    """Of each method that has reports, in the order of ``METHODS``.

    Raises:
        RetinaError: none has, one lacks a file, or its photographs were not all painted with the same weights.
    """
    found = {name: _read(folder / name) for name in METHODS if (folder / name).is_dir()}
    if not found:
        raise RetinaError(f"{folder} has no reports: make them with scripts/two_stage.sh")
    return found


def _read(folder: Path) -> Results:
    names = [f"{kind}_{dataset}" for dataset in DATASETS for kind in SETS]
    reports = {name: _load(folder / f"{name}.json") for name in names}
    weights = [report["compared"]["synthetic"]["generator"]["weights"] for report in reports.values()]
    if any(other != weights[0] for other in weights):
        raise RetinaError(f"{folder} has reports of different weights: make them anew with scripts/two_stage.sh")
    return Results(reports, _load(folder / MINUTES), _load(folder / SECONDS)["seconds"])


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetinaError(f"{path} is not there or broken: make it with scripts/two_stage.sh") from error


def agreement(name: str) -> Callable[[Results, str], Figure]:
    """What the judge finds in photographs painted around test maps."""
    return lambda results, dataset: interval(_agreement(results, dataset, name)["generated"])


def ceiling(name: str) -> Callable[[Results, str], tuple[Figure, Figure]]:
    """What it finds in real photographs, and how far the painted ones are from that."""

    def of(results: Results, dataset: str) -> tuple[Figure, Figure]:
        found = _agreement(results, dataset, name)
        return interval(found["real"]), interval(found["difference"])

    return of


def _agreement(results: Results, dataset: str, name: str) -> Any:
    return results.of("test", dataset, "faithfulness")["agreement"]["vessel"][dataset][name]


def branches(results: Results, dataset: str, calibre: str = "all") -> Any:
    """What came of branches that were taken out of test maps; nothing for a calibre that none of them has.

    Raises:
        RetinaError: none was taken out, as where the generator is not at hand.
    """
    found = results.of("test", dataset, "faithfulness")["branches"]
    if not found:
        raise RetinaError(f"the report test_{dataset} has no sensitivity test: make it anew with scripts/two_stage.sh")
    return found.get(calibre, {})


def passed(results: Results, dataset: str) -> Figure:
    """Share of the branches that were shown, and went without anything else."""
    found = branches(results, dataset)
    return interval({**found, "mean": found["passed"]})


def distribution(results: Results, dataset: str) -> Any:
    """Figures of the first extractor, on photographs around warped training maps."""
    return next(iter(results.of("warped", dataset, "distribution")["extractors"].values()))


def kid(results: Results, dataset: str) -> Figure:
    """With 1.96 standard errors on each side."""
    found = distribution(results, dataset)["kid"]
    reach = 1.96 * found["standard_error"]
    return Figure(found["value"], found["value"] - reach, found["value"] + reach)


def spectrum(results: Results, dataset: str, kind: str = MATCHED) -> Any:
    """Of photographs around test maps, with the colours of the real ones."""
    return results.of("test", dataset, "image")["spectrum"][dataset][kind]


def rings(results: Results, dataset: str) -> Figure:
    """Share of the rings of frequencies within 25 %."""
    return Figure(spectrum(results, dataset)["within"])


def paired(name: str, kind: str = MATCHED) -> Callable[[Results, str], Figure]:
    """Likeness to the real photograph of the same test map."""
    return lambda results, dataset: interval(results.of("test", dataset, "image")["by_dataset"][dataset][kind][name])


def usefulness(results: Results, dataset: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of each network, what it learned from synthetic, real and both kinds of eyes."""
    yield from results.of("warped", dataset, "usefulness")["results"].items()


def learned(results: Results, dataset: str) -> Figure:
    """Dice, on real test eyes, of the first network, which learned from synthetic eyes alone."""
    _, found = next(usefulness(results, dataset))
    return interval(found["arms"]["synthetic"]["dice"])


def interval(found: Mapping[str, Any]) -> Figure:
    """A mean as reports have it; of one patient there is no interval."""
    ends = (math.nan if found[key] is None else found[key] for key in ("low", "high"))
    return Figure(found["mean"], *ends)


FAITHFUL = (
    Measure("Dice", agreement("dice"), 1, ".3f", ceiling("dice")),
    Measure("clDice", agreement("cldice"), 1, ".3f", ceiling("cldice")),
    Measure("Betti 0 error", agreement("betti_0_error"), -1, ".1f", ceiling("betti_0_error")),
    Measure("Betti 1 error", agreement("betti_1_error"), -1, ".1f", ceiling("betti_1_error")),
)
SENSITIVE = Measure("branches that go alone", passed, 1, ".0%")
KID = Measure("KID", kid, -1, ".3f")
SPECTRUM = Measure("spectrum rings within 25 %", rings, 1, ".0%")
LIKE = (Measure("SSIM", paired("ssim"), 1, ".3f"), Measure("PSNR", paired("psnr"), 1, ".1f"))
LIKE_AS_IS = tuple(measure._replace(of=paired(measure.title.lower(), AS_IS)) for measure in LIKE)
LIKE_OTHER = tuple(measure._replace(of=paired(measure.title.lower(), OTHER)) for measure in LIKE)
USEFUL = Measure("Dice of a network that learned from synthetic eyes", learned, 1, ".3f")
MEASURES = (*FAITHFUL, SENSITIVE, KID, SPECTRUM, *LIKE, USEFUL)
