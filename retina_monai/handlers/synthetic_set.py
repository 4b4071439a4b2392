"""Write what a generator makes as a labelled data set that can be trained on with the same flag as a real one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import Tensor

from retina_monai.data.writing import write_png
from retina_monai.errors import RetinaError
from retina_monai.files import write_json
from retina_monai.handlers.pictures import to_uint8
from retina_monai.transforms.appearance import Appearance, apply_appearance

__all__ = ["SyntheticSet", "finished_samples"]

logger = logging.getLogger("retina_monai")
SPLITS = ("training", "validation", "test")


class SyntheticSet:
    """Write photograph, vessel map and field of view of each generated sample, and a line in ``manifest.jsonl``.

    The layout is the library's own: ``images/``, ``vessels/``, ``fovs/``, ``datalist.json``, ``manifest.jsonl``.
    Each file appears whole or not at all, a sample's line after its files, so an interrupted run can go on: samples
    whose line is there are finished (:func:`finished_samples`). Every photograph is marked synthetic.

    Args:
        output_dir: where to write.
        appearance: ``(index)`` -> the appearance to give to sample ``index``.
        settings: what the samples depend on (weights, appearance, seed); kept in ``settings.json``.
        condition_key: entry of the evaluator's batch: vessel map ``(1, H, W)`` in [-1, 1].

    Raises:
        RetinaError: when it is attached, ``output_dir`` holds another data set or one of other settings; on start, it
            cannot be written.
    """

    def __init__(
        self,
        output_dir: str | Path,
        appearance: Callable[[int], Appearance],
        settings: Mapping[str, Any],
        condition_key: str = "image",
    ) -> None:
        self.output_dir = Path(output_dir)
        self.appearance = appearance
        self.settings = json.loads(json.dumps(dict(settings), default=str))
        self.condition_key = condition_key

    def attach(self, engine: Engine) -> None:
        self.check()
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.complete)
        if getattr(engine.state, "epoch_length", None) == 0:  # every sample is there: MONAI skips an empty run
            self.complete()

    def check(self) -> None:
        """Refuse a folder of samples that this run would not go on with."""
        path = self.output_dir / "settings.json"
        if path.is_file() and json.loads(path.read_text()) != self.settings:
            raise RetinaError(f"{self.output_dir} holds a set made with other settings: give another --output_dir")
        if not path.is_file() and any((self.output_dir / name).exists() for name in ("datalist.json", "images")):
            raise RetinaError(f"{self.output_dir} holds a data set that was not made here: give another --output_dir")

    def start(self) -> None:
        _end_last_line(self.output_dir / "manifest.jsonl")

    def write(self, engine: Engine) -> None:
        """Write the samples of a batch; before the first of them the settings, so that a mistake leaves no folder."""
        state: Any = engine.state
        if not (self.output_dir / "settings.json").is_file():
            write_json(self.output_dir / "settings.json", self.settings)
        for item, output in zip(state.batch, state.output, strict=True):
            self._write_sample(item, output["pred"])

    def complete(self) -> None:
        """Write ``datalist.json``: all samples train; its reader keeps a tenth of the patients for validation."""
        samples = sorted(_read_manifest(self.output_dir), key=lambda line: line["name"])
        keys = ("image", "vessel", "fov", "patient", "dataset", "name")
        datalist: dict[str, Any] = {split: [] for split in SPLITS}
        datalist["training"] = [{key: sample[key] for key in keys} for sample in samples]
        write_json(self.output_dir / "datalist.json", {"name": "synthetic", "synthetic": True, **datalist})
        logger.info("%d synthetic photographs in %s", len(samples), self.output_dir)

    def _write_sample(self, item: Mapping[str, Any], pred: Tensor) -> None:
        name, fov = str(item["name"]), _plain(item["fov"]).cpu().float()
        appearance = self.appearance(int(item["index"]))
        image = apply_appearance(_plain(pred).cpu().float() / 127.5 - 1, fov, appearance)
        pictures = {
            "image": ("images", to_uint8(image)),
            "vessel": ("vessels", (to_uint8(_plain(item[self.condition_key])) >= 128) * np.uint8(255)),
            "fov": ("fovs", (fov.numpy() > 0) * np.uint8(255)),
        }
        paths = {key: f"{folder}/{name}.png" for key, (folder, _) in pictures.items()}
        for key, (_, picture) in pictures.items():
            write_png(self.output_dir / paths[key], picture)
        line = {
            "name": name,
            **paths,
            "patient": str(item["patient"]),
            "dataset": "synthetic",
            "source": Path(str(item["source"])).name,
            "index": int(item["index"]),
            "seed": self.settings.get("seed"),
            "appearance": {"mean": list(appearance.mean), "std": list(appearance.std)},
            "synthetic": True,
        }
        with (self.output_dir / "manifest.jsonl").open("a") as manifest:
            manifest.write(json.dumps(line) + "\n")


def finished_samples(output_dir: str | Path) -> set[str]:
    """Names of the samples whose manifest line is written; a line cut short by an interruption does not count."""
    return {line["name"] for line in _read_manifest(Path(output_dir))}


def _read_manifest(output_dir: Path) -> list[dict[str, Any]]:
    path = output_dir / "manifest.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return [line for text in lines if (line := _parse(text)) is not None]


def _end_last_line(manifest: Path) -> None:
    """Close a line that an interruption cut short, so that the next one is not appended to it."""
    if manifest.is_file() and not manifest.read_bytes().endswith(b"\n"):
        with manifest.open("a") as file:
            file.write("\n")


def _parse(text: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(text))
    except ValueError:
        return None


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
