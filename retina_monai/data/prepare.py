"""Look over data sets before training: what was found, what is missing; and write it down as ``datalist.json``."""

from __future__ import annotations

import os
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from retina_monai.data.layout import PICTURES, SPLITS, Datalist, Item
from retina_monai.data.layouts import LAYOUTS, find_datalist, fingerprint
from retina_monai.data.reading import read_size
from retina_monai.errors import RetinaError
from retina_monai.files import write_json

__all__ = ["describe_datalist", "list_layouts", "prepare", "write_datalist"]

SIDES = {"L": "left", "R": "right"}


def prepare(directories: Sequence[str | Path], output: str | Path = "datalist.json", overwrite: bool = False) -> str:
    """Find the eyes of data sets and write them to a datalist.

    Args:
        directories: as ``dataset_dir`` of :func:`retina_monai.data.layouts.find_datalist`.
        output: the file to write; the paths in it are relative to its folder.
        overwrite: whether it may take the place of one that is there.

    Returns:
        What was found, for a person to read.

    Raises:
        RetinaError: as ``find_datalist``; ``output`` is there already or cannot be written.
    """
    if not directories:
        raise RetinaError("prepare needs a directory: name one or several that hold data sets")
    output = Path(output)
    if output.exists() and not overwrite:
        raise RetinaError(f"{output} is there already: give another --output, or --overwrite true")
    datalist = find_datalist(directories)
    write_datalist(datalist, output)
    return f"{describe_datalist(datalist)}\n\n{output} lists them; train on it with --dataset_dir {output}"


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
    sets = "\n\n".join(
        textwrap.dedent(f"""\
        {layout.name}: {layout.about}
            files   {layout.tree}
            from    {layout.link}
            terms   {layout.terms}""")
        for layout in LAYOUTS
    )
    return f"{sets}\n\nThe terms are given as others quote them: read them where you get a set, before you publish."


def _describe_set(name: str, datalist: Datalist) -> str:
    splits = {split: [item for item in datalist[split] if item["dataset"] == name] for split in SPLITS}
    items = [item for split in SPLITS for item in splits[split]]
    patients = len({item["patient"] for item in items})
    sizes = Counter("{1} x {0}".format(*read_size(item["image"])) for item in items)
    lines = {
        "splits": ", ".join(f"{len(splits[split])} {split}" for split in SPLITS),
        "sizes": ", ".join(f"{size} ({count})" for size, count in sizes.most_common(3)) + ", ..." * (len(sizes) > 3),
        "field of view": _count(items, "fov", "given", "computed from the photograph"),
        "laterality": _lateralities(items),
        "more": ", ".join(key for key in PICTURES[2:] if key != "fov" and any(key in item for item in items)) or "none",
        "missing": _missing(name, len(items)),
    }
    body = "\n".join(f"    {title:<15}{text}" for title, text in lines.items())
    return f"{name}: {len(items)} eyes of {patients} patients\n{body}"


def _count(items: Sequence[Item], key: str, present: str, absent: str) -> str:
    there = sum(key in item for item in items)
    counts = {present: there, absent: len(items) - there}
    return ", ".join(f"{count} {text}" for text, count in counts.items() if count)


def _lateralities(items: Sequence[Item]) -> str:
    counts = Counter(SIDES.get(item.get("laterality", ""), "unknown") for item in items)
    return ", ".join(f"{count} {side}" for side, count in sorted(counts.items()))


def _missing(name: str, found: int) -> str:
    count = next((layout.count for layout in LAYOUTS if layout.name == name), None)
    return f"{count - found} of the {count} of the complete set" if count and count > found else "nothing"


def _relative(item: Item, folder: str) -> Item:
    paths = {key: os.path.relpath(os.path.realpath(item[key]), folder) for key in PICTURES if key in item}
    return item | paths
