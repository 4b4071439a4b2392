"""Write eyes as a raw data set of nnU-Net v2 (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z).

The format is that of nnU-Net's ``documentation/dataset_format.md``: a colour photograph is one PNG of three channels
with the suffix ``_0000``, and labels are integers from 0.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.files.writing import is_synthetic, software, write_png
from retina_monai.data.listing.layout import SPLITS, Datalist, Item
from retina_monai.errors import RetinaError
from retina_monai.files import make_folder, make_partial, write_json

__all__ = ["nnunet_folder", "patient_folds", "write_nnunet"]

logger = logging.getLogger("retina_monai")

FOLDS = 5  # number of folds of nnU-Net's cross-validation
IDS = range(1, 1000)


def write_nnunet(datalist: Datalist, directory: str | Path, dataset_id: int = 501, overwrite: bool = False) -> Path:
    """Write the data set ``Dataset<id>_NAME``, completely or not at all.

    It is written to a hidden folder that is then renamed. Training and validation eyes are in ``imagesTr`` and
    ``labelsTr`` (0 for background, 1 for vessels), test eyes in ``imagesTs`` and ``labelsTs``. Eyes without a vessel
    map are left out. ``splits_final.json`` holds the :func:`patient_folds`. After preprocessing, nnU-Net reads it from
    ``nnUNet_preprocessed/Dataset<id>_NAME``.

    Args:
        datalist: datalist from :func:`retina_monai.data.listing.layouts.find_datalist`, whose item names are unique.
        directory: folder ``nnUNet_raw``, created if it does not exist.
        dataset_id: number in the name of the data set, 1 to 999.
        overwrite: whether to replace an existing data set of the same name.

    Returns:
        The folder of the data set.

    Raises:
        RetinaError: if a data set with that number exists; if training and validation have fewer than two patients; if
            an image cannot be read; or if the folder cannot be written.
    """
    target = nnunet_folder(datalist, directory, dataset_id, overwrite)
    eyes = _with_vessels(datalist)
    folds = patient_folds(eyes)
    make_folder(directory)
    try:
        partial = make_partial(target)
    except OSError as error:
        raise RetinaError(f"{directory} cannot be written ({error.strerror}); choose another folder") from error
    try:
        _write_set(partial, eyes, folds, target.name)
        _take_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def patient_folds(datalist: Datalist) -> list[dict[str, list[str]]]:
    """Folds by patient for nnU-Net's cross-validation.

    Fold 0 validates on the eyes of ``validation``. The other four validate on the patients of ``training``, distributed
    in text order. Each eye is in one validation set, so that nnU-Net compares its configurations as usual.

    Returns:
        For each fold, the sorted item names of ``train`` and ``val``. There are fewer than five folds if there are
        fewer patients.

    Raises:
        RetinaError: if training and validation have fewer than two patients.
    """
    eyes = datalist["training"] + datalist["validation"]
    validating = {item["patient"] for item in datalist["validation"]}
    training = sorted({item["patient"] for item in eyes} - validating)
    rest = FOLDS - bool(validating)
    groups = [validating, *(set(training[fold::rest]) for fold in range(rest))]
    held_out = [group for group in groups if group]
    if len(held_out) < 2:
        raise RetinaError("nnU-Net needs two patients with vessel maps to train and validate on: give more eyes")
    return [
        {
            "train": sorted(item["name"] for item in eyes if item["patient"] not in group),
            "val": sorted(item["name"] for item in eyes if item["patient"] in group),
        }
        for group in held_out
    ]


def nnunet_folder(datalist: Datalist, directory: str | Path, dataset_id: int, overwrite: bool = False) -> Path:
    """The output folder of :func:`write_nnunet`, named after the number and the data sets.

    Raises:
        RetinaError: if the number is invalid or taken.
    """
    if type(dataset_id) is not int or dataset_id not in IDS:
        raise RetinaError(f"dataset_id is {dataset_id!r}: nnU-Net takes a number from {IDS[0]} to {IDS[-1]}")
    sets = sorted({str(item["dataset"]) for split in SPLITS for item in datalist[split]})
    name = re.sub(r"[^A-Za-z0-9]+", "_", "_".join(sets)).strip("_") or "retina"
    target = Path(directory) / f"Dataset{dataset_id:03d}_{name}"
    for taken in sorted(target.parent.glob(f"Dataset{dataset_id:03d}_*")):
        if taken != target:
            raise RetinaError(f"{taken} has the number {dataset_id} already: give another --dataset_id")
        if not overwrite:
            raise RetinaError(f"{taken} is there already: give another --dataset_id, or --overwrite true")
        if not (taken / "dataset.json").is_file():
            raise RetinaError(f"{taken} is not a data set of nnU-Net, it has no dataset.json: move it away")
    return target


def _with_vessels(datalist: Datalist) -> Datalist:
    eyes = {split: [item for item in datalist[split] if "vessel" in item] for split in SPLITS}
    left_out = sum(len(datalist[split]) - len(eyes[split]) for split in SPLITS)
    if left_out:
        logger.warning("left out %d photographs that have no vessel map", left_out)
    return eyes


def _write_set(folder: Path, eyes: Datalist, folds: Sequence[dict[str, list[str]]], name: str) -> None:
    places = {"training": "Tr", "validation": "Tr", "test": "Ts"}
    work = [(item, places[split]) for split in SPLITS for item in eyes[split]]
    for item, place in tqdm(work, "pictures for nnU-Net", unit="eye", disable=None):
        _write_eye(item, folder, place)
    count = sum(place == "Tr" for _, place in work)
    write_json(folder / "splits_final.json", list(folds))
    synthetic = sorted(str(item["name"]) for item, _ in work if is_synthetic(item))
    write_json(folder / "dataset.json", _about(name, count, True if len(synthetic) == len(work) else synthetic))


def _write_eye(item: Item, folder: Path, place: str) -> None:
    synthetic = is_synthetic(item)
    write_png(folder / f"images{place}" / f"{item['name']}_0000.png", read_photograph(item["image"]), synthetic)
    write_png(folder / f"labels{place}" / f"{item['name']}.png", read_mask(item["vessel"], key="vessel"), synthetic)


def _about(name: str, count: int, synthetic: bool | list[str]) -> dict[str, object]:
    """Content of ``dataset.json``. nnU-Net normalises channels of these names by their mean and standard deviation.

    ``synthetic``, which nnU-Net ignores, is true for a synthetic set, lists the synthetic cases of a mixed set, and is
    absent for a real set.
    """
    return {
        "name": name.partition("_")[2],
        "description": f"vessels on fundus photographs, split by patient; written by {software()}",
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "vessel": 1},
        "numTraining": count,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
        **({"synthetic": synthetic} if synthetic else {}),
    }


def _take_place(partial: Path, target: Path) -> None:
    """Rename ``partial`` to ``target``. An existing folder is removed after the new one is in place."""
    old = Path(f"{partial}.old")
    try:
        if target.exists():
            os.rename(target, old)
        os.rename(partial, target)
    except OSError as error:
        if old.exists() and not target.exists():
            os.rename(old, target)
        raise RetinaError(f"{target} cannot be written ({error.strerror}); choose another folder") from error
    shutil.rmtree(old, ignore_errors=True)
