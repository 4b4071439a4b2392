"""What options of ``train.json`` and ``inference.json`` do, and what they do not.

That an option arrives is looked up in ``test_training_options.py``; here is what needs a training, or an inference.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.errors import root_error

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "pix2pix_vessel" / "configs"
RATE = 2e-4

Train = Callable[..., Path]
State = dict[str, Any]


@pytest.fixture
def train(run_config: Callable[..., ConfigParser], tmp_path: Path) -> Train:
    """Train with overrides, into a folder of its own."""

    def run(name: str = "run", **overrides: Any) -> Path:
        run_config(CONFIGS / "train.json", output_dir=str(tmp_path / name), **overrides)
        return tmp_path / name

    return run


@pytest.fixture
def infer(run_config: Callable[..., ConfigParser], trained: Path, phantoms: Path, tmp_path: Path) -> Train:
    """Generate with overrides, into a folder of its own."""

    def run(name: str = "set", **overrides: Any) -> Path:
        paths = {"checkpoint": str(trained / "model.pt"), "input_dir": str(phantoms)}
        run_config(CONFIGS / "inference.json", output_dir=str(tmp_path / name), **(paths | overrides))
        return tmp_path / name

    return run


def checkpoint(folder: Path, epoch: int = 1) -> State:
    return torch.load(folder / "checkpoints" / f"epoch_{epoch:04d}.pt", weights_only=True)


def released(folder: Path) -> State:
    return torch.load(folder / "model.pt", weights_only=True)


def equal(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: read_photograph(path) for path in sorted((folder / "images").iterdir())}


def momentum(state: State) -> float:
    """Norm of the generator's mean gradient, as Adam keeps it."""
    moments = [entry["exp_avg"].norm() for entry in state["optimizers.generator"]["state"].values()]
    return float(torch.stack(moments).norm())


def test_the_same_command_trains_the_same_weights(trained: Path, train: Train) -> None:
    again = checkpoint(train())
    assert equal(checkpoint(trained)["networks.generator"], again["networks.generator"])
    assert equal(checkpoint(trained)["networks.discriminator"], again["networks.discriminator"])


def test_bf16_keeps_the_weights_in_float32(train: Train) -> None:
    state = checkpoint(train(precision="bf16"))
    assert {tensor.dtype for tensor in state["networks.generator"].values()} == {torch.float32}
    assert {entry["exp_avg"].dtype for entry in state["optimizers.generator"]["state"].values()} == {torch.float32}


def test_the_average_is_released(train: Train) -> None:
    folder = train(ema="true")
    average = {key.removeprefix("module."): value for key, value in checkpoint(folder)["averaged"].items()}
    assert average.pop("n_averaged") == 1
    assert equal(released(folder), average)
    assert not equal(released(folder), checkpoint(folder)["networks.generator"])


def test_without_average_the_trained_weights_are_released(train: Train) -> None:
    folder = train(ema="false")
    assert checkpoint(folder)["averaged"] == {}
    assert equal(released(folder), checkpoint(folder)["networks.generator"])


def test_a_longer_average_stays_nearer_to_the_beginning(train: Train) -> None:
    short, long = (train(f"decay_{decay}", ema_decay=decay, max_epochs=2, val_interval=2) for decay in (0.01, 0.9))
    assert equal(checkpoint(short, 2)["networks.generator"], checkpoint(long, 2)["networks.generator"])
    assert not equal(released(short), released(long))


def test_gradients_are_clipped(trained: Path, train: Train) -> None:
    limit = 1e-3
    assert momentum(checkpoint(train(max_gradient_norm=limit))) <= limit < momentum(checkpoint(trained))


def test_the_last_of_four_epochs(train: Train) -> None:
    """Its learning rate, and which checkpoints and pictures are left."""
    folder = train(linear_decay="true", max_epochs=4, val_interval=2, checkpoint_interval=3, keep_checkpoints=2)
    state = checkpoint(folder, 4)
    for player, times in (("segmenter", 1), ("generator", 1), ("discriminator", 2)):
        (group,) = state[f"optimizers.{player}"]["param_groups"]
        assert math.isclose(group["lr"], times * RATE / 2)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["epoch_0003.pt", "epoch_0004.pt"]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["epoch_0002.png", "epoch_0004.png"]


def test_without_the_adversarial_term_the_discriminator_is_neither_asked_nor_trained(train: Train) -> None:
    state = checkpoint(train(adversarial_weight=0))
    assert state["optimizers.discriminator"]["state"] == {}
    start = checkpoint(train("still", learning_rate=0.0, discriminator_learning_rate=0.0))
    assert equal(state["networks.discriminator"], start["networks.discriminator"])


def test_terms_of_the_loss_follow_their_weights(run_config: Callable[..., ConfigParser], tmp_path: Path) -> None:
    def losses(name: str, **overrides: Any) -> dict[str, float]:
        settings = {
            "learning_rate": 0.0,
            "discriminator_learning_rate": 0.0,
            "output_dir": str(tmp_path / name),
        } | overrides
        return run_config(CONFIGS / "train.json", **settings).get_parsed_content("train#trainer").state.metrics

    plain = losses("plain")
    weights = {"l1_weight": 20.0, "block_weight": 80.0, "adversarial_weight": 2.0, "spectrum_weight": 2.0}
    double = losses("double", **weights, feature_matching_weight=20.0, faithfulness_weight=80.0)
    none = losses("none", block_weight=0, adversarial_weight=0, spectrum_weight=0, faithfulness_weight=0)
    for term in ("g_l1", "g_block", "g_adversarial", "g_spectrum", "g_features", "g_faithfulness"):
        assert double[term] == pytest.approx(2 * plain[term], rel=1e-4)
    assert none.keys() == {"g_l1", "loss"}
    assert none["loss"] == pytest.approx(plain["g_l1"], rel=1e-4)


