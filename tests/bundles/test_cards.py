"""The figures of the cards are those of the reports that lie beside them, and these are of the released weights."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from retina_monai import load
from retina_monai.bundle import digest

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ("CHASE_DB1", "FIVES", "HRF")
EVALUATED = {
    "pix2pix_vessel": {"released": "reports/evaluation.json"},
    "lama_fundus": {"released": "reports/evaluation.json"},
    "ddpm_vessel": {"released": "reports/evaluation.json"},
}
"""Bundle -> what was evaluated on its test eyes, and the report."""
ASKED = {"pix2pix_vessel": "pix2pix_vessel", "lama_fundus": "two_stage", "ddpm_vessel": "ddpm_vessel"}
"""Bundle -> the bundle or chain of whose sets the four questions were asked."""


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ROOT / "scripts"))
    yield {name: importlib.import_module(name) for name in ("card_figures", "report_figures")}
    sys.path.remove(str(ROOT / "scripts"))


def docs(bundle: str) -> Path:
    return ROOT / "bundles" / bundle / "docs"


def released(bundle: str) -> str:
    return digest(ROOT / "bundles" / bundle / "models" / "model.pt")


def report(bundle: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((docs(bundle) / name).read_text(encoding="utf-8"))
    return content


def missing(printed: str, bundle: str) -> list[str]:
    """Lines that the card has not."""
    lines, card = printed.splitlines(), (docs(bundle) / "README.md").read_text(encoding="utf-8")
    assert sum(line.startswith("| ") for line in lines) > 10
    return [line for line in lines if line not in card]


@pytest.mark.parametrize("bundle", ASKED)
def test_the_four_questions_are_answered_as_in_the_reports(
    bundle: str, scripts: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    scripts["report_figures"].main(str(docs(bundle) / "reports"))
    assert not missing(capsys.readouterr().out, bundle)


@pytest.mark.parametrize("bundle", EVALUATED)
def test_paired_quality_and_spectra_are_those_of_the_evaluations(
    bundle: str, scripts: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    scripts["card_figures"].main({title: str(docs(bundle) / name) for title, name in EVALUATED[bundle].items()})
    assert not missing(capsys.readouterr().out, bundle)
    assert report(bundle, EVALUATED[bundle]["released"])["about"]["weights_sha256"] == released(bundle)


@pytest.mark.parametrize("bundle", ASKED)
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(("kind", "made_from"), [("test", ("test", 0)), ("warped", ("training", 3))])
def test_every_report_is_of_the_released_weights(
    bundle: str, dataset: str, kind: str, made_from: tuple[str, int]
) -> None:
    synthetic = report(bundle, f"reports/{kind}_{dataset}.json")["compared"]["synthetic"]
    generator = synthetic["generator"]
    assert generator["weights"] == load(ASKED[bundle]).weights
    assert (generator["split"], generator["augment"]) == made_from
    if kind == "warped":
        assert set(synthetic["conditions"]) == {"training eyes, warped"}, "no map that it may not have seen"
