"""The compared sets, synthetic and real, whose eyes are read on access."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from monai.transforms import Transform
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from retina_monai.data.files.checking import check_files
from retina_monai.data.files.reading import read_photograph, read_size
from retina_monai.data.listing.layout import (
    SPLITS,
    Datalist,
    Item,
    NoVesselMapsError,
    folders_at,
    lonely,
    pictures_by_name,
    refuse_unpaired,
)
from retina_monai.data.listing.layouts import UnknownLayoutError, fingerprint, list_eyes
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.data.listing.patients import identify
from retina_monai.data.listing.pseudonyms import Aliases
from retina_monai.data.listing.splits import merge
from retina_monai.data.listing.twins import join_twins
from retina_monai.data.sets.dataset import CachedEyes
from retina_monai.data.sets.eyes import fit, fit_eye, read_eye
from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring.eye import Condition, Eye
from retina_monai.kinds import KINDS, MASKS
from retina_monai.progress import progress
from retina_monai.transforms.field_of_view import crop_square, fov_box
from retina_monai.transforms.vessel_label import cut_label, vessel_label

__all__ = ["EyeSet", "PackEyed", "Place", "list_real", "list_synthetic", "read_settings", "refuse_real"]

Place = str | Path | Sequence[str | Path]
"""A set: a directory, a ``datalist.json``, or several of them."""

MEASURED = tuple(key for key in MASKS if key not in ("fov", "vessel_2nd"))
SHARE = "vessel_share"
MEMORY_MB = 128  # of eyes in memory; the others are read from the disk cache
PHANTOM = "phantom/"  # prefix of a phantom's patient
FEWEST = 2


class EyeSet(Sequence[Eye]):
    """The eyes of a set. Each is prepared once and read on access.

    Args:
        place: path or paths given by the user.
        items: datalist items with ``split`` and, for synthetic eyes, ``condition``.
        size: side of the eyes in pixels.
        cache_dir: folder that keeps prepared eyes between families and runs.
        skip_unreadable: leave out eyes with broken or inconsistent files and log their names.

    Attributes:
        items: the remaining items, in the order of the eyes.
        left_out: names of the eyes that were left out.

    Raises:
        RetinaError: all problems of the files, in one sentence; fewer than two eyes remain.
    """

    def __init__(
        self,
        place: Place,
        items: Sequence[Item],
        size: int,
        cache_dir: str | Path | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        self.place = place
        self.size = size
        whole = check_files(items, skip_unreadable)
        self._packed = CachedEyes(whole, PackEyed(size), cache_dir, MEMORY_MB, skip_unreadable=skip_unreadable)
        self._places: Sequence[int] = range(len(self._packed.data))
        kept = {item["image"] for item in self._packed.data}
        self.left_out = [str(item["name"]) for item in items if item["image"] not in kept]
        _refuse_few(place, len(self))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Eye: ...
    @overload
    def __getitem__(self, index: slice) -> EyeSet: ...
    def __getitem__(self, index: int | slice) -> Eye | EyeSet:
        if isinstance(index, slice):
            return self._part(self._places[index])
        place = self._places[index]
        return _unpack(self._packed.data[place], self._packed.deterministic(place))

    @property
    def items(self) -> list[Item]:
        return [self._packed.data[place] for place in self._places]

    def of_split(self, *splits: str) -> EyeSet:
        """The eyes of these splits, in order, without reading them."""
        return self.where([item["split"] in splits for item in self.items])

    def where(self, chosen: Sequence[bool]) -> EyeSet:
        """The eyes for which ``chosen`` is true, in order, without reading them."""
        return self._part([place for place, one in zip(self._places, chosen, strict=True) if one])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, patients, splits, conditions and files of the eyes, independent of their location."""
        return fingerprint({"training": self.items})  # the items contain their splits

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Width x height of the photographs' files and their number, the most frequent first."""
        return dict(Counter("{1} x {0}".format(*read_size(item["image"])) for item in self.items).most_common())

    def about(self) -> dict[str, Any]:
        """The report's entry for the set. Its only paths are those given by the user."""
        items = self.items
        masks = {key: sum(key in item for item in items) for key in MEASURED}
        splits = {split: sum(item["split"] == split for item in items) for split in SPLITS}
        return {
            "place": [str(place) for place in _as_list(self.place)],
            "eyes": len(items),
            "patients": len({item["patient"] for item in items}),
            "datasets": dict(sorted(Counter(str(item["dataset"]) for item in items).items())),
            "splits": {split: count for split, count in splits.items() if count},
            "masks": {key: count for key, count in masks.items() if count},
            "sizes": self.sizes,
            "left_out": self.left_out,
            "fingerprint": self.fingerprint,
        }

    def _part(self, places: Sequence[int]) -> EyeSet:
        part = object.__new__(EyeSet)
        part.place, part.size, part.left_out = self.place, self.size, self.left_out
        part._packed, part._places = self._packed, places
        return part


