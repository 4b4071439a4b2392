"""One set, byte by byte, whatever the batch size, the threads, the number of processes and the interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from retina_monai.synthesis import synthesize

CHOSEN: dict[str, Any] = {"augment": 3, "seed": 5, "appearance": "random", "trust": True}
COUNT = 3 * 8
PATIENCE = 500


@pytest.fixture(scope="module")
def chain(small_bundles: Path) -> Path:
    return small_bundles / "two_stage"


@pytest.fixture(scope="module")
def whole(chain: Path, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Of one process that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "set"
    synthesize(chain, phantoms, folder, **CHOSEN)
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(folder: Path, name: str) -> int:
    path = folder / name
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def torchrun(
    chain: Path, phantoms: Path, folder: Path, screen: Any, environment: dict[str, str], **more: Any
) -> subprocess.Popen:
    options = {"input_dir": phantoms, "output_dir": folder} | CHOSEN | more
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [
        "-m",
        "retina_monai",
        "synthesize",
        str(chain),
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen)


def wait_for(answer: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not answer():
        assert time.monotonic() < end
        time.sleep(0.01)


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_the_set_is_whole(whole: dict[str, bytes]) -> None:
    assert len([name for name in whole if name.endswith(".png")]) == 4 * COUNT
    top = {"manifest.jsonl", "datalist.json", "settings.json", "README.txt"}
    assert {name for name in whole if "/" not in name} == top
    assert len({content for name, content in whole.items() if name.startswith("images/")}) == COUNT


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds torchrun's processes in /proc")
def test_killed_in_two_processes_and_completed_by_one_with_other_batches(
    whole: dict[str, bytes], chain: Path, phantoms: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    with (tmp_path / "screen").open("w+") as screen:
        run = torchrun(chain, phantoms, folder, screen, environment, batch_size=3)
        try:
            wait_for(lambda: run.poll() is not None or lines(folder, "manifest.1.jsonl") >= 3)
        finally:
            ranks = children(run.pid) if run.poll() is None else []
            for rank in ranks:
                os.kill(rank, signal.SIGKILL)
        run.wait(PATIENCE)
        screen.seek(0)
        assert len(ranks) == 2, screen.read()
    assert sum(lines(folder, name) for name in ("manifest.jsonl", "manifest.1.jsonl")) < COUNT
    assert not (folder / "datalist.json").exists()
    with (folder / "manifest.1.jsonl").open("a") as part:
        part.write('{"name": "phantom_00')
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*_a1.png")}
    synthesize(chain, phantoms, folder, batch_size=2, **CHOSEN)
    assert files(folder) == whole
    kept = [path for path, before in times.items() if path.stat().st_mtime_ns == before]
    assert kept, "what was finished is not made anew"


@pytest.mark.slow
def test_two_processes_make_the_same_set(
    whole: dict[str, bytes], chain: Path, phantoms: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "screen").open("w+") as screen:
        status = torchrun(chain, phantoms, tmp_path / "set", screen, environment).wait(PATIENCE)
        screen.seek(0)
        assert status == 0, screen.read()
    assert files(tmp_path / "set") == whole


@pytest.mark.slow
def test_two_processes_refuse_to_add_to_another_set(
    whole: dict[str, bytes], chain: Path, phantoms: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = synthesize(chain, phantoms, tmp_path / "set", **CHOSEN)
    with (tmp_path / "screen").open("w+") as screen:
        status = torchrun(chain, phantoms, folder, screen, environment, seed=6).wait(PATIENCE)
        screen.seek(0)
        said = screen.read()
    assert status != 0 and files(folder) == whole, said
    assert said.count(f"error: {folder} holds a set made with other settings: give another --output_dir\n") == 1, said


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 2), (5, 3)])
def test_batches_and_threads_change_nothing(
    whole: dict[str, bytes], chain: Path, phantoms: Path, tmp_path: Path, batch_size: int, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    synthesize(chain, phantoms, tmp_path / "set", batch_size=batch_size, **CHOSEN)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert files(tmp_path / "set") == whole
