"""A disk that fills up costs a sentence: what was whole stays whole, nothing half is left, and what was begun goes on.

The disk is a small tmpfs, which root mounts; for other users the tests run once more where they are root, in a user
namespace of their own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fire
import pytest
import torch
from monai.bundle import ConfigParser

from retina_monai.__main__ import VERBS
from retina_monai.data import find_datalist
from retina_monai.errors import RetinaError, root_error

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[1] / "bundles" / "pix2pix_vessel" / "configs"
MEGABYTES = 8
NO_SPACE = r"cannot be written \(No space left on device\): free some space, or choose another place"

RunConfig = Callable[..., ConfigParser]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk: run as root, or see the last test of the file")


@dataclass(frozen=True)
class Disk:
    """A small disk, and what takes its space."""

    folder: Path

    def fill(self, left: int) -> None:
        """Leave so many bytes."""
        status = os.statvfs(self.folder)
        with (self.folder / "ballast").open("wb") as file:
            file.write(bytes(max(0, status.f_bavail * status.f_frsize - left)))

    def free(self) -> None:
        (self.folder / "ballast").unlink()

    def hashes(self) -> dict[str, str]:
        """Of each file but the ballast."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name != "ballast"]
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs to mount a small disk, and cannot: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mistake(run: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:
        run()
    return str(root_error(caught.value))


@root_only
@pytest.mark.parametrize(
    ("left", "name"),
    [
        (0, "appearances.json"),
        (16_000, "config.json"),
        (40_000, r"pictures/epoch_0002.png"),
        (100_000, "model.pt"),
        (350_000, "epoch_0002.pt"),
    ],
)
def test_a_training_keeps_its_checkpoint_and_goes_on_when_there_is_space(
    disk: Disk, run_config: RunConfig, left: int, name: str
) -> None:
    """Of three eyes the picture is larger than ``config.json``; every epoch counts as the best."""
    validation = {"dataset#data": "$@datalist['training'][:3]", "evaluator#metric_cmp_fn": "$lambda now, best: True"}
    training = {f"validate#{key}": value for key, value in validation.items()} | {
        "output_dir": str(disk.folder / "run")
    }
    run_config(CONFIGS / "train.json", **training)
    before = disk.hashes()
    disk.fill(left)
    resume = training | {"resume": "true", "max_epochs": 2}
    sentence = mistake(lambda: run_config(CONFIGS / "train.json", **resume))
    assert re.search(f"/run/.*{name} {NO_SPACE}", sentence), sentence
    after = disk.hashes()
    assert after["run/checkpoints/epoch_0001.pt"] == before["run/checkpoints/epoch_0001.pt"]
    assert after.keys() - before.keys() <= {"run/pictures/epoch_0002.png"}, "nothing half, no lock"
    checkpoint = torch.load(disk.folder / "run" / "checkpoints" / "epoch_0001.pt", weights_only=True)
    assert checkpoint["epoch"] == 1
    assert torch.load(disk.folder / "run" / "model.pt", weights_only=True)
    disk.free()
    run_config(CONFIGS / "train.json", **resume)
    assert torch.load(disk.folder / "run" / "checkpoints" / "epoch_0002.pt", weights_only=True)["epoch"] == 2


@root_only
@pytest.mark.parametrize("left", [0, 12_000, 50_000])
@pytest.mark.parametrize("entry", ["inference", "synthesize"])
def test_a_set_keeps_its_samples_and_is_completed_when_there_is_space(
    disk: Disk, run_config: RunConfig, phantoms: Path, trained: Path, left: int, entry: str
) -> None:
    def generate(folder: Path) -> None:
        paths = {"input_dir": str(phantoms), "output_dir": str(folder), "checkpoint": str(trained / "model.pt")}
        if entry == "inference":
            run_config(CONFIGS / "inference.json", **paths)
        else:
            fire.Fire(VERBS, command=[entry, *(f"--{key}={value}" for key, value in paths.items())])

    disk.fill(left)
    sentence = mistake(lambda: generate(disk.folder / "set"))
    assert re.search(rf"/set/\S+ {NO_SPACE}", sentence), sentence
    names = [Path(name).name for name in disk.hashes()]
    assert [name for name in names if name.startswith(".")] == []
    disk.free()
    whole = disk.hashes()
    generate(disk.folder / "set")
    assert {name: disk.hashes()[name] for name in whole if name.endswith(".png")} == {
        name: digest for name, digest in whole.items() if name.endswith(".png")
    }
    items = [item for split in find_datalist(disk.folder / "set").values() for item in split]
    assert len(items) == 8


@root_only
def test_prepare_writes_a_whole_list_or_none(disk: Disk, phantoms: Path, tmp_path: Path) -> None:
    output = disk.folder / "datalist.json"
    command = ["prepare", str(phantoms), f"--output={output}"]
    disk.fill(0)
    with pytest.raises(RetinaError, match=f"datalist.json {NO_SPACE}"):
        fire.Fire(VERBS, command=command)
    assert disk.hashes() == {}
    disk.free()
    fire.Fire(VERBS, command=command)
    before = disk.hashes()
    disk.fill(0)
    with pytest.raises(RetinaError, match=f"datalist.json {NO_SPACE}"):
        fire.Fire(VERBS, command=[*command, "--overwrite=true"])
    assert disk.hashes() == before


@root_only
def test_an_evaluation_names_the_file(disk: Disk, run_config: RunConfig, trained: Path) -> None:
    disk.fill(8_000)
    overlay = [CONFIGS / "train.json", CONFIGS / "evaluate.json"]
    paths = {"output_dir": str(disk.folder / "report"), "checkpoint": str(trained / "model.pt")}
    assert re.search(rf"/report/\S+ {NO_SPACE}", mistake(lambda: run_config(overlay, **paths)))
    assert [name for name in disk.hashes() if Path(name).name.startswith(".")] == []


@root_only
def test_the_store_of_mlflow(disk: Disk, run_config: RunConfig) -> None:
    """Its database is an SQLite file: a training that cannot be tracked ends, and is trained when there is space."""
    disk.fill(60_000)
    training = {"output_dir": str(disk.folder / "run"), "mlflow": True}
    sentence = mistake(lambda: run_config(CONFIGS / "train.json", **training))
    assert f"MLflow cannot write to sqlite:///{disk.folder}/run/mlruns.db (no space left on its disk): fix" in sentence
    disk.free()
    run_config(CONFIGS / "train.json", **training)
    assert (disk.folder / "run" / "checkpoints" / "epoch_0001.pt").is_file()


@root_only
def test_a_full_cache_is_gone_without(
    disk: Disk, run_config: RunConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "cached"))
    disk.fill(150_000)
    with caplog.at_level(logging.WARNING, "retina_monai"):
        run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "run"), cache_dir=str(disk.folder / "cache"))
    assert len([record for record in caplog.records if "cache" in record.getMessage()]) == 1
    for path in (disk.folder / "cache").iterdir():
        assert path.suffix == ".pt" and torch.load(path, weights_only=True), "nothing half"
    expected, found = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("cached", "run"))
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


