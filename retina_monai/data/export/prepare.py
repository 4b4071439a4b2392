"""Check data sets before training, summarise them, and write them as a datalist or for nnU-Net."""

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
"""Output formats with their default paths."""

SIDES = {"L": "left", "R": "right"}


def prepare(
    directories: Sequence[str | Path],
    output: str | Path | None = None,
    overwrite: bool = False,
    skip_unreadable: bool = False,
    format: str = "datalist",
    dataset_id: int = 501,
) -> str:
    """List the eyes of data sets, decode and check all images, and write the result.

    Args:
        directories: data sets, see ``dataset_dir`` of :func:`retina_monai.data.listing.layouts.find_datalist`.
        output: datalist to write, with paths relative to its folder (default: ``datalist.json``), or folder of nnU-Net
            in which its data set is created (default: ``nnUNet_raw``).
        overwrite: whether to replace an existing output.
        skip_unreadable: whether to leave out and log eyes with broken or invalid images.
        format: 'datalist' or 'nnunet' (:func:`retina_monai.data.export.nnunet.write_nnunet`).
        dataset_id: number of nnU-Net's data set.

    Returns:
        A readable summary of the data sets.

    Raises:
        RetinaError: if the format is unknown; if ``output`` is not a JSON file, exists or cannot be written; or as
            ``find_datalist``, ``check_contents`` and ``write_nnunet``.
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
        nnunet_folder(datalist, output, dataset_id, overwrite)  # fails early
    datalist = _checked(datalist, skip_unreadable)
    if format == "nnunet":
        written = _write_for_nnunet(datalist, output, dataset_id, overwrite)
    else:
        write_datalist(datalist, output)
        written = f"{output} lists them; train on it with --dataset_dir {output}"
    return f"{describe_datalist(datalist)}\n\n{written}"


def describe_datalist(datalist: Datalist) -> str:
    """Summarise eyes, patients, splits, sizes, masks, lateralities, grades and missing photographs per data set."""
    items = [item for split in SPLITS for item in datalist[split]]
    sets = {str(item["dataset"]): None for item in items}
    return "\n\n".join(_describe_set(name, datalist) for name in sets)


def write_datalist(datalist: Datalist, path: str | Path) -> None:
    """Write a datalist in the format of MONAI's ``load_decathlon_datalist``, completely or not at all.

    Raises:
        RetinaError: if the file cannot be written.
    """
    folder = os.path.realpath(Path(path).parent)
    lists = {split: [_relative(item, folder) for item in items] for split, items in datalist.items() if items}
    names = sorted({str(item["dataset"]) for items in datalist.values() for item in items})
    about = {"name": " + ".join(names), "description": "eyes with vessel maps, split by patient"}
    write_json(path, about | {"fingerprint": fingerprint(datalist)} | lists)


def list_layouts() -> str:
    """The known layouts, and how to get each data set."""
    sets = "\n\n".join(_describe_layout(layout) for layout in LAYOUTS)
    return f"{sets}\n\nThe terms are quoted from secondary sources: read the original terms before you publish."


def _checked(datalist: Datalist, skip_unreadable: bool) -> Datalist:
    passing = check_contents([item for split in SPLITS for item in datalist[split]], skip_unreadable)
    kept = {item["image"] for item in passing}
    return {split: [item for item in datalist[split] if item["image"] in kept] for split in SPLITS}


def _write_for_nnunet(datalist: Datalist, output: Path, dataset_id: int, overwrite: bool) -> str:
    folder = write_nnunet(datalist, output, dataset_id, overwrite)
    return (
        f"{folder} is a raw data set of nnU-Net. With nnUNet_raw={output.resolve()}, run nnUNetv2_plan_and_preprocess "
        f"-d {dataset_id}, then copy {folder / 'splits_final.json'} to {folder.name} in nnUNet_preprocessed: otherwise "
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
    """Numbers of masks by kind, with the number of annotated eyes without the structure."""
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
    """Make the paths of an item relative, and add the vessel map as ``label``, the mask's key in MONAI's datalists."""
    paths = {key: os.path.relpath(full_path(item[key]), folder) for key in PICTURES if key in item}
    label = {"label": paths["vessel"]} if "vessel" in paths else {}
    return item | paths | label
