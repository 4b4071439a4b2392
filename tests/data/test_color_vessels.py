"""Colour vessel masks to paint around: of photographs, and as they were written; each file and pixel accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from PIL import Image
from torch import Tensor, nn

from retina_monai.data import ColorVessels, LoadEyed, NetworkInputs, VesselMaps, find_datalist
from retina_monai.data.files.reading import read_photograph
from retina_monai.data.sets.color_vessels import outpainting_input
from retina_monai.data.sets.network_format import NetworkInput, NetworkOutput
from retina_monai.errors import RetinaError
from retina_monai.handlers import ColorVesselSet, finished_samples
from retina_monai.transforms import CANONICAL, apply_appearance
from retina_monai.transforms.vessel_label import rounded_share

SIZE = 64
OUTPUT = NetworkOutput(("color_vessel",) * 3)
SETTINGS = {"bundle": "pix2pix_color_vessel", "weights": "0123456789abcdef", "size": SIZE, "seed": 0}


class Reddish(nn.Module):
    """Colours by the place, everywhere."""

    def forward(self, image: Tensor) -> Tensor:
        rows = torch.linspace(60, 250, image.shape[-2])[None, None, :, None].expand(len(image), 1, -1, image.shape[-1])
        return torch.cat([rows, rows / 2, rows / 4], dim=1)


def scaled(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"image": torch.as_tensor(item["image"])[None] / 127.5 - 1}


def write(
    source: Path, folder: Path, settings: dict[str, Any] | None = None, most: int | None = None, **options: Any
) -> None:
    """As ``inference.json`` does."""
    maps = VesselMaps(source, SIZE, finished_samples(folder), **options)
    maps.data = maps.data[:most]
    data = NetworkInputs(maps, NetworkInput(("vessel_share",)), scaled)
    SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(data, batch_size=2),
        network=Reddish(),
        val_handlers=[ColorVesselSet(folder, SETTINGS if settings is None else settings, OUTPUT)],
    ).run()


@pytest.fixture(scope="module")
def written(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours") / "set"
    write(phantoms, folder)
    return folder


def test_what_the_network_is_given() -> None:
    color = np.full((3, 2, 3), 9, np.uint8)
    share = np.array([[[255, 0, 200], [127, 0, 128]]], np.uint8)
    fov = np.array([[[1, 1, 0], [1, 0, 1]]], np.uint8)
    made = outpainting_input({"color_vessel": color, "vessel_share": share, "fov": fov})
    assert made.dtype == np.float32
    for channel in made[:3]:
        assert channel.tolist() == [[9, 0, 0], [0, 0, 9]]
    assert made[3].tolist() == [[0, 255, 0], [128, 0, 0]]


@pytest.mark.parametrize("reduction", [2, 3, 6, 10])
def test_a_share_is_rounded_to_one_value_whichever_way_it_came(reduction: int) -> None:
    """As it is, and scaled to [-1, 1] and back in either order of its steps."""
    share = np.float32(255) * np.arange(reduction**2 + 1, dtype=np.float32) / np.float32(reduction**2)
    exact = [int(255 * k / reduction**2 + 0.5) for k in range(reduction**2 + 1)]
    assert rounded_share(share).tolist() == exact
    for scaled in (share / np.float32(127.5) - 1, share / np.float32(255) * 2 - 1):
        assert rounded_share((scaled + 1) * np.float32(127.5)).tolist() == exact


def test_of_a_photograph_the_vessels_are_shown_in_the_canonical_appearance(phantoms: Path) -> None:
    items = {item["name"]: item for split in find_datalist(phantoms).values() for item in split}
    shown = ColorVessels(phantoms, SIZE)
    assert [item["name"] for item in shown] == sorted(items)
    sample = shown[3]
    eye = LoadEyed(SIZE)(items[sample["name"]])
    vessel, fov = (eye[key].numpy() >= 128 for key in ("vessel", "fov"))
    photograph = apply_appearance(eye["image"].float() / 127.5 - 1, torch.from_numpy(fov), CANONICAL)
    known = vessel & fov
    expected = np.where(known, (photograph.numpy() + 1) * 127.5, 0)
    given = outpainting_input(sample)
    np.testing.assert_allclose(given[:3], expected, atol=0.501)
    left = 255 - eye["vessel"].numpy().astype(np.float32)
    assert np.array_equal(given[3:], np.where(fov & ~vessel, left, 0)) and (left[~vessel] < 255).mean() > 0
    assert np.array_equal(sample["vessel_share"] >= 128, vessel) and np.array_equal(sample["fov"] == 1, fov)
    assert (sample["patient"], sample["index"], sample["augmented"]) == (items[sample["name"]]["patient"], 3, 0)
    assert Path(sample["source"]).name == f"{sample['name']}.png"


def ask(sample: dict[Any, Any]) -> dict[Any, Any]:
    """A finder whose disc fills the first row."""
    disc = np.zeros((1, SIZE, SIZE), np.uint8)
    disc[:, 0] = 1
    return sample | {"disc": disc, "disc_by": "rows 1"}


def test_discs_come_from_the_data_set_or_are_found(phantoms: Path, written: Path, tmp_path: Path) -> None:
    """And the network is given them as the fifth channel."""
    maps = {item["name"]: item for item in VesselMaps(phantoms, SIZE, find_disc=ask)}
    for item in ColorVessels(phantoms, SIZE, find_disc=ask):
        assert np.array_equal(item["disc"], maps[item["name"]]["disc"]) and "disc_by" not in item
        assert np.array_equal(outpainting_input(item, disc=True)[4:], item["disc"] * np.float32(255))
    assert "disc" not in ColorVessels(phantoms, SIZE)[0]
    found = ColorVessels(written, SIZE, find_disc=ask)[0]
    assert found["disc"][:, 0].all() and found["disc_by"] == "rows 1"
    write(phantoms, tmp_path / "set", find_disc=ask)
    for item in ColorVessels(tmp_path / "set", SIZE, find_disc=ask):
        assert np.array_equal(item["disc"], maps[item["name"]]["disc"])


def test_a_split_and_what_is_finished(phantoms: Path) -> None:
    names = [item["name"] for item in ColorVessels(phantoms, SIZE, split="test")]
    assert names == sorted(item["name"] for item in find_datalist(phantoms)["test"])
    rest = ColorVessels(phantoms, SIZE, finished={names[0]}, split="test")
    assert [(item["name"], item["index"]) for item in rest] == [(names[1], 1)]


def test_what_was_written_is_read_as_it_is(written: Path, phantoms: Path) -> None:
    maps = {item["name"]: item for item in VesselMaps(phantoms, SIZE)}
    read = ColorVessels(written, SIZE)
    assert [item["name"] for item in read] == sorted(maps)
    for item in read:
        share, fov = (maps[item["name"]][kind] for kind in ("vessel_share", "fov"))
        known = ((share >= 127.5) & (fov > 0))[0]
        assert np.array_equal(item["vessel"], maps[item["name"]]["vessel"])
        assert np.array_equal(item["fov"], fov)
        color = read_photograph(written / "color_vessels" / f"{item['name']}.png")
        given = outpainting_input(item)
        assert np.array_equal(given[:3], color) and not color[:, ~known].any()
        left = np.where((fov[0] > 0) & ~known, 255 - rounded_share(share[0]), 0)
        assert (color[0][known] >= 60).all() and np.array_equal(given[3], left)
        for key in ("patient", "laterality", "condition", "condition_dataset", "index", "augmented"):
            assert item[key] == maps[item["name"]][key]


def test_files_say_that_they_are_synthetic(written: Path) -> None:
    with Image.open(written / "color_vessels" / "phantom_00002.png") as picture:
        assert picture.info["SyntheticData"] == "YES" and picture.size == (SIZE, SIZE)


def test_an_interrupted_set_is_completed(written: Path, phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(phantoms, folder, most=3)
    assert len(finished_samples(folder)) == 3
    write(phantoms, folder)
    for path in written.rglob("*.png"):
        assert (folder / path.relative_to(written)).read_bytes() == path.read_bytes()
    assert (folder / "datalist.json").read_text() == (written / "datalist.json").read_text()
    with pytest.raises(RetinaError, match="other settings"):
        write(phantoms, folder, SETTINGS | {"seed": 1})


def test_refused(written: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match="nowhere is not a directory: name the folder of colour vessel masks, or eye"):
        ColorVessels(tmp_path / "nowhere", SIZE)
    with pytest.raises(RetinaError, match="split some is unknown: give training, validation, test or all"):
        ColorVessels(phantoms, SIZE, split="some")
    with pytest.raises(RetinaError, match="has no splits: leave out --split test"):
        ColorVessels(written, SIZE, split="test")
    with pytest.raises(RetinaError, match=r"phantom_00000.png has 64 x 64 pixels, but the network takes 32 x 32:"):
        ColorVessels(written, 32)[0]
    (tmp_path / "color_vessels").mkdir()
    words = r"has no manifest.jsonl with colour vessel masks and vessel shares"
    with pytest.raises(RetinaError, match=words):
        ColorVessels(tmp_path, SIZE)
    lines = [json.loads(line) for line in (written / "manifest.jsonl").read_text().splitlines()]
    del lines[1]["vessel_share"]
    (tmp_path / "manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(RetinaError, match=words):
        ColorVessels(tmp_path, SIZE)
