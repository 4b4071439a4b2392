"""Which samples of a generated set are finished: whole lines count, cut ones do not, and others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retina_monai.data.manifest import read_manifest
from retina_monai.errors import RetinaError


def sample(name: str, **more: Any) -> dict[str, Any]:
    paths = {kind: f"{kind}s/{name}.png" for kind in ("image", "vessel", "fov")}
    return {"name": name, **paths, "patient": "HRF/01", "dataset": "synthetic", "index": 3, **more}


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "manifest.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def names(folder: Path) -> list[str]:
    return [line["name"] for line in read_manifest(folder)]


A, B = json.dumps(sample("a")), json.dumps(sample("b"))


def test_whole_lines_are_read_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, f"{B}\n{A}\n")
    assert read_manifest(tmp_path) == [sample("b"), sample("a")]
    assert read_manifest(tmp_path / "absent") == []


def test_the_last_line_counts_without_its_end_and_windows_ends_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path, f"\ufeff{A}\r\n{B}")
    assert names(tmp_path) == ["a", "b"]


def test_a_line_cut_at_any_place_does_not_count(tmp_path: Path) -> None:
    for length in range(len(B)):
        write(tmp_path, f"{A}\n{B[:length]}")
        assert names(tmp_path) == ["a"], B[:length]


@pytest.mark.parametrize("cut", ["", B[:20], B[:-1], "\0" * 30, B[:20] + "\0" * 30])
def test_a_cut_line_before_whole_ones_does_not_spoil_them(tmp_path: Path, cut: str) -> None:
    write(tmp_path, f"{cut}\n{A}\n{cut}\n{B}\n")
    assert names(tmp_path) == ["a", "b"]


def test_line_separators_within_a_text_end_no_line(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(sample("a", patient="x\u2028y\x85z"), ensure_ascii=False))
    assert read_manifest(tmp_path)[0]["patient"] == "x\u2028y\x85z"


def test_of_two_lines_of_a_sample_the_later_counts(tmp_path: Path) -> None:
    write(tmp_path, f"{A}\n{B}\n{json.dumps(sample('a', index=9))}\n")
    assert [(line["name"], line["index"]) for line in read_manifest(tmp_path)] == [("a", 9), ("b", 3)]


NO_SAMPLE = ["{}", "[]", "null", "3", '"text"', '{"name": "a"}', A.replace('"fov"', '"of"'), A.replace('"a"', "7")]


@pytest.mark.parametrize("line", [*NO_SAMPLE, A.replace('"a"', '" "'), A.replace('"HRF/01"', "null")])
@pytest.mark.parametrize("before", ["", f"{B}\n{B[:9]}\n"])
def test_json_that_is_no_sample_is_named_with_its_line(tmp_path: Path, line: str, before: str) -> None:
    path = write(tmp_path, f"{before}{line}\n")
    with pytest.raises(RetinaError) as error:
        read_manifest(tmp_path)
    assert str(error.value) == (
        f"{path}: line {before.count(chr(10)) + 1} is no sample: each has name, image, vessel, fov, patient and "
        "dataset as text; remove it, or give another folder"
    )


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "a\\b", ".", "..", "a\0", "\ud800"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{A}\n{json.dumps(sample(name))}\n")
    with pytest.raises(RetinaError, match=r"manifest\.jsonl: line 2: name is '.+', which no file can be called"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", [b"name: a", b"\x89PNG", b"[" * 100_000, b'{"a":' + b"[" * 100_000, b"1,2,3"])
def test_what_is_not_the_beginning_of_a_line_is_refused(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, A.encode() + b"\n" + line + b"\n")
    with pytest.raises(RetinaError, match=r"manifest\.jsonl: line 2 is not JSON: remove it, or give another folder"):
        read_manifest(tmp_path)


def test_names_beyond_ascii_are_names(tmp_path: Path) -> None:
    write(tmp_path, "".join(json.dumps(sample(name)) + "\n" for name in ("Auge ä", "a\nb", "\udcff", "..a")))
    assert names(tmp_path) == ["Auge ä", "a\nb", "\udcff", "..a"]
