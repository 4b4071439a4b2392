"""The diffusion bundle: every process by one switch, resume, processes, its overlays, and sampling as one is told."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
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

from retina_monai import load
from retina_monai.bundle import release, start_network
from retina_monai.data import VesselMaps, find_datalist
from retina_monai.data.sets.appearances import photograph_appearance
from retina_monai.engines import DiffusionBatch
from retina_monai.errors import RetinaError, root_error
from retina_monai.evaluation.families.faithfulness.painting import Painter, find_painter
from retina_monai.evaluation.measuring.eye_set import EyeSet, list_synthetic
from retina_monai.networks import ConditionedUNet, DiffusionGenerator
from retina_monai.seeds import draw_latent
from retina_monai.synthesis import synthesize

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "ddpm_vessel" / "configs"
TRAIN, INFERENCE = CONFIGS / "train.json", CONFIGS / "inference.json"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
FAST = {"process": "velocity", "steps": 2, "multipliers": [1, 2], "blocks": 1}

RunConfig = Callable[..., ConfigParser]


@pytest.fixture(scope="module")
def training(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs."""
    folder = tmp_path_factory.mktemp("ddpm") / "run"
    run_config(TRAIN, output_dir=str(folder), max_epochs=2, linear_decay=False, **FAST)
    return folder


def checkpoint(folder: Path, epoch: int = 2) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"epoch_{epoch:04d}.pt", weights_only=True)


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted((folder / "images").glob("*.png"))}


def test_a_resumed_training_is_the_uninterrupted_one(training: Path, run_config: RunConfig, tmp_path: Path) -> None:
    settings = {"output_dir": str(tmp_path / "run"), "linear_decay": False, **FAST}
    run_config(TRAIN, max_epochs=1, **settings)
    run_config(TRAIN, max_epochs=2, resume=True, num_workers=1, **settings)
    expected, found = checkpoint(training), checkpoint(tmp_path / "run")
    assert set(expected) >= {"networks.generator", "optimizers.generator", "averaged", "epoch", "run_id"}
    for part in ("networks.generator", "averaged"):
        assert equal(expected[part], found[part])
    moments = [state["optimizers.generator"]["state"] for state in (expected, found)]
    assert all(equal(moments[0][key], moments[1][key]) for key in moments[0])
    assert not equal(expected["networks.generator"], checkpoint(training, 1)["networks.generator"])


@pytest.mark.parametrize(("option", "value"), [("process", "epsilon"), ("appearance_mean", [0.2, -0.5, -0.8])])
def test_a_training_is_resumed_as_what_it_was(
    option: str, value: Any, training: Path, run_config: RunConfig, tmp_path: Path
) -> None:
    """Tensors of another process, or of other colours, have the same shapes."""
    shutil.copytree(training, tmp_path / "run")
    settings = FAST | {"output_dir": str(tmp_path / "run"), "resume": True, "max_epochs": 3, option: value}
    with pytest.raises(RuntimeError) as caught:
        run_config(TRAIN, **settings)
    assert f"epoch_0002.pt was saved with {option.removeprefix('appearance_')} " in str(root_error(caught.value))
    assert f"give the same --{option}," in str(root_error(caught.value))


@pytest.mark.parametrize("process", ["epsilon", "flow"])
def test_each_process_trains_otherwise(process: str, training: Path, run_config: RunConfig, tmp_path: Path) -> None:
    run_config(TRAIN, output_dir=str(tmp_path / "run"), linear_decay=False, **(FAST | {"process": process}))
    found = checkpoint(tmp_path / "run", 1)["networks.generator"]
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert not equal(checkpoint(training, 1)["networks.generator"], found)


def test_blocks_of_pixels_with_attention_train_in_bf16(run_config: RunConfig, tmp_path: Path) -> None:
    settings = FAST | {"precision": "bf16", "unshuffle": 4, "attention": 2}
    run_config(TRAIN, output_dir=str(tmp_path / "run"), **settings)
    found = checkpoint(tmp_path / "run", 1)["networks.generator"]
    assert all(tensor.isfinite().all() and tensor.dtype == torch.float32 for tensor in found.values())


