"""A data set that a network writes sample by sample: resumable, by one process, with a line of manifest for each."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ignite.engine import Engine, Events
from torch import Tensor

from retina_monai.data.layout import SPLITS
from retina_monai.data.manifest import read_manifest
from retina_monai.errors import RetinaError
from retina_monai.files import Claim, append_line, write_json

__all__ = ["SampleSet", "finished_samples"]

logger = logging.getLogger("retina_monai")


class SampleSet:
    """What sets of generated photographs and sets of found vessel maps share.

    The layout is the library's own: a folder for each kind of picture, ``datalist.json``, ``manifest.jsonl``. Each file
    appears whole or not at all, a sample's line after its files, so an interrupted run can go on: samples whose line is
    there are finished (:func:`finished_samples`). While it is written, no other process writes to ``output_dir``
    (:class:`retina_monai.files.Claim`).

    Args:
        output_dir: where to write.
        settings: what the samples depend on; kept in ``settings.json``.
        about: what ``datalist.json`` says of the set as a whole.

    Raises:
        RetinaError: ``output_dir`` holds another data set or one of other settings (known when this is attached, and
            asked again before the first sample is written), it cannot be written, or another process writes to it.
    """

    keys: ClassVar[Sequence[str]] = ("image", "vessel", "fov", "patient", "dataset", "name", "laterality")
    """Of a line of the manifest, what goes into ``datalist.json``."""

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self.output_dir = Path(output_dir)
        self.settings = json.loads(json.dumps(dict(settings), default=str))
        self.about = about
        self.claim: Claim | None = None

    @abstractmethod
    def write_sample(self, item: Mapping[str, Any], pred: Tensor) -> dict[str, Any]:
        """Write the files of a sample.

        Args:
            item: of the batch.
            pred: what the network made of it.

        Returns:
            Its line of the manifest.
        """

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
            line = self.write_sample(item, output["pred"])
            append_line(self.output_dir / "manifest.jsonl", json.dumps(line))

    def start(self) -> None:
        """Take the folder, unless another process has or had it meanwhile, and write what the samples depend on."""
        self.claim = Claim(self.output_dir)
        self.check()
        _end_last_line(self.output_dir / "manifest.jsonl")
        if not (self.output_dir / "settings.json").is_file():
            write_json(self.output_dir / "settings.json", self.settings)

    def complete(self) -> None:
        """Write ``datalist.json``: a sample that tells no split trains."""
        samples = sorted(read_manifest(self.output_dir), key=lambda line: line["name"])
        datalist: dict[str, Any] = {split: [] for split in SPLITS}
        for sample in samples:
            item = {key: sample[key] for key in self.keys if key in sample}
            datalist[sample.get("split", SPLITS[0])].append(item)
        write_json(self.output_dir / "datalist.json", {**self.about, **datalist})
        logger.info("%d samples in %s", len(samples), self.output_dir)

    def release(self) -> None:
        """Let another process write to ``output_dir``."""
        if self.claim is not None:
            self.claim.release()
            self.claim = None

    def fail(self, engine: Engine, error: BaseException) -> None:
        """Release; the error goes on."""
        self.release()
        raise error


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
