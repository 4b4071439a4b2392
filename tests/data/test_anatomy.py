from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from retina_monai.data import (
    LoadAnatomyd,
    check_anatomy,
    choose_splits,
    find_anatomy,
    find_datalist,
    repeat_photographs,
)
from retina_monai.data.files.writing import write_png
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom, write_phantoms
from retina_monai.errors import RetinaError
from retina_monai.transforms import STRUCTURES

SIZE = 64


@pytest.fixture(scope="module")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("ill") / "set", 4, SIZE, 2, grade=3, myopia=0.9)


def test_masks_are_those_of_the_phantom_and_all_is_known(ill: Path) -> None:
    item = find_datalist(ill)["training"][0]
    line = json.loads((ill / "manifest.jsonl").read_text().splitlines()[0])
    expected = generate_phantom(line["seed"], SIZE, grade=3, myopia=0.9)
    rows, columns = (np.flatnonzero(expected["fov"][0].any(axis)) for axis in (1, 0))
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    loaded = LoadAnatomyd(side, side)(item)
    assert loaded["known"].all() and loaded["grade"] == 3.0 and loaded["patient"] == "phantom/2-00000"
    assert loaded["image"].shape == (3, side, side) and loaded["anatomy"].shape == (len(STRUCTURES), side, side)
    for index, key in enumerate(STRUCTURES):
        assert int((loaded["anatomy"][index] > 127).sum()) == int(expected[key].sum()), key
    assert (loaded["anatomy"].flatten(1) > 127).any(1)[:5].all(), "or nothing was compared"


def test_of_healthy_phantoms_lesions_are_known_to_be_absent(phantoms: Path) -> None:
    loaded = LoadAnatomyd(64, 32)(find_datalist(phantoms)["training"][0])
    assert loaded["known"].all() and loaded["grade"] == 0 and not loaded["anatomy"][2:].any()
    assert loaded["anatomy"].shape == (len(STRUCTURES), 32, 32) and 0 < loaded["anatomy"][0].float().mean() < 100


def test_what_a_set_does_not_tell_is_not_known(phantoms: Path) -> None:
    item = find_datalist(phantoms)["training"][0]
    bare = {key: item[key] for key in ("image", "name", "patient", "dataset")}
    loaded = LoadAnatomyd(64, 32)(bare)
    assert not loaded["known"].any() and not loaded["anatomy"].any() and math.isnan(loaded["grade"])
    assert loaded["fov"].float().mean() > 127, "computed"


def test_a_mask_of_another_size_is_refused(phantoms: Path, tmp_path: Path) -> None:
    item = find_datalist(phantoms)["training"][0]
    write_png(tmp_path / "small.png", np.full((1, 32, 32), 255, np.uint8))
    with pytest.raises(
        RetinaError, match=r"small\.png is 32 x 32 pixels, but its photograph .* is 128 x 128: give masks of"
    ):
        LoadAnatomyd(64, 32)(item | {"disc": str(tmp_path / "small.png")})


def test_without_a_folder_there_are_ill_phantoms_made_once(tmp_path: Path) -> None:
    datalist = find_anatomy(None, tmp_path, count=4, size=32, seed=1)
    (folder,) = tmp_path.iterdir()
    before = (folder / "manifest.jsonl").stat().st_mtime_ns
    assert sum(len(items) for items in datalist.values()) == 4
    assert find_anatomy(None, tmp_path, count=4, size=32, seed=1) == datalist
    assert (folder / "manifest.jsonl").stat().st_mtime_ns == before


def test_eyes_without_vessel_maps_are_kept(phantoms: Path, tmp_path: Path) -> None:
    """Unlike where vessels are what is learned from."""
    source = find_datalist(phantoms)["training"][:3]
    eyes = [{"image": item["image"], "patient": str(index)} for index, item in enumerate(source)]
    (tmp_path / "datalist.json").write_text(json.dumps({"training": eyes}))
    datalist = find_anatomy(str(tmp_path / "datalist.json"), tmp_path)
    assert sum(len(items) for items in datalist.values()) == 3


def test_eyes_of_which_nothing_is_known_are_refused() -> None:
    known, bare = {"patient": "a", "disc": "disc.png"}, {"patient": "b"}
    check_anatomy({"training": [bare, known], "validation": [], "test": [bare]})
    for split in ("training", "validation"):
        datalist = {"training": [known], "validation": [known], "test": []} | {split: [bare]}
        with pytest.raises(RetinaError, match=rf"^no eye for {split} has a mask of vessel, disc, .*: give a data set"):
            check_anatomy(datalist)


def test_splits_are_chosen_by_name_and_hold_enough_patients() -> None:
    first, second = {"patient": "a"}, {"patient": "b"}
    datalist = {"training": [first, first], "validation": [], "test": [second]}
    assert choose_splits(datalist, "training") == [first, first]
    assert choose_splits(datalist, ["training", "test"], fewest=2) == [first, first, second]
    with pytest.raises(RetinaError, match=r"^the data set has eyes of 1 patients for training, and 2 are needed: name"):
        choose_splits(datalist, "training", fewest=2)
    for splits in ("some", ["test", "some"], [], None):
        with pytest.raises(RetinaError, match=r"^splits is .*: it takes one of training, validation, test, or a list"):
            choose_splits(datalist, splits)


def test_eyes_with_drawn_masks_are_repeated_and_no_others() -> None:
    items = [{"dataset": "phantom", "name": "a"}, {"dataset": "HRF", "name": "b"}]
    items += [{"dataset": "HRF", "name": "c", "disc_by": "a network"}]
    assert [item["name"] for item in repeat_photographs(items, 3)] == ["a", "b", "b", "b", "c"]
