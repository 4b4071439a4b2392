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
