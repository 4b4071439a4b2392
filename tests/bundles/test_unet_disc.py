"""What ``unet_disc`` promises beside what every bundle does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.networks.nets import UNet
from states import checkpoint, equal

import retina_monai
from retina_monai.bundle import digest
from retina_monai.data import find_datalist
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.errors import RetinaError, root_error
from retina_monai.evaluation.report.tables import markdown_table

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "unet_disc" / "configs"
DOCS = CONFIGS.parent / "docs"
RunConfig = Callable[..., ConfigParser]


@pytest.fixture(scope="module")
def two_epochs(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disc") / "run"
    run_config(CONFIGS / "train.json", output_dir=str(folder), max_epochs=2, linear_decay=False)
    return folder


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", 1),
        ("widths", [8, 8, 8]),
        ("residual_units", 2),
        ("norm", "instance"),
        ("dropout", 0.5),
        ("dice_weight", 0.0),
        ("rotation", 0.0),
        ("smallest_eye", 1.3),
        ("aperture", 0.0),
        ("monochrome", 1.0),
        ("noise", 0.5),
    ],
)
def test_options_change_what_is_trained(
    two_epochs: Path, run_config: RunConfig, tmp_path: Path, option: str, value: Any
) -> None:
    run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "run"), linear_decay=False, **{option: value})
    found = checkpoint(tmp_path / "run", 1)["networks.segmenter"]
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert not equal(checkpoint(two_epochs, 1)["networks.segmenter"], found)


def test_the_network_is_monais() -> None:
    parser = ConfigParser()
    parser.read_config(CONFIGS / "inference.json")
    assert type(parser.get_parsed_content("network_def")) is UNet


def test_a_size_that_does_not_go_through_is_refused(run_config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "run"), size=66)
    assert "size must be a multiple of 4 for a network that halves it 2 times, got 66" in str(root_error(caught.value))


def test_a_set_without_discs_is_refused(run_config: RunConfig, real_set: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "run"), dataset_dir=str(real_set("CHASE_DB1")))
    assert "has no eye with a disc mask" in str(root_error(caught.value))


def test_evaluation_compares_with_the_drawn_discs(
    two_epochs: Path, run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    configs = [CONFIGS / "train.json", CONFIGS / "evaluate.json"]
    weights = {"checkpoint": str(two_epochs / "model.pt"), "dataset_dir": str(phantoms)}
    run_config(configs, output_dir=str(tmp_path / "report"), mlflow=True, splits=["training", "test"], **weights)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {line["metric"] for line in report["table"]} == {"dice", "distance", "width"}
    assert report["about"]["splits"] == ["training", "test"] and len(report["about"]["weights_sha256"]) == 64
    assert (tmp_path / "report" / "grid_phantom.png").is_file() and (tmp_path / "report" / "mlruns.db").is_file()


def test_load_finds_the_disc_that_the_command_finds(phantoms: Path, run_config: RunConfig, tmp_path: Path) -> None:
    """The released weights on phantoms, whose discs are exact."""
    run_config(
        CONFIGS / "inference.json", input_dir=str(phantoms), output_dir=str(tmp_path / "set"), split="test", size=256
    )
    written = {item["name"]: item for items in find_datalist(tmp_path / "set").values() for item in items}
    find: Any = retina_monai.load("unet_disc")
    for item in find_datalist(phantoms)["test"]:
        found = find(read_photograph(item["image"]), read_mask(item["fov"]))
        assert found.mask.dtype == np.uint8 and found.laterality in ("", item["laterality"])
        assert found.confidence == pytest.approx(written[item["name"]]["confidence"], abs=1e-3)
        assert np.array_equal(found.mask, read_mask(written[item["name"]]["disc"])[0])
        drawn = read_mask(item["disc"])[0]
        assert 2 * np.count_nonzero(found.mask & drawn) / (found.mask.sum() + drawn.sum()) > 0.7


def test_what_is_no_photograph_is_refused() -> None:
    find: Any = retina_monai.load("unet_disc")
    with pytest.raises(RetinaError, match=r"photograph must be uint8 \(3, H, W\), RGB, got uint8 \(40, 40\)"):
        find(np.zeros((40, 40), np.uint8))


def test_the_cards_figures_are_those_of_its_report() -> None:
    report, card = json.loads((DOCS / "report.json").read_text()), (DOCS / "README.md").read_text(encoding="utf-8")
    missing = [line for line in markdown_table(report["table"]).splitlines() if line not in card]
    assert not missing
    means = {(line["dataset"], line["metric"]): line["mean"] for line in report["table"]}
    assert means["IDRiD", "dice"] >= 0.9, "the aim of 0.93 is missed, and the card says so"
    assert report["about"]["weights_sha256"] == digest(CONFIGS.parent / "models" / "model.pt")
