"""The ablations: each changes one setting of the published pix2pix, and the page says what came out, whatever it is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "bundles" / "pix2pix_vessel" / "configs"
OVERLAYS = sorted(CONFIGS.glob("ablation_*.json"))


@pytest.fixture(scope="module")
def ablations() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "scripts"))
    import ablations

    yield ablations
    sys.path.remove(str(ROOT / "scripts"))


def settings(*overlays: Path) -> dict[str, Any]:
    parser = ConfigParser()
    parser.read_config([CONFIGS / "train.json", CONFIGS / "paper.json", *overlays])
    return dict(parser.get())


def test_there_is_an_overlay_for_each_variant(ablations: ModuleType) -> None:
    names = {path.stem.removeprefix("ablation_") for path in OVERLAYS}
    assert names == ablations.TITLES.keys() - {ablations.PUBLISHED}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_an_overlay_changes_one_setting_of_the_published_pix2pix(overlay: Path) -> None:
    published, changed = settings(), settings(overlay)
    assert published.keys() == changed.keys()
    assert [key for key in published if published[key] != changed[key]] == list(json.loads(overlay.read_text()))


@pytest.mark.parametrize(("norm", "layers"), [("batch", 3), ("none", 0)])
def test_the_discriminator_has_the_norm_that_is_asked_for(norm: str, layers: int) -> None:
    parser = ConfigParser(settings() | {"discriminator_norm": norm, "initialization": "normal"})
    discriminator = parser.get_parsed_content("discriminator_def")
    kinds = [type(module).__name__ for module in discriminator.modules()]
    assert kinds.count("BatchNorm2d") == layers
    biased = [module.bias is not None for module in discriminator.modules() if type(module).__name__ == "Conv2d"]
    assert all(biased) == (norm == "none")


def eyes(folder: Path, psnr: list[float], ratio: list[float]) -> Path:
    """A report as an evaluation leaves it, for eyes of these figures."""
    folder.mkdir(parents=True)
    lines = [f"given,{value},{value / 40},{1 / value}" for value in psnr] + ["camera,1,0.1,9"]
    (folder / "eyes.csv").write_text("\n".join(["appearance,psnr,ssim,mse", *lines]))
    (folder / "report.json").write_text(json.dumps({"spectrum": {"A": {"ratio": ratio}, "B": {"ratio": [1.0]}}}))
    return folder


def test_figures_are_means_over_the_eyes_with_their_own_appearance(ablations: ModuleType, tmp_path: Path) -> None:
    found = ablations.figures(eyes(tmp_path / "report", [20, 25], [0.74, 0.75, 1.25]))
    assert found == {"psnr": 22.5, "ssim": 0.5625, "mse": 0.045, "rings": 0.75, "eyes": 2}


def seeds(*psnr: float) -> list[dict[str, float]]:
    return [{"psnr": value, "ssim": value / 40, "mse": 1 / value, "rings": 0.5, "eyes": 4} for value in psnr]


def test_a_difference_counts_only_beyond_the_seeds(ablations: ModuleType) -> None:
    clear, unclear = (ablations.verdict(variant, seeds(20, 21)) for variant in (seeds(22, 24), seeds(20.5, 23)))
    assert clear == "+2.50 dB of PSNR, +0.062 of SSIM"
    assert unclear.startswith("+1.25 dB of PSNR (the seeds overlap: not shown), ")


@pytest.mark.parametrize(
    ("without", "words"), [((22, 24), "better left out"), ((18, 19), "better kept"), ((20.5, 23), "settle nothing")]
)
def test_dropout_is_settled_by_both_metrics_or_not(
    ablations: ModuleType, without: tuple[float, float], words: str
) -> None:
    assert words in ablations.settle(seeds(*without), seeds(20, 21))


def test_the_table_gives_each_seed(ablations: ModuleType) -> None:
    row = ablations.table({"published": seeds(20, 25)}).splitlines()[-1]
    assert row == (
        "| as published | 22.50 (20.00, 25.00) | 0.562 (0.500, 0.625) | 0.0450 (0.0500, 0.0400) | 50% (50%, 50%) |"
    )


def test_one_command_trains_measures_and_writes_the_page_and_goes_on_where_it_stopped(
    small_for: Callable[..., dict[str, Any]], phantoms: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    unused = ("max_epochs", "val_interval", "phantom_dir", "phantom_count", "mlflow")
    values = {key: value for key, value in small_for(CONFIGS / "train.json").items() if key not in unused} | {
        "dataset_dir": phantoms,
        "iterations": 7,
        "seeds": "[3]",
        "only": "['no_dropout']",
        "work": tmp_path / "work",
        "output": tmp_path / "docs" / "ablations.md",
    }
    command = [sys.executable, str(ROOT / "scripts" / "ablations.py")]
    command += [text for key, value in values.items() for text in (f"--{key}", str(value))]
    results = [subprocess.run(command, env=environment, capture_output=True, text=True, check=False) for _ in range(2)]
    assert [result.returncode for result in results] == [0, 0], results[0].stderr + results[1].stderr
    assert "== no_dropout-seed3" in results[0].stdout
    assert "==" not in results[1].stdout  # all of it was there
    text = (tmp_path / "docs" / "ablations.md").read_text()
    assert "| as published |" in text
    assert "| no dropout |" in text
    assert "trained for 10 iterations (2 epochs)" in " ".join(text.split())
    picture = np.asarray(Image.open(tmp_path / "docs" / "images" / "ablations.png"))
    assert picture.std() > 20
    with sqlite3.connect(tmp_path / "work" / "mlruns.db") as database:
        experiments = dict(database.execute("SELECT name, experiment_id FROM experiments").fetchall())
        runs = database.execute("SELECT status, experiment_id FROM runs").fetchall()
    assert runs == [("FINISHED", experiments["pix2pix_vessel_ablations"])] * 4
