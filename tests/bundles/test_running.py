"""The command that the project is for, as users type it: from any directory, overridden, copied, on two processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from monai.bundle import ConfigParser

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "pix2pix_vessel"
TRAIN = Path("bundles/pix2pix_vessel/configs/train.json")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
LOSSES = {"s_real", "d_real", "d_fake", "loss"}
LOSSES |= {f"g_{term}" for term in ("l1", "block", "adversarial", "features", "spectrum", "faithfulness")}
METRICS = {"selection", "cldice", "dice", "ssim_fov", "psnr_fov", "mse_fov", "ssim", "psnr", "mse"}

Command = Callable[..., subprocess.CompletedProcess[str]]


def runs_in(folder: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments))


def steps_of(folder: Path, run: Run, metric: str) -> list[int]:
    client = MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    return [point.step for point in client.get_metric_history(run.info.run_id, metric)]


def files_of(folder: Path) -> dict[str, str]:
    """Each file below a folder, but for the caches of Python, with its SHA-256."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_from_the_repository_root_without_an_installed_package(
    monai_bundle: Command, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(environment, "PYTHONPATH")
    how = {"launcher": ("-m",), "train#trainer#max_epochs": 2}
    result = monai_bundle(TRAIN, "training", output_dir=tmp_path / "run", **how)
    assert result.returncode == 0, result.stdout
    assert "using 8 phantoms (drawn by a procedure, not eyes)" in result.stdout
    assert "epoch 2/2: " in result.stdout, "the override wins over --max_epochs 1"
    assert (tmp_path / "run" / "checkpoints" / "epoch_0002.pt").is_file()


def test_copied_bundle_writes_only_into_its_copy(monai_bundle: Command, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "a_copy"
    shutil.copytree(BUNDLE, copy, ignore=shutil.ignore_patterns("runs"))
    before = files_of(BUNDLE), files_of(copy)

    result = monai_bundle("configs/train.json", "run", cwd=copy, phantom_dir=None, cache_dir=None, mlflow=True)

    assert result.returncode == 0, result.stdout
    assert files_of(BUNDLE) == before[0]
    after = files_of(copy)
    written = set(after) - set(before[1])
    assert {name: after[name] for name in before[1]} == before[1]
    assert {Path(name).parts[0] for name in written} == {"runs"}
    assert {Path(name).parts[1] for name in written} > {"cache", "phantom"}
    (output_dir,) = {copy / "runs" / Path(name).parts[1] for name in written} - {
        copy / "runs" / "cache",
        copy / "runs" / "phantom",
    }
    for name in ("model.pt", "network.json", "appearances.json", "config.json", "pictures/epoch_0001.png"):
        assert (output_dir / name).is_file()
    (run,) = runs_in(output_dir)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(output_dir.as_uri())


@pytest.mark.slow
def test_from_another_directory_on_two_sets_with_monai_tracking(
    monai_bundle: Command, phantoms: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        shutil.copytree(phantoms, tmp_path / name)
    overrides = {"tracking": "mlflow", "mlflow": None, "dataset_dir": "['first', 'second']", "output_dir": "run"}
    result = monai_bundle(ROOT / TRAIN, "run", cwd=tmp_path, **overrides, **{"train#trainer#max_epochs": 2})
    assert result.returncode == 0, result.stdout
    assert "phantoms (drawn by a procedure" not in result.stdout
    (run,) = runs_in(tmp_path / "run")
    assert set(run.data.metrics) == LOSSES | METRICS
    twice = {name: steps for name in run.data.metrics if (steps := steps_of(tmp_path / "run", run, name)) != [1, 2]}
    assert twice == {}
    assert (run.data.params["max_epochs"], run.data.params["epoch_length"]) == ("2", "10")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "run", "second"]


def test_papers_settings_are_the_papers_network(small: dict[str, Any], phantoms: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in ("train.json", "paper.json")])
    parser["phantom_dir"], parser["phantom_count"] = small["phantom_dir"], small["phantom_count"]
    generator = parser.get_parsed_content("network_def")
    assert round(sum(parameter.numel() for parameter in generator.parameters()) / 1e6, 1) == 54.4
    assert generator.arguments["norm"] == "batch" and generator.arguments["upsampling"] == "transpose"
    objective = parser.get_parsed_content("objective")
    weights = (objective.l1_weight, objective.adversarial_weight, objective.spectrum_weight)
    assert weights == (100, 1, 0) and objective.feature_matching_weight == objective.faithfulness_weight == 0
    assert objective.networks.keys() == {"generator", "discriminator"}
    groups = [optimizer.defaults for optimizer in parser.get_parsed_content("optimizers").values()]
    assert [(group["lr"], tuple(group["betas"])) for group in groups] == [(2e-4, (0.5, 0.999))] * 3
    assert (parser["batch_size"], parser["max_epochs"]) == (1, 40)


@pytest.mark.slow
def test_two_processes_write_one_set_of_files_and_one_run(monai_bundle: Command, tmp_path: Path) -> None:
    output_dir = tmp_path / "run"
    configs = [BUNDLE / "configs" / name for name in ("train.json", "multi_gpu_train.json")]
    result = monai_bundle(configs, "training", launcher=TORCHRUN, cwd=tmp_path, mlflow=True, output_dir=output_dir)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("epoch 1/1: ") == 1
    files = Counter(path.name for path in output_dir.rglob("*") if path.is_file() and "mlruns" not in path.parts)
    expected = ["appearances.json", "config.json", "epoch_0001.pt", "epoch_0001.png", "mlruns.db", "model.pt"]
    assert files == Counter([*expected, "network.json", "training.json"])
    (run,) = runs_in(output_dir)
    assert (run.info.status, set(run.data.metrics)) == ("FINISHED", LOSSES | METRICS)
    assert {steps for name in run.data.metrics for steps in steps_of(output_dir, run, name)} == {1}
    arguments = json.loads((output_dir / "network.json").read_text())
    assert arguments["_target_"] == "Pix2PixUNet"
