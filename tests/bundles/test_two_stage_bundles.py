"""What ``pix2pix_color_vessel`` and ``lama_fundus`` promise beside what every bundle does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser
from PIL import Image

from retina_monai.bundle import digest, load_network, load_network_of
from retina_monai.data import ColorVessels
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.errors import RetinaError, root_error
from retina_monai.evaluation.report.tables import markdown_table
from retina_monai.transforms import measure_appearance

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("pix2pix_color_vessel", "lama_fundus")
CONFIGS = {name: ROOT / "bundles" / name / "configs" for name in NAMES}
NETWORKS = {
    "pix2pix_color_vessel": {"generator", "discriminator"},
    "lama_fundus": {"generator", "discriminator", "perceptual"},
}
LOSSES = {
    "pix2pix_color_vessel": {"d_real", "d_fake", "g_l1", "g_adversarial", "g_features", "loss"},
    "lama_fundus": {"p_vessel", "p_image", "d_real", "d_fake", "d_penalty", "g_known", "g_color", "g_spectrum"}
    | {"g_faithfulness"}
    | {"g_adversarial", "g_features", "g_perceptual", "loss"},
}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")

RunConfig = Callable[..., ConfigParser]
both = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def color_weights(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the first stage after an epoch."""
    folder = tmp_path_factory.mktemp("color") / "run"
    run_config(CONFIGS["pix2pix_color_vessel"] / "train.json", output_dir=str(folder))
    return folder / "model.pt"


@pytest.fixture(scope="module")
def trainings(run_config: RunConfig, color_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two epochs of each, the second stage's half from what the first makes."""
    folders = {name: tmp_path_factory.mktemp(name) / "run" for name in NAMES}
    for name, folder in folders.items():
        run_config(
            CONFIGS[name] / "train.json", output_dir=str(folder), max_epochs=2, mlflow=True, **own(name, color_weights)
        )
    return folders


def own(name: str, color_weights: Path) -> dict[str, Any]:
    """Settings that a resumed training must repeat."""
    chances = {"generated_share": 0.5, "penalty_share": 0.5, "color_vessel_weights": str(color_weights)}
    return {"linear_decay": False, **(chances if name == "lama_fundus" else {})}


def checkpoint(folder: Path, epoch: int = 2) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"epoch_{epoch:04d}.pt", weights_only=True)


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@both
def test_a_resumed_training_is_the_uninterrupted_one(
    name: str, trainings: dict[str, Path], run_config: RunConfig, color_weights: Path, tmp_path: Path
) -> None:
    settings = {"output_dir": str(tmp_path / "run"), **own(name, color_weights)}
    run_config(CONFIGS[name] / "train.json", max_epochs=1, **settings)
    run_config(CONFIGS[name] / "train.json", max_epochs=2, resume=True, num_workers=1, **settings)
    expected, found = checkpoint(trainings[name]), checkpoint(tmp_path / "run")
    parts = {f"networks.{network}" for network in NETWORKS[name]} | {"averaged"}
    assert {part for part in expected if part.startswith("networks.")} | {"averaged"} == parts
    assert [part for part in parts if not equal(expected[part], found[part])] == []
    assert not equal(expected["averaged"], checkpoint(trainings[name], 1)["averaged"])


def test_the_second_stage_trains_with_the_papers_settings(run_config: RunConfig, tmp_path: Path) -> None:
    configs = [CONFIGS["lama_fundus"] / name for name in ("train.json", "paper.json")]
    run_config(configs, output_dir=str(tmp_path / "run"), batch_size=2)
    assert all(tensor.isfinite().all() for tensor in checkpoint(tmp_path / "run", 1)["networks.generator"].values())


