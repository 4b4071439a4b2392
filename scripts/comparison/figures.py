"""Read the reports of the methods: one figure per method, data set and measure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from comparison.methods import DATASETS, KINDS, METHODS
from comparison.showing import SECONDS
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.image.images import AS_IS, MATCHED, OTHER


class Figure(NamedTuple):
    """A value with its 95 % interval, whose ends are NaN if there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan


class Results(NamedTuple):
    """Results of one method.

    Attributes:
        reports: reports by kind and data set (``test_HRF``).
        seconds: seconds per photograph.
    """

    reports: Mapping[str, Mapping[str, Any]]
    seconds: list[float]

    def of(self, kind: str, dataset: str, family: str) -> Any:
        """Figures of a family."""
        return self.reports[f"{kind}_{dataset}"]["sections"][family]["figures"]


class Measure(NamedTuple):
    """A measure to compare methods.

    Attributes:
        title: title of the measure.
        of: results and data set -> figure.
        better: 1 if more is better, -1 if less is better.
        form: Python format of the value.
        ceiling: results and data set -> figure of real photographs and difference from it, if the report has them.
    """

    title: str
    of: Callable[[Results, str], Figure]
    better: int
    form: str
    ceiling: Callable[[Results, str], tuple[Figure, Figure]] | None = None


def read_results(root: Path) -> dict[str, Results]:
    """Results of each method, in the order of ``METHODS``.

    Args:
        root: folder of ``bundles`` and ``docs``.

    Raises:
        RetinaError: a file is missing or broken, or the reports of a method are of different weights.
    """
    seconds = _load(root / "docs" / "two_stage" / SECONDS)
    return {
        name: Results(_reports(root / "bundles" / method.card / "docs" / "reports"), seconds[name])
        for name, method in METHODS.items()
    }


def _reports(folder: Path) -> dict[str, Any]:
    names = [f"{kind}_{dataset}" for dataset in DATASETS for kind in KINDS]
    reports = {name: _load(folder / f"{name}.json") for name in names}
    weights = [report["compared"]["synthetic"]["generator"]["weights"] for report in reports.values()]
    if any(other != weights[0] for other in weights):
        raise RetinaError(f"{folder} has reports of different weights: make them again with the release script")
    return reports


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetinaError(f"{path} is missing or broken: make it with the release script of its bundle") from error


def agreement(name: str) -> Callable[[Results, str], Figure]:
    """Agreement of the judge with the map on photographs of test maps."""
    return lambda results, dataset: interval(_agreement(results, dataset, name)["generated"])


def ceiling(name: str) -> Callable[[Results, str], tuple[Figure, Figure]]:
    """Agreement on real photographs, and the difference of the generated ones from it."""

    def of(results: Results, dataset: str) -> tuple[Figure, Figure]:
        found = _agreement(results, dataset, name)
        return interval(found["real"]), interval(found["difference"])

    return of


def _agreement(results: Results, dataset: str, name: str) -> Any:
    return results.of("test", dataset, "faithfulness")["agreement"]["vessel"][dataset][name]


def branches(results: Results, dataset: str, calibre: str = "all") -> Any:
    """Result of removing branches from test maps; empty for a calibre without branches.

    Raises:
        RetinaError: the report has no sensitivity test, because the generator was not available.
    """
    found = results.of("test", dataset, "faithfulness")["branches"]
    if not found:
        raise RetinaError(f"the report test_{dataset} has no sensitivity test: make it again with the release script")
    return found.get(calibre, {})


def passed(results: Results, dataset: str) -> Figure:
    """Share of the shown branches that disappear without any other change."""
    found = branches(results, dataset)
    return interval({**found, "mean": found["passed"]})


def distribution(results: Results, dataset: str) -> Any:
    """Figures of the first extractor on photographs of warped training maps."""
    return next(iter(results.of("warped", dataset, "distribution")["extractors"].values()))


def kid(results: Results, dataset: str) -> Figure:
    """KID with 1.96 standard errors on each side."""
    found = distribution(results, dataset)["kid"]
    reach = 1.96 * found["standard_error"]
    return Figure(found["value"], found["value"] - reach, found["value"] + reach)


def spectrum(results: Results, dataset: str, kind: str = MATCHED) -> Any:
    """Spectrum of photographs of test maps, by default with the colours of the real ones."""
    return results.of("test", dataset, "image")["spectrum"][dataset][kind]


def rings(results: Results, dataset: str) -> Figure:
    """Share of frequency rings within 25 %."""
    return Figure(spectrum(results, dataset)["within"])


def paired(name: str, kind: str = MATCHED) -> Callable[[Results, str], Figure]:
    """Image quality relative to the real photograph of the same test map."""
    return lambda results, dataset: interval(results.of("test", dataset, "image")["by_dataset"][dataset][kind][name])


def interval(found: Mapping[str, Any]) -> Figure:
    """Mean and interval from a report; there is no interval for a single patient."""
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
MEASURES = (*FAITHFUL, SENSITIVE, KID, SPECTRUM, *LIKE)
