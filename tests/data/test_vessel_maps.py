"""Vessel maps of a split, and warped ones: which there are, what they are called, and what they tell of their eye."""

from __future__ import annotations

import json
import logging
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retina_monai.data import find_datalist
from retina_monai.data.sets.vessel_maps import VesselMaps, find_vessel_maps
from retina_monai.errors import RetinaError
from retina_monai.transforms.vessel_warp import draw_warp


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def all_of(maps: VesselMaps) -> list[dict[str, Any]]:
    return [maps[place] for place in range(len(maps))]


def test_a_split_holds_its_own_maps(phantoms: Path) -> None:
    datalist = find_datalist(phantoms)
    for split in ("training", "validation", "test"):
        assert [item["name"] for item in find_vessel_maps(phantoms, split=split)] == sorted(
            item["name"] for item in datalist[split]
        )
    assert len(find_vessel_maps(phantoms)) == sum(map(len, datalist.values())) == 8


def test_splits_that_are_none(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match=r"nowhere is not a directory: name the folder that holds the vessel maps"):
        VesselMaps(tmp_path / "nowhere", 32)
    with pytest.raises(RetinaError, match="split train is unknown: give training, validation, test or all"):
        VesselMaps(phantoms, 32, split="train")
    for folder in ("images", "vessels"):
        shutil.copytree(phantoms / folder, tmp_path / folder)
    with pytest.raises(RetinaError, match=r"has no vessel map for test: give another --split, or leave it out"):
        VesselMaps(tmp_path, 32, split="test")
    with pytest.raises(RetinaError, match=r"vessels has no splits: leave out --split training, or give a data set"):
        VesselMaps(phantoms / "vessels", 32, split="training")


def test_maps_as_they_are_tell_their_eye(phantoms: Path) -> None:
    item = VesselMaps(phantoms, 32)[2]
    told = {key: item[key] for key in ("name", "patient", "condition", "augmented", "index")}
    name = "phantom_00002"
    assert told == {"name": name, "patient": "phantom/0-00002", "condition": name, "augmented": 0, "index": 2}
    assert item["condition_dataset"] == "phantom" and item["laterality"] in ("L", "R")
    alone = VesselMaps(phantoms / "vessels", 32)[2]
    assert (alone["condition"], alone["condition_dataset"], alone["laterality"]) == (name, "", "")


