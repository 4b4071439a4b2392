"""The figures of the card of pix2pix_vessel are those of the reports that lie beside it."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from retina_monai.bundle import digest

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "pix2pix_vessel"
REPORTS = BUNDLE / "docs" / "reports"
DATASETS = ("CHASE_DB1", "FIVES", "HRF")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield {name: importlib.import_module(name) for name in ("card_figures", "report_figures")}
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture(scope="module")
def card() -> str:
    return (BUNDLE / "docs" / "README.md").read_text(encoding="utf-8")


def report(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REPORTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def missing(printed: str, card: str) -> list[str]:
    lines = printed.splitlines()
    assert sum(line.startswith("| ") for line in lines) > 10
    return [line for line in lines if line not in card]


def test_the_four_questions_are_answered_as_in_the_reports(
    scripts: dict[str, ModuleType], card: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts["report_figures"].main(str(REPORTS))
    assert not missing(capsys.readouterr().out, card)


def test_paired_quality_and_spectra_are_those_of_the_evaluations(
    scripts: dict[str, ModuleType], card: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"released": "evaluation.json", "L1 alone": "evaluation_l1.json"}
    scripts["card_figures"].main({title: str(REPORTS / name) for title, name in names.items()})
    assert not missing(capsys.readouterr().out, card)


def test_every_report_is_of_the_released_weights() -> None:
    released = digest(BUNDLE / "models" / "model.pt")
    assert report("evaluation")["about"]["weights_sha256"] == released
    names = [f"{kind}_{dataset}" for kind in ("test", "warped") for dataset in DATASETS]
    assert {path.stem for path in REPORTS.iterdir()} == {*names, "evaluation", "evaluation_l1"}
    for name in names:
        generator = report(name)["compared"]["synthetic"]["generator"]
        assert generator["weights"] == released
        made_from = ("test", 0) if name.startswith("test") else ("training", 3)
        assert (generator["split"], generator["augment"]) == made_from


@pytest.mark.parametrize("dataset", DATASETS)
def test_no_photograph_of_the_reports_was_made_from_a_map_that_it_may_not_have_seen(dataset: str) -> None:
    conditions = report(f"warped_{dataset}")["compared"]["synthetic"]["conditions"]
    assert set(conditions) == {"training eyes, warped"}
