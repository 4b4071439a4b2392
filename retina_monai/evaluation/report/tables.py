"""Figures with bootstrap intervals over patients, and tables of them.

Percentile bootstrap as in Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. Eyes of one
patient resemble each other, so patients are resampled (cluster bootstrap; Davison and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from retina_monai.errors import counted
from retina_monai.files import write_text

__all__ = [
    "FEWEST",
    "Interval",
    "bootstrap_interval",
    "in_words",
    "markdown_table",
    "summarize",
    "write_csv",
]

FEWEST = 4
"""Number of patients below which there is no interval and therefore no light. For normally distributed values, a 95 %
percentile bootstrap interval covers the true mean in 52 % of cases with two patients, 75 % with three, 79 % with four,
86 % with six and 90 % with ten."""

FIGURES = ("metric", "mean", "low", "high", "N", "patients")
DRAWS_AT_ONCE = 2**22  # numbers in memory while resampling


class Interval(NamedTuple):
    """A mean with its confidence interval and the numbers of values and groups."""

    mean: float
    low: float
    high: float
    N: int
    groups: int


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
    groups: Sequence[Hashable] | None = None,
) -> Interval:
    """Mean of the values with its percentile bootstrap interval.

    Args:
        values: ``(N,)``, finite.
        level: confidence level, in (0, 1).
        seed: seed of the resampling; the same values in the same order give the same interval.
        resamples: number of bootstrap samples.
        groups: ``(N,)``, the patient of each value; ``None`` if values are independent. All values of a patient are
            resampled together. The mean is over values, not over patients.

    Returns:
        The interval. Its ends are NaN with fewer than :data:`FEWEST` groups.

    Raises:
        ValueError: there are no values, a value is not finite, ``groups`` has another length, ``level`` is outside
            (0, 1), or ``resamples`` is below 1.

    Example:
        >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0])
        >>> interval.mean, interval.low, interval.high
        (2.5, 1.5, 3.5)
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise ValueError("values must be a list of one or more finite numbers")
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must be in (0, 1) and resamples at least 1, got {level} and {resamples}")
    if groups is not None and len(groups) != len(array):
        raise ValueError(f"groups must have one entry per value ({len(array)}), got {len(groups)}")
    sums, counts = _by_group(array, groups)
    low, high = _percentiles(sums, counts, level, seed, resamples) if len(sums) >= FEWEST else (math.nan, math.nan)
    return Interval(float(array.mean()), low, high, len(array), len(sums))


def in_words(interval: Mapping[str, Any], form: str = ".3f") -> str:
    """A mean and its interval, or the reason why there is none.

    Args:
        interval: mapping with the keys of :class:`Interval`; missing ends are NaN or ``None``.
        form: format specification of the numbers.

    Example:
        >>> in_words({"mean": 0.5, "low": 0.4, "high": 0.6, "groups": 8})
        '0.500 (95 % interval 0.400 to 0.600)'
        >>> in_words({"mean": 0.5, "low": math.nan, "high": math.nan, "groups": 2}, "+.2f")
        '+0.50 (2 patients: no interval)'
    """
    mean, low, high, groups = (interval[key] for key in ("mean", "low", "high", "groups"))
    if low is None or math.isnan(low):
        return f"{mean:{form}} ({counted(int(groups), 'patient')}: no interval)"
    return f"{mean:{form}} (95 % interval {low:{form}} to {high:{form}})"