class PackEyed(Transform):
    """Datalist item -> photograph, field of view and masks of one eye as lossless PNGs in memory.

    All are cropped to the field of view, which is computed if the set has none, padded to a square and resized by
    area. A mask holds the covered share of each pixel, in steps of 1/255. Vessels have two masks: the label
    ``vessel``, which preserves their topology (:func:`retina_monai.transforms.vessel_label.vessel_label`), and
    ``vessel_share``.

    Args:
        size: side in pixels.

    Raises:
        RetinaError: as :func:`retina_monai.data.sets.eyes.read_eye`.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys = (*MEASURED, SHARE)  # part of the cache's fingerprint

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Tensor]:
        eye = read_eye(data, MEASURED)
        pictures, box = fit_eye(eye, self.size), fov_box(eye["fov"])
        pictures["fov"] = (pictures["fov"] >= 128) * np.uint8(255)
        if "vessel" in eye:
            given = read_photograph(data[SHARE])[:1] if SHARE in data else None
            pictures[SHARE] = pictures["vessel"] if given is None else fit(given, box, self.size)
            label = vessel_label(crop_square(eye["vessel"], box)[0], self.size)
            pictures["vessel"] = cut_label(label, pictures["fov"][0])[None] * np.uint8(255)
        return {key: _as_png(picture) for key, picture in pictures.items()}


def list_real(real_dir: Place) -> list[Item]:
    """Items of one or several real sets, with their ``split``. A folder of photographs alone is accepted.

    Raises:
        RetinaError: the directory does not exist or has fewer than two photographs; photographs and masks do not pair.
    """
    return _listed(real_dir, join=True)


def list_synthetic(synthetic_dir: str | Path, real: Sequence[Item]) -> list[Item]:
    """Items of a synthetic set with their ``condition`` (patient, name, augmented, latent).

    The condition is read from the manifest, and pseudonyms of eyes of the real set are resolved. For sets without it,
    such as older ones and those of other projects, an eye is assumed to be made from the real eye of the same name if
    its patient is the same or unknown, and otherwise from its patient if the real set contains that patient.

    Args:
        synthetic_dir: a set written by this project, a folder of a known layout, or photographs alone.
        real: items of the real set.

    Raises:
        RetinaError: as :func:`list_real`; the set shares photographs with the real set.
    """
    items = [item | {"split": ""} for item in _listed(synthetic_dir, join=False)]
    _refuse_shared(synthetic_dir, items, real)
    conditions, names, aliases = _manifest_conditions(Path(synthetic_dir), items), _Names(real), Aliases(real)
    lines = [_without_pseudonyms(conditions.get(os.path.realpath(item["image"]), {}), aliases) for item in items]
    return [
        _conditioned(item | {"patient": aliases.patient(str(item["patient"]))}, line, names)
        for item, line in zip(items, lines, strict=True)
    ]


def refuse_real(synthetic: EyeSet, real: EyeSet) -> None:
    """Refuse a synthetic set whose photographs all equal real ones pixel by pixel.

    Raises:
        RetinaError: all photographs are real.
    """
    known = {_digest(eye) for eye in progress(real, "reading real eyes")}
    if all(_digest(eye) in known for eye in progress(synthetic, "reading synthetic eyes")):
        raise RetinaError(_is_real(synthetic.place, len(synthetic)))


def read_settings(synthetic_dir: str | Path) -> dict[str, Any]:
    """Settings saved by the generator (bundle, digest of its weights, appearance, seed); empty for other sets.

    Raises:
        RetinaError: the file exists but is not a JSON object.
    """
    path = Path(synthetic_dir) / "settings.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise RetinaError(f"{path} is not valid JSON: write the set again, or remove the file") from error
    if not isinstance(settings, dict):
        raise RetinaError(f"{path} must be a JSON object: write the set again, or remove the file")
    return settings


class _Names:
    """Real eyes by name and by file name, and the data set of each patient."""

    def __init__(self, real: Sequence[Item]) -> None:
        stems = Counter(_stem(item) for item in real)
        self.eyes = {_stem(item): item for item in real if stems[_stem(item)] == 1 and not _stem(item).isdecimal()}
        self.eyes |= {str(item["name"]): item for item in real}
        self.patients = {str(item["patient"]): str(item["dataset"]) for item in real}


def _listed(place: Place, join: bool) -> list[Item]:
    """Items with their split; ``join`` assigns photographs that are one picture to one patient."""
    datalist = _recognised(place, join)
    if isinstance(datalist, RetinaError):  # not raised above, where only the first of nested errors would be shown
        items = _photographs(Path(place), join) if isinstance(place, str | Path) else []
        if not items:
            raise RetinaError(f"{datalist}; nor does it hold photographs alone")
        alone: list[Datalist] = [{"training": items}]
        datalist = merge(join_twins(alone) if join else alone)
    items = [item | {"split": split} for split in SPLITS for item in datalist[split]]
    _refuse_few(place, len(items))
    return items


def _recognised(place: Place, join: bool) -> Datalist | UnknownLayoutError | NoVesselMapsError:
    try:
        return list_eyes(place, join)
    except (UnknownLayoutError, NoVesselMapsError) as error:
        return error


def _photographs(folder: Path, join: bool) -> list[Item]:
    """Items of a folder without a known layout: its pictures, or those in ``images`` with masks in sibling folders.

    ``join`` assigns photographs of one person to one patient, as far as files and names reveal it.
    """
    if not folder.is_dir():
        return []
    images = pictures_by_name([folder]) or pictures_by_name(folders_at([folder], *KINDS["image"].folders))
    masks = {
        key: pictures_by_name(inner for name in kind.folders for inner in folders_at([folder], name))
        for key, kind in KINDS.items()
        if key != "image"
    }
    refuse_unpaired(lonely(images, *masks.values()))
    texts, known = {"dataset": folder.resolve().name}, identify(images) if join else {}
    return [
        {"image": str(path), "patient": name, "name": name}
        | known.get(name, {})
        | texts
        | {key: str(found[name]) for key, found in masks.items() if name in found}
        for name, path in images.items()
    ]


def _manifest_conditions(folder: Path, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
    """Lines of the manifest by the real path of their photograph; empty for phantoms, whose manifest has no more."""
    if not folder.is_dir() or all(str(item["patient"]).startswith(PHANTOM) for item in items):
        return {}
    return {os.path.realpath(folder / line["image"]): line for line in read_manifest(folder) if "image" in line}


def _without_pseudonyms(line: Mapping[str, Any], aliases: Aliases) -> dict[str, Any]:
    """A line of the manifest with pseudonyms replaced by the names of the real set."""
    plain = dict(line)
    if "patient" in line:
        plain["patient"] = aliases.patient(str(line["patient"]))
    condition = line.get("condition")
    if isinstance(condition, Mapping) and isinstance(condition.get("name"), str):
        plain["condition"] = {**condition, "name": aliases.eye(condition["name"])}
    return plain


def _conditioned(item: Item, line: Mapping[str, Any], real: _Names) -> Item:
    """An item with its condition and the data set of the condition."""
    condition = line.get("condition")
    patient = str(line.get("patient", item["patient"]))
    if isinstance(condition, Mapping) and isinstance(condition.get("name"), str):
        dataset = str(condition.get("dataset") or real.patients.get(patient, item["dataset"]))
        latent = line.get("latent")
        known = latent if isinstance(latent, int) and 0 <= latent < 2**63 else 0
        return _made_from(item, patient, condition["name"], dataset, bool(condition.get("augmented", False)), known)
    eye = real.eyes.get(str(item["name"])) or real.eyes.get(_stem(item))
    if eye is not None and (
        patient == eye["patient"] or _own(patient) in (item["name"], _stem(item), _own(eye["patient"]))
    ):
        return _made_from(item, eye["patient"], eye["name"], eye["dataset"])
    if patient in real.patients or patient.startswith(PHANTOM):
        return _made_from(item, patient, str(item["name"]), real.patients.get(patient) or str(item["dataset"]))
    return item | {"patient": patient}


def _own(patient: str) -> str:
    """A patient's name without its data set."""
    return patient.rpartition("/")[2]


