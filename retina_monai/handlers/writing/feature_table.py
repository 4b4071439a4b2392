"""Write the features of photographs as arrays and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from retina_monai.errors import RetinaError
from retina_monai.files import FolderLock, replacing, write_text

__all__ = ["FeatureTable"]

FILES = ("features.npz", "features.csv")


class FeatureTable:
    """Collect the features predicted by an evaluator, and write them when it completes.

    ``features.npz`` holds ``features`` ``(N, D)`` float32, ``names`` and ``patients`` ``(N,)``, and ``settings``
    (JSON). ``features.csv`` has one line per photograph with its name, patient and features.

    Args:
        output_dir: output folder.
        settings: settings that the features depend on (weights, size).

    Raises:
        RetinaError: ``output_dir`` already holds features (raised on attachment), or cannot be written.
    """

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any]) -> None:
        self.output_dir = Path(output_dir)
        self.settings = dict(settings)
        self.rows: list[tuple[str, str, np.ndarray]] = []

    def attach(self, engine: Engine) -> None:
        for name in FILES:
            if (self.output_dir / name).exists():
                raise RetinaError(f"{self.output_dir} already holds {name}: give another --output_dir")
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def collect(self, engine: Any) -> None:
        """Collect the features of a batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            features = torch.as_tensor(output["pred"]).as_subclass(torch.Tensor).float().cpu().numpy()
            self.rows.append((str(item["name"]), str(item["patient"]), features))

    def write(self) -> None:
        """Write both files atomically."""
        lock = FolderLock(self.output_dir)
        names, patients, features = zip(*self.rows, strict=True)
        with replacing(self.output_dir / FILES[0]) as file:
            np.savez(
                file,
                features=np.stack(features),
                names=np.array(names),
                patients=np.array(patients),
                settings=json.dumps(self.settings, sort_keys=True, default=str),
            )
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["name", "patient", *(f"feature_{index}" for index in range(len(features[0])))])
        table.writerows([name, patient, *values.tolist()] for name, patient, values in self.rows)
        write_text(self.output_dir / FILES[1], text.getvalue())
        lock.release()
