"""Fuzz the parsers of the library's own files with mutations of valid files (atheris, libFuzzer).

    python scripts/fuzz.py --target datalist --runs 200000 [--seed 1]
    python scripts/fuzz.py --target manifest --input crash-...      reproduce a failure

For any input a parser must return valid data or raise a one-line RetinaError that names the file. The exit status is
then 0. Any other exception stops the run and is printed, and the input is saved as crash-... in the current folder.
Needs the extra `dev`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["retina_monai"]):
    from retina_monai.data.adapters.own_table import read_table
    from retina_monai.data.listing.datalist_file import read_datalist_file
    from retina_monai.data.listing.layout import SPLITS
    from retina_monai.data.listing.manifest import NEEDED, read_manifest
    from retina_monai.errors import RetinaError
    from retina_monai.kinds import PICTURES

MAX_BYTES = 4096
MEMORY = "/dev/shm"
PHOTOGRAPHS = {name: Path(f"images/{name}.png") for name in "abc"}
TEXTS = ["", " ", ".", "..", "../eye.png", "/eye.png", "a/b", "a\\b", "ä\n", "a\0b", "\ud800", "\udc80", "L", "x" * 300]
NUMBERS = [0, 1, -1, 4, 5, 2.0, 10**400, 1e300, float("nan"), float("inf"), True, False]
CELLS = ["name", "image", "patient", "split", "grade", "a", "b.PNG", "x/c.jpg", "od", "train", "4.0", "p", '"', " ", ""]
AWKWARD: list[Any] = [*TEXTS, *NUMBERS, None, [], {}, [[]], [{}], {"": None}]
BYTES = [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\n", b"\xff", b"[" * 1200, b"9" * 5000, b'"\\ud800"', b"1e999"]


def eye(key: str, **more: Any) -> dict[str, Any]:
    return {"image": f"images/{key}.png", "vessel": f"vessels/{key}.png", "patient": key, **more}


def datalist_seeds() -> list[bytes]:
    rich = eye(
        "a", dataset="HRF", name="HRF_a", laterality="L", grade=4, annotated=["disc"], disc="d.png", age={"y": 4}
    )
    decathlon = {"image": "./i.png", "label": "./l.png", "patient": "p", "fov": None}
    contents = [
        {"name": "two", "training": [eye("a"), eye("b")], "validation": [eye("c")], "test": [eye("d")]},
        {"training": [rich, rich | {"image": "/other.png", "name": "eye 2"}]},
        {"training": [decathlon], "test": []},
        {"training": [eye("a")], "test": [eye("a")]},
        {"training": [eye("a"), eye("a")]},
    ]
    good = json.dumps(contents[0])
    strange = [good[:-9].encode(), good.encode("utf-16"), b"\xef\xbb\xbf" + good.encode(), b'{"a": 1, "a": NaN}']
    return [json.dumps(content).encode() for content in contents] + strange


def manifest_seeds() -> list[bytes]:
    lines = [json.dumps(eye(f"s{number}", name=f"s{number}", fov="f.png", dataset="synthetic")) for number in range(3)]
    return [text.encode() for text in ("\n".join(lines) + "\n", lines[0] + "\n" + lines[1][:30] + "\n" + lines[2], "")]


def table_seeds() -> list[bytes]:
    good = "name,patient,laterality,split,grade\na,p1,L,train,0\nb.png,p2,od,val,4\nimages/c.JPG,p3,,test,\n"
    strange = [
        'file;patient\n"a";"x;y"\nb;"p ""q"""\nc;p\n',
        good.replace(",", "\t"),
        "image,patient,split\na,p,train\n",
    ]
    return [text.encode() for text in (good, good.replace("p2", "p1"), *strange)] + [good.encode("utf-16")]


def check_datalist(path: Path) -> None:
    """Check the guarantees of :func:`read_datalist_file`."""
    datalist = read_datalist_file(path)
    items = [item for split in SPLITS for item in datalist[split]]
    patients = [{item["patient"] for item in datalist[split]} for split in SPLITS]
    assert items and sum(map(len, patients)) == len(set().union(*patients))
    assert len({item["image"] for item in items}) == len(items)
    for item in items:
        assert all(isinstance(item[key], str) for key in ("image", "patient", "dataset", "name"))
        assert all(os.path.isabs(item[key]) for key in PICTURES if key in item)
        os.path.lexists(item["image"])
    json.dumps(datalist, allow_nan=False, indent=1)


def check_manifest(path: Path) -> None:
    """Check the guarantees of :func:`read_manifest`."""
    samples = read_manifest(path.parent)
    assert len({sample["name"] for sample in samples}) == len(samples)
    for sample in samples:
        assert Path(os.path.abspath(path.parent / sample["name"])).parent == path.parent
        pictures = [key for key in PICTURES if key in sample]
        assert pictures and all(isinstance(sample[key], str) for key in (*NEEDED, *pictures))


