"""Loading the two sets: what is read, from whichever folder, of whose eyes, and that it is read once."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retina_monai.data import LoadEyed, find_datalist, fit_label, write_phantoms
from retina_monai.data.files.reading import read_mask
from retina_monai.data.files.writing import write_png
from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring import eye_set as sets
from retina_monai.evaluation.measuring.eye import Condition, Eye
from retina_monai.evaluation.measuring.eye_set import EyeSet, list_real, list_synthetic, refuse_real

SIZE = 64


def real_eyes(place: Any, cache: Path | None = None, **options: Any) -> EyeSet:
    return EyeSet(place, list_real(place), SIZE, cache, **options)


def generated(folder: Path, lines: list[dict[str, Any]], phantoms: Path) -> Path:
    """A set as ``synthesize`` leaves it, with photographs of phantoms, and these texts in its manifest."""
    datalist: dict[str, Any] = {"name": "synthetic", "training": []}
    manifest = []
    for number, texts in enumerate(lines):
        line = {"name": f"made_{number}", "patient": "P", "dataset": "synthetic"} | texts
        for key, kind in (("image", "images"), ("vessel", "vessels"), ("fov", "fovs")):
            line[key] = f"{kind}/{line['name']}.png"
            (folder / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(phantoms / kind / f"phantom_{number:05d}.png", folder / line[key])
        manifest.append(json.dumps(line))
        keys = ("image", "vessel", "fov", "patient", "dataset", "name")
        datalist["training"].append({key: line[key] for key in keys})
    (folder / "manifest.jsonl").write_text("\n".join(manifest) + "\n", encoding="utf-8")
    (folder / "datalist.json").write_text(json.dumps(datalist), encoding="utf-8")
    return folder


@pytest.fixture
def photographs(tmp_path: Path, phantoms: Path) -> Path:
    """Photographs alone."""
    shutil.copytree(phantoms / "images", tmp_path / "photographs")
    return tmp_path / "photographs"


def test_eyes_are_those_that_trainings_read(phantoms: Path) -> None:
    """The same crop, resizing and shares as ``LoadEyed``, which all bundles use."""
    eyes = real_eyes(phantoms)
    listed = [item for items in find_datalist(phantoms).values() for item in items]
    assert len(eyes) == len(listed) == 8
    for eye, item in zip(eyes, listed, strict=True):
        expected = LoadEyed(SIZE)(item)
        np.testing.assert_array_equal(eye.image, expected["image"])
        np.testing.assert_array_equal(eye.fov, expected["fov"][0].numpy() >= 128)
        assert eye.vessel_share is not None
        np.testing.assert_allclose(eye.vessel_share, expected["vessel"][0].numpy() / 255, atol=1e-6)
        label = fit_label(read_mask(item["vessel"]), read_mask(item["fov"]), SIZE)[0]
        np.testing.assert_array_equal(eye.masks["vessel"], label)
        assert (eye.name, eye.patient, eye.dataset) == (item["name"], item["patient"], item["dataset"])
        assert eye.image.dtype == np.uint8 and eye.fov.dtype == np.bool_ and eye.masks["vessel"].dtype == np.float32


def test_masks_of_every_kind_and_those_known_to_be_empty(tmp_path: Path) -> None:
    sick = write_phantoms(tmp_path / "sick", 4, 128, seed=3, grade=0, myopia=True)
    eyes = real_eyes(sick)
    kinds = {"vessel", "disc", "cup", "atrophy", "microaneurysms", "haemorrhages", "neovascularisation"}
    assert kinds <= set(eyes[0].masks)
    for eye in eyes:
        assert all(mask.shape == (SIZE, SIZE) and mask.min() >= 0 and mask.max() <= 1 for mask in eye.masks.values())
        assert eye.masks["disc"].any()
    items = {item["name"]: item for item in eyes.items}
    absent = [(eye.name, key) for eye in eyes for key in eye.masks if key not in items[eye.name]]
    assert absent and all(not eye.masks[key].any() for eye in eyes for name, key in absent if name == eye.name)


def test_splits(phantoms: Path) -> None:
    eyes = real_eyes(phantoms)
    splits = [eye.split for eye in eyes]
    for split in ("training", "validation", "test"):
        part = eyes.of_split(split)
        assert [eye.name for eye in part] == [eye.name for eye, own in zip(eyes, splits, strict=True) if own == split]
        assert {eye.split for eye in part} == {split}
    assert len(eyes.of_split("training", "test")) == 8 - splits.count("validation")
    assert [eye.name for eye in eyes[2:5]] == [eye.name for eye in eyes][2:5]
    assert eyes[-1].name == list(eyes)[-1].name


def test_a_folder_of_photographs_alone(photographs: Path) -> None:
    eyes = real_eyes(photographs)
    assert len(eyes) == 8
    assert eyes[0].masks == {} and eyes[0].fov.any() and not eyes[0].fov.all()
    assert {eye.split for eye in eyes} == {"training", "validation"}  # nobody is known to test
    assert len({eye.patient for eye in eyes}) == 8


def test_photographs_and_discs_without_vessels(tmp_path: Path, phantoms: Path) -> None:
    for kind in ("images", "discs"):
        shutil.copytree(phantoms / kind, tmp_path / "set" / kind)
    eyes = real_eyes(tmp_path / "set")
    assert set(eyes[0].masks) == {"disc"}
    (tmp_path / "set" / "images" / "phantom_00003.png").unlink()
    with pytest.raises(RetinaError, match=r"discs/phantom_00003.png is a mask without its photograph"):
        list_real(tmp_path / "set")


def test_several_real_sets(tmp_path: Path, phantoms: Path) -> None:
    shutil.copytree(phantoms, tmp_path / "again")
    listed = list_real([phantoms, tmp_path / "again"])
    assert len(listed) == 16
    assert len({item["name"] for item in listed}) == 16


def test_conditions_that_the_manifest_tells(tmp_path: Path, phantoms: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"patient": "CHASE_DB1/11", "condition": {"name": "CHASE_DB1_11L", "dataset": "CHASE_DB1", "augmented": False}},
        {"patient": "CHASE_DB1/01", "condition": {"name": "CHASE_DB1_01R", "dataset": "CHASE_DB1", "augmented": True}},
        {"patient": "nobody"},
    ]
    synthetic = list_synthetic(generated(tmp_path / "set", lines, phantoms), list_real(phantoms))
    eyes = EyeSet("set", synthetic, SIZE)
    assert [eye.condition for eye in eyes] == [
        Condition("CHASE_DB1/11", "CHASE_DB1_11L", False),
        Condition("CHASE_DB1/01", "CHASE_DB1_01R", True),
        None,
    ]
    assert [eye.patient for eye in eyes] == ["CHASE_DB1/11", "CHASE_DB1/01", "nobody"]
    assert [eye.dataset for eye in eyes] == ["CHASE_DB1", "CHASE_DB1", "synthetic"]
    assert {eye.split for eye in eyes} == {""}


def test_conditions_of_an_old_manifest_are_found_by_name_or_patient(tmp_path: Path, phantoms: Path) -> None:
    real = [
        item | {"dataset": "X", "name": f"X_{number}", "patient": f"X/{number}"} for number, item in pairs(phantoms)
    ]
    lines = [{"name": "X_2", "patient": "X/2"}, {"name": "other", "patient": "X/5"}, {"name": "x", "patient": "Y/1"}]
    synthetic = list_synthetic(generated(tmp_path / "set", lines, phantoms), real)
    conditions = [eye.condition for eye in EyeSet("set", synthetic, SIZE)]
    assert conditions == [Condition("X/2", "X_2"), Condition("X/5", "other"), None]


def test_conditions_of_anyones_folder_are_found_by_the_names_of_files(tmp_path: Path, phantoms: Path) -> None:
    """But a name that is a number alone says nothing."""
    real = [item | {"name": f"X_{number}", "patient": f"X/{number}"} for number, item in pairs(phantoms)]
    for number, name in ((0, "phantom_00004"), (1, "7"), (2, "X_3")):
        (tmp_path / "made").mkdir(exist_ok=True)
        shutil.copy(phantoms / "images" / f"phantom_{number:05d}.png", tmp_path / "made" / f"{name}.png")
    real[7]["image"] = str(tmp_path / "7.png")
    write_png(tmp_path / "made" / "new.png", np.full((3, 64, 64), 90, np.uint8))
    found = {item["name"]: item.get("condition") for item in list_synthetic(tmp_path / "made", real)}
    assert found["phantom_00004"] == {"patient": "X/4", "name": "X_4", "augmented": False, "latent": 0}
    assert found["X_3"] == {"patient": "X/3", "name": "X_3", "augmented": False, "latent": 0}
    assert found["7"] is None and found["new"] is None


def test_a_name_says_nothing_of_eyes_that_tell_another_patient(tmp_path: Path, phantoms: Path) -> None:
    made = generated(tmp_path / "set", [{"name": "phantom_00003", "patient": "Z/1"}, {"patient": "Z/2"}], phantoms)
    assert [item.get("condition") for item in list_synthetic(made, list_real(phantoms))] == [None, None]


def test_phantoms_are_a_synthetic_set_too(phantoms: Path) -> None:
    eyes = EyeSet(phantoms, list_synthetic(phantoms, []), SIZE)
    assert eyes[0].condition == Condition("phantom/0-00000", "phantom_00000")


def pairs(phantoms: Path) -> list[tuple[int, dict[str, Any]]]:
    return [(int(item["name"][-5:]), item) for item in sorted(list_real(phantoms), key=lambda item: str(item["name"]))]


def test_eyes_are_computed_once(tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a second run, and of a family that goes through them again, nothing is read but the cache."""
    first = [eye.image for eye in real_eyes(phantoms, tmp_path / "cache")]
    monkeypatch.setattr(sets, "read_eye", lambda *_, **__: pytest.fail("an eye is read again"))
    eyes = real_eyes(phantoms, tmp_path / "cache")
    for _ in range(2):
        for eye, image in zip(eyes, first, strict=True):
            np.testing.assert_array_equal(eye.image, image)
    with pytest.raises(pytest.fail.Exception):
        EyeSet(phantoms, list_real(phantoms), 2 * SIZE, tmp_path / "cache")  # of another size


