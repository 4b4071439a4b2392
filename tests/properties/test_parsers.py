"""Whatever JSON a datalist or a manifest holds, its reader keeps what it promises or refuses in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retina_monai.data.listing.datalist_file import read_datalist_file
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.errors import RetinaError
from retina_monai.kinds import PICTURES

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8).filter(str.strip)
FILE_NAME = TEXT.filter(lambda text: text not in (".", "..") and not set(text) & {"/", "\\"})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*PICTURES[:4], "patient", "label", "name", "grade", "laterality", "annotated", "more"])
ITEMS = st.builds(
    lambda good, strange: good | strange,
    st.fixed_dictionaries({"image": TEXT, "patient": TEXT}),
    st.dictionaries(KEYS, ANYTHING, max_size=1),
)
LISTS = st.dictionaries(st.sampled_from(SPLITS), st.lists(ITEMS, min_size=1, max_size=4), min_size=1)


def _write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.unlink(missing_ok=True)  # faster than to write over it
    path.write_bytes(content)
    return path


def _refused(error: pytest.ExceptionInfo[RetinaError], path: Path) -> bool:
    return str(error.value).startswith(str(path)) and len(str(error.value).splitlines()) == 1


@given(content=LISTS | ANYTHING)
def test_json_is_a_datalist_or_is_refused(tmp_path: Path, content: Any) -> None:
    path = _write(tmp_path, "datalist.json", json.dumps(content).encode())
    try:
        found = read_datalist_file(path)
    except RetinaError as error:
        assert str(error).startswith(str(path)) and len(str(error).splitlines()) == 1
        return
    patients = [{item["patient"] for item in found[split]} for split in SPLITS]
    assert sum(map(len, patients)) == len(set().union(*patients)) > 0
    for split in SPLITS:
        assert len(found[split]) == len(content.get(split, []))
        for item, given_item in zip(found[split], content.get(split, []), strict=True):
            assert item["image"] == os.path.realpath(tmp_path / given_item["image"])
            assert item["patient"] == given_item["patient"] and item.get("more") == given_item.get("more")
    json.dumps(found, allow_nan=False)


@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_bytes_are_no_datalist(tmp_path: Path, content: bytes) -> None:
    path = _write(tmp_path, "datalist.json", content)
    with pytest.raises(RetinaError) as error:
        read_datalist_file(path)
    assert _refused(error, path)


@given(names=st.lists(FILE_NAME, min_size=1, max_size=4, unique=True), data=st.data())
def test_a_manifest_cut_anywhere_holds_its_whole_lines(tmp_path: Path, names: list[str], data: st.DataObject) -> None:
    samples = [dict.fromkeys(("image", "vessel", "fov", "patient", "dataset"), "x") | {"name": name} for name in names]
    lines = [json.dumps(sample).encode() for sample in samples]
    content = b"".join(line + b"\n" for line in lines)
    end = data.draw(st.integers(0, len(content)))
    _write(tmp_path, "manifest.jsonl", content[:end])
    whole = sum(len(b"\n".join(lines[: number + 1])) <= end for number in range(len(lines)))
    assert read_manifest(tmp_path) == samples[:whole]


@given(lines=st.lists(st.binary(max_size=12) | ANYTHING.map(lambda value: json.dumps(value).encode()), max_size=3))
def test_lines_of_anything_are_no_samples(tmp_path: Path, lines: list[bytes]) -> None:
    path = _write(tmp_path, "manifest.jsonl", b"\n".join(lines))
    try:
        assert read_manifest(tmp_path) == []
    except RetinaError as error:
        assert str(error).startswith(f"{path}: line ") and len(str(error).splitlines()) == 1