def check_run(name: str, folder: Path) -> None:
    """What MLflow has of the one training that is in the folder."""
    client = MlflowClient(f"sqlite:///{folder / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    assert run.info.status == "FINISHED" and run.data.metrics.keys() > LOSSES[name]
    validated = "l1_vessel" if name == "pix2pix_color_vessel" else "selection"
    assert validated in run.data.metrics
    kept = {path.path for path in client.list_artifacts(run.info.run_id)}
    assert kept >= {"model.pt", "network.json", "config.json"}


@both
def test_losses_metrics_and_files_are_tracked(name: str, trainings: dict[str, Path]) -> None:
    check_run(name, trainings[name])


@pytest.mark.slow
def test_two_processes_write_one_set_of_files_and_one_run(
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Of the second stage, with its three players; what the first does in two processes is pix2pix_vessel's."""
    configs = [CONFIGS["lama_fundus"] / file for file in ("train.json", "multi_gpu_train.json")]
    settings = {"output_dir": tmp_path / "run", "mlflow": True, "penalty_share": 1.0}
    result = monai_bundle(configs, "training", launcher=TORCHRUN, cwd=tmp_path, **settings)
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("epoch 1/1: ") == 1
    check_run("lama_fundus", tmp_path / "run")


@both
def test_a_report_of_the_test_eyes(
    name: str, trainings: dict[str, Path], run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    configs = [CONFIGS[name] / file for file in ("train.json", "evaluate.json")]
    weights = {"checkpoint": str(trainings[name] / "model.pt"), "dataset_dir": str(phantoms)}
    run_config(configs, output_dir=str(tmp_path / "report"), **weights)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {line["dataset"] for line in report["table"]} == {"phantom"}
    expected = {"l1_vessel", "psnr_vessel", "ssim_vessel"} if name == "pix2pix_color_vessel" else {"psnr", "ssim_fov"}
    assert {line["metric"] for line in report["table"]} > expected
    assert (tmp_path / "report" / "grid_phantom.png").is_file()


@pytest.fixture(scope="module")
def sets(
    trainings: dict[str, Path], run_config: RunConfig, phantoms: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The two bundles one after the other, through files."""
    first, second = (tmp_path_factory.mktemp(name) / "set" for name in NAMES)
    for name, source, folder in ((NAMES[0], phantoms, first), (NAMES[1], first, second)):
        paths = {"input_dir": str(source), "output_dir": str(folder), "checkpoint": str(trainings[name] / "model.pt")}
        run_config(CONFIGS[name] / "inference.json", **paths)
    return dict(zip(NAMES, (first, second), strict=True))


def test_colours_are_on_vessels_alone(sets: dict[str, Path]) -> None:
    for path in sorted((sets["pix2pix_color_vessel"] / "color_vessels").iterdir()):
        color = read_photograph(path)
        vessel = read_photograph(path.parents[1] / "vessel_shares" / path.name)[0] >= 128
        fov = read_mask(path.parents[1] / "fovs" / path.name)[0] > 0
        assert color[:, vessel & fov].any() and not color[:, ~(vessel & fov)].any()


def test_vessels_of_the_input_survive_bit_by_bit(sets: dict[str, Path], trainings: dict[str, Path]) -> None:
    """With hard compositing the largest deviation on vessel pixels is 0; a soft edge lets some of it go."""
    parser = ConfigParser()
    parser.read_config(CONFIGS["lama_fundus"] / "inference.json")
    parser["checkpoint"] = str(trainings["lama_fundus"] / "model.pt")
    parser["bundle_root"] = str(CONFIGS["lama_fundus"].parent)
    preprocessing, network, post, network_input, find_disc = (
        parser.get_parsed_content(part)
        for part in ("preprocessing", "network", "postprocessing", "network_input", "find_disc")
    )
    for item in ColorVessels(sets["pix2pix_color_vessel"], 64, find_disc=find_disc):
        given = network_input(item)
        assert given.shape == (5, 64, 64) and np.array_equal(given[4:] > 0, item["disc"] > 0)
        condition = preprocessing({"image": given})["image"][None].as_subclass(torch.Tensor)
        with torch.inference_mode():
            pred = network(condition)
        known = condition[0, 3] < 0
        assert (pred[0, :, known] - condition[0, :3, known]).abs().max() == 0
        written = np.rint(np.asarray(post({"pred": pred[0]})["pred"]))
        assert np.array_equal(written[:, known.numpy()], given[:3, known.numpy()])
        assert pred[0, :, ~known].std() > 0
    soft = load_network(parser.get_parsed_content("network_def"), trainings["lama_fundus"] / "model.pt", blend=2)
    with torch.inference_mode():
        blended = soft(condition)
    assert (blended[0, :, known] - condition[0, :3, known]).abs().max() > 0
    assert torch.equal(blended[0, :, ~known], pred[0, :, ~known])


def test_photographs_are_given_the_appearance_that_was_asked_for(
    trainings: dict[str, Path], run_config: RunConfig, sets: dict[str, Path], phantoms: Path, tmp_path: Path
) -> None:
    donor = sorted((phantoms / "images").iterdir())[3]
    chosen = {"appearance": str(donor), "texture": False, "checkpoint": str(trainings["lama_fundus"] / "model.pt")}
    paths = {"input_dir": str(sets["pix2pix_color_vessel"]), "output_dir": str(tmp_path / "set")}
    run_config(CONFIGS["lama_fundus"] / "inference.json", **chosen, **paths)
    line = json.loads((tmp_path / "set" / "manifest.jsonl").read_text().splitlines()[0])
    image, fov = read_photograph(tmp_path / "set" / line["image"]), read_mask(tmp_path / "set" / line["fov"])
    measured = measure_appearance(torch.from_numpy(image).float() / 127.5 - 1, torch.from_numpy(fov))
    np.testing.assert_allclose(measured.mean, line["appearance"]["mean"], atol=0.1)  # what is clipped is lost
    assert not image[:, fov[0] == 0].any()
    with Image.open(tmp_path / "set" / line["image"]) as picture:
        assert picture.info["SyntheticData"] == "YES"


def test_the_paper_is_the_authors_network_and_losses(small: dict[str, Any], phantoms: Path) -> None:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS["lama_fundus"] / name) for name in ("train.json", "paper.json")])
    parser["phantom_dir"], parser["phantom_count"] = small["phantom_dir"], small["phantom_count"]
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(27.05, abs=0.005)
    weights = ("known", "unknown", "color", "spectrum", "adversarial", "feature_matching", "perceptual", "faithfulness")
    assert [parser[f"{weight}_weight"] for weight in weights] == [10, 0, 0, 0, 10, 100, 30, 0]
    assert parser["ema"] is False
    assert (parser["gradient_penalty"], parser["penalty_share"], parser["composite"]) == (0.001, 1, False)
    assert parser["masks"] == "strokes"


def test_released_weights_are_narrow() -> None:
    parser = ConfigParser()
    parser.read_config(CONFIGS["lama_fundus"] / "inference.json")
    network = parser.get_parsed_content("network_def")
    assert sum(weight.numel() for weight in network.parameters()) <= 12e6


def test_a_stage_is_frozen_and_its_weights_are_asked_for(color_weights: Path, tmp_path: Path) -> None:
    stage = load_network_of("pix2pix_color_vessel", color_weights)
    assert not stage.training and not any(weight.requires_grad for weight in stage.parameters())
    with pytest.raises(RetinaError, match=r"there is no checkpoint \S*nothing.pt"):
        load_network_of("pix2pix_color_vessel", tmp_path / "nothing.pt")


def test_a_first_stage_of_another_size_is_refused(run_config: RunConfig, color_weights: Path, tmp_path: Path) -> None:
    settings = {"generated_share": 0.5, "color_vessel_weights": str(color_weights), "size": 72}
    with pytest.raises(RuntimeError) as caught:
        run_config(CONFIGS["lama_fundus"] / "train.json", output_dir=str(tmp_path / "run"), **settings)
    assert "size must be a multiple of 16 for a network that halves it 4 times, got 72" in str(root_error(caught.value))
    assert not (tmp_path / "run").exists()


def test_the_card_of_the_first_stage_has_the_figures_of_its_report() -> None:
    docs = CONFIGS["pix2pix_color_vessel"].parent / "docs"
    report, card = (
        json.loads((docs / "reports" / "evaluation.json").read_text()),
        (docs / "README.md").read_text(encoding="utf-8"),
    )
    assert [line for line in markdown_table(report["table"]).splitlines() if line not in card] == []
    assert report["about"]["weights_sha256"] == digest(docs.parent / "models" / "model.pt")