def _made_from(item: Item, patient: str, name: str, dataset: str, augmented: bool = False, latent: int = 0) -> Item:
    condition = {"patient": patient, "name": name, "augmented": augmented, "latent": latent}
    return item | {"patient": patient, "dataset": dataset, "condition": condition}


def _unpack(item: Item, packed: Mapping[str, Tensor]) -> Eye:
    pictures = {key: _from_png(content) for key, content in packed.items()}
    shape = pictures["fov"].shape
    empty = [key for key in item.get("annotated", ()) if key in MEASURED and key not in pictures]
    masks = {key: pictures[key].astype(np.float32) / 255 for key in MEASURED if key in pictures}
    return Eye(
        name=str(item["name"]),
        patient=str(item["patient"]),
        dataset=str(item["dataset"]),
        image=np.ascontiguousarray(pictures["image"].transpose(2, 0, 1)),
        fov=pictures["fov"] > 0,
        masks=masks | {key: np.zeros(shape, np.float32) for key in empty},
        vessel_share=pictures[SHARE].astype(np.float32) / np.float32(255) if SHARE in pictures else None,
        split=item["split"],
        condition=Condition(**item["condition"]) if "condition" in item else None,
    )


def _as_png(picture: NDArray[np.uint8]) -> Tensor:
    """(C, H, W) as a tensor of bytes, which torch saves without pickling other objects."""
    content = BytesIO()
    pixels = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(content, "PNG", compress_level=1)
    return torch.frombuffer(bytearray(content.getvalue()), dtype=torch.uint8)


