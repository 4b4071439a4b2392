"""Adapters on miniature copies of the sets, in their exact names and encodings, and on the real ones."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniatures import (
    AREAS,
    LONG_NAME,
    PHOTOGRAPH,
    SHAPE,
    add_stray_files,
    make_chase,
    make_drive,
    make_drive_unlabelled,
    make_fives,
    make_hrf,
    make_idrid,
    make_idrid_grading,
    make_idrid_training_only,
    make_kaggle,
    make_kaggle_training_only,
    make_own,
    make_rossa,
    make_stare,
    make_stare_plain,
    save,
    save_mask,
    shout,
    vessels,
)
from PIL import Image

from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.listing.layout import SPLITS, Datalist, last_fifth
from retina_monai.data.listing.layouts import LAYOUTS, UnknownLayoutError, find_datalist, fingerprint
from retina_monai.data.listing.splits import last_tenth, merge
from retina_monai.data.phantom.fundus.fundus_phantom import write_phantoms
from retina_monai.errors import RetinaError
from retina_monai.kinds import LESIONS, PICTURES


def names(datalist: Datalist, split: str) -> list[str]:
    return [item["name"] for item in datalist[split]]


def patients(datalist: Datalist, split: str) -> set[str]:
    return {item["patient"] for item in datalist[split]}


def every(datalist: Datalist) -> list[dict[str, str]]:
    return [item for split in SPLITS for item in datalist[split]]


DRIVE = {"vessel": 40, "vessel_2nd": 20, "fov": 40}
IDRID = {"vessel": 12, "disc": 15, "microaneurysms": 4, "haemorrhages": 7, "hard_exudates": 4, "soft_exudates": 4}
IDRID_TRAINING = {"vessel": 8, "disc": 10, "microaneurysms": 3, "haemorrhages": 5, "hard_exudates": 3}

LAYOUT_TABLE = {
    # the set, items per split, patients, masks of each kind
    "CHASE_DB1": (make_chase, [18, 2, 8], 14, {"vessel": 28, "vessel_2nd": 28}),
    "HRF": (make_hrf, [8, 1, 6], 15, {"vessel": 15, "fov": 15}),
    "FIVES": (make_fives, [9, 1, 10], 20, {"vessel": 20}),
    "DRIVE": (make_drive, [18, 2, 20], 40, DRIVE),
    "DRIVE of today": (make_drive_unlabelled, [14, 2, 4 + 20], 40, {"vessel": 20, "fov": 40}),
    "STARE": (make_stare, [14, 2, 4], 20, {"vessel": 20, "vessel_2nd": 20}),
    "STARE unpacked": (make_stare_plain, [14, 2, 4], 20, {"vessel": 20, "vessel_2nd": 20}),
    "IDRiD": (make_idrid, [9, 1, 5], 15, IDRID),
    "IDRiD to train": (make_idrid_training_only, [7, 1, 2], 10, {**IDRID_TRAINING, "soft_exudates": 3}),
    "IDRiD grading": (make_idrid_grading, [9, 1, 5], 15, {}),
    "ROSSA": (make_rossa, [10, 3, 2], 15, {"vessel": 15}),
    "RetinaBloodVessel": (make_kaggle, [18, 2, 5], 25, {"vessel": 25}),
    "RetinaBloodVessel to train": (make_kaggle_training_only, [14, 2, 4], 20, {"vessel": 20}),
    "own": (make_own, [4, 1, 1], 4, {"vessel": 6, "fov": 6, "disc": 6, "haemorrhages": 3}),
}


@pytest.mark.parametrize("name", LAYOUT_TABLE)
def test_every_layout(tmp_path: Path, name: str) -> None:
    make, counts, people, masks = LAYOUT_TABLE[name]
    folder = make(tmp_path / "set")
    datalist = find_datalist(folder)
    items = every(datalist)
    assert [len(datalist[split]) for split in SPLITS] == counts
    assert len(patients(datalist, "training") | patients(datalist, "validation") | patients(datalist, "test")) == people
    assert sum(len(patients(datalist, split)) for split in SPLITS) == people
    assert len(set(names(datalist, "training") + names(datalist, "validation") + names(datalist, "test"))) == len(items)
    assert Counter(key for item in items for key in PICTURES[1:] if key in item) == masks
    for item in items:
        assert read_photograph(item["image"]).shape == (3, *SHAPE)
        for key in (key for key in PICTURES[1:] if key in item):
            mask = read_mask(item[key])
            assert mask.shape == (1, *SHAPE)
            assert set(np.unique(mask)) <= {0, 1}
            assert mask.sum() == AREAS[Path(item[key])], item[key]


@pytest.mark.parametrize("name", LAYOUT_TABLE)
def test_every_layout_among_stray_files_and_in_capitals(tmp_path: Path, name: str) -> None:
    folder = LAYOUT_TABLE[name][0](tmp_path / "set")
    before = find_datalist(folder)
    add_stray_files(folder)
    assert find_datalist(folder) == before
    shout(folder)
    after = find_datalist(folder)
    for split in SPLITS:
        assert names(after, split) == names(before, split)
        assert [sorted(item) for item in after[split]] == [sorted(item) for item in before[split]]


def test_drive(tmp_path: Path) -> None:
    datalist = find_datalist(make_drive(tmp_path))
    assert names(datalist, "validation") == ["DRIVE_39", "DRIVE_40"]
    assert datalist["test"][0] == {
        "image": str(tmp_path / "test" / "images" / "01_test.tif"),
        "vessel": str(tmp_path / "test" / "1st_manual" / "01_manual1.gif"),
        "vessel_2nd": str(tmp_path / "test" / "2nd_manual" / "01_manual2.gif"),
        "fov": str(tmp_path / "test" / "mask" / "01_test_mask.gif"),
        "patient": "DRIVE/01",
        "dataset": "DRIVE",
        "name": "DRIVE_01",
    }
    with Image.open(datalist["test"][0]["vessel_2nd"]) as second:  # the miniature is what the set is
        assert (second.format, set(np.unique(second)), set(np.unique(second.convert("L")))) == ("GIF", {0, 1}, {3, 253})


def test_drive_without_labels_for_its_test_photographs(tmp_path: Path) -> None:
    test = find_datalist(make_drive_unlabelled(tmp_path))["test"]
    assert [item["name"] for item in test if "vessel" in item] == [f"DRIVE_{number}" for number in range(37, 41)]
    assert [item["name"] for item in test if "vessel" not in item] == [f"DRIVE_{number:02d}" for number in range(1, 21)]
    shutil.rmtree(tmp_path / "training")
    assert len(every(find_datalist(tmp_path))) == 20


@pytest.mark.parametrize("ending", [".ppm", ".ppm.gz"])
@pytest.mark.parametrize("flat", [True, False])
def test_stare(tmp_path: Path, ending: str, flat: bool) -> None:
    datalist = find_datalist(make_stare(tmp_path, ending, flat))
    assert names(datalist, "test") == ["STARE_im0255", "STARE_im0291", "STARE_im0319", "STARE_im0324"]
    item = datalist["training"][0]
    assert [Path(item[key]).name.split(".")[1] for key in ("image", "vessel", "vessel_2nd")] == ["ppm", "ah", "vk"]
    np.testing.assert_array_equal(read_photograph(item["image"]), PHOTOGRAPH.transpose(2, 0, 1))
    np.testing.assert_array_equal(read_mask(item["vessel"])[0], vessels(0))
    np.testing.assert_array_equal(read_mask(item["vessel_2nd"])[0], vessels(1))


def test_stare_packed_and_unpacked_is_twice(tmp_path: Path) -> None:
    make_stare(tmp_path, ".ppm", flat=True)
    make_stare(tmp_path, ".ppm.gz", flat=True)
    with pytest.raises(RetinaError, match="the same picture"):
        find_datalist(tmp_path)


def test_idrid(tmp_path: Path) -> None:
    datalist = find_datalist(make_idrid(tmp_path))
    assert patients(datalist, "test") == {f"IDRiD/{number}" for number in range(55, 60)}
    first = datalist["training"][0]
    assert first["annotated"] == ["microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates"]
    assert not any(key in first for key in LESIONS)  # looked for, and not there
    assert "vessel" not in datalist["training"][3]
    shutil.rmtree(
        tmp_path / "A. Segmentation" / "2. All Segmentation Groundtruths" / "b. Testing Set" / "2. Haemorrhages"
    )
    annotated = find_datalist(tmp_path)["test"][0]["annotated"]
    assert annotated == ["microaneurysms", "hard_exudates", "soft_exudates"]


def test_idrid_by_its_part_and_in_a_folder_of_that_name(tmp_path: Path) -> None:
    make_idrid(tmp_path)
    items = every(find_datalist(tmp_path / "A. Segmentation"))
    assert len(items) == 15
    assert not any("vessel" in item for item in items)  # they lie in the folder above
    (tmp_path / "A. Segmentation").rename(tmp_path / "part")
    (tmp_path / "A.%20Segmentation").mkdir()
    (tmp_path / "part").rename(tmp_path / "A.%20Segmentation" / "A. Segmentation")
    assert sum("vessel" in item for item in every(find_datalist(tmp_path))) == 12


def test_idrid_with_a_mask_too_many(tmp_path: Path) -> None:
    make_idrid(tmp_path)
    save_mask(tmp_path / "vessels" / "IDRiD_01.png", vessels(1))
    with pytest.raises(RetinaError, match="the same picture"):
        find_datalist(tmp_path)
    (tmp_path / "vessels" / "IDRiD_01.png").rename(tmp_path / "vessels" / "IDRiD_80.png")
    with pytest.raises(RetinaError, match=r"IDRiD_80\.png is a mask without its photograph"):
        find_datalist(tmp_path)


def test_the_kaggle_set_by_its_folder_data(tmp_path: Path) -> None:
    folder = make_kaggle(tmp_path)
    datalist = find_datalist(folder / "Data")
    assert datalist == find_datalist(folder)
    assert names(datalist, "test")[:2] == ["RetinaBloodVessel_test_0", "RetinaBloodVessel_test_1"]
    assert {"RetinaBloodVessel/train_0", "RetinaBloodVessel/train_1"} <= patients(datalist, "training")


@pytest.mark.parametrize(("count", "held_out"), [(0, 0), (1, 0), (2, 1), (5, 1), (10, 2), (20, 4), (23, 5)])
def test_a_fifth(count: int, held_out: int) -> None:
    items = [{"patient": f"{number:02d}", "eye": eye} for number in range(count) for eye in "LR"]
    datalist = last_fifth(items[::-1])
    assert [item for split in ("training", "test") for item in datalist[split]] == [
        *items[: 2 * (count - held_out)][::-1],
        *items[2 * (count - held_out) :][::-1],
    ]
    assert len(datalist["test"]) == 2 * held_out


def test_chase_db1(tmp_path: Path) -> None:
    datalist = find_datalist(make_chase(tmp_path))
    assert patients(datalist, "training") == {f"CHASE_DB1/{child:02d}" for child in range(1, 10)}
    assert patients(datalist, "validation") == {"CHASE_DB1/10"}
    assert patients(datalist, "test") == {f"CHASE_DB1/{child}" for child in range(11, 15)}
    assert datalist["training"][1] == {
        "image": str(tmp_path / "Image_01R.jpg"),
        "vessel": str(tmp_path / "Image_01R_1stHO.png"),
        "vessel_2nd": str(tmp_path / "Image_01R_2ndHO.png"),
        "patient": "CHASE_DB1/01",
        "dataset": "CHASE_DB1",
        "name": "CHASE_DB1_01R",
        "laterality": "R",
    }
    np.testing.assert_array_equal(read_mask(datalist["training"][1]["vessel"])[0], vessels(1))


def test_chase_db1_without_the_second_observer_and_in_other_case(tmp_path: Path) -> None:
    make_chase(tmp_path, children=2)
    for path in tmp_path.glob("*_2ndHO.png"):
        path.unlink()
    (tmp_path / "Image_01L.jpg").rename(tmp_path / "image_01l.JPEG")
    (tmp_path / "Image_01L_1stHO.png").rename(tmp_path / "IMAGE_01L_1stho.PNG")
    datalist = find_datalist(tmp_path)
    assert names(datalist, "training") == ["CHASE_DB1_01L", "CHASE_DB1_01R"]
    assert all("vessel_2nd" not in item for item in every(datalist))


def test_hrf(tmp_path: Path) -> None:
    datalist = find_datalist(make_hrf(tmp_path))
    assert names(datalist, "test") == ["HRF_04_dr", "HRF_04_g", "HRF_04_h", "HRF_05_dr", "HRF_05_g", "HRF_05_h"]
    assert names(datalist, "validation") == ["HRF_03_h"]
    assert len(patients(datalist, "training")) == len(datalist["training"]) == 8
    first = datalist["training"][0]
    assert Path(first["image"]).name == "01_dr.JPG"
    assert Path(first["fov"]) == tmp_path / "mask" / "01_dr_mask.tif"
    assert read_mask(first["fov"]).all()
    np.testing.assert_array_equal(read_mask(first["vessel"])[0], vessels(1))


def test_hrf_from_the_zips_per_class(tmp_path: Path) -> None:
    make_hrf(tmp_path / "all", numbers=3)
    for source, target in (("images", "healthy"), ("manual1", "healthy_manualsegm"), ("mask", "healthy_fovmask")):
        for path in (tmp_path / "all" / source).glob("*_h*"):
            save(tmp_path / "zips" / target / path.name, np.asarray(Image.open(path)))
    assert [item["name"] for item in every(find_datalist(tmp_path / "zips"))] == ["HRF_01_h", "HRF_02_h", "HRF_03_h"]


def test_fives_with_both_splits_tests_on_its_test_split(tmp_path: Path) -> None:
    datalist = find_datalist(make_fives(tmp_path))
    assert len({item["name"] for item in every(datalist)}) == 20
    assert names(datalist, "test")[0] == "FIVES_test_10_G"
    assert {name.rpartition("_train_")[0] for name in names(datalist, "training")} == {"FIVES"}
    assert [len(datalist[split]) for split in SPLITS] == [9, 1, 10]
    for item in every(datalist):
        split, number, _ = item["name"].removeprefix("FIVES_").split("_")
        assert Path(item["image"]).parts[-3] == split
        np.testing.assert_array_equal(read_mask(item["vessel"])[0], vessels(int(number) + 50 * (split == "test")))


def test_fives_without_test_split_tests_on_its_last_names_as_text(tmp_path: Path) -> None:
    datalist = find_datalist(make_fives(tmp_path, splits=("train",)))
    assert [name.removeprefix("FIVES_train_") for name in names(datalist, "test")] == [
        *["4_A", "5_D", "6_G", "7_N", "8_A", "9_D"]
    ]


def test_fives_in_the_folder_of_its_long_name(tmp_path: Path) -> None:
    make_fives(tmp_path / LONG_NAME)
    assert len(every(find_datalist(tmp_path))) == len(every(find_datalist(tmp_path / LONG_NAME))) == 20


def test_fives_photographs_of_one_eye_stand_together(tmp_path: Path) -> None:
    ground_truth = make_fives(tmp_path) / "train" / "Ground truth"
    shutil.copy(ground_truth / "1_D.png", ground_truth / "9_D.png")
    shutil.copy(tmp_path / "test" / "Ground truth" / "3_N.png", ground_truth / "5_D.png")
    datalist = find_datalist(tmp_path)
    patient = {item["name"]: item["patient"] for item in every(datalist)}
    assert patient["FIVES_train_1_D"] == patient["FIVES_train_9_D"]
    assert "FIVES_train_5_D" not in patient  # its eye tests
    assert not patients(datalist, "training") & (patients(datalist, "validation") | patients(datalist, "test"))


@pytest.mark.parametrize(
    ("make", "photograph", "vessel"),
    [
        (make_chase, "Image_02L.jpg", "Image_02L_1stHO.png"),
        (make_hrf, "images/02_g.jpg", "manual1/02_g.tif"),
        (make_fives, "train/Original/2_G.png", "train/Ground truth/2_G.png"),
        (make_fives, "test/Original/2_G.png", "test/Ground truth/2_G.png"),
        (make_drive, "training/images/22_training.tif", "training/1st_manual/22_manual1.gif"),
        (make_drive, "test/images/02_test.tif", "test/1st_manual/02_manual1.gif"),
        (make_stare, "stare-images/im0004.ppm.gz", "labels-ah/im0004.ah.ppm.gz"),
        (make_kaggle, "Data/test/image/2.png", "Data/test/mask/2.png"),
        (make_own, "images/eye5.bmp", "vessels/eye5.png"),
    ],
)
def test_one_without_the_other_is_named(
    tmp_path: Path, make: Callable[[Path], Path], photograph: str, vessel: str
) -> None:
    (make(tmp_path / "a") / vessel).unlink()
    with pytest.raises(RetinaError) as error:
        find_datalist(tmp_path / "a")
    assert str(error.value).startswith(f"{tmp_path / 'a' / photograph} is a photograph without its vessel map")
    (make(tmp_path / "b") / photograph).unlink()
    with pytest.raises(RetinaError) as error:
        find_datalist(tmp_path / "b")
    assert str(error.value).startswith(f"{tmp_path / 'b' / vessel} is a vessel map without its photograph")


IDRID = "A. Segmentation/1. Original Images"


@pytest.mark.parametrize(
    ("make", "unpaired"),
    [
        (make_chase, ("Image_02L.jpg", "Image_05R.jpg", "Image_12L_1stHO.png")),
        (make_hrf, ("images/02_g.jpg", "images/03_h.jpg", "manual1/04_g.tif")),
        (make_fives, ("train/Original/2_G.png", "train/Ground truth/5_D.png", "test/Original/2_G.png")),
        (make_drive, ("training/images/22_training.tif", "test/images/02_test.tif", "test/1st_manual/03_manual1.gif")),
        (make_stare, ("stare-images/im0004.ppm.gz", "stare-images/im0081.ppm.gz", "labels-ah/im0005.ah.ppm.gz")),
        (make_kaggle, ("Data/train/image/2.png", "Data/test/image/2.png", "Data/test/mask/3.png")),
        (make_own, ("vessels/eye 4.png", "images/eye5.bmp", "images/eye6.png")),
        (make_idrid, (f"{IDRID}/a. Training Set/IDRiD_02.jpg", f"{IDRID}/b. Testing Set/IDRiD_57.jpg")),
    ],
)
def test_all_files_without_a_partner_are_named_at_once(
    tmp_path: Path, make: Callable[[Path], Path], unpaired: tuple[str, ...]
) -> None:
    folder = make(tmp_path)
    for name in unpaired:
        (folder / name).unlink()
    with pytest.raises(RetinaError, match="files have no partner") as error:
        find_datalist(folder)
    for name in unpaired:
        stem = re.split(r"_training|_test|_1stHO|\.", Path(name).name)[0]
        assert f"{stem.removesuffix('_manual1')}" in str(error.value)


@pytest.mark.parametrize("count", [2, 3, 6])
@pytest.mark.parametrize("make", [make_hrf, make_fives])
def test_a_copy_of_few_eyes_keeps_eyes_to_train_on(tmp_path: Path, make: Callable[[Path], Path], count: int) -> None:
    folder = make_hrf(tmp_path, 2) if make is make_hrf else make_fives(tmp_path, ("train",), count)
    for path in sorted((folder / "images").glob("*"))[count:]:  # of HRF
        path.unlink()
        (folder / "manual1" / f"{path.stem}.tif").unlink()
    datalist = find_datalist(folder)
    assert len(datalist["training"]) >= 1
    assert len(datalist["test"]) == 1
    assert sum(map(len, datalist.values())) == count


def test_pictures_of_other_sizes_and_files_that_are_none_are_named(tmp_path: Path) -> None:
    folder = make_chase(tmp_path, children=2)
    save(folder / "Image_02R_1stHO.png", vessels(2)[:, 1:])
    with pytest.raises(RetinaError, match=r"Image_02R_1stHO\.png is 23 x 20 pixels, but its photograph .* is 24 x 20"):
        find_datalist(folder)
    (folder / "Image_02R_1stHO.png").write_bytes(b"")
    with pytest.raises(RetinaError, match=r"Image_02R_1stHO\.png is empty"):
        find_datalist(folder)
    (folder / "Image_02R_1stHO.png").write_text("no picture")
    with pytest.raises(RetinaError, match=r"Image_02R_1stHO\.png is damaged, truncated or not a picture"):
        find_datalist(folder)


def test_the_same_picture_in_two_cases_is_refused(tmp_path: Path) -> None:
    make_hrf(tmp_path)
    shutil.copy(tmp_path / "images" / "01_dr.JPG", tmp_path / "images" / "01_DR.jpeg")
    with pytest.raises(RetinaError, match="the same picture"):
        find_datalist(tmp_path)


def test_unknown_layouts_are_refused_with_those_looked_for(tmp_path: Path) -> None:
    save(tmp_path / "pictures" / "eye.png", PHOTOGRAPH)
    with pytest.raises(UnknownLayoutError) as error:
        find_datalist(tmp_path / "pictures")
    assert str(tmp_path / "pictures") in str(error.value)
    assert all(layout.name in str(error.value) for layout in LAYOUTS)
    make_chase(tmp_path / "CHASE_DB1", children=1)
    with pytest.raises(UnknownLayoutError, match="its folders CHASE_DB1 hold a data set: give those"):
        find_datalist(tmp_path)


@pytest.mark.parametrize("given", ["absent", ["absent"], "['absent']", "absent/datalist.json"])
def test_missing_directories_are_named(given: str | list[str]) -> None:
    with pytest.raises(RetinaError, match=r"absent.* does not exist"):
        find_datalist(given)


@pytest.mark.parametrize("given", ["", [], "[]", "['a', ", [""], [3]])
def test_what_is_no_directory_is_refused(given: object) -> None:
    with pytest.raises(RetinaError, match=r"^dataset_dir .*list"):
        find_datalist(given)


def test_several_sets_in_every_way_of_giving_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_chase(tmp_path / "c")
    make_hrf(tmp_path / "h")
    both = find_datalist([tmp_path / "c", str(tmp_path / "h")])
    assert [len(both[split]) for split in SPLITS] == [18 + 8, 2 + 1, 8 + 6]
    assert find_datalist(f" ['{tmp_path / 'c'}', '{tmp_path / 'h'}']") == both
    monkeypatch.chdir(tmp_path)
    assert find_datalist(["c", "./h/"]) == both
    with pytest.raises(RetinaError, match="is in the list twice"):
        find_datalist(["c", "h", str(tmp_path / "c")])


def test_phantoms_are_recognised_with_their_splits(tmp_path: Path) -> None:
    folder = write_phantoms(tmp_path / "phantoms", 5, 32, 0)
    datalist = find_datalist(folder)
    written = json.loads((folder / "datalist.json").read_text())
    assert {split: names(datalist, split) for split in SPLITS} == {split: names(written, split) for split in SPLITS}
    for item in every(datalist):
        assert all(Path(item[key]).is_file() for key in ("image", "vessel", "fov", "disc", "cup"))
        assert item["laterality"] in ("L", "R")
    assert find_datalist(folder / "datalist.json") == datalist


def make_synthetic(folder: Path, of: list[str]) -> Path:
    """A generated set as the bundles write it: one eye per patient, all for training, named as its condition."""
    for number in range(len(of)):
        save(folder / "images" / f"{number}.png", PHOTOGRAPH)
        save(folder / "vessels" / f"{number}.png", vessels(number) * np.uint8(255))
    pictures = [{"image": f"images/{number}.png", "vessel": f"vessels/{number}.png"} for number in range(len(of))]
    items = [{**paths, "patient": p, "name": "CHASE_DB1_01L"} for paths, p in zip(pictures, of, strict=True)]
    (folder / "datalist.json").write_text(json.dumps({"name": "synthetic", "training": items, "test": []}))
    return folder


def test_a_synthetic_set_gives_a_tenth_of_its_patients_for_validation(tmp_path: Path) -> None:
    datalist = find_datalist(make_synthetic(tmp_path, [f"p/{number:02d}" for number in range(20)]))
    assert patients(datalist, "validation") == {"p/18", "p/19"}
    assert [len(datalist[split]) for split in SPLITS] == [18, 2, 0]
    assert {item["dataset"] for item in every(datalist)} == {"synthetic"}


@pytest.mark.parametrize("real_first", [True, False])
def test_nothing_generated_from_a_held_out_eye_trains(tmp_path: Path, real_first: bool) -> None:
    real = make_chase(tmp_path / "real")
    made = make_synthetic(tmp_path / "made", [f"CHASE_DB1/{child:02d}" for child in range(1, 15)])
    datalist = find_datalist([real, made] if real_first else [made, real])
    held_out = patients(datalist, "validation") | patients(datalist, "test")
    assert held_out == {f"CHASE_DB1/{child}" for child in range(10, 15)}
    assert not patients(datalist, "training") & held_out
    assert {item["dataset"] for item in datalist["test"]} == {"CHASE_DB1"}
    assert len(datalist["training"]) == 18 + 9
    assert len({item["name"] for item in every(datalist)}) == len(every(datalist))


def test_own_pictures_in_two_folders(tmp_path: Path) -> None:
    for number, suffix in enumerate(["jpg", "tif", "png"]):
        save(tmp_path / "mine" / "images" / f"eye {number}.{suffix}", PHOTOGRAPH)
        save(tmp_path / "mine" / "vessels" / f"eye {number}.PNG", vessels(number))
    save(tmp_path / "mine" / "fovs" / "eye 0.png", np.ones(SHAPE, dtype=bool))
    datalist = find_datalist(tmp_path / "mine")
    assert names(datalist, "training") == ["mine_eye_0", "mine_eye_1"]
    assert names(datalist, "validation") == ["mine_eye_2"]
    assert "fov" in datalist["training"][0]
    assert "fov" not in datalist["training"][1]
    (tmp_path / "mine" / "manifest.jsonl").write_text("{}\n")
    with pytest.raises(RetinaError, match=r"mine is not finished, it has no datalist\.json"):
        find_datalist(tmp_path / "mine")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a datalist"),
        ("[]", "is not a datalist"),
        ('{"training": ["a.png"]}', "item 1 of training is 'a.png'"),
        ('{"training": []}', "lists no eyes"),
        ('{"training": [{"image": "a.png", "vessel": "b.png"}]}', "item 1 of training has no patient"),
        ('{"test": [{"image": "a.png", "vessel": "b.png", "patient": "p"}]}', r"a\.png is not there"),
    ],
)
def test_a_datalist_that_is_none_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "datalist.json").write_text(content)
    with pytest.raises(RetinaError, match=message):
        find_datalist(tmp_path)


@pytest.mark.parametrize(("count", "held_out"), [(0, 0), (1, 0), (2, 1), (10, 1), (14, 1), (16, 2), (100, 10)])
def test_a_tenth(count: int, held_out: int) -> None:
    order = [f"{number:03d}" for number in range(count)]
    assert last_tenth(reversed(order)) == set(order[count - held_out :])


def test_a_set_that_says_who_validates_is_believed() -> None:
    items = [{"patient": str(number)} for number in range(10)]
    merged = merge([{"training": items[:6], "validation": items[6:8], "test": items[8:]}])
    assert merged == {"training": items[:6], "validation": items[6:8], "test": items[8:]}


def test_fingerprint_follows_contents_and_not_places(tmp_path: Path) -> None:
    datalist = find_datalist(make_chase(tmp_path / "a", children=3))
    value = fingerprint(datalist)
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = find_datalist(tmp_path / "b")
    assert fingerprint(moved) == value
    path = tmp_path / "b" / "Image_01L_1stHO.png"
    before = path.read_bytes()
    save(path, vessels(77))
    assert fingerprint(moved) != value
    path.write_bytes(before)
    assert fingerprint(moved) == value
    assert fingerprint({**moved, "training": moved["training"][1:]}) != value


REAL = {
    "CHASE_DB1": ([18, 2, 8], (999, 960)),
    "HRF": ([13, 1, 6], (3504, 2336)),
    "FIVES": ([13, 1, 6], (2048, 2048)),
    "IDRiD": ([17, 1, 5], (4288, 2848)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets(real_set: Callable[[str], Path], name: str) -> None:
    datalist = find_datalist(real_set(name))
    counts, size = REAL[name]
    assert [len(datalist[split]) for split in SPLITS] == counts
    item = next(item for item in datalist["test"] if "vessel" in item)
    with Image.open(item["image"]) as photograph:
        assert photograph.size == size
    mask = read_mask(item["vessel"])
    assert mask.shape == (1, *size[::-1])
    assert 0.02 < mask.mean() < 0.15


def test_the_fixed_test_eyes_of_the_real_sets(real_set: Callable[[str], Path]) -> None:
    hrf, fives = find_datalist(real_set("HRF")), find_datalist(real_set("FIVES"))
    assert names(hrf, "test") == [f"HRF_{name}" for name in ("05_h", "06_dr", "06_g", "06_h", "07_dr", "07_g")]
    assert names(fives, "test") == [f"FIVES_train_{name}_A" for name in (37, 38, 39, 3, 4, 5)]
    patient = {item["name"]: item["patient"] for item in every(fives)}
    assert patient["FIVES_train_22_A"] == patient["FIVES_train_23_A"]


def test_idrid_as_it_is(real_set: Callable[[str], Path]) -> None:
    datalist = find_datalist(real_set("IDRiD"))
    items = every(datalist)
    assert names(datalist, "test") == ["IDRiD_19", "IDRiD_20", "IDRiD_21", "IDRiD_22", "IDRiD_23"]
    assert [item["name"] for item in items if "vessel" not in item] == [
        f"IDRiD_{n:02d}" for n in (1, 4, 7, 15, 19, 21, 22, 23)
    ]
    lesions = ["microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates"]
    assert all(item["annotated"] == lesions for item in items)
    assert [sum(lesion in item for item in items) for lesion in lesions[:3]] == [23, 23, 23]
    mask = read_mask(items[0]["disc"])  # a palette of black and red, 76 as grey
    assert mask.shape == (1, 2848, 4288)
    assert 0.01 < mask.mean() < 0.03
    box = [np.flatnonzero(mask[0].any(axis)) for axis in (0, 1)]
    assert mask.sum() / (np.ptp(box[0]) * np.ptp(box[1])) == pytest.approx(np.pi / 4, abs=0.1)  # a disc, not its rim


def test_grades_are_those_of_the_official_tables(tmp_path: Path) -> None:
    datalist = find_datalist(make_idrid_grading(tmp_path))
    assert [item["grade"] for item in datalist["test"]] == [1, 2, 3, 4, 0]
    assert datalist["test"][0]["name"] == "IDRiD_test_001" and datalist["test"][0]["dataset"] == "IDRiD"
    assert find_datalist(tmp_path / "B. Disease Grading") == datalist


@pytest.mark.parametrize("grade", ["", "5", "-1", "two"])
def test_a_photograph_without_a_grade_is_named(tmp_path: Path, grade: str) -> None:
    folder = make_idrid_grading(tmp_path)
    (table,) = folder.rglob("*Testing Labels.csv")
    table.write_text(table.read_text().replace("IDRiD_003,3,", f"IDRiD_003,{grade},"))
    with pytest.raises(RetinaError, match=r"IDRiD_003\.jpg: the table of the test set has no grade from 0 to 4"):
        find_datalist(folder)


def test_photographs_without_a_table_of_grades_are_refused(tmp_path: Path) -> None:
    shutil.rmtree(make_idrid_grading(tmp_path) / "B. Disease Grading" / "2. Groundtruths")
    with pytest.raises(RetinaError, match="has no table of grades for the training set"):
        find_datalist(tmp_path)


def test_real_lesion_masks_of_idrid(real_set: Callable[[str], Path]) -> None:
    items = every(find_datalist(real_set("IDRiD")))
    counts = Counter(key for item in items for key in LESIONS if key in item)
    assert counts == {"microaneurysms": 23, "haemorrhages": 23, "hard_exudates": 23, "soft_exudates": 9}
    for key in counts:
        mask = read_mask(next(item for item in items if key in item)[key], key=key)
        assert mask.shape == (1, 2848, 4288) and 0 < mask.mean() < 0.05


def test_real_grades_of_idrid(real_set: Callable[[str], Path]) -> None:
    datalist = find_datalist(real_set("IDRiD_grading"))
    assert Counter(item["grade"] for item in datalist["test"]) == {0: 34, 1: 5, 2: 32, 3: 19, 4: 13}
    assert len(datalist["training"]) + len(datalist["validation"]) == 412, "one shows an eye that tests"
    assert "IDRiD_train_118" not in {item["name"] for item in every(datalist)}
    joined = {item["name"]: item["patient"] for item in every(datalist)}
    for one, other in (("021", "391"), ("028", "327"), ("045", "333"), ("073", "375"), ("079", "279")):
        assert joined[f"IDRiD_train_{one}"] == joined[f"IDRiD_train_{other}"]


def test_no_eye_of_both_parts_of_idrid_is_on_both_sides(real_set: Callable[[str], Path]) -> None:
    folders = [real_set("IDRiD"), real_set("IDRiD_grading")]
    with open(folders[1] / "segmentation_to_grading.csv") as file:
        pairs = [line.strip().split(",") for line in file][1:]
    datalist = find_datalist(folders)
    places = {item["name"]: (item["patient"], split) for split in SPLITS for item in datalist[split]}
    found = 0
    for segmented, split, graded in pairs:
        names = (segmented, graded.replace("IDRiD_", f"IDRiD_{split}_"))
        if all(name in places for name in names):
            found += 1
            assert places[names[0]] == places[names[1]]
    assert found >= 10


def test_real_octa_of_rossa(real_set: Callable[[str], Path]) -> None:
    datalist = find_datalist(real_set("ROSSA"))
    assert [len(datalist[split]) for split in SPLITS] == [98, 102, 100], "two of 300 show eyes that validate"
    image, label = (read(datalist["test"][0][key]) for read, key in ((read_photograph, "image"), (read_mask, "vessel")))
    assert image.shape[1:] == label.shape[1:] == (320, 320) and 0.05 < label.mean() < 0.5