def test_warped_maps_take_the_place_of_their_eye(phantoms: Path) -> None:
    plain, warped = VesselMaps(phantoms, 32), VesselMaps(phantoms, 32, augment=2, seed=4)
    assert len(warped) == 16
    for place, item in enumerate(all_of(warped)):
        eye, warp = plain[place // 2], draw_warp(4, place)
        assert item["name"] == f"{eye['name']}_a{place % 2 + 1}"
        assert (item["patient"], item["condition"], item["source"]) == (eye["patient"], eye["name"], eye["source"])
        assert (item["augmented"], item["index"]) == (1, place)
        assert (item["laterality"] != eye["laterality"]) == warp.flip
        assert not np.array_equal(item["vessel_share"], eye["vessel_share"])


def test_warped_maps_are_not_held(phantoms: Path) -> None:
    tracemalloc.start()
    maps = VesselMaps(phantoms, 32, augment=5_000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(maps) == 40_000 and held < 16 * len(maps), "a number for each"
    item = maps[39_999]
    assert (item["name"], item["index"]) == ("phantom_00007_a5000", 39_999)


def test_a_sample_depends_on_seed_and_index_alone(phantoms: Path) -> None:
    whole = all_of(VesselMaps(phantoms, 32, augment=2, seed=4))
    finished = [item["name"] for item in whole[:7]]
    rest = all_of(VesselMaps(phantoms, 32, finished, augment=2, seed=4))
    assert len(rest) == 9
    for item, same in zip(rest, whole[7:], strict=True):
        assert item["name"] == same["name"] and np.array_equal(item["vessel_share"], same["vessel_share"])
    other = VesselMaps(phantoms, 32, augment=2, seed=5)[7]
    assert not np.array_equal(other["vessel_share"], whole[7]["vessel_share"])


def save(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(picture.astype(np.uint8) * 255).save(path)


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (64, 64)])
def test_without_a_field_of_view_it_stays_within_the_frame(shape: tuple[int, int], tmp_path: Path) -> None:
    """Where a map is padded to a square there is no eye, whatever the circle; warped maps are no exception."""
    picture = np.zeros(shape, bool)
    picture[shape[0] // 2, 5:-5] = True
    save(tmp_path / "eye.png", picture)
    rows, columns = VesselMaps(tmp_path, 48)[0]["fov"][0].any(axis=1), VesselMaps(tmp_path, 48)[0]["fov"][0].any(axis=0)
    for axis, filled in enumerate((rows, columns)):
        share = shape[axis] / max(shape)
        assert filled.sum() == round(48 * share) and np.array_equal(filled, filled[::-1]), axis
    warped = VesselMaps(tmp_path, 48, augment=1)[0]
    assert not warped["fov"][0][~rows].any() and not warped["vessel"][0][~rows].any()


def test_fields_of_view_of_a_folder(tmp_path: Path, phantoms: Path) -> None:
    for name in ("a", "b"):
        vessel, inside = np.zeros((2, 64, 64), bool)
        vessel[30, 12:50], inside[8:56, 8:56] = True, True
        save(tmp_path / "maps" / f"{name}.png", vessel)
        save(tmp_path / "fields" / f"{name}.gif", inside)
    maps = VesselMaps(tmp_path / "maps", 48, fov_dir=tmp_path / "fields")
    assert all(item["fov"].all() for item in all_of(maps)), "cropped to the square that was given"
    assert not VesselMaps(tmp_path / "maps", 48)[0]["fov"].all()
    own = VesselMaps(phantoms, 48)[0]["fov"]
    for path in (phantoms / "vessels").iterdir():
        save(tmp_path / "other" / path.name, np.ones(np.asarray(Image.open(path)).shape[:2]))
    assert not np.array_equal(VesselMaps(phantoms, 48, fov_dir=tmp_path / "other")[0]["fov"], own)
    (tmp_path / "fields" / "b.gif").unlink()
    with pytest.raises(RetinaError, match=r"fields has no field of view for .*b\.png"):
        VesselMaps(tmp_path / "maps", 48, fov_dir=tmp_path / "fields")
    with pytest.raises(RetinaError, match="fov_dir"):
        VesselMaps(tmp_path / "maps", 48, fov_dir=tmp_path / "none")


def found_at_the_left(sample: dict[str, Any]) -> dict[str, Any]:
    disc = np.zeros_like(sample["fov"])
    disc[:, 20:28, 8:16] = 1
    return {**sample, "disc": disc, "disc_by": "a finder"}


def test_discs_come_from_the_data_set_and_are_warped_with_the_vessels(phantoms: Path) -> None:
    assert "disc" not in VesselMaps(phantoms, 64)[0] and "disc" not in VesselMaps(phantoms, 64).kinds
    plain = VesselMaps(phantoms, 64, find_disc=found_at_the_left)
    warped = VesselMaps(phantoms, 64, augment=1, seed=4, find_disc=found_at_the_left)
    assert "disc" in plain.kinds
    for place, (item, other) in enumerate(zip(all_of(plain), all_of(warped), strict=True)):
        assert item["disc"].dtype == np.uint8 and set(np.unique(item["disc"])) == {0, 1} and "disc_by" not in item
        warp = draw_warp(4, place)
        expected = warp(item["disc"].astype(np.float32))[0] >= 0.5
        overlap = 2 * (expected & (other["disc"][0] > 0)).sum() / (expected.sum() + other["disc"].sum())
        assert overlap > 0.85, "warped at a coarser size"


def test_discs_of_a_folder_and_discs_that_are_found(phantoms: Path, tmp_path: Path) -> None:
    alone = VesselMaps(phantoms / "vessels", 64, find_disc=found_at_the_left)[0]
    assert alone["disc_by"] == "a finder" and alone["disc"][0, 24, 12] == 1
    for path in (phantoms / "discs").iterdir():
        shutil.copy(path, tmp_path)
    given = VesselMaps(phantoms / "vessels", 64, disc_dir=tmp_path, find_disc=found_at_the_left)[0]
    own = VesselMaps(phantoms, 64, find_disc=found_at_the_left)[0]
    assert "disc_by" not in given and given["disc"].any() and own["disc"].any()
    next(tmp_path.iterdir()).unlink()
    with pytest.raises(RetinaError, match=r"disc_dir .* has no disc mask for"):
        VesselMaps(phantoms / "vessels", 64, disc_dir=tmp_path, find_disc=found_at_the_left)


def test_other_discs_are_another_set(phantoms: Path, tmp_path: Path) -> None:
    shutil.copytree(phantoms / "discs", tmp_path / "discs")
    for path in (tmp_path / "discs").iterdir():
        Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)
    without = VesselMaps(phantoms, 64).settings
    own = VesselMaps(phantoms, 64, find_disc=found_at_the_left).settings
    other = VesselMaps(phantoms, 64, disc_dir=tmp_path / "discs", find_disc=found_at_the_left).settings
    assert len({entry["inputs"] for entry in (without, own, other)}) == 3


def test_a_set_without_photographs_has_maps_all_the_same(phantoms: Path, tmp_path: Path) -> None:
    """As ``pix2pix_color_vessel`` writes one. Who needs photographs refuses it."""
    listed = json.loads((phantoms / "datalist.json").read_text())
    for split in ("training", "validation", "test"):
        listed[split] = [{key: value for key, value in item.items() if key != "image"} for item in listed[split]]
    shutil.copytree(phantoms, tmp_path / "maps", ignore=shutil.ignore_patterns("images"))
    (tmp_path / "maps" / "datalist.json").write_text(json.dumps(listed))
    found, expected = VesselMaps(tmp_path / "maps", 32), VesselMaps(phantoms, 32)
    assert [item["name"] for item in found.maps] == [item["name"] for item in expected.maps]
    assert all(np.array_equal(found[place]["vessel"], expected[place]["vessel"]) for place in range(len(expected)))
    with pytest.raises(RetinaError, match="has no photograph of phantom_00000"):
        find_datalist(tmp_path / "maps")
