"""Several trainings and inferences in one process: each has its own folder and run, and is as if it were alone."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser
from monai.data import get_track_meta

from retina_monai.bundle import run_folder
from retina_monai.synthesis import synthesize

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a bundle, whose runs lie in it."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(BUNDLES / name, tmp_path / name, ignore=shutil.ignore_patterns("runs")))

    return copy


def runs_of(bundle: Path) -> list[Path]:
    return sorted(bundle.glob("runs/2*"))


def process_state() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "metadata": get_track_meta(),
        "handlers": [len(logging.getLogger(name).handlers) for name in (None, "retina_monai", "ignite", "monai")],
    }


@pytest.mark.slow
def test_trainings_and_inferences_are_apart(
    copied: Callable[[str], Path],
    small_for: Callable[..., dict[str, Any]],
    phantoms: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bundle, other = copied("pix2pix_vessel"), copied("iternet_vessel")
    store = f"sqlite:///{tmp_path / 'mlruns.db'}"
    given = {"dataset_dir": str(phantoms), "cache_dir": str(tmp_path / "cache"), "mlflow": True, "tracking_uri": store}

    def train(root: Path, **overrides: Any) -> None:
        config = str(root / "configs" / "train.json")
        settings = small_for(config) | given | overrides
        monai.bundle.run("training", config_file=config, logging_file=False, **settings)

    train(bundle)
    before = process_state()
    for rate in (2e-4, 1e-3):
        train(bundle, learning_rate=rate)
    train(other, allow_synthetic=True)

    first, again, faster = [torch.load(folder / "model.pt", weights_only=True) for folder in runs_of(bundle)]
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items()), "what ran before changes nothing"
    assert not all(torch.equal(tensor, faster[name]) for name, tensor in first.items())
    assert len(runs_of(other)) == 1
    assert sum(record.message.startswith("epoch 1/1: ") for record in caplog.records) == 4
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("pix2pix_vessel")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.params["learning_rate"] for run in runs) == ["0.0002", "0.0002", "0.001"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {len(client.get_metric_history(run.info.run_id, "loss")) for run in runs} == {1}

    weights = str(runs_of(bundle)[0] / "model.pt")
    for _ in range(2):
        monai.bundle.run(
            config_file=str(bundle / "configs" / "inference.json"),
            logging_file=False,
            input_dir=str(phantoms),
            checkpoint=weights,
            size=64,
        )
    synthesize(bundle, phantoms, checkpoint=weights, trust=True)
    sets = runs_of(bundle)[3:]
    assert [len(list((folder / "images").iterdir())) for folder in sets] == [8, 8, 8]
    assert process_state() == before


def test_workflows_that_are_made_before_any_runs_are_apart(tmp_path: Path) -> None:
    assert len({run_folder(str(tmp_path)) for _ in range(20)}) == 20
    assert list(tmp_path.iterdir()) == []


def test_each_config_resolves_its_run_folder_once(tmp_path: Path) -> None:
    config = {"output_dir": f"$run_folder({str(tmp_path)!r})", "places": ["@output_dir", "$@output_dir"]}
    first, second = (ConfigParser(dict(config), globals={"run_folder": run_folder}) for _ in range(2))
    places = [parser.get_parsed_content(name) for parser in (first, second, first) for name in ("output_dir", "places")]
    assert places[1] == [places[0]] * 2 and places[3] == [places[2]] * 2
    assert places[0] != places[2] and places[4:] == places[:2]