def _from_png(content: Tensor) -> NDArray[np.uint8]:
    with Image.open(BytesIO(content.numpy().tobytes()), formats=("PNG",)) as picture:
        return np.asarray(picture)


def _refuse_few(place: Place, count: int) -> None:
    if count < FEWEST:
        raise RetinaError(
            f"{_named(place)} has {count} photograph{'s' * (count != 1)}: an evaluation takes two or more"
        )


def _refuse_shared(synthetic_dir: str | Path, items: Sequence[Item], real: Iterable[Item]) -> None:
    files = {os.path.realpath(item["image"]) for item in real}
    shared = sum(os.path.realpath(item["image"]) in files for item in items)
    if shared == len(items):
        raise RetinaError(_is_real(synthetic_dir, shared))
    if shared:
        raise RetinaError(
            f"{shared} of the {len(items)} photographs of {synthetic_dir} are files of the real set: give a synthetic "
            "set without them"
        )


def _is_real(place: Place, count: int) -> str:
    return (
        f"{_named(place)} is the real set, or a part of it: each of its {count} photographs is a real one; give a set "
        "that was generated"
    )


def _digest(eye: Eye) -> bytes:
    return hashlib.sha256(eye.image.tobytes()).digest()


def _stem(item: Item) -> str:
    return Path(item["image"]).name.split(".")[0]


def _as_list(place: Place) -> list[str | Path]:
    return [place] if isinstance(place, str | Path) else list(place)


def _named(place: Place) -> str:
    return ", ".join(map(str, _as_list(place)))