def check_table(path: Path) -> None:
    """Check the guarantees of :func:`read_table`."""
    rows = read_table(path, PHOTOGRAPHS)
    assert rows.keys() == PHOTOGRAPHS.keys()
    for row in rows.values():
        assert row["patient"] and row.get("split", "test") in SPLITS
        assert row.get("grade", 0) in range(5) and row.get("laterality", "L") in ("L", "R")
    splits = {(row["patient"], row.get("split")) for row in rows.values()}
    assert len(splits) == len({patient for patient, _ in splits})


@dataclass(frozen=True)
class Target:
    """A parser: its file name, the check of its result, valid files, and their mutation."""

    file: str
    check: Callable[[Path], None]
    seeds: Callable[[], list[bytes]]
    change: Callable[[bytes, random.Random], bytes | None]


def reader(path: Path, check: Callable[[Path], None]) -> Callable[[bytes], None]:
    """Function that writes bytes to a file and checks the parser on it."""

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            check(path)
        except RetinaError as error:
            if not str(error).startswith(str(path)) or len(str(error).splitlines()) != 1:
                raise AssertionError(f"not a one-line error that names the file: {error}") from error

    return read


def mutator(change: Callable[[bytes, random.Random], bytes | None]) -> Callable[[bytes, int, int], bytes]:
    """Mutator that changes elements of the format with a probability of 0.6, if the input is valid, and else bytes."""

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        changed = change(data, chance) if chance.random() < 0.6 else None
        return (mutate_bytes(data, max_size, chance) if changed is None else changed)[:max_size]

    return mutate


def mutate_table(data: bytes, chance: random.Random) -> bytes | None:
    """Change a cell, duplicate or remove a row, or insert a column."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    row = chance.choice(rows)
    place = chance.randrange(len(row))
    action = chance.random()
    if action < 0.6:
        row[place] = chance.choice(CELLS).encode()
    elif action < 0.8:
        rows.insert(chance.randrange(len(rows) + 1), list(chance.choice(rows)))
    elif action < 0.9:
        rows.remove(row)
    else:
        for cells in rows:
            cells.insert(place, chance.choice(CELLS).encode())
    return b"\n".join(b",".join(cells) for cells in rows)


def mutate_json(data: bytes, chance: random.Random) -> bytes | None:
    """Change a value or key in one line of JSON."""
    lines = data.split(b"\n")
    number = chance.randrange(len(lines))
    try:
        value = json.loads(lines[number])
        changed = json.dumps(mutate_value(value, chance), ensure_ascii=chance.random() < 0.7)
        lines[number] = changed.encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return None
    return b"\n".join(lines)


def mutate_value(value: Any, chance: random.Random) -> Any:
    """Change one entry of ``value``: replace, remove, duplicate or wrap it, or copy it to another key."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
        return chance.choice([*AWKWARD, [value], {"image": value}])
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, action = chance.choice(keys), chance.random()
    if action < 0.7:
        value[key] = mutate_value(value[key], chance)
    elif action < 0.8:
        del value[key]
    elif isinstance(value, list):
        value.append(value[key])
    else:
        value[chance.choice([*keys, *PICTURES, *SPLITS, "label", "grade", "laterality", "annotated"])] = value[key]
    return value


def mutate_bytes(data: bytes, max_size: int, chance: random.Random) -> bytes:
    if chance.random() < 0.7:
        return bytes(atheris.Mutate(data, max_size))
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice(BYTES) + data[place + chance.choice([0, 0, 1, 5]) :]


TARGETS = {
    "datalist": Target("datalist.json", check_datalist, datalist_seeds, mutate_json),
    "manifest": Target("manifest.jsonl", check_manifest, manifest_seeds, mutate_json),
    "table": Target("table.csv", check_table, table_seeds, mutate_table),
}


def fuzz(target: Target, runs: int, seed: int, folder: Path) -> int:
    """Run libFuzzer in a child process, which it terminates, and return the exit status."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
    options = [f"-runs={runs}", f"-seed={seed}", f"-max_len={MAX_BYTES}", "-timeout=20", "-print_final_stats=1"]
    read = reader(folder / target.file, target.check)
    atheris.Setup([sys.argv[0], *options, str(corpus)], read, custom_mutator=mutator(target.change))
    atheris.Fuzz()
    raise SystemExit("libFuzzer returned unexpectedly")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz a parser; the exit status is 0 if it only raised RetinaError.")
    parser.add_argument("--target", choices=TARGETS, required=True)
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1, help="seed of libFuzzer; the same seed gives the same inputs")
    parser.add_argument("--input", type=Path, help="parse this file once instead of fuzzing")
    given = parser.parse_args()
    target = TARGETS[given.target]
    logging.disable()
    in_memory = MEMORY if os.access(MEMORY, os.W_OK) else None  # a disk is many times slower
    folder = Path(tempfile.mkdtemp(prefix="fuzz.", dir=in_memory))
    try:
        if given.input:
            reader(folder / target.file, target.check)(given.input.read_bytes())
            return 0
        return fuzz(target, given.runs, given.seed, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
