"""Summary of the figures: which method is ahead, by how much, and whether the intervals overlap."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from comparison.figures import FAITHFUL, MEASURES, Figure, Measure, Results
from comparison.methods import DATASETS, METHODS
from comparison.tables import markdown

All = Mapping[str, Results]


class Entry(NamedTuple):
    """Figure of one method, and its text."""

    method: str
    figure: Figure
    text: str


def outcome(results: All) -> str:
    """A ranking table, the number of wins per method, and a line for each measure with a ceiling."""
    columns = ["from best to worst", *DATASETS]
    rows = [[title(measure), *(ranked(measure, dataset, results) for dataset in DATASETS)] for measure in MEASURES]
    reached = [f"- {measure.title}: {'; '.join(against(measure, results))}." for measure in FAITHFUL]
    return "\n\n".join(
        [
            markdown(columns, rows),
            " ".join(sums(results)),
            "Against what the judge finds in real photographs, by the interval of the difference:",
            "\n".join(reached),
        ]
    )


def title(measure: Measure) -> str:
    return f"{measure.title} ({'more' if measure.better > 0 else 'less'} is better)"


def entries(measure: Measure, dataset: str, results: All) -> list[Entry]:
    """The methods from best to worst."""
    figures = {name: measure.of(result, dataset) for name, result in results.items()}
    ranks = sorted(figures, key=lambda name: -measure.better * figures[name].value)
    return [Entry(name, figures[name], f"{figures[name].value:{measure.form}}") for name in ranks]


def ranked(measure: Measure, dataset: str, results: All) -> str:
    """Ranking of the methods in one line, with signs for overlapping intervals."""
    found = entries(measure, dataset, results)
    text = f"{METHODS[found[0].method].title} {found[0].text}"
    for better, worse in pairwise(found):
        between = "=" if better.text == worse.text else "≫" if apart(better.figure, worse.figure) else ">"
        text += f" {between} {METHODS[worse.method].title} {worse.text}"
    return text


def apart(one: Figure, other: Figure) -> bool:
    """Whether both have intervals that do not overlap."""
    return max(one.low, other.low) > min(one.high, other.high)


def sums(results: All) -> Iterator[str]:
    """Sentences on how often each method is ahead of all others."""
    ahead: Counter[str] = Counter()
    clearly: Counter[str] = Counter()
    for measure in MEASURES:
        for dataset in DATASETS:
            first, *others = entries(measure, dataset, results)
            if others and others[0].text != first.text:
                ahead[first.method] += 1
                clearly[first.method] += all(apart(first.figure, other.figure) for other in others)
    yield "`≫`: better, and the 95 % intervals do not overlap;"
    yield "`>`: better, but they overlap or are missing; `=`: equal as printed."
    yield f"Of {len(MEASURES) * len(DATASETS)} comparisons,"
    yield (
        "; ".join(
            f"{METHODS[name].title} is ahead in {ahead[name]}, in {clearly[name]} of them beyond the intervals"
            for name in results
        )
        + "."
    )


def against(measure: Measure, results: All) -> Iterator[str]:
    """For each method the data sets on which it is better or worse than real photographs, by interval."""
    for name, result in results.items():
        places: dict[str, list[str]] = {}
        for dataset in DATASETS:
            if measure.ceiling:
                places.setdefault(place(measure, measure.ceiling(result, dataset)[1]), []).append(dataset)
        parts = (f"{where} on {listed(sets)}" for where, sets in places.items())
        yield f"{METHODS[name].title} {', '.join(parts)}"


def place(measure: Measure, difference: Figure) -> str:
    if math.isnan(difference.low) or difference.low <= 0 <= difference.high:
        return "no clear difference"
    return "better" if measure.better * difference.value > 0 else "worse"


def listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
