"""Weights are loaded into the network that they are of, or refused by the name of their file."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retina_monai.bundle import load_network, start_network
from retina_monai.errors import RetinaError
from retina_monai.networks import Pix2PixUNet, RetinaEncoder, describe_network


def network() -> Pix2PixUNet:
    return Pix2PixUNet(levels=2, features=3)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """As a training writes them."""
    (tmp_path / "network.json").write_text(json.dumps(describe_network(network())))
    torch.save(network().state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def load(path: Path) -> nn.Module:
    return load_network(network(), path)


def start(path: Path) -> nn.Module:
    return start_network(network(), path)


both = pytest.mark.parametrize("read", [load, start])


class Malice:
    """Unpickled, it leaves a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@both
def test_what_was_saved_is_loaded(read: Any, weights: Path) -> None:
    found, expected = read(weights).state_dict(), torch.load(weights, weights_only=True)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())


@both
def test_weights_that_are_not_there_or_cut_short_are_named(read: Any, weights: Path) -> None:
    with pytest.raises(RetinaError, match=rf"^there is no checkpoint {weights.with_name('nothing.pt')}"):
        read(weights.with_name("nothing.pt"))
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(RetinaError, match=rf"^{weights} is truncated or not a checkpoint"):
        read(weights)


@both
def test_weights_that_run_code_are_refused_and_nothing_is_run(read: Any, weights: Path, tmp_path: Path) -> None:
    weights.write_bytes(pickle.dumps({"encoder.0.weight": Malice(tmp_path / "executed")}))
    with pytest.raises(RetinaError, match=rf"^{weights} is refused: it holds more than tensors"):
        read(weights)
    assert not (tmp_path / "executed").exists()


@both
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_broken_weights_are_refused_by_the_tensors_name(read: Any, value: float, weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    name = next(key for key, tensor in state.items() if tensor.is_floating_point())
    state[name][0] = value
    torch.save(state, weights)
    with pytest.raises(RetinaError, match=rf"^{weights} holds NaN or infinite weights: {name}$"):
        read(weights)


@both
def test_weights_of_another_network_are_refused(read: Any, tmp_path: Path) -> None:
    torch.save(nn.Conv2d(1, 3, 4).state_dict(), tmp_path / "other.pt")
    with pytest.raises(RetinaError, match=r"/other\.pt holds the weights of another network than Pix2PixUNet"):
        read(tmp_path / "other.pt")


def test_weights_of_a_training_of_another_class_are_refused(weights: Path) -> None:
    with pytest.raises(RetinaError, match=r"/model\.pt holds the weights of a Pix2PixUNet, not of RetinaEncoder$"):
        load_network(RetinaEncoder(4, 4, 64), weights)
    with pytest.raises(RetinaError, match=r"/model\.pt holds the weights of another network than RetinaEncoder"):
        start_network(RetinaEncoder(4, 4, 64), weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"_target_": "os.system", "command": "touch executed"}', "is refused: os.system is not a network of"),
        ('{"levels": 2}', "does not describe a network: it needs a JSON object with _target_"),
        ("[]", "does not describe a network"),
        ("{", "does not describe a network"),
    ],
)
def test_a_description_of_no_network_is_refused(
    text: str, message: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights.with_name("network.json").write_text(text)
    with pytest.raises(RetinaError, match=rf"/network\.json {message}"):
        load(weights)
    assert not (tmp_path / "executed").exists()
