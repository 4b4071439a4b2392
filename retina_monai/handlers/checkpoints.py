"""Checkpoints for exact resuming, and the final weights.

To resume an interrupted training, repeat its command with the same ``output_dir`` and ``--resume true``. The latest
checkpoint is loaded when the engine starts, and training continues with the next epoch.
"""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from torch import nn

from retina_monai.errors import RetinaError
from retina_monai.files import FolderLock, replacing, write_json
from retina_monai.handlers.failure import on_failure
from retina_monai.networks import describe_network

__all__ = ["Checkpoints", "load_file", "newest_checkpoint", "refuse_other", "save_atomically"]

logger = logging.getLogger("retina_monai")
PATTERN = "epoch_*.pt"
OPTIONS = {"mean": "appearance_mean", "std": "appearance_std"}
"""Argument of a network -> its name on the command line, where they differ."""


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Checkpoints:
    """Save complete checkpoints, keep the latest, write the best weights, and resume.

    A checkpoint ``checkpoints/epoch_0003.pt`` holds all networks, optimizers and averages, the loss scaler, epoch,
    iteration, best metric and the tracker's run. ``model.pt`` is the flat state_dict of ``averaged.network`` at the
    best validation (without validation, at the last epoch). ``network.json`` holds the arguments of that network.
    All files are written atomically. ``output_dir`` is locked during training
    (:class:`retina_monai.files.FolderLock`). The ranks of one training share it, since only rank 0 writes.

    Args:
        output_dir: output folder.
        averaged: ``Averaged`` of the network to release; its ``network`` has ``arguments``.
        evaluator: its ``state.best_metric`` determines the best weights.
        resume: whether to resume from the latest checkpoint in ``output_dir``.
        keep: number of checkpoints to keep.
        interval: epochs between checkpoints; the last epoch is always saved.
        tracker: has ``run_id``, so that a resumed training continues its run.
        enabled: whether this process writes (rank 0); all ranks read.
        released: part of ``averaged.network`` to save in ``model.pt``; ``None`` saves all of it.
    """

    def __init__(
        self,
        output_dir: str | Path,
        averaged: Any,
        evaluator: Any = None,
        resume: bool = False,
        keep: int = 2,
        interval: int = 1,
        tracker: Any = None,
        enabled: bool = True,
        released: nn.Module | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.folder = self.output_dir / "checkpoints"
        self.averaged = averaged
        self.evaluator = evaluator
        self.resume = resume
        self.keep = keep
        self.interval = interval
        self.tracker = tracker
        self.enabled = enabled
        self.released = released
        self.lock: FolderLock | None = None

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.release)
        on_failure(engine, self.release)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self.save_best)

    def start(self, engine: Engine) -> None:
        """Resume, or reject an output_dir that is in use or already holds a training.

        Raises:
            RetinaError: there is nothing to resume; the checkpoint has other networks or ``fixed`` arguments; a
                training would be overwritten; or another process trains in ``output_dir``.
        """
        if self.resume:
            newest_checkpoint(self.output_dir)  # fail before the lock creates a folder
        if self.enabled:
            self.lock = FolderLock(self.output_dir)
        if self.resume:
            self.load(engine, newest_checkpoint(self.output_dir))
        elif self.folder.is_dir() and any(self.folder.glob(PATTERN)):
            raise RetinaError(
                f"{self.output_dir} already holds a training: give another --output_dir, or continue with --resume true"
            )

    def release(self) -> None:
        """Unlock ``output_dir``."""
        if self.lock is not None:
            self.lock.release()

    def save(self, engine: Engine) -> None:
        state = engine.state
        last = state.epoch == state.max_epochs
        if not self.enabled or (state.epoch % self.interval and not last):
            return
        if last and (self.evaluator is None or self.evaluator.state.best_metric_epoch < 1):
            self.save_weights()  # before the checkpoint, which marks the epoch as done
        save_atomically(self.state_dict(engine), self.folder / f"epoch_{state.epoch:04d}.pt")
        for old in _by_epoch(self.folder)[: -self.keep]:
            old.unlink()

    def save_best(self, evaluator: Any) -> None:
        if self.enabled and evaluator.state.best_metric_epoch == evaluator.state.epoch:
            self.save_weights()

    def save_weights(self) -> None:
        network: Any = self.averaged.network if self.released is None else self.released
        save_atomically(network.state_dict(), self.output_dir / "model.pt")
        write_json(self.output_dir / "network.json", describe_network(network))

    def state_dict(self, engine: Any) -> dict[str, Any]:
        """Complete state of a training as plain types and tensors, for ``torch.load(weights_only=True)``."""
        network = self.averaged.network
        return {
            **{name: part.state_dict() for name, part in self._parts(engine).items()},
            "fixed": {key: network.arguments[key] for key in getattr(network, "fixed", ())},
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "best_metric": None if self.evaluator is None else float(self.evaluator.state.best_metric),
            "best_metric_epoch": None if self.evaluator is None else self.evaluator.state.best_metric_epoch,
            "run_id": getattr(self.tracker, "run_id", None),
        }

    def load(self, engine: Any, path: Path) -> None:
        state = load_file(path, map_location=engine.state.device)
        refuse_other(self.averaged.network, state.get("fixed", {}), path)
        for name, part in self._parts(engine).items():
            _load_part(part, state, name, path)
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * engine.state.epoch_length  # batch size or eyes may have changed
        if self.evaluator is not None:
            self.evaluator.state.best_metric = state["best_metric"]
            self.evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        if self.tracker is not None:
            self.tracker.run_id = state["run_id"]
        logger.info("resumed from %s: %d of %d epochs are done", path, state["epoch"], engine.state.max_epochs)

    def _parts(self, engine: Any) -> dict[str, Stateful]:
        return {**engine.parts(), "averaged": self.averaged}


