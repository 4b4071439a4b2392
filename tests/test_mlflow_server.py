"""A training as a reviewer finds it on a real MLflow server."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from retina_monai.data import find_datalist, fingerprint

pytestmark = pytest.mark.slow

TRAIN = Path(__file__).resolve().parents[1] / "bundles" / "pix2pix_vessel" / "configs" / "train.json"
PATIENCE = 120
LOSSES = {
    "s_real",
    "d_real",
    "d_fake",
    "g_l1",
    "g_adversarial",
    "g_features",
    "g_spectrum",
    "g_faithfulness",
    "g_block",
    "loss",
}
METRICS = {"selection", "cldice", "dice", "ssim_fov", "psnr_fov", "mse_fov", "ssim", "psnr", "mse"}


@dataclass(frozen=True)
class Review:
    """A finished training: the server's client, the run on it, and the folder on this side."""

    client: MlflowClient
    run: Run
    folder: Path

    def download(self, name: str, into: Path) -> Path:
        return Path(self.client.download_artifacts(self.run.info.run_id, name, str(into)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[str]:
    """Address of an MLflow server on loopback: SQLite behind it, artifacts served by it; stopped at the end."""
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'server.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    listen = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *listen],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(address, process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the MLflow server did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def review(
    server: str,
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Review:
    folder = tmp_path_factory.mktemp("tracked") / "run"
    result = monai_bundle(TRAIN, "training", mlflow=True, tracking_uri=server, output_dir=folder)
    assert result.returncode == 0, result.stdout
    assert f"MLflow: {server}, experiment pix2pix_vessel" in result.stdout
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("pix2pix_vessel")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return Review(client, run, folder)


def test_the_run_is_finished_and_named_after_its_folder(review: Review) -> None:
    assert review.run.info.status == "FINISHED"
    assert review.run.info.run_name.startswith("run-")
    assert not (review.folder / "mlruns.db").exists()


def test_parameters_are_those_of_the_command_and_of_the_config(review: Review, small: dict[str, Any]) -> None:
    parameters = review.run.data.params
    config = json.loads(TRAIN.read_text())
    for name in ("size", "levels", "features", "max_epochs", "precision"):
        assert parameters[name] == str(small[name])
    for name in ("learning_rate", "l1_weight", "dropout", "norm", "betas", "seed", "batch_size"):
        assert parameters[name] == str(config[name])


def test_the_data_sets_fingerprint_is_that_of_its_files(review: Review, phantoms: Path) -> None:
    assert review.run.data.params["dataset_fingerprint"] == fingerprint(find_datalist(phantoms))


def test_every_loss_and_metric_is_there_once(review: Review) -> None:
    assert set(review.run.data.metrics) == LOSSES | METRICS
    for name in LOSSES | METRICS:
        (point,) = review.client.get_metric_history(review.run.info.run_id, name)
        assert point.step == 1 and math.isfinite(point.value)
    metrics = review.run.data.metrics
    assert metrics["loss"] == pytest.approx(sum(metrics[name] for name in LOSSES - {"loss"}), rel=1e-4)


def test_artifacts_are_plain_files(review: Review) -> None:
    artifacts = {item.path: item.is_dir for item in review.client.list_artifacts(review.run.info.run_id)}
    names = ("config.json", "model.pt", "network.json", "training.json", "appearances.json")
    assert artifacts == {"pictures": True, **dict.fromkeys(names, False)}


@pytest.mark.parametrize(
    "name", ["pictures/epoch_0001.png", "config.json", "model.pt", "network.json", "appearances.json"]
)
def test_artifact_is_the_file_of_the_training(review: Review, name: str, tmp_path: Path) -> None:
    assert review.download(name, tmp_path).read_bytes() == (review.folder / name).read_bytes()


def test_the_config_is_the_one_that_ran(
    review: Review, small_for: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config = json.loads(review.download("config.json", tmp_path).read_text())
    given = small_for(TRAIN) | {"mlflow": True}
    assert {key: config[key] for key in given} == given
    assert config["network_def"]["_target_"] == "retina_monai.networks.Pix2PixUNet"


def test_the_weights_load_without_running_code(review: Review, tmp_path: Path) -> None:
    state = torch.load(review.download("model.pt", tmp_path), weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