def test_without_mlflow_there_is_no_store(trained: Path) -> None:
    assert not (trained / "mlruns.db").exists()


def test_a_server_that_does_not_answer_can_be_gone_without(train: Train, unused_tcp_address: str) -> None:
    folder = train(mlflow=True, tracking_required="false", tracking_uri=unused_tcp_address)
    assert (folder / "model.pt").is_file()
    assert not (folder / "mlruns.db").exists()


@pytest.fixture
def unused_tcp_address() -> str:
    return "http://127.0.0.1:9"  # the discard service, which no machine of today runs


def test_an_exploding_training_ends_before_anything_broken_is_written(train: Train, tmp_path: Path) -> None:
    good = checkpoint(train(ema="false"))
    with pytest.raises(Exception) as caught:
        train("broken", ema="false", learning_rate=1e30, max_epochs=3)
    assert "the loss became NaN or infinite by iteration 5 (epoch 1): lower --learning_rate" in str(
        root_error(caught.value)
    )
    assert list((tmp_path / "broken").rglob("*.pt")) == []
    assert all(tensor.isfinite().all() for tensor in good["networks.generator"].values())


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_the_average_appearance_is_that_of_the_training_eyes(infer: Train, trained: Path) -> None:
    eyes = json.loads((trained / "appearances.json").read_text())["eyes"]
    assert len(eyes) == 5
    folder, camera = infer("average"), infer("camera", appearance="phantom")
    for line in manifest(folder):
        for key in ("mean", "std"):
            assert line["appearance"][key] == pytest.approx(np.mean([eye[key] for eye in eyes], axis=0))
    assert all(np.array_equal(picture, pictures(camera)[name]) for name, picture in pictures(folder).items())


def test_random_appearances_are_those_of_training_eyes_drawn_by_the_seed(infer: Train, trained: Path) -> None:
    eyes = json.loads((trained / "appearances.json").read_text())["eyes"]
    known = [{"mean": eye["mean"], "std": eye["std"]} for eye in eyes]
    first, second = (
        [line["appearance"] for line in manifest(infer(f"{seed}", appearance="random", seed=seed))] for seed in (0, 1)
    )
    assert all(appearance in known for appearance in first)
    assert first != second and any(appearance != first[0] for appearance in first)


def test_the_appearance_of_a_photograph(infer: Train, phantoms: Path) -> None:
    photographs = sorted((phantoms / "images").iterdir())[:2]
    first, second = (infer(path.stem, appearance=str(path)) for path in photographs)
    mean = read_photograph(photographs[0])[:, read_mask(phantoms / "fovs" / photographs[0].name)[0] == 1].mean(axis=1)
    assert manifest(first)[0]["appearance"]["mean"] == pytest.approx(mean / 127.5 - 1, abs=0.02)
    assert manifest(first)[0]["appearance"] != manifest(second)[0]["appearance"]
    assert not np.array_equal(pictures(first)["phantom_00000.png"], pictures(second)["phantom_00000.png"])


def test_pictures_do_not_depend_on_the_batch(infer: Train) -> None:
    """Up to a grey level: convolutions of a batch add up in another order, and a rounding may tip over."""
    one, three = (
        pictures(infer("one", appearance="random")),
        pictures(infer("three", appearance="random", batch_size=3)),
    )
    assert one.keys() == three.keys()
    for name, picture in one.items():
        distance = np.abs(picture.astype(int) - three[name])
        assert distance.max() <= 1 and (distance > 0).mean() < 1e-3


def test_an_interrupted_set_is_completed_and_equal(infer: Train, tmp_path: Path) -> None:
    whole = infer("whole", appearance="random")
    partial = infer("partial", appearance="random")
    lines = (partial / "manifest.jsonl").read_text().splitlines()
    (partial / "manifest.jsonl").write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])
    (partial / "datalist.json").unlink()
    untouched = partial / json.loads(lines[0])["image"]
    missing = partial / json.loads(lines[5])["image"]
    missing.unlink()
    before = untouched.stat().st_mtime_ns

    infer("partial", appearance="random")

    assert untouched.stat().st_mtime_ns == before
    assert all(np.array_equal(picture, pictures(whole)[name]) for name, picture in pictures(partial).items())
    assert (partial / "datalist.json").read_bytes() == (whole / "datalist.json").read_bytes()
    with Image.open(missing) as picture:
        assert picture.info["SyntheticData"] == "YES"


def test_a_complete_set_is_left_as_it_is(infer: Train) -> None:
    folder = infer()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert len(before) == 5 * 8
    infer()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")} == before


def test_a_set_that_lacks_only_its_list_is_completed(infer: Train) -> None:
    folder = infer()
    expected = (folder / "datalist.json").read_bytes()
    (folder / "datalist.json").unlink()
    infer()
    assert (folder / "datalist.json").read_bytes() == expected
