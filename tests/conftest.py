from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

ROOT = Path(__file__).resolve().parents[1]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets: $RETINA_DATA, or shared/data beside the repository; skips where there is none."""
    folder = Path(os.environ.get("RETINA_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs real data, and {folder} is not there: set RETINA_DATA")
    return folder


@pytest.fixture(scope="session")
def real_set(real_data: Path) -> Callable[[str], Path]:
    """From a data set's name to its folder; skips where it is not there."""

    def folder(name: str) -> Path:
        if not (real_data / name).is_dir():
            pytest.skip(f"needs {name}, which is not in {real_data}")
        return real_data / name

    return folder


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides with which a bundle trains an epoch in a second, on phantoms that all tests share."""
    folder = tmp_path_factory.mktemp("shared")
    network = {
        "size": 64,
        "levels": 4,
        "features": 4,
        "discriminator_features": 8,
        "discriminator_levels": 2,
        "segmenter_features": [4, 4, 4, 4, 4, 4],
        "widths": [4, 4, 8],
        "repeats": 2,
        "patch": 16,
        "judge_size": 64,
        "blocks": 2,
        "perceptual_features": 4,
        "generated_share": 0.0,
    }
    data = {"phantom_dir": str(folder / "phantom"), "cache_dir": str(folder / "cache"), "phantom_count": 8}
    return network | data | {"max_epochs": 1, "val_interval": 1, "precision": "fp32", "mlflow": False}


@pytest.fixture(scope="session")
def phantoms(small: dict[str, Any]) -> Path:
    """The data set of phantoms on which ``small`` trains."""
    from retina_monai.data import write_phantoms

    count, size = small["phantom_count"], 2 * small["size"]
    return write_phantoms(Path(small["phantom_dir"]) / f"{count}x{size}-seed0", count, size, 0)


@pytest.fixture(scope="session")
def small_for(small: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """From config files to the overrides of ``small`` that they have; others are refused."""
    from monai.bundle import ConfigParser

    def choose(files: Any) -> dict[str, Any]:
        config = ConfigParser.load_config_files(files)
        return {key: value for key, value in small.items() if key in config}

    return choose


@pytest.fixture(scope="session")
def run_config(small_for: Callable[..., dict[str, Any]], phantoms: Path) -> Callable[..., ConfigParser]:
    """Run a bundle's config in this process as ``monai.bundle`` runs it; returns the parser with all that was made."""
    from monai.bundle import ConfigWorkflow

    def run(config: Path | list[Path], **overrides: Any) -> ConfigParser:
        files = [str(path) for path in config] if isinstance(config, list) else str(config)
        workflow = ConfigWorkflow(config_file=files, logging_file=False, **(small_for(files) | overrides))
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        return workflow.parser

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, run_config: Callable[..., ConfigParser]) -> Path:
    """The folder of a finished training of ``pix2pix_vessel`` with ``small``: ``model.pt`` and what goes with it."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    run_config(ROOT / "bundles" / "pix2pix_vessel" / "configs" / "train.json", output_dir=str(folder))
    return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For subprocesses: nothing that changes a run, the package as if it were installed, and one thread each."""
    unwanted = ("MLFLOW_TRACKING_URI", "RETINA_DEBUG")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def run_module(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Run ``python -m MODULE ARGUMENTS``, in a process forked from one that has imported the libraries.

    Output and errors come together, as on a screen. ``environment`` applies, with changes by keyword.
    """
    folder = tmp_path_factory.mktemp("commands")
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "fork_server.py")], env=environment, stdin=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    numbers = itertools.count()

    def run(*arguments: str, cwd: Path = ROOT, **changes: str) -> subprocess.CompletedProcess[str]:
        number = next(numbers)
        output, status = folder / f"{number}.txt", folder / f"{number}.status"
        request = {"arguments": arguments, "cwd": str(cwd), "env": environment | changes}
        server.stdin.write(json.dumps(request | {"output": str(output), "status": str(status)}) + "\n")
        server.stdin.flush()
        end = time.monotonic() + 300
        while not status.is_file():
            if time.monotonic() > end or server.poll() is not None:
                raise subprocess.TimeoutExpired(arguments, 300)
            time.sleep(0.02)
        return subprocess.CompletedProcess(arguments, int(status.read_text()), output.read_text())

    yield run
    server.kill()  # its commands have ended, and a child of this process may hold its input open
    server.wait()


@pytest.fixture(scope="session")
def monai_bundle(
    small_for: Callable[..., dict[str, Any]], phantoms: Path, environment: dict[str, str], run_module: Command
) -> Command:
    """Run ``python -m monai.bundle run`` as a user does; output and errors come together, as on a screen.

    Keywords are overrides on top of ``small``; ``None`` leaves one out. With a ``launcher``, such as ``-m``, all is
    imported anew.
    """

    def run(
        config: str | Path | list[Path],
        run_id: str = "run",
        cwd: Path = ROOT,
        launcher: Sequence[str] = (),
        **overrides: Any,
    ) -> subprocess.CompletedProcess[str]:
        files = [str(path) for path in config] if isinstance(config, list) else config
        paths = [cwd / path for path in files] if isinstance(files, list) else cwd / files
        values = {"config_file": files} | small_for(paths) | overrides
        arguments = [text for key, value in values.items() if value is not None for text in (f"--{key}", str(value))]
        if not launcher:
            return run_module("monai.bundle", "run", run_id, *arguments, cwd=cwd)
        return subprocess.run(
            [sys.executable, *launcher, "monai.bundle", "run", run_id, *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    return run
