"""Photographs to find vessels in, from whatever a user has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from retina_monai.data import Photographs, collate_photographs, find_datalist, find_photographs, generate_phantom
from retina_monai.data.files.writing import write_png
from retina_monai.data.sets.photographs import fit_photograph
from retina_monai.errors import RetinaError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs and nothing else."""
    for name in ("b", "a", "c.left"):
        write_png(tmp_path / "photos" / f"{name}.png", generate_phantom(1, 96)["image"], synthetic=False)
    return tmp_path / "photos"


def test_a_folder_of_photographs(folder: Path) -> None:
    items = find_photographs(folder)
    assert [item["name"] for item in items] == ["a", "b", "c.left"]
    assert [item["patient"] for item in items] == ["photos/a", "photos/b", "photos/c.left"]
    assert {item["dataset"] for item in items} == {"photos"}


@pytest.mark.parametrize(
    "names", [("01_dr.jpg", "02_h.jpg"), ("Image_01L.jpg", "Image_01R.jpg"), ("1_A.png", "2_N.png")]
)
def test_photographs_of_a_data_set_without_its_vessel_maps(folder: Path, names: tuple[str, ...]) -> None:
    """Of HRF, CHASE_DB1 and FIVES, as who has only looked for photographs copied them."""
    for name, path in zip(names, sorted(folder.iterdir()), strict=False):
        path.rename(folder / name)
    assert {Path(item["image"]).name for item in find_photographs(folder)} == {*names, "c.left.png"}


def test_a_folder_images_in_it(folder: Path) -> None:
    folder.rename(folder.parent / "images")
    assert len(find_photographs(folder.parent)) == 3


def test_a_data_set_keeps_patients_and_splits_and_its_vessel_maps_are_not_asked_for(
    phantoms: Path, tmp_path: Path
) -> None:
    items = find_photographs(phantoms)
    eyes = {
        item["name"]: (item["patient"], split) for split, found in find_datalist(phantoms).items() for item in found
    }
    assert {item["name"]: (item["patient"], item["split"]) for item in items} == eyes
    assert not any("vessel" in item for item in items)
    tests = find_photographs(phantoms, split="test")
    assert {item["name"] for item in tests} == {name for name, (_, split) in eyes.items() if split == "test"}


def test_broken_vessel_maps_do_not_matter(phantoms: Path, tmp_path: Path) -> None:
    lines = [item for found in find_datalist(phantoms).values() for item in found]
    (tmp_path / "broken.png").write_bytes(b"broken")
    listed = [{key: line[key] for key in ("image", "patient", "name")} | {"vessel": "broken.png"} for line in lines]
    (tmp_path / "datalist.json").write_text(json.dumps({"test": listed}))
    assert len(find_photographs(tmp_path)) == len(lines)


def test_what_is_wrong_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match=r"nowhere is not a directory: name the folder that holds the photographs"):
        find_photographs(tmp_path / "nowhere")
    with pytest.raises(RetinaError, match=r"has no splits: leave out --split test, or give a data set"):
        find_photographs(folder, split="test")
    with pytest.raises(RetinaError, match="split half is unknown: give training, validation, test or all"):
        find_photographs(folder, split="half")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RetinaError, match=r"empty holds no photograph: it takes \.png"):
        find_photographs(tmp_path / "empty")


def test_broken_photographs_are_refused_or_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "b.png").write_bytes(b"broken")
    with pytest.raises(RetinaError, match=r"b\.png is damaged"):
        find_photographs(folder)
    assert [item["name"] for item in find_photographs(folder, skip_unreadable="yes")] == ["a", "c.left"]
    assert "left out 1 of 3 eyes" in caplog.text


def test_black_photographs_are_left_out_of_the_data_set(folder: Path) -> None:
    write_png(folder / "b.png", np.zeros((3, 96, 96), np.uint8), synthetic=False)
    assert len(Photographs(find_photographs(folder), 32)) == 3
    assert len(Photographs(find_photographs(folder), 32, skip_unreadable=True)) == 2


def test_an_item_is_what_the_network_takes_and_the_photograph_itself(phantoms: Path) -> None:
    (item, *_) = find_datalist(phantoms)["test"]
    sample = Photographs([item], 40)[0]
    assert sample["image"].shape == (3, 40, 40) and sample["image"].dtype == np.float32
    assert not sample["image"][:, 0, 0].any() and sample["image"].max() <= 255
    for key in ("photograph", "fov", "vessel"):
        assert sample[key].shape[1:] == (128, 128)
    assert (sample["name"], sample["patient"], sample["synthetic"]) == (item["name"], item["patient"], 1)
    assert sample["box"].tolist()[2] <= 128


def test_finished_ones_are_left_out_and_the_others_keep_their_place(folder: Path) -> None:
    data = Photographs(find_photographs(folder), 32, finished={"a"})
    assert [(sample["name"], sample["index"]) for sample in data] == [("b", 1), ("c.left", 2)]


def test_a_photograph_is_cut_as_training_photographs_are(phantoms: Path) -> None:
    from retina_monai.data import LoadEyed
    from retina_monai.data.files.reading import read_mask, read_photograph
    from retina_monai.transforms import PhotographRanged

    (item, *_) = find_datalist(phantoms)["test"]
    image, _ = fit_photograph(read_photograph(item["image"]), read_mask(item["fov"]), 64)
    trained = PhotographRanged()(LoadEyed(64)(item))["image"]
    np.testing.assert_allclose(image / 127.5 - 1, trained.numpy(), atol=1e-5)


def test_photographs_of_different_sizes_do_not_share_a_batch(phantoms: Path) -> None:
    samples = [Photographs([find_photographs(phantoms)[0]], 40)[0] for _ in range(2)]
    assert collate_photographs(samples)["photograph"].shape[0] == 2
    height, width = samples[1]["photograph"].shape[-2:]
    samples[1]["photograph"] = samples[1]["photograph"][..., 1:]
    with pytest.raises(RetinaError, match=f"{width - 1} x {height} and {width} x {height} pixels do not fit into one"):
        collate_photographs(samples)
