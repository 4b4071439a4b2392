"""A training that was killed in the middle of an epoch goes on as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "pix2pix_vessel" / "configs"
EPOCHS, EYES = 3, 5
KILLED_AT = EYES + 3
KILL = {
    "+train#handlers": [
        {
            "_target_": "StatsHandler",
            "epoch_log": False,
            "iteration_print_logger": "$lambda engine: "
            f"engine.state.iteration == {KILLED_AT} and __import__('os').kill(__import__('os').getpid(), 9)",
        }
    ]
}
SETTINGS = {"dropout": 0.5, "max_epochs": EPOCHS, "keep_checkpoints": EPOCHS, "mlflow": True}


@dataclass(frozen=True)
class Story:
    """Where the trainings lie: one that ran through, and those that were killed and resumed, by their workers."""

    uninterrupted: Path
    resumed: dict[int, Path]
    left_by_kill: dict[int, list[str]]
    store: str


@pytest.fixture(scope="module")
def story(
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Story:
    """Two trainings die; another starts that shares its MLflow store with one of them; then the two are resumed."""
    folder = tmp_path_factory.mktemp("resume")
    store = f"sqlite:///{folder / 'shared.db'}"
    (folder / "kill.json").write_text(json.dumps(KILL))
    tracking: dict[int, Any] = {0: {"tracking_uri": store}, 2: {}}

    def train(name: str, workers: int, killed: bool = False, **overrides: Any) -> Path:
        configs = [CONFIGS / "train.json", *([folder / "kill.json"] if killed else [])]
        settings = SETTINGS | tracking[workers] | overrides
        result = monai_bundle(configs, output_dir=folder / name, num_workers=workers, **settings)
        assert result.returncode == (-signal.SIGKILL if killed else 0), result.stdout
        return folder / name

    with ThreadPoolExecutor(2) as pool:
        killed = list(pool.map(lambda workers: train(f"workers_{workers}", workers, killed=True), (0, 2)))
        left = [sorted(path.name for path in (path / "checkpoints").iterdir()) for path in killed]
        uninterrupted = pool.submit(train, "uninterrupted", 0)
        second = pool.submit(train, "workers_2", 2, resume="true")
        uninterrupted.result()
        first = pool.submit(train, "workers_0", 0, resume="true")
    resumed = {0: first.result(), 2: second.result()}
    return Story(uninterrupted.result(), resumed, dict(zip((0, 2), left, strict=True)), store)


def checkpoint(folder: Path, epoch: int) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"epoch_{epoch:04d}.pt", weights_only=True)


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Each tensor and plain value in nested dictionaries and lists, by its path."""
    if not isinstance(value, dict | list | tuple):
        return {name: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for part, inner in pairs for key, leaf in leaves(inner, f"{name}/{part}").items()}


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Paths at which two checkpoints are not the same bit for bit."""
    one, other = leaves(first), leaves(second)
    assert one.keys() == other.keys()
    return [key for key, leaf in one.items() if not same(leaf, other[key])]


def same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return bool(first == second)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_kill_came_in_the_middle_of_the_second_epoch(story: Story, workers: int) -> None:
    assert EYES < KILLED_AT < 2 * EYES
    assert checkpoint(story.uninterrupted, 1)["iteration"] == EYES
    assert story.left_by_kill[workers] == ["epoch_0001.pt"]


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
@pytest.mark.parametrize("workers", [0, 2])
def test_every_network_optimizer_and_average_ends_the_same(story: Story, workers: int, epoch: int) -> None:
    expected, found = checkpoint(story.uninterrupted, epoch), checkpoint(story.resumed[workers], epoch)
    players = {"generator", "discriminator", "segmenter"}
    parts = {f"{kind}.{player}" for kind in ("networks", "optimizers") for player in players}
    assert set(expected) > parts | {"averaged", "epoch", "iteration", "best_metric"}
    assert expected["iteration"] == epoch * EYES
    assert differing(expected, found) == ["/run_id"]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_released_weights_are_the_same(story: Story, workers: int) -> None:
    expected, found = (
        torch.load(f / "model.pt", weights_only=True) for f in (story.uninterrupted, story.resumed[workers])
    )
    assert differing(expected, found) == []


def test_training_went_on_after_the_kill(story: Story) -> None:
    """Or the comparisons above would hold of a training that stood still, with no augmentation and no dropout."""
    second, third = (checkpoint(story.uninterrupted, epoch) for epoch in (2, 3))
    moved = [key for key in differing(second, third) if key.startswith("/networks.generator")]
    assert len(moved) == len(second["networks.generator"])
    config = json.loads((story.uninterrupted / "config.json").read_text())
    assert (
        config["dropout"] > 0
        and config["faithfulness_weight"] > 0
        and config["rotation"] > 0
        and config["horizontal_flip"] > 0
        and config["ema"]
    )


def test_the_resumed_training_goes_on_in_its_own_run_and_swallows_no_other(story: Story) -> None:
    client = MlflowClient(story.store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = {run.info.run_id: run.info.status for run in client.search_runs(experiments)}
    resumed, other = checkpoint(story.resumed[0], 1)["run_id"], checkpoint(story.uninterrupted, 1)["run_id"]
    assert runs == {resumed: "FINISHED", other: "FINISHED"}
    assert checkpoint(story.resumed[0], EPOCHS)["run_id"] == resumed
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run, "ssim_fov")]
        assert steps == [point.step for point in client.get_metric_history(run, "loss")] == [1, 2, 3]


def test_where_the_run_is_not_known_the_resumed_training_gets_a_new_one(
    run_config: Callable[..., ConfigParser], tmp_path: Path
) -> None:
    """As after a change of the tracking server, or where the first part was not tracked."""
    output_dir, store = str(tmp_path / "run"), f"sqlite:///{tmp_path / 'store.db'}"
    run_config(CONFIGS / "train.json", output_dir=output_dir)
    path = tmp_path / "run" / "checkpoints" / "epoch_0001.pt"
    torch.save(torch.load(path, weights_only=True) | {"run_id": "of another store"}, path)
    settings = {"resume": True, "max_epochs": 2, "mlflow": True, "tracking_uri": store, "output_dir": output_dir}
    run_config(CONFIGS / "train.json", **settings)
    client = MlflowClient(store)
    (run,) = client.search_runs([client.get_experiment_by_name("pix2pix_vessel").experiment_id])
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [2]
