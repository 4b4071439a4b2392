"""Bootstrap intervals against known values and two other implementations; tables as text and as files."""

from __future__ import annotations

import csv
import doctest
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from retina_monai.errors import RetinaError
from retina_monai.evaluation.report import tables
from retina_monai.evaluation.report.tables import (
    bootstrap_interval,
    in_words,
    markdown_table,
    summarize,
    write_csv,
)

VALUES = np.random.default_rng(7).gamma(2.0, size=30)
PATIENTS = [f"patient {index // 3}" for index in range(30)]


def test_equals_scipy() -> None:
    expected = stats.bootstrap((VALUES,), np.mean, n_resamples=10_000, method="percentile", rng=1).confidence_interval
    interval = bootstrap_interval(VALUES, seed=1)
    assert interval.mean == pytest.approx(VALUES.mean())
    assert interval.low == pytest.approx(expected.low, abs=0.02)
    assert interval.high == pytest.approx(expected.high, abs=0.02)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_groups_are_drawn_whole(level: float) -> None:
    random = np.random.default_rng(0)
    by_patient = [VALUES[start : start + 3] for start in range(0, 30, 3)]
    by_patient[0], by_patient[1] = by_patient[0][:1], np.append(by_patient[1], by_patient[0][1:])  # unequal sizes
    patients = [f"patient {index}" for index, own in enumerate(by_patient) for _ in own]
    values = np.concatenate(by_patient)
    means = [np.concatenate([by_patient[i] for i in random.integers(0, 10, 10)]).mean() for _ in range(10_000)]
    interval = bootstrap_interval(values, level, groups=patients)
    assert (interval.N, interval.groups) == (30, 10)
    expected = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=0.03)


def test_two_equal_eyes_of_a_patient_are_worth_one() -> None:
    once, twice = bootstrap_interval(VALUES), bootstrap_interval(np.repeat(VALUES, 2), groups=np.repeat(range(30), 2))
    assert (twice.mean, twice.low, twice.high) == pytest.approx((once.mean, once.low, once.high))
    naive = bootstrap_interval(np.repeat(VALUES, 2))
    assert naive.high - naive.low < 0.8 * (once.high - once.low)


def test_many_values_give_the_normal_interval() -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    interval = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    random = np.random.default_rng(11)
    intervals = [bootstrap_interval(random.normal(size=25), level=0.9, resamples=300) for _ in range(300)]
    covered = np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert 0.82 < covered < 0.95


def test_it_depends_on_the_seed_alone() -> None:
    assert bootstrap_interval(VALUES, seed=3) == bootstrap_interval(VALUES, seed=3)
    assert bootstrap_interval(VALUES, seed=3).low != bootstrap_interval(VALUES, seed=4).low
    assert bootstrap_interval([0.5] * 5)[:3] == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("patients", ["aaaaa", "aaabb", "aabbc"])
def test_few_patients_have_no_interval(patients: str) -> None:
    interval = bootstrap_interval([1.0, 3.0, 2.0, 1.0, 3.0], groups=patients)
    assert interval.mean == 2 and math.isnan(interval.low) and math.isnan(interval.high)
    assert in_words(interval._asdict()).startswith(f"2.000 ({interval.groups} patient")
    assert not math.isnan(bootstrap_interval([1.0, 3.0, 2.0, 1.0, 3.0], groups="aabcd").low)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "one or more finite"),
        (([1.0, math.inf],), "one or more finite"),
        (([1.0, math.nan],), "one or more finite"),
        (([1.0, 2.0], 95), r"level must be in \(0, 1\)"),
        (([1.0, 2.0], 0.95, 0, 0), "resamples at least 1"),
        (([1.0, 2.0], 0.95, 0, 10, ["a"]), r"one entry per value \(2\), got 1"),
    ],
)
def test_wrong_values_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(*arguments)


