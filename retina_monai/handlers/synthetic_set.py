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

from retina_monai.data.manifest import read_manifest
from retina_monai.data.writing import write_png
from retina_monai.errors import RetinaError
from retina_monai.files import Claim, append_line, write_json
from retina_monai.handlers.pictures import to_uint8
from retina_monai.transforms.appearance import Appearance, apply_appearance

__all__ = ["SyntheticSet", "finished_samples"]

logger = logging.getLogger("retina_monai")
SPLITS = ("training", "validation", "test")


class SyntheticSet:
    """Write photograph, vessel map and field of view of each generated sample, and a line in ``manifest.jsonl``.

    The layout is the library's own: ``images/``, ``vessels/``, ``fovs/``, ``datalist.json``, ``manifest.jsonl``.
    Each file appears whole or not at all, a sample's line after its files, so an interrupted run can go on: samples
    whose line is there are finished (:func:`finished_samples`). Every photograph is marked synthetic. While it is
    written, no other process writes to ``output_dir`` (:class:`retina_monai.files.Claim`).

    Args:
        output_dir: where to write.
        appearance: ``(index)`` -> the appearance to give to sample ``index``.
        settings: what the samples depend on (weights, appearance, seed); kept in ``settings.json``.
        condition_key: entry of the evaluator's batch: vessel map ``(1, H, W)`` in [-1, 1].

    Raises:
        RetinaError: ``output_dir`` holds another data set or one of other settings (known when this is attached, and
            asked again before the first sample is written), it cannot be written, or another process writes to it.
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
        self.claim: Claim | None = None

    def attach(self, engine: Engine) -> None:
        self.check()
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.complete)
        engine.add_event_handler(Events.COMPLETED, self.release)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)
        if getattr(engine.state, "epoch_length", None) == 0:  # every sample is there: MONAI skips an empty run
            self.complete()

    def check(self) -> None:
        """Refuse a folder of samples that this run would not go on with."""
        path = self.output_dir / "settings.json"
        if path.is_file() and _read_settings(path) != self.settings:
            raise RetinaError(f"{self.output_dir} holds a set made with other settings: give another --output_dir")
        if not path.is_file() and any((self.output_dir / name).exists() for name in ("datalist.json", "images")):
            raise RetinaError(f"{self.output_dir} holds a data set that was not made here: give another --output_dir")

    def write(self, engine: Engine) -> None:
        """Write the samples of a batch; all that is written, the folder too, comes after the first was made."""
        state: Any = engine.state
        if self.claim is None:
            self.start()
        for item, output in zip(state.batch, state.output, strict=True):
            self._write_sample(item, output["pred"])

    def start(self) -> None:
        """Take the folder, unless another process has or had it meanwhile, and write what the samples depend on."""
        self.claim = Claim(self.output_dir)
        self.check()
        _end_last_line(self.output_dir / "manifest.jsonl")
        if not (self.output_dir / "settings.json").is_file():
            write_json(self.output_dir / "settings.json", self.settings)

    def complete(self) -> None:
        """Write ``datalist.json``: all samples train; its reader keeps a tenth of the patients for validation."""
        samples = sorted(read_manifest(self.output_dir), key=lambda line: line["name"])
        keys = ("image", "vessel", "fov", "patient", "dataset", "name")
        datalist: dict[str, Any] = {split: [] for split in SPLITS}
        datalist["training"] = [{key: sample[key] for key in keys} for sample in samples]
        write_json(self.output_dir / "datalist.json", {"name": "synthetic", "synthetic": True, **datalist})
        logger.info("%d synthetic photographs in %s", len(samples), self.output_dir)

    def release(self) -> None:
        """Let another process write to ``output_dir``."""
        if self.claim is not None:
            self.claim.release()
            self.claim = None

    def fail(self, engine: Engine, error: BaseException) -> None:
        """Release; the error goes on."""
        self.release()
        raise error

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
        append_line(self.output_dir / "manifest.jsonl", json.dumps(line))


def finished_samples(output_dir: str | Path) -> set[str]:
    """Names of the samples whose manifest line is written; a line cut short by an interruption does not count."""
    return {line["name"] for line in read_manifest(output_dir)}


def _read_settings(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetinaError(f"{path} cannot be read as JSON: give another --output_dir") from error


def _end_last_line(manifest: Path) -> None:
    """Close a line that an interruption cut short, so that the next one is not appended to it."""
    if manifest.is_file() and not manifest.read_bytes().endswith(b"\n"):
        append_line(manifest, "")


def _plain(value: Any) -> Tensor:
    return torch.as_tensor(value).as_subclass(torch.Tensor)
