"""Checkpoints that resume exactly, and the weights that a user takes away.

The recipe for resuming: train with an ``output_dir``; after an interruption start the same command with
``--resume true``. The newest checkpoint is loaded when the engine starts, and the epoch after it is the next one.
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
"""Argument of a network -> what it is called on the command line, where that is another name."""


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Checkpoints:
    """Save all that a training is, keep the newest few, write the best weights, and resume.

    A checkpoint ``checkpoints/epoch_0003.pt`` holds every network, optimizer and average, the loss scaler, epoch,
    iteration, best metric and the tracker's run. ``model.pt`` is the flat state_dict of ``averaged.network`` at the
    best validation (the last epoch if there was none), with its network's arguments in ``network.json`` beside it.
    All files appear whole or not at all. While it trains, no other process trains in ``output_dir``
    (:class:`retina_monai.files.FolderLock`); the ranks of one training share it, since the first alone writes.

    Args:
        output_dir: where to write.
        averaged: ``Averaged`` of the network to release; its ``network`` has ``arguments``.
        evaluator: its ``state.best_metric`` decides which weights are best.
        resume: go on from the newest checkpoint in ``output_dir``.
        keep: how many checkpoints stay.
        interval: epochs between checkpoints; the last epoch is always saved.
        tracker: has ``run_id``; a resumed training goes on in its own run.
        enabled: whether this process writes (rank 0); all read.
        released: the part of ``averaged.network`` that goes into ``model.pt``; ``None``: all of it.
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
        """Resume, or refuse an output_dir that another training fills or already filled.

        Raises:
            RetinaError: nothing to resume, a checkpoint of other networks or of other ``fixed`` arguments, a training
                that would be overwritten, or one that goes on in another process.
        """
        if self.resume:
            newest_checkpoint(self.output_dir)  # where there is none, no folder is made
        if self.enabled:
            self.lock = FolderLock(self.output_dir)
        if self.resume:
            self.load(engine, newest_checkpoint(self.output_dir))
        elif self.folder.is_dir() and any(self.folder.glob(PATTERN)):
            raise RetinaError(
                f"{self.output_dir} already holds a training: give another --output_dir, or go on with --resume true"
            )

    def release(self) -> None:
        """Let another process train in ``output_dir``."""
        if self.lock is not None:
            self.lock.release()

    def save(self, engine: Engine) -> None:
        state = engine.state
        last = state.epoch == state.max_epochs
        if not self.enabled or (state.epoch % self.interval and not last):
            return
        if last and (self.evaluator is None or self.evaluator.state.best_metric_epoch < 1):
            self.save_weights()  # before the checkpoint, which says that the epoch is done
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
        """All that a resumed training needs, of plain types and tensors, for ``torch.load(weights_only=True)``."""
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
        engine.state.iteration = state["epoch"] * engine.state.epoch_length  # of this command's batches and eyes
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
        RetinaError: there is none.
    """
    found = _by_epoch(Path(output_dir) / "checkpoints")
    if not found:
        raise RetinaError(
            f"there is no checkpoint to resume in {output_dir}: train without --resume, or name another --output_dir"
        )
    return found[-1]


def refuse_other(network: Any, told: Mapping[str, Any], path: Path) -> None:
    """Refuse weights saved with different ``fixed`` arguments, which tensor shapes cannot reveal.

    Args:
        network: may have ``fixed``, names of its ``arguments``.
        told: of the network whose weights these are.
        path: of the weights.

    Raises:
        RetinaError: an argument is another one.
    """
    for key in getattr(network, "fixed", ()):
        if key in told and told[key] != network.arguments[key]:
            raise RetinaError(
                f"{path} holds weights of {key} {told[key]}, and {network.arguments[key]} is asked for: give the same "
                f"--{OPTIONS.get(key, key)}, or in a bundle that is to hold them the same {key} in inference.json"
            )


def load_file(path: str | Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a file of tensors and plain types; nothing in it is executed.

    Raises:
        RetinaError: missing, truncated, not a checkpoint, or a pickle that wants to run code.
    """
    if not Path(path).is_file():
        raise RetinaError(f"there is no checkpoint {path}")
    try:
        state = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise RetinaError(f"{path} is refused: it holds more than tensors and may run code") from error
    except Exception as error:  # on a file of another kind the unpickler stumbles in any way: IndexError, struct.error
        raise RetinaError(f"{path} is truncated or not a checkpoint of torch") from error
    if not isinstance(state, dict):
        raise RetinaError(f"{path} is not a checkpoint: it holds a {type(state).__name__}, not a dictionary")
    return state


def save_atomically(state: dict[str, Any], path: Path) -> None:
    """``torch.save`` beside the target, then rename: the file is whole or not there.

    Raises:
        RetinaError: the folder cannot be written.
    """
    with replacing(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # of torch's writer, where the disk is full: around the file's own error
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error


def _by_epoch(folder: Path) -> list[Path]:
    return sorted(folder.glob(PATTERN), key=lambda path: int(re.sub(r"\D", "", path.stem)))


def _load_part(part: Stateful, state: dict[str, Any], name: str, path: Path) -> None:
    try:
        part.load_state_dict(state[name])
    except (RuntimeError, KeyError, ValueError) as error:
        kind = "network" if isinstance(part, nn.Module) else "part"
        raise RetinaError(f"{path} was saved by another training: its {kind} {name} does not fit") from error