ROWS = [
    {"dataset": "CHASE_DB1", "name": "11L", "patient": "11", "seed": 4, "psnr": 18.0, "mse": 0.05},
    {"dataset": "CHASE_DB1", "name": "11R", "patient": "11", "seed": 4, "psnr": 20.0, "mse": 0.03},
    {"dataset": "CHASE_DB1", "name": "12L", "patient": "12", "seed": 4, "psnr": 22.0, "mse": 0.01},
    {"dataset": "CHASE_DB1", "name": "13L", "patient": "13", "seed": 4, "psnr": 22.0, "mse": 0.01},
    {"dataset": "CHASE_DB1", "name": "14L", "patient": "14", "seed": 4, "psnr": 18.0, "mse": 0.05},
    {"dataset": "HRF", "name": "10_g", "seed": 4, "psnr": 24.0, "mse": 0.02},
]


def test_the_summary_is_a_line_per_set_and_metric() -> None:
    summary = summarize(ROWS)
    assert [(line["dataset"], line["metric"], line["N"], line["patients"]) for line in summary] == [
        ("CHASE_DB1", "psnr", 5, 4),
        ("CHASE_DB1", "mse", 5, 4),
        ("HRF", "psnr", 1, 1),
        ("HRF", "mse", 1, 1),
    ]
    chase = summary[0]
    assert chase["mean"] == pytest.approx(20.0)
    assert 18 <= chase["low"] < 20 < chase["high"] <= 22
    assert math.isnan(summary[2]["low"])
    assert chase == {"dataset": "CHASE_DB1", "metric": "psnr", **chase}


def test_the_summary_by_other_keys_and_metrics() -> None:
    rows = [{**row, "protocol": protocol} for row in ROWS for protocol in ("average", "given")]
    summary = summarize(rows, metrics=["mse"], by=("protocol", "dataset"), resamples=10)
    assert [(line["protocol"], line["dataset"], line["N"]) for line in summary] == [
        ("average", "CHASE_DB1", 5),
        ("given", "CHASE_DB1", 5),
        ("average", "HRF", 1),
        ("given", "HRF", 1),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows must not be empty"),
        ([{"dataset": "HRF", "name": "x"}], "first row has no metric"),
        ([*ROWS, {"dataset": "HRF", "mse": 0.1}], "row 6 has no psnr"),
        ([{"psnr": 20.0}], "row 0 has no dataset"),
    ],
)
def test_wrong_rows_are_refused(rows: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarize(rows)


def test_markdown_has_a_column_per_metric() -> None:
    assert markdown_table(summarize(ROWS)) == (
        "| dataset | N | psnr | mse |\n"
        "|---|---|---|---|\n"
        "| CHASE_DB1 | 5 (4 patients) | 20.00 (18.67 to 22.00) | 0.0300 (0.0100 to 0.0433) |\n"
        "| HRF | 1 | 24.00 | 0.0200 |\n"
    )


def test_markdown_keeps_its_columns_whatever_the_names() -> None:
    line = {"dataset": "a|b\nc", "metric": "psnr", "mean": 1.0, "low": 1.0, "high": 1.0, "N": 2, "patients": 2}
    assert markdown_table([line]).splitlines()[2] == r"| a\|b c | 2 | 1.000 (1.000 to 1.000) |"
    with pytest.raises(ValueError, match="summary must not be empty"):
        markdown_table([])


def test_csv_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    write_csv(path, [*summarize(ROWS), {"dataset": 'comma, "quote"', "note": "later column"}])
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert float(lines[0]["mean"]) == pytest.approx(20.0)
    assert lines[2]["low"] == "" and lines[0]["note"] == ""
    assert lines[-1]["dataset"] == 'comma, "quote"'


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RetinaError, match=r"table\.csv cannot be written"):
        write_csv(tmp_path / "file" / "table.csv", ROWS)


def test_the_examples_run() -> None:
    assert doctest.testmod(tables).failed == 0
