"""Write samples as a resumable data set with a manifest."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import IO, Any, ClassVar

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.manifest import iterate_manifest, manifest_path, merge_manifest
from retina_monai.data.listing.pseudonyms import IDENTITY
from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.errors import RetinaError
from retina_monai.files import FolderLock, append_line, replacing, write_json, write_text
from retina_monai.handlers.failure import on_failure
from retina_monai.handlers.pictures import to_uint8
from retina_monai.handlers.writing.set_card import set_card
from retina_monai.kinds import KINDS, MASKS, PICTURES
from retina_monai.transforms.vessel_label import rounded_share

__all__ = ["SampleSet", "finished_samples", "refuse_other_set"]

logger = logging.getLogger("retina_monai")
SYNTHETIC = "synthetic"
UNGRADED = -1


class SampleSet:
    """Write samples with any kinds of pictures as a data set in this library's own layout.

    The layout has a folder for each kind of picture, ``datalist.json``, ``manifest.jsonl`` with one line per sample,
    and a ``README.txt`` that describes the set. Files are written atomically, and a sample's line after its files.
    An interrupted run can therefore be resumed: samples with a line are finished (:func:`finished_samples`).
    ``output_dir`` is locked while a run writes to it (:class:`retina_monai.files.FolderLock`).

    Attached to an evaluator, it writes the evaluator's output. Otherwise call :meth:`check` and :meth:`start`, pass the
    results of :meth:`write_sample` to :meth:`append`, call :meth:`complete`, and always :meth:`release`.

    Args:
        output_dir: output folder.
        settings: settings that the samples depend on, written to ``settings.json``.
        network_output: adds the prediction of a network to its sample
            (:func:`retina_monai.bundle.network_output`); only needed as a handler.

    Raises:
        RetinaError: ``output_dir`` holds another data set or one with other settings (checked on attachment and
            before the first sample is written), cannot be written, or is in use by another process.
    """

    keys: ClassVar[Sequence[str]] = (
        *PICTURES,
        "patient",
        "dataset",
        "name",
        "laterality",
        "grade",
        "stage",
        "condition",
        *(f"{kind}_by" for kind in MASKS),
        "confidence",
        IDENTITY,
    )
    """Keys of a manifest line that ``datalist.json`` contains."""

    facts: Sequence[str] = ("Pictures of the retina that networks made. They show nobody's eye. For research only.",)
    """Paragraphs of ``README.txt`` about the pictures, the labels and the names in the set."""

    about: Mapping[str, Any] = {"name": SYNTHETIC, "synthetic": True}
    """Entries of ``datalist.json`` about the set as a whole."""

    def __init__(
        self, output_dir: str | Path, settings: Mapping[str, Any], network_output: NetworkOutput | None = None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.settings = json.loads(json.dumps(dict(settings), default=str))
        self.network_output = network_output
        self.lock: FolderLock | None = None

    def finish(self, sample: Mapping[Any, Any]) -> dict[Any, Any]:
        """Prepare a sample for writing; subclasses override this.

        Args:
            sample: output of the last network.
        """
        return dict(sample)

    def write_sample(self, sample: Mapping[Any, Any]) -> dict[str, Any]:
        """Write the files of a sample.

        Args:
            sample: pictures ``(C, H, W)`` by kind: masks Boolean or {0, 1}, others in [0, 255]; ``probabilities`` of
                segmented masks; ``name``, ``index``, and other facts if known. An empty mask of a kind that no reader
                accepts empty, such as a disc outside the frame, is not written.

        Returns:
            The sample's line of the manifest.
        """
        sample = self.finish(sample)
        name, synthetic = str(sample["name"]), bool(sample.get(SYNTHETIC, True))
        probabilities = sample.get("probabilities", {})
        found = {kind: str(sample[f"{kind}_by"]) for kind in MASKS if sample.get(f"{kind}_by")}
        found = dict.fromkeys(probabilities, self.found_by) | found
        texts = {kind: {"DerivedBy": f"{network}, not drawn by an observer"} for kind, network in found.items()}
        paths: dict[str, str] = {}
        for kind in (kind for kind in KINDS if kind in sample):
            pixels = _as_bytes(sample[kind], kind)
            if kind in MASKS and not KINDS[kind].empty and not pixels.any():
                continue
            paths[kind] = self._write(KINDS[kind].folders[0], name, pixels, synthetic, texts.get(kind))
        for kind, probability in probabilities.items():
            alone = len(probabilities) == 1
            folder = "probabilities" if alone else f"probabilities/{KINDS[kind].folders[0]}"
            shades = np.rint(np.asarray(probability) * 255).astype(np.uint8)
            path = self._write(folder, name, shades, synthetic, texts[kind])
            paths["probability" if alone else f"{kind}_probability"] = path
        found_by = {f"{kind}_by": network for kind, network in found.items()}
        return {"name": name, **paths, **_facts(sample, self.settings), **found_by} | (
            {SYNTHETIC: True} if synthetic else {}
        )

    @property
    def found_by(self) -> str:
        """Network that segmented masks without ``<kind>_by``: the one in the settings."""
        return f"{self.settings.get('bundle')} {str(self.settings.get('weights'))[:12]}"

    def _write(
        self, folder: str, name: str, array: NDArray[np.uint8], synthetic: bool, text: Mapping[str, str] | None
    ) -> str:
        path = f"{folder}/{name}.png"
        write_png(self.output_dir / path, array, synthetic, text)
        return path

    def attach(self, engine: Engine) -> None:
        self.check()
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.write)
        engine.add_event_handler(Events.COMPLETED, self.complete)
        engine.add_event_handler(Events.COMPLETED, self.release)
        on_failure(engine, self.release)
        if getattr(engine.state, "epoch_length", None) == 0:  # all samples are finished: MONAI skips an empty run
            self.complete()

    def check(self) -> None:
        """Reject a folder whose samples this run cannot resume."""
        path = self.output_dir / "settings.json"
        made = _guard(_read_settings(path)) if path.is_file() else _guard(self.settings)
        if made != _guard(self.settings):
            inputs = isinstance(made, dict) and made | {"inputs": self.settings.get("inputs")} == _guard(self.settings)
            other = "from other inputs" if inputs else "with other settings"
            raise RetinaError(f"{self.output_dir} holds a set made {other}: give another --output_dir")
        refuse_other_set(self.output_dir)

    def write(self, engine: Engine) -> None:
        """Write the samples of a batch. The folder is only created once the first batch is generated."""
        state: Any = engine.state
        if self.lock is None:
            self.start()
        assert self.network_output is not None
        for item, output in zip(state.batch, state.output, strict=True):
            given = {key: value for key, value in item.items() if key != "image"}  # the network's input
            self.append(self.write_sample(self.network_output(given, output["pred"])))

    def start(self) -> None:
        """Lock the folder, check it again, remove partial files of an interrupted run, and write the settings."""
        self.lock = FolderLock(self.output_dir)
        self.check()
        for partial in (*self.output_dir.glob(".*.part"), *self.output_dir.glob("*/.*.part")):
            partial.unlink(missing_ok=True)
        merge_manifest(self.output_dir)
        if not (self.output_dir / "settings.json").is_file():
            write_json(self.output_dir / "settings.json", self.settings)

    def append(self, line: Mapping[str, Any], rank: int = 0) -> None:
        """Mark a sample as finished.

        Args:
            line: result of :meth:`write_sample`.
            rank: rank of the process, if several write this set.
        """
        append_line(manifest_path(self.output_dir, rank), json.dumps(line))

    def complete(self) -> None:
        """Merge and sort the manifest, and write ``README.txt`` and ``datalist.json``.

        Samples without a split are training samples.
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
        """Write the items of a split, and return their number."""
        count = 0
        for count, item in enumerate(self._items(split), 1):
            file.write(b"," * (count > 1) + b"\n" + indent(json.dumps(item, indent=4), " " * 8).encode())
        return count

    def _items(self, split: str) -> Iterator[dict[str, Any]]:
        """The items of a split for ``datalist.json``."""
        for sample in iterate_manifest(self.output_dir):
            if sample.get("split", SPLITS[0]) == split:
                yield {key: sample[key] for key in self.keys if key in sample}

    def release(self) -> None:
        """Unlock ``output_dir``."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def refuse_other_set(folder: Path) -> None:
    """Reject a folder with a data set that was not generated.

    Raises:
        RetinaError: as stated.
    """
    if not (folder / "settings.json").is_file() and any(
        (folder / name).exists() for name in ("datalist.json", "images")
    ):
        raise RetinaError(f"{folder} holds another data set: give another --output_dir")


def finished_samples(output_dir: str | Path) -> set[str]:
    """Names of the samples with a complete line in the manifest."""
    return {line["name"] for line in iterate_manifest(output_dir)}


def _facts(sample: Mapping[Any, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The known facts of a sample for its manifest line, other than pictures."""
    name = str(sample["name"])
    facts: dict[str, Any] = {
        "patient": str(sample.get("patient") or name),
        "dataset": str(sample.get("dataset") or SYNTHETIC),
        **{key: str(sample[key]) for key in ("laterality", "stage", "split") if sample.get(key)},
    }
    if int(sample.get("grade", UNGRADED)) != UNGRADED:
        facts["grade"] = int(sample["grade"])
    if "confidence" in sample:
        facts["confidence"] = sample["confidence"]
    if "source" in sample:
        facts["source"] = Path(str(sample["source"])).name
    facts["index"] = int(sample["index"])
    facts |= {"seed": settings["seed"]} if "seed" in settings else {}
    facts |= {"latent": int(sample["latent"])} if "latent" in sample else {}
    facts |= {"appearance": sample["appearance"]} if "appearance" in sample else {}
    if "condition" in sample:
        camera = {"dataset": str(sample["condition_dataset"])} if sample.get("condition_dataset") else {}
        facts["condition"] = {"name": str(sample["condition"])} | camera | {"augmented": bool(sample.get("augmented"))}
    return facts | ({IDENTITY: str(sample[IDENTITY]).split()} if sample.get(IDENTITY) else {})


def _as_bytes(picture: Any, kind: str) -> NDArray[np.uint8]:
    """Convert a picture to uint8 for its file."""
    array = torch.as_tensor(picture).as_subclass(torch.Tensor).cpu()
    if KINDS[kind].type == "mask":
        return np.asarray((array > 0).numpy() * np.uint8(255))
    if array.dtype == torch.uint8:
        shades = array.numpy()
        return shades[:1] if len(shades) > 1 and (shades == shades[:1]).all() else shades  # grey as one channel
    return rounded_share(array.numpy()) if KINDS[kind].type == "share" else to_uint8(array.float() / 127.5 - 1)


def _guard(settings: Any) -> Any:
    """The settings that a resumed run must share: all but ``about``."""
    return {key: settings[key] for key in settings if key != "about"} if isinstance(settings, dict) else settings


def _read_settings(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RetinaError(f"{path} cannot be read as JSON: give another --output_dir") from error