def newest_checkpoint(output_dir: str | Path) -> Path:
    """The checkpoint of the latest epoch in a training's folder.

    Raises:
        RetinaError: there is no checkpoint.
    """
    found = _by_epoch(Path(output_dir) / "checkpoints")
    if not found:
        raise RetinaError(
            f"there is no checkpoint to resume in {output_dir}: train without --resume, or give another --output_dir"
        )
    return found[-1]


def refuse_other(network: Any, saved: Mapping[str, Any], path: Path) -> None:
    """Reject weights saved with different ``fixed`` arguments, which tensor shapes cannot reveal.

    Args:
        network: may have ``fixed``, names of some of its ``arguments``.
        saved: arguments of the network with which the weights were saved.
        path: file of the weights.

    Raises:
        RetinaError: an argument differs.
    """
    for key in getattr(network, "fixed", ()):
        if key in saved and saved[key] != network.arguments[key]:
            raise RetinaError(
                f"{path} was saved with {key} {saved[key]}, but {network.arguments[key]} is configured: give the same "
                f"--{OPTIONS.get(key, key)}, or set the same {key} in the inference.json of the bundle"
            )


def load_file(path: str | Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a file of tensors and plain types without executing code from it.

    Raises:
        RetinaError: the file is missing, truncated, not a checkpoint, or a pickle that could run code.
    """
    if not Path(path).is_file():
        raise RetinaError(f"there is no checkpoint {path}")
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise RetinaError(f"{path} is refused: it holds more than tensors and may run code") from error
    except Exception as error:  # other kinds of file raise anything: IndexError, struct.error
        raise RetinaError(f"{path} is truncated or not a checkpoint of torch") from error
    if not isinstance(state, dict):
        raise RetinaError(f"{path} is not a checkpoint: it holds a {type(state).__name__}, not a dictionary")
    return state


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """Save a state with ``torch.save`` to a temporary file, then rename it.

    Raises:
        RetinaError: the folder cannot be written.
    """
    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # on a full disk, torch's writer wraps the OSError
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error


def _by_epoch(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN), key=lambda path: int(re.sub(r"\D", "", path.stem)))


def _load_part(part: Stateful, state: dict[str, Any], name: str, path: Path) -> None:
    try:
        part.load_state_dict(state[name])
    except (RuntimeError, KeyError, ValueError) as error:
        kind = "network" if isinstance(part, nn.Module) else "part"
        raise RetinaError(f"{path} was saved by another training: its {kind} {name} does not fit") from error
