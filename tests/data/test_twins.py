"""Photographs that are one picture are of one patient, under whatever names, and never on both sides of a split."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from retina_monai.data.files.reading import read_photograph, read_preview
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.layout import SPLITS
from retina_monai.data.listing.layouts import find_datalist
from retina_monai.data.listing.twins import find_twins, join_patients, thumbnail
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.errors import RetinaError

EYES = [generate_phantom(seed, 160) for seed in range(6)]


def photograph(number: int) -> Image.Image:
    return Image.fromarray(np.moveaxis(EYES[number]["image"], 0, 2))


def eye(folder: Path, name: str, number: int, change: Callable[[Image.Image], Image.Image] = lambda p: p) -> None:
    """A photograph, which says nothing of its origin, and a vessel map of any eye."""
    for part in ("images", "vessels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    picture = change(photograph(number))
    picture.save(folder / "images" / (name if "." in name else f"{name}.png"))
    mask = Image.fromarray(EYES[number]["vessel"][0] * np.uint8(255)).resize(picture.size, Image.Resampling.NEAREST)
    mask.save(folder / "vessels" / f"{name.partition('.')[0]}.png")


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    content = BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def shifted(picture: Image.Image) -> Image.Image:
    return picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, 2, 0, 1, -2))


def framed(picture: Image.Image) -> Image.Image:
    wide = Image.new("RGB", (220, 200))
    wide.paste(picture, (40, 10))
    return wide


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda picture: picture,
    "recompressed": lambda picture: jpeg(picture, 30),
    "smaller": lambda picture: picture.resize((100, 100), Image.Resampling.BILINEAR),
    "larger": lambda picture: picture.resize((333, 333), Image.Resampling.BICUBIC),
    "shifted": shifted,
    "framed": framed,
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.6),
    "grey": lambda picture: picture.convert("L"),
}


def small(picture: Image.Image) -> NDArray[np.uint8] | None:
    return thumbnail(np.asarray(picture.convert("L")))


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_is_known_again_and_others_are_not_taken_for_it(change: str) -> None:
    pictures = [photograph(number) for number in range(len(EYES))]
    changed = [CHANGES[change](picture) for picture in pictures]
    count = len(EYES)
    assert find_twins([small(picture) for picture in pictures + changed]) == [
        (number, number + count) for number in range(count)
    ]


def test_what_shows_nothing_is_like_nothing() -> None:
    flat, tiny = Image.new("RGB", (99, 99), (150, 70, 35)), photograph(0).resize((40, 40))
    assert small(flat) is None and small(tiny) is None and small(Image.new("L", (99, 99))) is None
    assert find_twins([None, small(photograph(0)), None]) == []
    assert find_twins([]) == []


def test_three_equal_ones_and_a_chain_of_patients() -> None:
    one = small(photograph(0))
    assert find_twins([one, None, one, one]) == [(0, 2), (0, 3)]
    first = join_patients([("a", "b"), ("c", "d"), ("d", "b")])
    assert len(set(first.values())) == 1 and first.keys() == {"a", "b", "c", "d"}


def test_twins_of_a_set_without_splits_are_one_patient_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, name in enumerate(("a", "b", "c", "d")):
        eye(tmp_path, name, number)
    eye(tmp_path, "e.jpg", 0, lambda picture: picture)  # d validates; e would, if it were another patient
    with caplog.at_level(logging.WARNING, "retina_monai"):
        datalist = find_datalist(tmp_path)
    patients = {item["name"].rpartition("_")[2]: item["patient"] for split in SPLITS for item in datalist[split]}
    assert patients["a"] == patients["e"] and len(set(patients.values())) == 4
    assert [item["name"].rpartition("_")[2] for item in datalist["validation"]] == ["d"]
    (message,) = caplog.messages
    assert message.startswith("duplicate photographs of two patients, who are merged")
    assert message.endswith(f"{tmp_path.name}_a and {tmp_path.name}_e")


def table(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    with (folder / "eyes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("name", "patient", "split"), *rows])
    return folder


@pytest.mark.parametrize("splits", [("training", "test"), ("training", "validation"), ("validation", "test")])
def test_twins_in_two_splits_of_a_users_set_are_refused(tmp_path: Path, splits: tuple[str, str]) -> None:
    eye(tmp_path, "a", 0)
    eye(tmp_path, "b", 1)
    eye(tmp_path, "c.jpg", 0)
    table(tmp_path, [("a", "p", splits[0]), ("b", "q", splits[0]), ("c", "r", splits[1])])
    with pytest.raises(RetinaError, match=r"a\.png \(\w+\) and .*c\.jpg \(\w+\)") as error:
        find_datalist(tmp_path)
    assert all(split in str(error.value) for split in splits)
    table(tmp_path, [("a", "p", splits[0]), ("b", "q", splits[1]), ("c", "r", splits[0])])
    found = {item["patient"] for items in find_datalist(tmp_path).values() for item in items}
    assert len(found) == 2


def test_across_two_sets_and_a_published_split_who_tests_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    eye(tmp_path / "one", "a", 0)
    eye(tmp_path / "one", "b", 1)
    eye(tmp_path / "two", "c", 0)
    table(tmp_path / "two", [("c", "p", "test")])
    datalist = find_datalist([tmp_path / "one", tmp_path / "two"])
    assert [item["name"] for item in datalist["test"]] == ["two_c"]
    assert [item["name"] for item in datalist["training"] + datalist["validation"]] == ["one_b"]
    assert "left out 1 eyes" in caplog.text

    public = tmp_path / "Data"  # the Kaggle set
    for split, number in (("train", 0), ("train", 1), ("test", 0)):
        for part, key in (("image", "image"), ("mask", "vessel")):
            folder = public / split / part
            folder.mkdir(parents=True, exist_ok=True)
            array = EYES[number][key]
            picture = photograph(number) if key == "image" else Image.fromarray(array[0] * np.uint8(255))
            picture.save(folder / f"{number}.png")
    datalist = find_datalist(public)
    assert [item["name"] for split in SPLITS for item in datalist[split]] == [
        "RetinaBloodVessel_train_1",
        "RetinaBloodVessel_test_0",
    ]


def test_what_was_drawn_joins_no_real_patients(tmp_path: Path) -> None:
    """A synthetic photograph that repeats a real one is that one's patient; two synthetic ones may be alike."""
    for number in range(2):
        eye(tmp_path / "real", f"r{number}", number)
    for name, number in (("s0", 0), ("s1", 2), ("s2", 2)):
        eye(tmp_path / "drawn", name, number)
        write_png(tmp_path / "drawn" / "images" / f"{name}.png", EYES[number]["image"])
    datalist = find_datalist([tmp_path / "real", tmp_path / "drawn"])
    patients = {item["name"]: item["patient"] for split in SPLITS for item in datalist[split]}
    assert patients["drawn_s0"] == patients["real_r0"] == "real/r0"
    assert (patients["drawn_s1"], patients["drawn_s2"]) == ("drawn/s1", "drawn/s2")