@root_only
def test_phantoms_are_all_there_or_none(disk: Disk) -> None:
    disk.fill(100_000)
    sentence = mistake(lambda: fire.Fire(VERBS, command=["phantom", str(disk.folder / "phantoms"), "--size=128"]))
    assert re.search(NO_SPACE, sentence), sentence
    assert disk.hashes() == {}


def test_a_training_whose_log_cannot_be_written_is_a_training(
    small_for: Callable[..., dict[str, Any]], phantoms: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The screen is a file on a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    values = small_for(CONFIGS / "train.json") | {"config_file": CONFIGS / "train.json", "output_dir": tmp_path / "run"}
    arguments = [text for key, value in values.items() for text in (f"--{key}", str(value))]
    with open("/dev/full", "wb") as full:
        subprocess.run(
            [sys.executable, "-m", "monai.bundle", "run", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=full,
            timeout=300,
            check=False,
        )
    assert torch.load(tmp_path / "run" / "checkpoints" / "epoch_0001.pt", weights_only=True)["epoch"] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root runs the tests themselves")
def test_as_root_of_a_namespace(environment: dict[str, str]) -> None:
    """The tests of this file, where this user may mount."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("needs root, or user namespaces (unshare --user), to mount a small disk")
    command = [*namespace, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert result.returncode == 0, result.stdout