def test_options_that_change_no_weight(training: Path, run_config: RunConfig, tmp_path: Path) -> None:
    settings = FAST | {"linear_decay": False, "gradient_checkpointing": "true", "num_workers": 2, "steps": 3}
    run_config(TRAIN, output_dir=str(tmp_path / "run"), max_epochs=2, **settings)
    expected, found = (checkpoint(folder)["networks.generator"] for folder in (training, tmp_path / "run"))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=name)


@pytest.mark.slow
def test_two_processes_at_half_the_batch_train_the_same(
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    plain = {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1}
    (tmp_path / "plain.json").write_text(json.dumps({"optimizer": plain}))
    settings = FAST | {"max_gradient_norm": 1000.0, "keep_checkpoints": 2, "mlflow": True}
    one = monai_bundle([TRAIN, tmp_path / "plain.json"], output_dir=tmp_path / "one", batch_size=4, **settings)
    assert one.returncode == 0, one.stdout
    configs = [TRAIN, CONFIGS / "multi_gpu_train.json", tmp_path / "plain.json"]
    two = monai_bundle(
        configs, "training", launcher=TORCHRUN, cwd=tmp_path, output_dir=tmp_path / "two", batch_size=2, **settings
    )
    assert two.returncode == 0, two.stdout
    assert two.stdout.count("epoch 1/1: ") == 1
    expected, found = (checkpoint(tmp_path / name, 1)["networks.generator"] for name in ("one", "two"))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-5, msg=name)
    client = MlflowClient(f"sqlite:///{tmp_path / 'two' / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("ddpm_vessel").experiment_id])
    assert run.info.status == "FINISHED" and run.data.metrics.keys() >= {"loss", "selection", "cldice"}
    kept = {path.path for path in client.list_artifacts(run.info.run_id)}
    assert kept >= {"model.pt", "network.json", "appearances.json", "config.json", "pictures"}


def test_a_control_network_is_trained_on_frozen_weights(
    training: Path, run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "control"
    weights = str(training / "model.pt")
    run_config([TRAIN, CONFIGS / "controlnet.json"], output_dir=str(folder), initial_weights=weights, **FAST)
    base, state = torch.load(weights, weights_only=True), torch.load(folder / "model.pt", weights_only=True)
    kept = {name: state[name] for name in base}
    assert equal(base, kept)
    added = {name for name in state if name not in base}
    assert added and all(name.startswith("unet.controlnet.") for name in added)
    assert any(state[name].any() for name in added if "controlnet_down_blocks" in name), "zero at the start"
    network = json.loads((folder / "network.json").read_text())
    assert network["unet"]["_target_"] == "ControlledUNet"
    run_config(
        INFERENCE, checkpoint=str(folder / "model.pt"), input_dir=str(phantoms), output_dir=str(tmp_path / "set")
    )
    assert pictures(tmp_path / "set")


@pytest.mark.slow
def test_control_trains_in_two_processes(
    training: Path, monai_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    configs = [TRAIN, CONFIGS / "controlnet.json", CONFIGS / "multi_gpu_train.json"]
    settings = FAST | {"initial_weights": training / "model.pt", "gradient_checkpointing": "true", "batch_size": 2}
    result = monai_bundle(configs, "training", launcher=TORCHRUN, cwd=tmp_path, output_dir=tmp_path / "run", **settings)
    assert result.returncode == 0, result.stdout
    base, state = (torch.load(folder / "model.pt", weights_only=True) for folder in (training, tmp_path / "run"))
    assert equal(base, {name: state[name] for name in base})
    assert any(state[name].any() for name in state if "controlnet_down_blocks" in name)


def test_control_of_other_weights_is_refused(training: Path, run_config: RunConfig, tmp_path: Path) -> None:
    settings = FAST | {
        "output_dir": str(tmp_path / "run"),
        "initial_weights": str(training / "model.pt"),
        "features": 8,
    }
    with pytest.raises(RuntimeError) as caught:
        run_config([TRAIN, CONFIGS / "controlnet.json"], **settings)
    assert "holds the weights of another network than" in str(root_error(caught.value))


@pytest.mark.slow
def test_256_pixels_train_within_8_gb_at_batch_4(
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A step of the whole network in fp32; the peak is that of the largest process that was waited for here."""
    names = ("size", "features", "multipliers", "blocks", "unshuffle", "batch_size", "conditions")
    released = {key: json.loads(TRAIN.read_text())[key] for key in names}
    assert released["size"] == 256 and released["batch_size"] == 4
    result = monai_bundle([TRAIN], "training", **released, precision="fp32", output_dir=tmp_path / "run")
    assert result.returncode == 0, result.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 8 * 2**20  # KiB
    unet = json.loads((tmp_path / "run" / "network.json").read_text())["unet"]
    assert unet["in_channels"] == 5 and unet["features"] == 64


@pytest.mark.parametrize("conditions", [["vessel"], ["vessel", "disc"]])
def test_conditions_can_be_left_out(
    conditions: list[str], run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    run_config(TRAIN, output_dir=str(tmp_path / "run"), **FAST, conditions=conditions)
    chain = load("ddpm_vessel", tmp_path / "run" / "model.pt")
    assert chain.takes == tuple({"vessel": "vessel_share"}.get(kind, kind) for kind in conditions)
    folder = inference(run_config, tmp_path / "run", phantoms, tmp_path / "set")
    assert pictures(folder) and (folder / "discs").is_dir() == ("disc" in conditions)
    assert not (folder / "appearance_maps").exists()


def test_the_network_gets_the_chosen_appearance(training: Path, phantoms: Path) -> None:
    """The average of the training eyes unless another is chosen, on its own or behind another bundle."""

    class Recorder(torch.nn.Module):
        def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            given.append(x[:, 5:].mean(dim=(0, 2, 3)))
            return x[:, :3]

    given: list[torch.Tensor] = []
    chain = load("ddpm_vessel", training / "model.pt")
    chain.bundles[0].network.unet = Recorder()
    chain.draw(VesselMaps(phantoms, chain.size, find_disc=chain.bundles[0].part("find_disc"))[0])
    torch.testing.assert_close(given[-1], torch.tensor(chain.appearances.average().mean))
    vessel = np.asarray(Image.open(sorted((phantoms / "vessels").glob("*"))[0]))
    photograph = sorted((phantoms / "images").glob("*"))[0]
    chain(vessel, appearance=str(photograph))
    torch.testing.assert_close(given[-1], torch.tensor(photograph_appearance(photograph).mean))


def test_overlays_are_thin() -> None:
    assert len((CONFIGS / "controlnet.json").read_text().splitlines()) < 30


@pytest.fixture(scope="module")
def drawn(training: Path, run_config: RunConfig, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "set"
    weights = {"checkpoint": str(training / "model.pt"), "input_dir": str(phantoms)}
    run_config(INFERENCE, output_dir=str(folder), steps=2, texture=False, **weights)
    return folder


def inference(run_config: RunConfig, training: Path, phantoms: Path, folder: Path, **options: Any) -> Path:
    weights = {"checkpoint": str(training / "model.pt"), "input_dir": str(phantoms), "steps": 2, "texture": False}
    run_config(INFERENCE, output_dir=str(folder), **(weights | options))
    return folder


@pytest.mark.parametrize(
    "options", [{"steps": 3}, {"sampler": "ddpm"}, {"guidance": 2.0}, {"seed": 1}], ids=lambda told: str(*told)
)
def test_options_change_what_is_drawn(
    options: dict[str, Any], drawn: Path, run_config: RunConfig, training: Path, phantoms: Path, tmp_path: Path
) -> None:
    other = pictures(inference(run_config, training, phantoms, tmp_path / "set", **options))
    expected = pictures(drawn)
    assert other.keys() == expected.keys()
    assert not any(np.array_equal(other[name], expected[name]) for name in expected)
    settings = json.loads((tmp_path / "set" / "settings.json").read_text())
    assert settings | options == settings


def test_samples_are_the_same_in_any_batch(
    drawn: Path, run_config: RunConfig, training: Path, phantoms: Path, tmp_path: Path
) -> None:
    found = pictures(inference(run_config, training, phantoms, tmp_path / "set", batch_size=3))
    for name, picture in pictures(drawn).items():
        assert np.abs(found[name].astype(int) - picture).max() <= 1


def test_each_sample_has_noise_of_its_own(training: Path, phantoms: Path) -> None:
    """One map, drawn with two indices: photographs of different grounds."""
    chain = load("ddpm_vessel", training / "model.pt")
    vessel = np.asarray(Image.open(sorted((phantoms / "vessels").glob("*"))[0]))
    first, other = (chain(vessel, index=index) for index in (0, 1))
    assert not np.array_equal(first, other)
    assert np.array_equal(first, chain(vessel, index=0))


def test_synthesize_draws_what_inference_draws(
    training: Path, run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    weights = {"checkpoint": str(training / "model.pt"), "input_dir": str(phantoms)}
    size = json.loads(INFERENCE.read_text())["size"]
    run_config(INFERENCE, output_dir=str(tmp_path / "inference"), size=size, **weights)
    synthesize("ddpm_vessel", output_dir=tmp_path / "synthesize", **weights)
    expected, found = pictures(tmp_path / "inference"), pictures(tmp_path / "synthesize")
    assert found.keys() == expected.keys() and found
    for name, picture in expected.items():
        assert np.abs(found[name].astype(int) - picture).max() <= 1


def test_a_report_paints_a_sample_anew_from_its_own_noise(training: Path, phantoms: Path, tmp_path: Path) -> None:
    weights = {"checkpoint": str(training / "model.pt"), "texture": False}
    folder = synthesize("ddpm_vessel", input_dir=phantoms, output_dir=tmp_path / "set", **weights)
    real = [
        item | {"dataset": "X", "patient": f"X/{place}", "split": "training"}
        for place, item in enumerate(find_datalist(phantoms)["training"])
    ]
    lines = (folder / "manifest.jsonl").read_text().replace('"phantom/', '"X/')
    (folder / "manifest.jsonl").write_text(lines)
    datalist = (folder / "datalist.json").read_text().replace('"phantom/', '"X/')
    (folder / "datalist.json").write_text(datalist)
    chain = load("ddpm_vessel", training / "model.pt")
    eyes = EyeSet(folder, list_synthetic(folder, real), chain.size)
    painter = Painter(chain)
    away = [np.abs(painter(eye.masks["vessel"], eye.fov, eye).astype(int) - eye.image) for eye in eyes]
    assert len({eye.condition.latent for eye in eyes}) == len(eyes)
    assert max(np.median(change) for change in away) <= 3, "the map lost its fractions, the colours were rounded"
    wrong = [dataclasses.replace(eye, condition=None) for eye in eyes]
    other = [np.abs(painter(eye.masks["vessel"], eye.fov, eye).astype(int) - eye.image) for eye in wrong]
    assert min(np.mean(change) for change in other) > 2 * max(np.mean(change) for change in away)


def test_a_report_paints_with_the_steps_of_the_set(phantoms: Path, tmp_path: Path) -> None:
    drawn = {"steps": 3, "guidance": 1.5}
    released = load("ddpm_vessel")
    painter = find_painter({"bundle": "ddpm_vessel", "weights": released.weights, **drawn})
    assert painter is not None
    found = painter.chain.bundles[-1].network
    assert found.drawn_by == {"sampler": "euler", **drawn}
    assert len(found.sampler.plan.times) == 3 != len(released.bundles[0].network.sampler.plan.times)


def test_a_report_of_the_test_eyes(training: Path, run_config: RunConfig, phantoms: Path, tmp_path: Path) -> None:
    settings = {"checkpoint": str(training / "model.pt"), "dataset_dir": str(phantoms), "steps": 3, "guidance": 1.5}
    run_config([TRAIN, CONFIGS / "evaluate.json"], output_dir=str(tmp_path / "report"), **settings)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["about"]["drawn_by"] == {"sampler": "ddim", "steps": 3, "guidance": 1.5}
    assert {line["metric"] for line in report["table"]} > {"psnr", "ssim_fov"}
    assert (tmp_path / "report" / "grid_phantom.png").is_file()


def test_sampler_of_another_process_is_refused(
    training: Path, run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        inference(run_config, training, phantoms, tmp_path / "set", sampler="euler")
    assert "sampler of process velocity must be one of ddim, ddpm, pndm, got 'euler'" in str(root_error(caught.value))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "unet",
    [
        {"_target_": "os.system", "command": "touch FILE"},
        {"_target_": "monai.networks.utils.torch.os.system", "command": "touch FILE"},
        {"_target_": "retina_monai.networks.conditioned_unet.torch.os.system", "command": "touch FILE"},
        {"_target_": "retina_monai.networks.initialize_weights"},
        {"features": "$__import__('os').system('touch FILE')"},
        {"_mode_": "debug"},
    ],
)
def test_a_network_of_foreign_parts_is_refused_and_nothing_is_run(
    unet: dict[str, str], training: Path, tmp_path: Path
) -> None:
    file = tmp_path / "made"
    told = json.loads((training / "network.json").read_text())
    told["unet"] |= {key: value.replace("FILE", str(file)) for key, value in unet.items()}
    (tmp_path / "network.json").write_text(json.dumps(told))
    (tmp_path / "model.pt").write_bytes((training / "model.pt").read_bytes())
    with pytest.raises(RetinaError, match=r"network\.json is refused"):
        load("ddpm_vessel", tmp_path / "model.pt")
    assert not file.exists()


def test_weights_of_another_process_are_refused(training: Path, run_config: RunConfig, tmp_path: Path) -> None:
    """All processes have tensors of the same shapes, so that nothing else would tell."""
    settings = FAST | {"output_dir": str(tmp_path / "run"), "initial_weights": str(training / "model.pt")}
    for config, overrides in (
        ([TRAIN], {"process": "flow"}),
        ([TRAIN], {"appearance_std": [0.1, 0.1, 0.1]}),
        ([TRAIN, CONFIGS / "controlnet.json"], {"process": "epsilon"}),
    ):
        with pytest.raises(RuntimeError) as caught:
            run_config(config, **settings | overrides)
        assert " was saved with " in str(root_error(caught.value))
        assert "is configured: give the same --" in str(root_error(caught.value))
    bundle = shutil.copytree(CONFIGS, tmp_path / "bundle" / "configs").parent
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    network = json.loads((training / "network.json").read_text()) | {"process": "epsilon"}
    for part in (network, network["unet"]):
        part["_target_"] = f"retina_monai.networks.{part['_target_']}"
    config["network_def"] = network
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    with pytest.raises(RetinaError, match="was saved with process velocity, but epsilon is configured"):
        release(training, bundle, trust=True)


@pytest.mark.parametrize(
    "other", [{"process": "velocity"}, {"mean": [0.0, 0.0, 0.0]}, {"std": [0.1, 0.1, 0.1]}], ids=str
)
def test_released_weights_have_no_network_json_and_are_refused_too(other: dict[str, Any]) -> None:
    network = DiffusionGenerator(ConditionedUNet(5, unshuffle=4), **({"process": "clean"} | other))
    with pytest.raises(RetinaError, match=rf"model\.pt was saved with {next(iter(other))} "):
        start_network(network, CONFIGS.parent / "models" / "model.pt")


def test_what_is_drawn_starts_from_the_noise_of_its_latent(training: Path, phantoms: Path) -> None:
    class Recorder(torch.nn.Module):
        def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            asked.append(x)
            return x[:, :3]

    asked: list[torch.Tensor] = []
    chain = load("ddpm_vessel", training / "model.pt")
    network = chain.bundles[0].network
    network.unet = Recorder()
    item = VesselMaps(phantoms, chain.size, seed=5, find_disc=chain.bundles[0].part("find_disc"))[2]
    assert item["latent"] == draw_latent(5, 2)
    chain.draw(item, item["latent"])
    batch = {
        "image": torch.zeros(1, 3, chain.size, chain.size),
        "vessel": torch.from_numpy(item["vessel_share"])[None] / 127.5 - 1,
        "fov": torch.ones(1, 1, chain.size, chain.size),
        "latent": torch.tensor([item["latent"]]),
    }
    *_, told = DiffusionBatch(network, condition_dropout=0)(batch, torch.device("cpu"))
    assert torch.equal(asked[0][:, :3], told["noise"])
    torch.testing.assert_close(asked[0][:, 3:4], told["condition"])
    torch.testing.assert_close(asked[0][:, 4:5], torch.from_numpy(item["disc"])[None] * 2.0 - 1)


def test_sets_tell_how_they_were_drawn(training: Path, phantoms: Path, tmp_path: Path) -> None:
    folder = synthesize(
        "ddpm_vessel", input_dir=phantoms, output_dir=tmp_path / "set", checkpoint=training / "model.pt"
    )
    settings = json.loads((folder / "settings.json").read_text())
    assert {key: settings[key] for key in ("sampler", "steps", "guidance")} == {
        "sampler": "ddim",
        "steps": FAST["steps"],  # as it was trained and validated
        "guidance": 1.0,
    }
