"""Which samples of a generated set are finished: whole lines count, cut ones do not, and others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retina_monai.data.listing.manifest import manifest_path, merge_manifest, read_manifest
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


NO_SAMPLE = [
    "{}",
    "[]",
    "null",
    "3",
    '"text"',
    '{"name": "a"}',
    A.replace('"patient"', '"whose"'),
    A.replace('"a"', "7"),
]


@pytest.mark.parametrize("line", [*NO_SAMPLE, A.replace('"a"', '" "'), A.replace('"HRF/01"', "null")])
@pytest.mark.parametrize("before", ["", f"{B}\n{B[:9]}\n"])
def test_json_that_is_no_sample_is_named_with_its_line(tmp_path: Path, line: str, before: str) -> None:
    path = write(tmp_path, f"{before}{line}\n")
    with pytest.raises(RetinaError) as error:
        read_manifest(tmp_path)
    assert str(error.value) == (
        f"{path}: line {before.count(chr(10)) + 1} is not a sample: each has name, patient, dataset and the path "
        "of a picture as text; remove it, or give another folder"
    )


@pytest.mark.parametrize("name", ["../a", "a/b", "/a", "a\\b", ".", "..", "a\0", "\ud800"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"{A}\n{json.dumps(sample(name))}\n")
    with pytest.raises(RetinaError, match=r"manifest\.jsonl: line 2: name is '.+', which cannot be a file name"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("line", [b"name: a", b"\x89PNG", b"[" * 100_000, b'{"a":' + b"[" * 100_000, b"1,2,3"])
def test_what_is_not_the_beginning_of_a_line_is_refused(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, A.encode() + b"\n" + line + b"\n")
    with pytest.raises(RetinaError, match=r"manifest\.jsonl: line 2 is not JSON: remove it, or give another folder"):
        read_manifest(tmp_path)


def test_names_beyond_ascii_are_names(tmp_path: Path) -> None:
    write(tmp_path, "".join(json.dumps(sample(name)) + "\n" for name in ("Auge ä", "a\nb", "\udcff", "..a")))
    assert names(tmp_path) == ["Auge ä", "a\nb", "\udcff", "..a"]


ORDER = (0, 1, 2, 4, 9, 10)


def append(folder: Path, rank: int, *indices: int, end: str = "") -> None:
    """Lines as a process writes them, and the beginning of one that it did not finish."""
    with manifest_path(folder, rank).open("a") as file:
        file.writelines(json.dumps(sample(f"s{index}", index=index)) + "\n" for index in indices)
        file.write(end)


def test_lines_of_all_processes_are_brought_together_by_their_index(tmp_path: Path) -> None:
    append(tmp_path, 0, 4, 0, end=A[:30])
    append(tmp_path, 1, 1, 10)
    append(tmp_path, 2, 2, 9, end="\0\0")
    assert sorted(names(tmp_path)) == sorted(f"s{index}" for index in ORDER), "before, too"
    merge_manifest(tmp_path)
    (tmp_path / "expected").mkdir()
    append(tmp_path / "expected", 0, *ORDER)
    assert manifest_path(tmp_path).read_bytes() == manifest_path(tmp_path / "expected").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["manifest.jsonl"]


def test_what_an_interruption_left_in_two_files_is_there_once(tmp_path: Path) -> None:
    """It came when all was together and the parts were still there."""
    append(tmp_path, 0, 0, 1, 2, 3)
    append(tmp_path, 1, 1, 3)
    whole = manifest_path(tmp_path).read_bytes()
    merge_manifest(tmp_path)
    assert manifest_path(tmp_path).read_bytes() == whole and not manifest_path(tmp_path, 1).exists()
    merge_manifest(tmp_path)
    assert manifest_path(tmp_path).read_bytes() == whole


def test_samples_of_one_index_and_of_none_are_all_kept(tmp_path: Path) -> None:
    """As where a map came into the folder between two runs."""
    lines = [sample("b", index=1), sample("c", index=0), sample("a", index=0), sample("c", index=0, patient="x")]
    without = {key: value for key, value in sample("d").items() if key != "index"}
    write(tmp_path, "".join(json.dumps(line) + "\n" for line in [*lines, without]))
    merge_manifest(tmp_path)
    assert [(line["name"], line["patient"]) for line in read_manifest(tmp_path)] == [
        ("d", "HRF/01"),
        ("c", "x"),
        ("a", "HRF/01"),
        ("b", "HRF/01"),
    ]


def test_nothing_to_bring_together_is_an_empty_manifest(tmp_path: Path) -> None:
    merge_manifest(tmp_path)
    assert manifest_path(tmp_path).read_bytes() == b"" and read_manifest(tmp_path) == []
