"""What ``iternet_vessel`` promises beside what every bundle does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from states import checkpoint, equal

from retina_monai.bundle import digest
from retina_monai.errors import root_error
from retina_monai.evaluation.report.tables import markdown_table

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "iternet_vessel" / "configs"
RunConfig = Callable[..., ConfigParser]


@pytest.fixture(scope="module")
def two_epochs(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("iternet") / "run"
    run_config(CONFIGS / "train.json", output_dir=str(folder), max_epochs=2, linear_decay=False)
    return folder


def test_the_best_validation_dice_chooses_the_weights(two_epochs: Path) -> None:
    state = checkpoint(two_epochs)
    assert state["best_metric_epoch"] in (1, 2) and 0 <= state["best_metric"] <= 1
    best = checkpoint(two_epochs, state["best_metric_epoch"])["averaged"]
    average = {key.removeprefix("module."): value for key, value in best.items() if key != "n_averaged"}
    assert equal(torch.load(two_epochs / "model.pt", weights_only=True), average)


def test_nothing_generated_is_trained_on(phantoms: Path, run_config: RunConfig, tmp_path: Path) -> None:
    settings = {"dataset_dir": str(phantoms), "output_dir": str(tmp_path / "run")}
    with pytest.raises(RuntimeError) as caught:
        run_config(CONFIGS / "train.json", **settings)
    assert "eyes marked as synthetic" in str(root_error(caught.value))
    assert not (tmp_path / "run").exists()
    run_config(CONFIGS / "train.json", allow_synthetic="true", **settings)
    assert (tmp_path / "run" / "model.pt").is_file()


def test_the_paper_is_the_authors_network(small: dict[str, Any]) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in ("train.json", "paper.json")])
    network = parser.get_parsed_content("network_def")
    assert network.arguments == {
        "features": 32,
        "levels": 5,
        "iterations": 3,
        "small_levels": 3,
        "norm": "none",
        "dropout": 0.1,
    }
    assert (parser["patch"], parser["batch_size"], parser["learning_rate"]) == (128, 32, 0.001)


def test_evaluation_tells_each_set_at_its_own_size(
    two_epochs: Path, run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    configs = [CONFIGS / "train.json", CONFIGS / "evaluate.json"]
    weights = {"checkpoint": str(two_epochs / "model.pt"), "dataset_dir": str(phantoms)}
    run_config(configs, output_dir=str(tmp_path / "report"), mlflow=True, **weights)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {line["dataset"] for line in report["table"]} == {"phantom"}
    assert {line["metric"] for line in report["table"]} == {
        "dice",
        "auc",
        "cldice",
        "sensitivity",
        "specificity",
        "accuracy",
    }
    assert report["about"]["split"] == "test" and len(report["about"]["weights_sha256"]) == 64
    assert (tmp_path / "report" / "grid_phantom.png").is_file() and (tmp_path / "report" / "mlruns.db").is_file()


@pytest.mark.parametrize("name", ["report.json", "report_HRF_rest.json", "report_IDRiD.json", "report_cross_set.json"])
def test_the_cards_figures_are_those_of_its_reports(name: str) -> None:
    docs = CONFIGS.parent / "docs"
    report, card = json.loads((docs / name).read_text()), (docs / "README.md").read_text(encoding="utf-8")
    missing = [line for line in markdown_table(report["table"]).splitlines() if line not in card]
    assert not missing
    if name == "report.json":
        means = {line["dataset"]: line["mean"] for line in report["table"] if line["metric"] == "dice"}
        assert means["CHASE_DB1"] >= 0.78, "what the release aims at"
        assert report["about"]["weights_sha256"] == digest(CONFIGS.parent / "models" / "model.pt")


def test_a_fresh_clone_trains_on_phantoms_and_says_so(
    run_config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "run"))
    assert "using 8 phantoms (drawn by a procedure, not eyes)" in caplog.text
