"""Found vessel maps as a data set: own size, honest marks, splits kept, what was interrupted goes on."""

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

from retina_monai.data import Photographs, find_datalist, find_photographs, generate_phantom
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.files.writing import write_png
from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.errors import RetinaError
from retina_monai.handlers import FoundSet, finished_samples

SETTINGS = {"bundle": "iternet_vessel", "weights": "0123456789abcdef", "size": 48}


class Columns(nn.Module):
    """Vessels are the left half of the square."""

    def forward(self, image: Tensor) -> Tensor:
        found = torch.full_like(image[:, :1], 0.1)
        found[..., : image.shape[-1] // 2] = 0.9
        return found


def find(source: Path, folder: Path, settings: dict[str, Any] | None = None, most: int | None = None) -> None:
    """As ``inference.json`` does."""
    data = Photographs(find_photographs(source)[:most], 48, finished_samples(folder))
    SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(data, batch_size=1),
        network=Columns(),
        val_handlers=[FoundSet(folder, SETTINGS if settings is None else settings, NetworkOutput(("vessel",)))],
    ).run()


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Photographs of two sizes."""
    for name, size in (("a", 96), ("b", 64)):
        picture = np.pad(generate_phantom(1, size)["image"], ((0, 0), (5, 0), (0, 9)))
        write_png(tmp_path / "photos" / f"{name}.png", picture, synthetic=False)
    return tmp_path / "photos"


def test_everything_is_of_the_photographs_own_size(photographs: Path, tmp_path: Path) -> None:
    find(photographs, tmp_path / "set")
    for name, shape in (("a", (101, 105)), ("b", (69, 73))):
        original = read_photograph(photographs / f"{name}.png")
        assert np.array_equal(read_photograph(tmp_path / "set" / "images" / f"{name}.png"), original)
        fov, vessel = (read_mask(tmp_path / "set" / kind / f"{name}.png") for kind in ("fovs", "vessels"))
        assert fov.shape == vessel.shape == (1, *shape)
        columns = np.flatnonzero(fov[0].any(0))
        middle = (columns[0] + columns[-1] + 1) // 2
        assert np.array_equal(vessel[..., : middle - 1], fov[..., : middle - 1]) and not vessel[..., middle + 1 :].any()


def test_it_says_that_nobody_drew_the_maps_and_that_the_photographs_are_real(photographs: Path, tmp_path: Path) -> None:
    find(photographs, tmp_path / "set")
    by = "iternet_vessel 0123456789ab"
    for folder, derived in (("images", False), ("vessels", True), ("probabilities", True), ("fovs", False)):
        with Image.open(tmp_path / "set" / folder / "a.png") as picture:
            assert picture.info.get("DerivedBy") == (f"{by}, not drawn by an observer" if derived else None)
            assert "SyntheticData" not in picture.info
    items = [item for found in find_datalist(tmp_path / "set").values() for item in found]
    assert {item["vessel_by"] for item in items} == {by} and not any("synthetic" in item for item in items)
    lines = [json.loads(line) for line in (tmp_path / "set" / "manifest.jsonl").read_text().splitlines()]
    assert {(line["patient"], line["vessel_by"]) for line in lines} == {("photos/a", by), ("photos/b", by)}


def test_patients_splits_and_data_sets_are_kept_and_phantoms_stay_phantoms(phantoms: Path, tmp_path: Path) -> None:
    find(phantoms, tmp_path / "set")
    kept = ("name", "patient", "dataset", "laterality")
    first, second = (
        {split: sorted([item.get(key) for key in kept] for item in items) for split, items in find_datalist(d).items()}
        for d in (phantoms, tmp_path / "set")
    )
    assert first == second
    assert all(item["synthetic"] for items in find_datalist(tmp_path / "set").values() for item in items)


def test_an_interrupted_run_goes_on(photographs: Path, tmp_path: Path) -> None:
    find(photographs, tmp_path / "set", most=1)
    kept = (tmp_path / "set" / "vessels" / "a.png").stat().st_mtime_ns
    find(photographs, tmp_path / "set")
    assert (tmp_path / "set" / "vessels" / "a.png").stat().st_mtime_ns == kept
    assert finished_samples(tmp_path / "set") == {"a", "b"}
    find(photographs, tmp_path / "whole")
    for name in ("manifest.jsonl", "datalist.json"):
        assert (tmp_path / "set" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_set_of_other_weights_is_refused(photographs: Path, tmp_path: Path) -> None:
    find(photographs, tmp_path / "set", most=1)
    with pytest.raises(RetinaError, match="other settings"):
        find(photographs, tmp_path / "set", SETTINGS | {"weights": "other"})


class Spot(nn.Module):
    """A disc right of the middle, in photographs that have anything bright."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, image: Tensor) -> Tensor:
        at = torch.arange(image.shape[-1], dtype=torch.float32)
        disc = (at[:, None] - 20).square() + (at[None] - 36).square() <= 25
        return self.probability * disc.to(image).expand_as(image[:, :1])