def summarize(
    rows: Sequence[Mapping[str, Any]],
    metrics: Sequence[str] | None = None,
    by: Sequence[str] = ("dataset",),
    patient_key: str = "patient",
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 10_000,
) -> list[dict[str, Any]]:
    """Mean and interval of each metric by data set, from one row per image.

    Args:
        rows: one dictionary per image with the keys of ``by``, one number per metric, and the patient. A row without
            a patient counts as a patient of its own.
        metrics: keys to summarize; ``None`` for all keys of the first row with a float.
        by: keys that distinguish the lines of the table, such as the data set and the protocol.
        patient_key: key of the patient.
        level: confidence level of the intervals.
        seed: seed of the resampling.
        resamples: number of bootstrap samples.

    Returns:
        One dictionary per line and metric, in the order of the rows: the keys of ``by``, then ``metric``, ``mean``,
        ``low``, ``high``, ``N`` (images) and ``patients``.

    Raises:
        ValueError: there are no rows or no metrics, a row lacks a key, or a value is not finite.

    Example:
        >>> rows = [{"dataset": "HRF", "patient": "HRF/10", "psnr": 23.0}, {"dataset": "HRF", "psnr": 24.0}]
        >>> summarize(rows)
        [{'dataset': 'HRF', 'metric': 'psnr', 'mean': 23.5, 'low': nan, 'high': nan, 'N': 2, 'patients': 2}]
    """
    if not rows:
        raise ValueError("rows must not be empty")
    if metrics is None:
        metrics = [key for key, value in rows[0].items() if isinstance(value, float) and key not in by]
    if not metrics:
        raise ValueError("the first row has no metric, a key with a float")
    lines: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for index, row in enumerate(rows):
        if missing := [key for key in (*by, *metrics) if key not in row]:
            raise ValueError(f"row {index} has no {', '.join(missing)}")
        lines.setdefault(tuple(row[key] for key in by), []).append({patient_key: (index,), **row})
    table = []
    for line, images in lines.items():
        patients = [image[patient_key] for image in images]
        for metric in metrics:
            interval = bootstrap_interval([image[metric] for image in images], level, seed, resamples, patients)
            table.append({**dict(zip(by, line, strict=True)), "metric": metric, **_figures(interval)})
    return table


def markdown_table(summary: Sequence[Mapping[str, Any]]) -> str:
    """The table of :func:`summarize` as Markdown: a row per data set, a column per metric, intervals in brackets.

    Args:
        summary: result of :func:`summarize`.

    Returns:
        The text, ending with a line break.

    Raises:
        ValueError: ``summary`` is empty.

    Example:
        >>> line = {"dataset": "HRF", "metric": "psnr", "mean": 23.5, "low": 23.0, "high": 24.0, "N": 2, "patients": 2}
        >>> print(markdown_table([line]), end="")
        | dataset | N | psnr |
        |---|---|---|
        | HRF | 2 | 23.50 (23.00 to 24.00) |
    """
    if not summary:
        raise ValueError("summary must not be empty")
    keys = [key for key in summary[0] if key not in FIGURES]
    metrics = list(dict.fromkeys(row["metric"] for row in summary))
    lines: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in summary:
        cells = lines.setdefault(tuple(row[key] for key in keys), {"N": _number_of(row)})
        cells[row["metric"]] = _with_interval(row)
    table = [[*keys, "N", *metrics], ["---"] * (len(keys) + 1 + len(metrics))]
    table += [[*map(str, line), *(cells.get(name, "") for name in ("N", *metrics))] for line, cells in lines.items()]
    texts = ["|".join(cells) if cells[0] == "---" else " " + " | ".join(map(_escaped, cells)) + " " for cells in table]
    return "".join(f"|{text}|\n" for text in texts)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV with a header, atomically; NaN and missing values become empty cells.

    Args:
        path: the file; its directory is created if necessary.
        rows: rows; the columns are all their keys, in order of appearance.

    Raises:
        RetinaError: the file cannot be written.
    """
    text = io.StringIO()
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: "" if _is_nan(value) else value for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def _by_group(values: np.ndarray, groups: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    if groups is None:
        return values, np.ones_like(values)
    number: dict[Hashable, int] = {}
    member = np.array([number.setdefault(group, len(number)) for group in groups])
    return np.bincount(member, values), np.bincount(member).astype(np.float64)


def _percentiles(sums: np.ndarray, counts: np.ndarray, level: float, seed: int, resamples: int) -> tuple[float, float]:
    interval = stats.bootstrap(
        (sums, counts),
        lambda total, number, axis: total.sum(axis=axis) / number.sum(axis=axis),
        n_resamples=resamples,
        batch=max(1, DRAWS_AT_ONCE // len(sums)),
        paired=True,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _figures(interval: Interval) -> dict[str, float]:
    return dict(zip(FIGURES[1:], interval, strict=True))


def _number_of(row: Mapping[str, Any]) -> str:
    return str(row["N"]) if row["N"] == row["patients"] else f"{row['N']} ({counted(row['patients'], 'patient')})"


def _with_interval(row: Mapping[str, Any]) -> str:
    mean, low, high = row["mean"], row["low"], row["high"]
    decimals = 2 if abs(mean) >= 10 else 3 if abs(mean) >= 0.1 else 4
    return f"{mean:.{decimals}f}" + ("" if math.isnan(low) else f" ({low:.{decimals}f} to {high:.{decimals}f})")


def _escaped(cell: str) -> str:
    return cell.replace("|", r"\|").replace("\n", " ")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
