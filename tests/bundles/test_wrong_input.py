"""A mistake costs a user one sentence: it names the file or the key, nothing follows it, and nothing was written."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from retina_monai.data.writing import write_png
from retina_monai.errors import root_error

CONFIGS = Path(__file__).resolve().parents[2] / "bundles" / "pix2pix_vessel" / "configs"
AT_A_TIME = 2

Overrides = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What a case is made from: a folder of its own, sound data and sound weights to copy."""

    folder: Path
    phantoms: Path
    trained: Path

    def eyes(self) -> Path:
        """A copy of the phantoms as pictures in two folders, without their list."""
        for name in ("images", "vessels"):
            shutil.copytree(self.phantoms / name, self.folder / "eyes" / name)
        return self.folder / "eyes"

    def vessel_map(self, content: bytes) -> Path:
        """A folder with one file that claims to be a vessel map."""
        (self.folder / "maps").mkdir()
        (self.folder / "maps" / "eye.png").write_bytes(content)
        return self.folder / "maps"

    def checkpoint(self, content: bytes) -> Path:
        """Sound company for a file that claims to be weights."""
        shutil.copytree(self.trained, self.folder / "weights")
        (self.folder / "weights" / "model.pt").write_bytes(content)
        return self.folder / "weights" / "model.pt"


def no_such_directory(material: Material) -> Overrides:
    return {"dataset_dir": material.folder / "nowhere"}


def directory_that_no_adapter_recognises(material: Material) -> Overrides:
    (material.folder / "letters").mkdir()
    (material.folder / "letters" / "letter.txt").write_text("Dear reader")
    return {"dataset_dir": material.folder / "letters"}


def photograph_without_its_vessel_map(material: Material) -> Overrides:
    (material.eyes() / "vessels" / "phantom_00003.png").unlink()
    return {"dataset_dir": material.folder / "eyes"}


def vessel_map_without_its_photograph(material: Material) -> Overrides:
    (material.eyes() / "images" / "phantom_00003.png").unlink()
    return {"dataset_dir": material.folder / "eyes"}


def sizes_that_differ(material: Material) -> Overrides:
    write_png(material.eyes() / "vessels" / "phantom_00003.png", np.zeros((1, 100, 90), np.uint8))
    return {"dataset_dir": material.folder / "eyes"}


def truncated_photograph(material: Material) -> Overrides:
    path = material.eyes() / "images" / "phantom_00003.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"dataset_dir": material.folder / "eyes"}


def empty_vessel_map(material: Material) -> Overrides:
    return {"input_dir": material.vessel_map(b"")}


def file_that_is_not_a_picture(material: Material) -> Overrides:
    return {"input_dir": material.vessel_map(b"Dear reader, this is no picture at all.")}


def size_that_the_network_cannot_take(material: Material) -> Overrides:
    return {"size": 100}


def size_that_the_weights_cannot_take(material: Material) -> Overrides:
    return {"size": 72, "input_dir": material.phantoms}


def weights_of_another_network(material: Material) -> Overrides:
    path = material.folder / "other.pt"
    torch.save(torch.nn.Conv2d(1, 3, 4).state_dict(), path)
    return {"checkpoint": path, "size": 256}