def test_a_preview_is_the_photograph_in_grey(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[274] = 6
    photograph(0).save(tmp_path / "a.png")
    photograph(0).save(tmp_path / "b.jpg", quality=95, exif=turned)
    for name in ("a.png", "b.jpg"):
        whole = np.asarray(Image.fromarray(np.moveaxis(read_photograph(tmp_path / name), 0, 2)).convert("L"))
        preview = read_preview(tmp_path / name, 160)
        assert preview.shape == whole.shape and np.abs(preview.astype(int) - whole).mean() < 2
        assert read_preview(tmp_path / name, 80).shape == (80, 80)


PAIRS = (("a", "118", "b", "064"), ("a", "021", "a", "391"), ("a", "028", "a", "327"), ("a", "045", "a", "333"))
PAIRS += (("a", "073", "a", "375"), ("a", "079", "a", "279"))


def test_the_pairs_of_idrid_are_found(real_set: Callable[[str], Path]) -> None:
    """Of its grading part: six pairs, and pictures of part A under other names."""
    folder = real_set("IDRiD_grading") / "B. Disease Grading" / "1. Original Images"
    inside = {"a": folder / "a. Training Set", "b": folder / "b. Testing Set"}
    part = real_set("IDRiD") / "A. Segmentation" / "1. Original Images" / "a. Training Set"
    with (real_set("IDRiD_grading") / "segmentation_to_grading.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pairs = [
        (inside[one] / f"IDRiD_{first}.jpg", inside[other] / f"IDRiD_{second}.jpg")
        for one, first, other, second in PAIRS
    ]
    pairs += [
        (part / f"{row['seg']}.jpg", inside["b" if row["set"] == "test" else "a"] / f"{row['grading']}.jpg")
        for row in rows
    ]
    paths = [path for pair in pairs for path in pair]
    twins = find_twins([thumbnail(read_preview(path, 256)) for path in paths])
    assert twins == [(place, place + 1) for place in range(0, len(paths), 2)]


@pytest.mark.parametrize("name", ["CHASE_DB1", "HRF", "IDRiD"])
def test_no_two_eyes_of_the_real_sets_are_taken_for_one(
    real_set: Callable[[str], Path], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    find_datalist(real_set(name))
    assert not caplog.messages
