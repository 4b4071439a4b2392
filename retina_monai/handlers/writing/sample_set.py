"""A data set that networks write sample by sample: resumable, with a line of manifest for each."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import IO, Any, ClassVar

import numpy as np
from ignite.engine import Engine, Events
from torch import Tensor

from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.manifest import iterate_manifest, manifest_path, merge_manifest
from retina_monai.errors import RetinaError
from retina_monai.files import FolderLock, append_line, replacing, write_json, write_text
from retina_monai.handlers.failure import on_failure
from retina_monai.handlers.writing.set_card import set_card
from retina_monai.kinds import KINDS, PICTURES

__all__ = ["SampleSet", "finished_samples"]

logger = logging.getLogger("retina_monai")


class SampleSet:
    """What sets of generated photographs and sets of found vessel maps share.

    The layout is the library's own: a folder for each kind of picture, ``datalist.json``, ``manifest.jsonl``, and a
    ``README.txt`` for whoever receives the set. Each file
    appears whole or not at all, a sample's line after its files, so an interrupted run can go on: samples whose line is
    there are finished (:func:`finished_samples`). While it is written, no other run writes to ``output_dir``
    (:class:`retina_monai.files.FolderLock`).

    As a handler it writes what an evaluator makes. Without one: :meth:`check` and :meth:`start`, :meth:`append` what
    :meth:`write_sample` returned, :meth:`complete`, and :meth:`release` in any case.

    Args:
        output_dir: where to write.
        settings: what the samples depend on; kept in ``settings.json``.
        about: what ``datalist.json`` says of the set as a whole.

    Raises:
        RetinaError: ``output_dir`` holds another data set or one of other settings (known when this is attached, and
            asked again before the first sample is written), it cannot be written, or another process writes to it.
    """

    keys: ClassVar[Sequence[str]] = (*PICTURES, "patient", "dataset", "name", "laterality")
    """What of a line of the manifest goes into ``datalist.json``."""

    facts: ClassVar[Sequence[str]] = ()
    """What ``README.txt`` says of the pictures, the labels and the names in the set, by paragraphs."""

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self.output_dir = Path(output_dir)
        self.settings = json.loads(json.dumps(dict(settings), default=str))
        self.about = about
        self.lock: FolderLock | None = None

    @abstractmethod
    def write_sample(self, item: Mapping[str, Any], pred: Tensor) -> dict[str, Any]:
        """Write the files of a sample.

        Args:
            item: of the batch.
            pred: what the network made of it.

        Returns:
            Its line of the manifest.
        """

    def write_pictures(
        self, name: str, pictures: Mapping[str, Any], synthetic: bool = True, text: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Write pictures of a sample, each into the folder of its kind.

        Args:
            name: of the sample.
            pictures: by kind, ``(C, H, W)``: masks Boolean or {0, 1}, all others uint8 in [0, 255].
            synthetic, text: as for :func:`retina_monai.data.files.writing.write_png`.

        Returns:
            Their paths in ``output_dir``, by kind.
        """
        paths = {key: f"{KINDS[key].folders[0]}/{name}.png" for key in pictures}
        for key, picture in pictures.items():
            array = np.asarray(picture)
            array = (array > 0) * np.uint8(255) if KINDS[key].type == "mask" else array
            write_png(self.output_dir / paths[key], array, synthetic, text)
        return paths

    def attach(self, engine: Engine) -> None:
        self.check()
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.complete)
        engine.add_event_handler(Events.COMPLETED, self.release)
        on_failure(engine, self.release)
        if getattr(engine.state, "epoch_length", None) == 0:  # every sample is there: MONAI skips an empty run
            self.complete()

    def check(self) -> None:
        """Refuse a folder of samples that this run would not go on with."""
        path = self.output_dir / "settings.json"
        made = _guard(_read_settings(path)) if path.is_file() else _guard(self.settings)
        if made != _guard(self.settings):
            inputs = isinstance(made, dict) and made | {"inputs": self.settings.get("inputs")} == _guard(self.settings)
            other = "from other inputs" if inputs else "with other settings"
            raise RetinaError(f"{self.output_dir} holds a set made {other}: give another --output_dir")
        if not path.is_file() and any((self.output_dir / name).exists() for name in ("datalist.json", "images")):
            raise RetinaError(f"{self.output_dir} holds a data set that was not made here: give another --output_dir")

    def write(self, engine: Engine) -> None:
        """Write the samples of a batch; all that is written, the folder too, comes after the first was made."""
        state: Any = engine.state
        if self.lock is None:
            self.start()
        for item, output in zip(state.batch, state.output, strict=True):
            self.append(self.write_sample(item, output["pred"]))

    def start(self) -> None:
        """Take the folder, unless another process has or had it meanwhile, and write what the samples depend on.

        What an interruption left half is removed.
        """
        self.lock = FolderLock(self.output_dir)
        self.check()
        for partial in (*self.output_dir.glob(".*.part"), *self.output_dir.glob("*/.*.part")):
            partial.unlink(missing_ok=True)
        merge_manifest(self.output_dir)
        if not (self.output_dir / "settings.json").is_file():
            write_json(self.output_dir / "settings.json", self.settings)

    def append(self, line: Mapping[str, Any], rank: int = 0) -> None:
        """Count a sample as finished.

        Args:
            line: as :meth:`write_sample` returned it.
            rank: of the process, if several write this set.
        """
        append_line(manifest_path(self.output_dir, rank), json.dumps(line))

    def complete(self) -> None:
        """Bring the manifest into order, and write ``README.txt`` and, item by item, ``datalist.json``.

        A sample whose line names no split trains.
        """
        merge_manifest(self.output_dir)
        self._write_card()
        count = 0
        with replacing(self.output_dir / "datalist.json") as file:
            file.write(json.dumps(dict(self.about), indent=4).removesuffix("\n}").encode())
            for split in SPLITS:
                file.write(f',\n    "{split}": ['.encode())
                listed = self._list(split, file)
                file.write(b"\n    ]" if listed else b"]")
                count += listed
            file.write(b"\n}\n")
        logger.info("%d samples in %s", count, self.output_dir)

    def _write_card(self) -> None:
        path = self.output_dir / "settings.json"
        settings = _read_settings(path) if path.is_file() else self.settings
        sources = Counter(
            str(sample.get("condition", {}).get("dataset") or sample["dataset"])
            for sample in iterate_manifest(self.output_dir)
        )
        title = str(self.about["name"]).capitalize()
        card = set_card(title, self.facts, settings, sources.total(), sorted({*sources} - {"synthetic"}))
        write_text(self.output_dir / "README.txt", card)

    def _list(self, split: str, file: IO[bytes]) -> int:
        """Write the items of a split; returns how many there are."""
        count = 0
        for count, item in enumerate(self._items(split), 1):
            file.write(b"," * (count > 1) + b"\n" + indent(json.dumps(item, indent=4), " " * 8).encode())
        return count

    def _items(self, split: str) -> Iterator[dict[str, Any]]:
        """Of a split, as ``datalist.json`` lists them."""
        for sample in iterate_manifest(self.output_dir):
            if sample.get("split", SPLITS[0]) == split:
                yield {key: sample[key] for key in self.keys if key in sample}

    def release(self) -> None:
        """Let another process write to ``output_dir``."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def finished_samples(output_dir: str | Path) -> set[str]:
    """Names of the samples whose manifest line is written; a line cut short by an interruption does not count."""
    return {line["name"] for line in iterate_manifest(output_dir)}


def _guard(settings: Any) -> Any:
    """What an interrupted set is completed by: all settings but those on which samples do not depend."""
    return {key: settings[key] for key in settings if key != "about"} if isinstance(settings, dict) else settings


def _read_settings(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetinaError(f"{path} cannot be read as JSON: give another --output_dir") from error