def test_memory_does_not_grow_with_the_set(tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its budget nothing is kept: going through three times as many eyes takes as much."""
    monkeypatch.setattr(sets, "MEMORY_MB", 0)
    (tmp_path / "many").mkdir()
    for number in range(24):
        shutil.copy(phantoms / "images" / f"phantom_{number % 8:05d}.png", tmp_path / "many" / f"eye{number}.png")

    def peak(place: Path) -> int:
        eyes = EyeSet(place, list_real(place), 256, tmp_path / "cache")
        tracemalloc.start()
        for eye in eyes:
            assert eye.image.shape == (3, 256, 256)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(tmp_path / "many") < 1.2 * peak(phantoms)


def test_fingerprint_depends_on_files_splits_and_conditions_but_not_on_the_place(
    tmp_path: Path, phantoms: Path
) -> None:
    lines: list[dict[str, Any]] = [{"patient": "A/1"}, {"patient": "A/2"}]
    first = generated(tmp_path / "one" / "set", lines, phantoms)
    second = generated(tmp_path / "two" / "set", lines, phantoms)
    condition = {"condition": {"name": "A_1", "dataset": "A", "augmented": True}}
    third = generated(tmp_path / "three" / "set", [lines[0] | condition, lines[1]], phantoms)
    real = list_real(phantoms)
    prints = [EyeSet(place, list_synthetic(place, real), SIZE).fingerprint for place in (first, second, third)]
    assert prints[0] == prints[1] != prints[2]
    write_png(second / "images" / "made_0.png", np.full((3, 128, 128), 90, np.uint8))
    assert EyeSet(second, list_synthetic(second, real), SIZE).fingerprint != prints[0]


def test_what_is_broken_is_named_and_counted(tmp_path: Path, phantoms: Path) -> None:
    shutil.copytree(phantoms, tmp_path / "set")
    (tmp_path / "set" / "images" / "phantom_00001.png").write_bytes(b"no picture")
    write_png(tmp_path / "set" / "images" / "phantom_00002.png", np.zeros((3, 128, 128), np.uint8))
    write_png(tmp_path / "set" / "vessels" / "phantom_00004.png", np.zeros((1, 100, 128), np.uint8))
    items = list_real(tmp_path / "set")
    with pytest.raises(RetinaError, match=r"2 of 8 eyes cannot be used: .*00001.png is damaged.*skip_unreadable"):
        EyeSet("set", items, SIZE)
    eyes = EyeSet("set", items, SIZE, skip_unreadable=True)
    assert sorted(eyes.left_out) == ["phantom_00001", "phantom_00002", "phantom_00004"]
    assert len(eyes) == 5
    assert eyes.about()["left_out"] == eyes.left_out


def test_a_picture_with_nan(tmp_path: Path) -> None:
    for number in range(2):
        picture = np.full((64, 64), 0.5, np.float32)
        picture[10, 10] = np.nan if number else 0.5
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "set" / f"eye{number}.tif")
    with pytest.raises(RetinaError, match=r"eye1.tif holds values from nan to nan"):
        real_eyes(tmp_path / "set")


def test_sizes_are_told(tmp_path: Path, phantoms: Path) -> None:
    shutil.copytree(phantoms / "images", tmp_path / "set")
    write_png(tmp_path / "set" / "small.png", np.full((3, 40, 50), 90, np.uint8))
    eyes = real_eyes(tmp_path / "set")
    assert eyes.sizes == {"128 x 128": 8, "50 x 40": 1}


def test_fewer_than_two_photographs(tmp_path: Path, phantoms: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(RetinaError, match=r"set is laid out as none .*; nor does it hold photographs alone"):
        list_real(tmp_path / "set")
    shutil.copy(phantoms / "images" / "phantom_00000.png", tmp_path / "set")
    with pytest.raises(RetinaError, match=r"/set has 1 photograph: an evaluation takes two or more"):
        list_real(tmp_path / "set")


def test_a_synthetic_set_that_is_the_real_one(tmp_path: Path, phantoms: Path) -> None:
    real = list_real(phantoms)
    with pytest.raises(RetinaError, match="is the real set, or a part of it: each of its 8 photographs is a real one"):
        list_synthetic(phantoms, real)
    with pytest.raises(RetinaError, match=r"5 of the 8 photographs of .* are files of the real set"):
        list_synthetic(phantoms, real[:5])
    for number in range(3):  # copied under other names, in another format
        (tmp_path / "copy").mkdir(exist_ok=True)
        with Image.open(phantoms / "images" / f"phantom_{number:05d}.png") as picture:
            picture.save(tmp_path / "copy" / f"generated_{number}.tif")
    copy = tmp_path / "copy"
    synthetic = EyeSet(copy, list_synthetic(copy, real), 128)
    with pytest.raises(RetinaError, match="copy is the real set, or a part of it"):
        refuse_real(synthetic, EyeSet(phantoms, [without_fov(item) for item in real], 128))
    write_png(copy / "generated_3.png", np.full((3, 64, 64), 90, np.uint8))
    refuse_real(EyeSet(copy, list_synthetic(copy, real), 128), EyeSet(phantoms, real, 128))


def without_fov(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "fov"}


def test_real_photographs(real_set: Callable[[str], Path]) -> None:
    items = list_real(real_set("CHASE_DB1"))
    eyes = EyeSet("CHASE_DB1", items[:4], SIZE)
    eye: Eye = eyes[0]
    assert (eye.name, eye.patient, eye.split) == ("CHASE_DB1_01L", "CHASE_DB1/01", "training")
    assert 0.7 < eye.fov.mean() < 0.85  # a disc in its square has pi / 4
    assert eye.vessel_share is not None and 0.05 < eye.vessel_share[eye.fov].mean() < 0.12
