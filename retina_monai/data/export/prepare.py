"""Look over data sets before training: what was found, what is missing; and write it down in a form to train on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from retina_monai.data.export.nnunet import nnunet_folder, write_nnunet
from retina_monai.data.files.checking import check_contents
from retina_monai.data.files.reading import read_size
from retina_monai.data.listing.layout import SPLITS, Datalist, Item, Layout, full_path
from retina_monai.data.listing.layouts import LAYOUTS, find_datalist, fingerprint, refuse_missing
from retina_monai.errors import RetinaError
from retina_monai.files import write_json
from retina_monai.kinds import LESIONS, PICTURES

__all__ = ["describe_datalist", "list_layouts", "prepare", "write_datalist"]

FORMATS = {"datalist": "datalist.json", "nnunet": "nnUNet_raw"}
"""What is written, and its place unless another is given."""

SIDES = {"L": "left", "R": "right"}


def prepare(
    directories: Sequence[str | Path],
    output: str | Path | None = None,
    overwrite: bool = False,
    skip_unreadable: bool = False,
    format: str = "datalist",
    dataset_id: int = 501,
) -> str:
    """Find the eyes of data sets, decode and check every picture, and write them down.

    Args:
        directories: as ``dataset_dir`` of :func:`retina_monai.data.listing.layouts.find_datalist`.
        output: for a datalist the file to write, ``datalist.json`` by default, with paths relative to its folder; for
            nnU-Net the folder in which its data set is made, ``nnUNet_raw`` by default.
        overwrite: whether it may take the place of one that is there.
        skip_unreadable: leave out eyes with pictures that are broken or make no sense, and log them.
        format: 'datalist', or 'nnunet' (:func:`retina_monai.data.export.nnunet.write_nnunet`).
        dataset_id: number of nnU-Net's data set.

    Returns:
        What was found, for a person to read.

    Raises:
        RetinaError: as ``find_datalist``, ``check_contents`` and ``write_nnunet``; a format that is none; ``output``
            is no name of a datalist, is there already or cannot be written.
    """
    if not directories:
        raise RetinaError("prepare needs a directory: name one or several that hold data sets")
    if format not in FORMATS:
        raise RetinaError(f"format is {format!r}: it takes {' or '.join(FORMATS)}")
    refuse_missing(directories)
    output = Path(output or FORMATS[format]).expanduser()
    if format == "datalist" and output.suffix != ".json":
        raise RetinaError(f"output is {output}: name the file of the datalist, which ends in .json")
    if format == "datalist" and output.exists() and not overwrite:
        raise RetinaError(f"{output} is there already: give another --output, or --overwrite true")
    datalist = find_datalist(directories, skip_unreadable)
    if format == "nnunet":
        nnunet_folder(datalist, output, dataset_id, overwrite)  # refuses before the long work
    datalist = _checked(datalist, skip_unreadable)
    if format == "nnunet":
        written = _write_for_nnunet(datalist, output, dataset_id, overwrite)
    else:
        write_datalist(datalist, output)
        written = f"{output} lists them; train on it with --dataset_dir {output}"
    return f"{describe_datalist(datalist)}\n\n{written}"


def describe_datalist(datalist: Datalist) -> str:
    """Per data set: eyes and patients, splits, sizes, where fields of view come from, lateralities, what is missing."""
    items = [item for split in SPLITS for item in datalist[split]]
    sets = {str(item["dataset"]): None for item in items}
    return "\n\n".join(_describe_set(name, datalist) for name in sets)


def write_datalist(datalist: Datalist, path: str | Path) -> None:
    """Write a datalist in the form of MONAI's ``load_decathlon_datalist``: whole, or not at all.

    Raises:
        RetinaError: the file cannot be written.
    """
    folder = os.path.realpath(Path(path).parent)
    lists = {split: [_relative(item, folder) for item in items] for split, items in datalist.items() if items}
    names = sorted({str(item["dataset"]) for items in datalist.values() for item in items})
    about = {"name": " + ".join(names), "description": "eyes with vessel maps, split by patient"}
    write_json(path, about | {"fingerprint": fingerprint(datalist)} | lists)


def list_layouts() -> str:
    """The layouts that are recognised, and how to get each data set."""
    sets = "\n\n".join(_describe_layout(layout) for layout in LAYOUTS)
    return f"{sets}\n\nThe terms are given as others quote them: read them where you get a set, before you publish."


def _checked(datalist: Datalist, skip_unreadable: bool) -> Datalist:
    passing = check_contents([item for split in SPLITS for item in datalist[split]], skip_unreadable)
    kept = {item["image"] for item in passing}
    return {split: [item for item in datalist[split] if item["image"] in kept] for split in SPLITS}


def _write_for_nnunet(datalist: Datalist, output: Path, dataset_id: int, overwrite: bool) -> str:
    folder = write_nnunet(datalist, output, dataset_id, overwrite)
    return (
        f"{folder} is a raw data set of nnU-Net. With nnUNet_raw={output.resolve()}, run nnUNetv2_plan_and_preprocess "
        f"-d {dataset_id}, then copy {folder / 'splits_final.json'} to {folder.name} in nnUNet_preprocessed: else "
        "nnU-Net draws folds that mix patients"
    )


def _describe_layout(layout: Layout) -> str:
    lines = {"files": layout.tree, "from": layout.link, "terms": layout.terms}
    texts = [f"    {title:<8}{text}" for title, text in lines.items()] + [f"    {text}" for text in layout.details]
    return "\n".join([f"{layout.name}: {layout.about}", *texts])


def _describe_set(name: str, datalist: Datalist) -> str:
    splits = {split: [item for item in datalist[split] if item["dataset"] == name] for split in SPLITS}
    items = [item for split in SPLITS for item in splits[split]]
    patients = len({item["patient"] for item in items})
    sizes = Counter("{1} x {0}".format(*read_size(item["image"])) for item in items)
    lines = {
        "splits": ", ".join(f"{len(splits[split])} {split}{_unlabelled(splits[split])}" for split in SPLITS),
        "sizes": ", ".join(f"{size} ({count})" for size, count in sizes.most_common(3)) + ", ..." * (len(sizes) > 3),
        "vessel maps": _count(items, "vessel", "given", "photographs have none"),
        "field of view": _count(items, "fov", "given", "computed from the photograph"),
        "laterality": _lateralities(items),
        "lesions": _masks(items, LESIONS),
        "grades": _grades(items),
        "more masks": _masks(items, [key for key in PICTURES[2:] if key != "fov" and key not in LESIONS]),
        "missing": _missing(name, len(items)),
    }
    body = "\n".join(f"    {title:<15}{text}" for title, text in lines.items())
    return f"{name}: {len(items)} eyes of {patients} patients\n{body}"


def _unlabelled(items: Sequence[Item]) -> str:
    count = sum("vessel" not in item for item in items)
    return f" ({count} without a vessel map)" if count else ""


def _count(items: Sequence[Item], key: str, present: str, absent: str) -> str:
    there = sum(key in item for item in items)
    counts = {present: there, absent: len(items) - there}
    return ", ".join(f"{count} {text}" for text, count in counts.items() if count)


def _lateralities(items: Sequence[Item]) -> str:
    counts = Counter(SIDES.get(item.get("laterality", ""), "unknown") for item in items)
    return ", ".join(f"{count} {side}" for side, count in sorted(counts.items()))


def _masks(items: Sequence[Item], keys: Sequence[str]) -> str:
    """Of each kind of mask how many there are, and in how many eyes it was looked for and not found."""
    texts = []
    for key in keys:
        there = sum(key in item for item in items)
        empty = sum(key not in item and key in item.get("annotated", ()) for item in items)
        texts += [f"{there} {key}" + (f" ({empty} eyes without)" if empty else "")] if there or empty else []
    return ", ".join(texts) or "none"


def _grades(items: Sequence[Item]) -> str:
    counts = Counter(item["grade"] for item in items if "grade" in item)
    texts = [f"{count} of grade {grade}" for grade, count in sorted(counts.items())]
    unknown = len(items) - counts.total()
    return ", ".join([*texts, f"{unknown} unknown"] if unknown else texts)


def _missing(name: str, found: int) -> str:
    count = next((layout.count for layout in LAYOUTS if layout.name == name), None)
    return f"{count - found} of the {count} of the complete set" if count and count > found else "nothing"


def _relative(item: Item, folder: str) -> Item:
    """An item with paths from a folder, and its vessel map as ``label`` too: the mask's key in MONAI's datalists."""
    paths = {key: os.path.relpath(full_path(item[key]), folder) for key in PICTURES if key in item}
    label = {"label": paths["vessel"]} if "vessel" in paths else {}
    return item | paths | label