def find_discs(source: Path, folder: Path, probability: float) -> list[dict[str, Any]]:
    """Lines of the manifest of a set of found discs."""
    SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Photographs(find_photographs(source), 48), batch_size=1),
        network=Spot(probability),
        val_handlers=[FoundSet(folder, SETTINGS | {"bundle": "mine"}, NetworkOutput(("disc",)), least_confidence=0.5)],
    ).run()
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_a_disc_is_one_area_with_its_confidence_and_side(photographs: Path, tmp_path: Path) -> None:
    for line in find_discs(photographs, tmp_path / "set", 0.9):
        assert (line["disc"], line["disc_by"]) == (f"discs/{line['name']}.png", "mine 0123456789ab")
        assert line["laterality"] == "R" and 0.7 < line["confidence"] <= 0.9
        mask = read_mask(tmp_path / "set" / line["disc"])
        rows, columns = np.nonzero(mask[0])
        assert mask.shape == read_photograph(tmp_path / "set" / line["image"])[:1].shape
        assert len(rows) == pytest.approx(np.pi / 4 * np.ptp(rows) * np.ptp(columns), rel=0.15), "an ellipse"
    items = [item for found in find_datalist(tmp_path / "set").values() for item in found]
    assert {item["disc_by"] for item in items} == {"mine 0123456789ab"} and all("vessel" not in item for item in items)
    assert "one optic disc for each eye" in (tmp_path / "set" / "README.txt").read_text().replace("\n", " ")


def test_an_eye_without_a_disc_has_no_file_of_one(photographs: Path, tmp_path: Path) -> None:
    for line in find_discs(photographs, tmp_path / "set", 0.3):
        assert "disc" not in line and "laterality" not in line and 0 < line["confidence"] < 0.5
    assert not (tmp_path / "set" / "discs").exists()
    assert len(find_datalist(tmp_path / "set")["training"]) + len(find_datalist(tmp_path / "set")["validation"]) == 2


def test_masks_of_other_networks_stay_beside_the_disc(photographs: Path, tmp_path: Path) -> None:
    find_discs(photographs, tmp_path / "discs", 0.9)
    SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(
            Photographs(find_photographs(tmp_path / "discs", keep=["disc"]), 48, masks=["disc"]), batch_size=1
        ),
        network=Columns(),
        val_handlers=[FoundSet(tmp_path / "both", SETTINGS, NetworkOutput(("vessel",)))],
    ).run()
    items = [item for found in find_datalist(tmp_path / "both").values() for item in found]
    assert {(item["vessel_by"], item["disc_by"]) for item in items} == {
        ("iternet_vessel 0123456789ab", "mine 0123456789ab")
    }
    first, second = (read_mask(tmp_path / name / "discs" / "a.png") for name in ("discs", "both"))
    assert np.array_equal(first, second)
    with Image.open(tmp_path / "both" / "discs" / "a.png") as picture:
        assert picture.info["DerivedBy"] == "mine 0123456789ab, not drawn by an observer"


def test_a_known_side_stays(phantoms: Path, tmp_path: Path) -> None:
    lines = find_discs(phantoms, tmp_path / "set", 0.9)
    known = {item["name"]: item["laterality"] for items in find_datalist(phantoms).values() for item in items}
    assert {line["name"]: line["laterality"] for line in lines} == known and set(known.values()) == {"L", "R"}
