"""A generated set: files, marks, manifest, datalist; what was interrupted goes on, what is another's is left alone."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, load_decathlon_datalist
from monai.engines import SupervisedEvaluator
from monai.transforms import ScaleIntensityRanged
from PIL import Image
from torch import Tensor, nn

from retina_monai import __version__
from retina_monai.data import find_datalist
from retina_monai.data.files.writing import write_png
from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.errors import RetinaError
from retina_monai.handlers import SyntheticSet, finished_samples
from retina_monai.transforms import Appearance, Texture
from retina_monai.transforms.field_of_view import circle

OUTPUT = NetworkOutput(("image", "image", "image"))
EMPTY_RUN = pytest.mark.filterwarnings("ignore:`dataloader` is empty:UserWarning")
SIZE = 32
FOLDERS = ("images", "vessels", "vessel_shares", "fovs")
SETTINGS = {"bundle": "pix2pix_vessel", "weights": "abc", "appearance": "random", "seed": 7}


class Painter(nn.Module):
    """A texture that depends on the vessel map."""

    def forward(self, image: Tensor) -> Tensor:
        rows = torch.linspace(-0.6, 0.6, SIZE).view(1, 1, -1, 1)
        return torch.cat([0.2 * image + rows, -0.1 * image + rows.mT, 0.3 * image - rows], 1)


def vessel(index: int) -> Tensor:
    random = torch.Generator().manual_seed(index)
    return (torch.rand(1, SIZE, SIZE, generator=random) > 0.8).float() * 2 - 1


def conditions(count: int = 4) -> list[dict[str, Any]]:
    return [
        {
            "image": vessel(index),
            "vessel_share": ((vessel(index) + 1) * 127.5).byte(),
            "vessel": (vessel(index) > 0).byte(),
            "fov": circle(SIZE),
            "name": f"sample{index}",
            "patient": f"HRF/{index // 2}",
            "source": f"/somewhere/else/map{index}.tif",
            "index": index,
        }
        for index in range(count)
    ]


def appearance(index: int) -> Appearance:
    return Appearance((0.3 + 0.1 * index, -0.2, -0.5), (0.12, 0.1, 0.08))


def generate(
    folder: Path,
    count: int = 4,
    batch_size: int = 2,
    settings: dict[str, Any] | None = None,
    choose: Callable[[int], Appearance] = appearance,
    texture: bool = True,
) -> None:
    """As ``inference.json`` does: finished samples are left out of the data set."""
    items = [item for item in conditions(count) if item["name"] not in finished_samples(folder)]
    SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(items), batch_size=batch_size),
        network=Painter(),
        postprocessing=ScaleIntensityRanged("pred", -1, 1, 0, 255, clip=True),
        val_handlers=[SyntheticSet(folder, SETTINGS if settings is None else settings, choose, texture, OUTPUT)],
    ).run()


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_every_sample_has_its_pictures_and_nothing_else_is_there(tmp_path: Path) -> None:
    generate(tmp_path)
    pictures = {f"{kind}/sample{index}.png" for kind in FOLDERS for index in range(4)}
    assert files(tmp_path).keys() == pictures | {"manifest.jsonl", "datalist.json", "settings.json", "README.txt"}
    for index in range(4):
        inside = circle(SIZE)
        np.testing.assert_array_equal(read(tmp_path / f"vessels/sample{index}.png"), (vessel(index) > 0).numpy() * 255)
        np.testing.assert_array_equal(read(tmp_path / f"vessel_shares/sample{index}.png"), (vessel(index) > 0) * 255)
        np.testing.assert_array_equal(read(tmp_path / f"fovs/sample{index}.png"), inside * 255)
        image = read(tmp_path / f"images/sample{index}.png")
        assert image.shape == (3, SIZE, SIZE) and (image[:, inside[0] == 0] == 0).all()


def test_photographs_have_the_appearance_asked_for_and_the_networks_texture(tmp_path: Path) -> None:
    generate(tmp_path)
    inside = circle(SIZE)[0].astype(bool)
    for index in range(4):
        image = read(tmp_path / f"images/sample{index}.png")[:, inside] / 127.5 - 1
        wanted = appearance(index)
        np.testing.assert_allclose(image.mean(1), wanted.mean, atol=0.004)
        np.testing.assert_allclose(image.std(1), wanted.std, atol=0.004)
        painted = Painter()(vessel(index)[None])[0].numpy()[:, inside]
        for channel in range(3):
            assert np.corrcoef(image[channel], painted[channel])[0, 1] > 0.99


def test_texture_is_drawn_where_it_is_known_and_asked_for(tmp_path: Path) -> None:
    def with_texture(index: int) -> Appearance:
        band = ((4e-4, 0.0, 0.0), (0.0, 1e-4, 0.0), (0.0, 0.0, 1e-5))
        return replace(appearance(index), texture=Texture((band,) * 10, 0.3))

    for name, choose, texture in (
        ("plain", appearance, True),
        ("off", with_texture, False),
        ("on", with_texture, True),
    ):
        generate(tmp_path / name, choose=choose, texture=texture)
    plain, off, on = (files(tmp_path / name) for name in ("plain", "off", "on"))
    images = [name for name in plain if name.startswith("images/")]
    assert len(images) == 4 and all(plain[name] == off[name] != on[name] for name in images)
    assert all(plain[name] == on[name] for name in plain if name.startswith(("vessels/", "fovs/")))
    grain = read(tmp_path / "on" / images[0]).astype(float) - read(tmp_path / "off" / images[0])
    assert grain[0].std() > 1.5 * grain[1].std() > 2 * grain[2].std() > 0


def test_pictures_say_that_they_are_synthetic(tmp_path: Path) -> None:
    generate(tmp_path, count=1)
    for path in tmp_path.rglob("*.png"):
        with Image.open(path) as picture:
            assert picture.info["SyntheticData"] == "YES"
            assert picture.info["Software"] == f"retina_monai {__version__}"


def test_a_line_per_sample_says_where_it_comes_from(tmp_path: Path) -> None:
    generate(tmp_path)
    lines = manifest(tmp_path)
    assert [line["name"] for line in lines] == [f"sample{index}" for index in range(4)]
    assert lines[3] == {
        "name": "sample3",
        "image": "images/sample3.png",
        "vessel": "vessels/sample3.png",
        "vessel_share": "vessel_shares/sample3.png",
        "fov": "fovs/sample3.png",
        "patient": "HRF/1",
        "dataset": "synthetic",
        "source": "map3.tif",
        "index": 3,
        "seed": 7,
        "appearance": {"mean": pytest.approx([0.6, -0.2, -0.5]), "std": [0.12, 0.1, 0.08]},
        "synthetic": True,
    }
    assert json.loads((tmp_path / "settings.json").read_text()) == SETTINGS


def test_a_line_tells_the_eye_whose_map_it_was(tmp_path: Path) -> None:
    told = {"condition": "eye1", "condition_dataset": "HRF", "augmented": 1, "laterality": "L"}
    item = conditions(2)[1]
    for place, known in enumerate((told, told | {"condition_dataset": "", "laterality": "", "augmented": 0})):
        handler = SyntheticSet(tmp_path / str(place), SETTINGS, appearance, network_output=OUTPUT)
        state = SimpleNamespace(batch=[item | known], output=[{"pred": torch.zeros(3, SIZE, SIZE)}])
        handler.write(SimpleNamespace(state=state))
        handler.complete()
        handler.release()
    first, second = (manifest(tmp_path / name)[0] for name in ("0", "1"))
    assert first["condition"] == {"name": "eye1", "dataset": "HRF", "augmented": True} and first["laterality"] == "L"
    assert second["condition"] == {"name": "eye1", "augmented": False} and "laterality" not in second
    listed = json.loads((tmp_path / "0" / "datalist.json").read_text())["training"][0]
    assert listed["condition"] == first["condition"] and listed["laterality"] == "L"


def test_the_datalist_is_read_by_monai_and_by_the_library(tmp_path: Path) -> None:
    generate(tmp_path)
    items = load_decathlon_datalist(str(tmp_path / "datalist.json"), data_list_key="training")
    assert [item["name"] for item in items] == [f"sample{index}" for index in range(4)]
    assert [item["patient"] for item in items] == ["HRF/0", "HRF/0", "HRF/1", "HRF/1"]
    assert items[0].keys() == {"image", "vessel", "fov", "patient", "dataset", "name", "vessel_share"}
    assert all(Path(items[0][key]).is_file() for key in ("image", "vessel"))
    found = find_datalist(tmp_path)
    assert {item["patient"] for item in found["training"]} == {"HRF/0"}
    assert {item["patient"] for item in found["validation"]} == {"HRF/1"}
    assert all(Path(item["fov"]).is_file() for split in found.values() for item in split)


def test_the_datalist_is_json_as_python_writes_it(tmp_path: Path) -> None:
    generate(tmp_path)
    text = (tmp_path / "datalist.json").read_text()
    listed = json.loads(text)
    assert text == json.dumps(listed, indent=4) + "\n"
    assert list(listed) == ["name", "synthetic", "training", "validation", "test"]
    assert [len(listed[split]) for split in ("training", "validation", "test")] == [4, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_samples_do_not_depend_on_the_batch_size(tmp_path: Path, batch_size: int) -> None:
    generate(tmp_path / "two", batch_size=2)
    generate(tmp_path / "other", batch_size=batch_size)
    assert files(tmp_path / "two") == files(tmp_path / "other")


class PowerCutError(Exception):
    pass


def cut_at(count: int) -> Callable[[int], Appearance]:
    def choose(index: int) -> Appearance:
        if index == count:
            raise PowerCutError
        return appearance(index)

    return choose


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_interrupted_run_leaves_finished_samples_and_goes_on_to_the_same_end(tmp_path: Path, count: int) -> None:
    generate(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        generate(tmp_path / "cut", choose=cut_at(count))
    left = files(tmp_path / "cut")
    assert finished_samples(tmp_path / "cut") == {f"sample{index}" for index in range(count)}
    assert len([name for name in left if name.endswith(".png")]) == len(FOLDERS) * count and "datalist.json" not in left
    generate(tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_line_that_was_cut_short_does_not_count_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    generate(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        generate(tmp_path / "cut", choose=cut_at(2))
    with (tmp_path / "cut" / "manifest.jsonl").open("a") as file:
        file.write('{"name": "sample2", "image": "ima')
    assert finished_samples(tmp_path / "cut") == {"sample0", "sample1"}
    generate(tmp_path / "cut")
    assert finished_samples(tmp_path / "cut") == {f"sample{index}" for index in range(4)}
    assert (tmp_path / "cut/datalist.json").read_bytes() == (tmp_path / "whole/datalist.json").read_bytes()


def test_what_a_killed_process_left_half_is_removed(tmp_path: Path) -> None:
    generate(tmp_path / "whole")
    with pytest.raises(PowerCutError):
        generate(tmp_path / "cut", choose=cut_at(2))
    for name in ("images/.sample2.png.x8k_1.part", ".datalist.json.k2.part"):
        (tmp_path / "cut" / name).write_bytes(b"\x89PNG")
    generate(tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_without_an_engine_and_by_two_processes_the_same_set_is_written(tmp_path: Path) -> None:
    generate(tmp_path / "engine", batch_size=1)
    sets = [SyntheticSet(tmp_path / "calls", SETTINGS, appearance) for _ in range(2)]
    sets[0].check()
    sets[0].start()
    for item in reversed(conditions()):
        pred = (Painter()(item["image"][None])[0].clamp(-1, 1) + 1) * 127.5
        rank = item["index"] % 2
        sets[rank].append(sets[rank].write_sample(OUTPUT(item, pred)), rank)
    assert finished_samples(tmp_path / "calls") == {f"sample{index}" for index in range(4)}
    sets[0].complete()
    sets[0].release()
    assert files(tmp_path / "calls") == files(tmp_path / "engine")


@EMPTY_RUN
def test_a_run_cut_after_its_last_sample_is_completed(tmp_path: Path) -> None:
    generate(tmp_path)
    whole = files(tmp_path)
    (tmp_path / "datalist.json").unlink()
    generate(tmp_path)
    assert files(tmp_path) == whole


@EMPTY_RUN
def test_a_finished_run_changes_nothing_when_it_is_repeated(tmp_path: Path) -> None:
    generate(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    generate(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == times and len(manifest(tmp_path)) == 4


@pytest.mark.parametrize("count", [4, 6])
def test_a_set_of_other_settings_is_refused_and_left_alone(tmp_path: Path, count: int) -> None:
    """Also where every name is there already, so that no sample is left to do."""
    generate(tmp_path)
    before = files(tmp_path)
    with pytest.raises(
        RetinaError, match=f"{tmp_path} holds a set made with other settings: give another --output_dir"
    ):
        generate(tmp_path, count, settings={**SETTINGS, "seed": 8})
    assert files(tmp_path) == before


def test_a_data_set_of_someone_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "eye.png", np.zeros((3, 8, 8), np.uint8), synthetic=False)
    (tmp_path / "datalist.json").write_text("{}")
    before = files(tmp_path)
    with pytest.raises(RetinaError, match=f"{tmp_path} holds another data set"):
        generate(tmp_path)
    assert files(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RetinaError, match=r"/file cannot be made"):
        generate(tmp_path / "file")


def test_no_samples_where_there_is_no_manifest(tmp_path: Path) -> None:
    assert finished_samples(tmp_path) == set()


def test_a_folder_to_which_another_process_writes_is_refused(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RetinaError, match=r"another process is writing to .*: wait until it ends, or give another"):
            generate(tmp_path)
    assert files(tmp_path).keys() == {".lock"}
    generate(tmp_path)
    assert ".lock" not in files(tmp_path) and len(manifest(tmp_path)) == 4


def test_a_set_that_another_process_finished_meanwhile_is_not_mixed_with(tmp_path: Path) -> None:
    """It was not there when the run began, but when the first sample was to be written."""

    def choose(index: int) -> Appearance:
        return appearance(index)

    handler = SyntheticSet(tmp_path, SETTINGS, choose)
    handler.check()
    generate(tmp_path, settings={"seed": 8})
    before = files(tmp_path)
    with pytest.raises(RetinaError, match="holds a set made with other settings"):
        handler.start()
    handler.release()
    assert files(tmp_path) == before


def test_a_run_that_fails_lets_others_write(tmp_path: Path) -> None:
    def stumble(index: int) -> Appearance:
        if index == 2:
            raise ZeroDivisionError
        return appearance(index)

    with pytest.raises(ZeroDivisionError):
        generate(tmp_path, choose=stumble)
    assert not (tmp_path / ".lock").exists()
    generate(tmp_path)
    assert len(manifest(tmp_path)) == 4


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(RetinaError, match=r"settings.json cannot be read as JSON: give another --output_dir"):
        generate(tmp_path)