def truncated_weights(material: Material) -> Overrides:
    content = (material.trained / "model.pt").read_bytes()
    return {"checkpoint": material.checkpoint(content[: len(content) // 2])}


class Malice:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def malicious_weights(material: Material) -> Overrides:
    content = pickle.dumps({"encoder.0.weight": Malice(material.folder / "malice_was_executed")})
    return {"checkpoint": material.checkpoint(content)}


def output_directory_that_cannot_be_written(material: Material) -> Overrides:
    (material.folder / "file").write_text("not a folder")
    return {"output_dir": material.folder / "file" / "run"}


def output_directory_of_another_training(material: Material) -> Overrides:
    shutil.copytree(material.trained, material.folder / "trained")
    return {"output_dir": material.folder / "trained", "mlflow": "true"}


def nothing_to_resume(material: Material) -> Overrides:
    return {"resume": "true", "mlflow": "true"}


def unknown_appearance(material: Material) -> Overrides:
    return {"appearance": "sepia"}


def address_of_nothing(material: Material) -> Overrides:
    return {"mlflow": "true", "tracking_uri": "somewhere"}


def switch_that_is_neither(material: Material) -> Overrides:
    return {"linear_decay": "perhaps"}


def server_that_does_not_answer(material: Material) -> Overrides:
    return {"mlflow": "true", "tracking_uri": "http://127.0.0.1:9"}


Case = tuple[Callable[[Material], Overrides], str, str]
CASES: list[Case] = [
    (no_such_directory, "train", r"/nowhere does not exist: give a directory"),
    (directory_that_no_adapter_recognises, "train", r"/letters is laid out as none of the data sets"),
    (photograph_without_its_vessel_map, "train", r"images/phantom_00003.png is a photograph without its vessel map"),
    (vessel_map_without_its_photograph, "train", r"vessels/phantom_00003.png is a vessel map without its photograph"),
    (sizes_that_differ, "train", r"vessels/phantom_00003.png is 90 x 100 pixels, .*images/phantom_00003.png is 128 x"),
    (truncated_photograph, "train", r"images/phantom_00003.png is damaged, truncated or not a picture"),
    (empty_vessel_map, "inference", r"maps/eye.png is empty \(0 bytes\)"),
    (file_that_is_not_a_picture, "inference", r"maps/eye.png is damaged, truncated or not a picture"),
    (size_that_the_network_cannot_take, "train", r"size 100 .* give a --size that is a multiple of 16"),
    (weights_of_another_network, "inference", r"/other.pt holds the weights of another network than Pix2PixUNet"),
    (truncated_weights, "inference", r"weights/model.pt is truncated or not a checkpoint"),
    (malicious_weights, "inference", r"weights/model.pt is refused: it holds more than tensors and may run code"),
    (output_directory_that_cannot_be_written, "train", r"/file/run\S* cannot be made \(Not a directory\)"),
    (output_directory_of_another_training, "train", r"/trained already holds a training: give another --output_dir"),
    (switch_that_is_neither, "train", r"linear_decay is a switch and takes true, false, .* not 'perhaps'"),
    (server_that_does_not_answer, "train", r"MLflow server http://127.0.0.1:9 does not answer: .*--tracking_required"),
]


FURTHER_CASES: list[Case] = [
    (size_that_the_weights_cannot_take, "inference", r"size 72 .* give a --size that is a multiple of 16"),
    (unknown_appearance, "inference", r"appearance sepia is unknown: give average, random, a camera \(phantom\)"),
    (nothing_to_resume, "train", r"there is no checkpoint to resume in \S*/output: train without --resume"),
    (address_of_nothing, "train", r"tracking_uri somewhere is not an address of MLflow: give sqlite:///FILE"),
]
"""Without a command of their own, for the sake of time."""


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status, its lines on the screen, and the case's folder before and after."""

    status: int
    lines: list[str]
    before: dict[str, str]
    after: dict[str, str]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    monai_bundle: Callable[..., subprocess.CompletedProcess[str]],
    phantoms: Path,
    trained: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Outcome]:
    """Of the cases that were asked for, two commands at a time: each spends most of its seconds on imports."""

    def run(prepare: Callable[[Material], Overrides], config: str) -> Outcome:
        folder = tmp_path_factory.mktemp(prepare.__name__)
        overrides = complete(prepare(Material(folder, phantoms, trained)), config, folder, phantoms, trained)
        before = contents(folder)
        result = monai_bundle(CONFIGS / f"{config}.json", "run", cwd=folder, **overrides)
        return Outcome(result.returncode, result.stdout.splitlines(), before, contents(folder))

    asked = {getattr(item, "callspec", None) and item.callspec.params.get("case") for item in request.session.items}
    cases = {prepare.__name__: (prepare, config) for prepare, config, _ in CASES if prepare.__name__ in asked}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip(cases, pool.map(lambda case: run(*case), cases.values()), strict=True))


def complete(overrides: Overrides, config: str, folder: Path, phantoms: Path, trained: Path) -> Overrides:
    """With what is right about the command."""
    defaults: Overrides = {"output_dir": folder / "output"}
    if config == "inference":
        defaults |= {"checkpoint": trained / "model.pt", "input_dir": phantoms}
    return defaults | overrides


def contents(folder: Path) -> dict[str, str]:
    """Everything below a folder; of files the SHA-256."""

    def entries() -> Iterator[tuple[str, str]]:
        for path in sorted(folder.rglob("*")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
            yield str(path.relative_to(folder)), digest

    return dict(entries())


@pytest.mark.parametrize(
    ("case", "sentence"),
    [pytest.param(prepare.__name__, sentence, id=prepare.__name__) for prepare, _, sentence in CASES],
)
def test_one_sentence_and_nothing_else(case: str, sentence: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[case]
    screen = "\n".join(outcome.lines)
    assert outcome.status == 1, screen
    assert re.match(f"error: .*{sentence}", outcome.lines[-1]), screen
    assert "Traceback" not in screen
    assert outcome.after == outcome.before


@pytest.mark.parametrize(
    ("prepare", "config", "sentence"), [pytest.param(*case, id=case[0].__name__) for case in FURTHER_CASES]
)
def test_one_error_and_nothing_else(
    prepare: Callable[[Material], Overrides],
    config: str,
    sentence: str,
    run_config: Callable[..., ConfigParser],
    phantoms: Path,
    trained: Path,
    tmp_path: Path,
) -> None:
    overrides = complete(prepare(Material(tmp_path, phantoms, trained)), config, tmp_path, phantoms, trained)
    before = contents(tmp_path)
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    with pytest.raises(Exception) as caught:
        run_config(CONFIGS / f"{config}.json", **plain)
    assert re.search(sentence, str(root_error(caught.value)))
    assert contents(tmp_path) == before
