"""Two processes that would write to one folder: one does, the other ends with a sentence; none blocks what comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from retina_monai.errors import root_error

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).resolve().parents[1] / "bundles" / "pix2pix_vessel" / "configs"
PATIENCE = 240


def test_two_trainings(
    small_for: Callable[..., dict[str, Any]],
    phantoms: Path,
    environment: dict[str, str],
    run_config: Callable[..., ConfigParser],
    tmp_path: Path,
) -> None:
    """The one that trains is killed, with the workers that load its eyes; it is resumed at once."""
    values = small_for(CONFIGS / "train.json") | {"config_file": CONFIGS / "train.json", "output_dir": tmp_path / "run"}
    values |= {"max_epochs": 10_000, "val_interval": 10_000, "num_workers": 1}
    command = [sys.executable, "-m", "monai.bundle", "run"]
    command += [text for key, value in values.items() for text in (f"--{key}", str(value))]
    screens = [(tmp_path / f"screen_{number}").open("w+") for number in range(2)]
    both = [
        subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen)
        for screen in screens
    ]
    try:
        refused = wait_for(lambda: next((number for number in range(2) if both[number].poll() is not None), None))
        checkpoints = tmp_path / "run" / "checkpoints"
        wait_for(lambda: any(checkpoints.glob("epoch_*.pt")) or None)
        screens[refused].seek(0)
        screen = screens[refused].read()
        assert both[refused].returncode == 1, screen
        assert screen.splitlines()[-1] == (
            f"error: another process is writing to {tmp_path / 'run'}: wait until it ends, or give another --output_dir"
        )
        assert "Traceback" not in screen
        assert both[1 - refused].poll() is None
    finally:
        for process in both:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        for file in screens:
            file.close()
    done = max(int(path.stem[-4:]) for path in checkpoints.glob("epoch_*.pt"))
    assert (tmp_path / "run" / ".lock").exists(), "what was killed removed nothing"

    run_config(CONFIGS / "train.json", output_dir=str(tmp_path / "run"), resume="true", max_epochs=done + 1)

    assert torch.load(checkpoints / f"epoch_{done + 1:04d}.pt", weights_only=True)["epoch"] == done + 1
    assert not (tmp_path / "run" / ".lock").exists()


def wait_for(answer: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while (found := answer()) is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_a_training_that_failed_in_this_process_can_be_resumed_in_it(
    run_config: Callable[..., ConfigParser], tmp_path: Path
) -> None:
    """Though the error, which a notebook keeps, keeps all that was made."""
    settings = {"output_dir": str(tmp_path / "run"), "ema": "false"}
    run_config(CONFIGS / "train.json", **settings)
    with pytest.raises(Exception) as caught:
        run_config(CONFIGS / "train.json", **settings, resume="true", max_epochs=2, learning_rate=1e30)
    assert "the loss became NaN or infinite" in str(root_error(caught.value))
    assert not (tmp_path / "run" / ".lock").exists()
    run_config(CONFIGS / "train.json", **settings, resume="true", max_epochs=2)
    assert (tmp_path / "run" / "checkpoints" / "epoch_0002.pt").is_file()
