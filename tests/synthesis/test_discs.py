"""Generators that take a disc: given, of the data set, or found from the vessel map."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

import retina_monai
from retina_monai.bundle import digest
from retina_monai.data import find_datalist
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.data.sets.vessel_maps import fit_disc
from retina_monai.errors import RetinaError
from retina_monai.synthesis import DiscFinder, MapDiscSegmenter, find_missing_discs, synthesize

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SIZE = 64
RunConfig = Callable[..., ConfigParser]


def copy_of(name: str, training: Path, folder: Path, **settings: Any) -> Path:
    """A bundle for small pictures with the weights of a training."""
    shutil.copytree(BUNDLES / name / "configs", folder / name / "configs")
    (folder / name / "models").mkdir()
    for file in training.glob("*"):
        if file.name in ("model.pt", "network.json", "appearances.json"):
            shutil.copy(file, folder / name / "models")
    path = folder / name / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": SIZE} | settings))
    return folder / name


@pytest.fixture(scope="module")
def finder(run_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> DiscFinder:
    """``disc_from_vessels`` after half a minute on phantoms; it finds something in every map."""
    folder = tmp_path_factory.mktemp("finder")
    options = {"widths": [8, 16, 16], "repeats": 4, "learning_rate": 0.01, "ema": False}
    run_config(BUNDLES / "disc_from_vessels" / "configs" / "train.json", output_dir=str(folder / "run"), **options)
    bundle = copy_of("disc_from_vessels", folder / "run", folder, least_confidence=0.0)
    return DiscFinder(bundle=bundle, trust=True)


@pytest.fixture(scope="module")
def generator(trained: Path, finder: DiscFinder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pix2pix_vessel`` that takes vessel map and disc."""
    folder = tmp_path_factory.mktemp("generator")
    finds = f"$retina_monai.synthesis.DiscFinder(bundle={str(finder.bundle)!r}, trust=True)"
    return copy_of("pix2pix_vessel", trained, folder, find_disc=finds)


def test_discs_of_the_data_set_are_given_and_kept(generator: Path, phantoms: Path, tmp_path: Path) -> None:
    folder = synthesize(generator, phantoms, tmp_path / "set", trust=True)
    items = [item for items in find_datalist(folder).values() for item in items]
    own = {item["name"]: item for items in find_datalist(phantoms).values() for item in items}
    assert len(items) == len(own)
    for item in items:
        disc, fov = (read_mask(own[item["name"]][kind]) for kind in ("disc", "fov"))
        assert np.array_equal(read_mask(item["disc"]), fit_disc(disc, fov, SIZE))
    assert not any("disc_by" in line for line in read_manifest(folder))


def test_discs_are_found_from_maps_alone_and_the_manifest_says_so(
    generator: Path, finder: DiscFinder, phantoms: Path, tmp_path: Path
) -> None:
    folder = synthesize(generator, phantoms / "vessels", tmp_path / "set", trust=True)
    weights = digest(Path(finder.bundle) / "models" / "model.pt")
    for line in read_manifest(folder):
        assert line["disc_by"] == f"disc_from_vessels {weights[:12]}, found from the vessel map"
        assert (folder / line["disc"]).is_file()
    assert json.loads((folder / "settings.json").read_text())["disc_weights"] == weights


def test_the_function_on_arrays_paints_what_is_written(generator: Path, phantoms: Path, tmp_path: Path) -> None:
    own = synthesize(generator, phantoms, tmp_path / "own", trust=True)
    alone = synthesize(generator, phantoms / "vessels", tmp_path / "alone", trust=True)
    paint = retina_monai.load(generator, trust=True)
    item = find_datalist(phantoms)["training"][0]
    vessel, fov, disc = (read_mask(item[kind]) for kind in ("vessel", "fov", "disc"))
    index = {line["name"]: line["index"] for line in read_manifest(own)}[item["name"]]
    given = paint(vessel, fov, index=index, disc=disc)
    assert np.array_equal(given, read_photograph(own / "images" / f"{item['name']}.png"))
    assert np.array_equal(paint(vessel, index=index), read_photograph(alone / "images" / f"{item['name']}.png"))
    assert not np.array_equal(given, paint(vessel, fov, index=index, disc=disc[..., ::-1])), "another disc"
    with pytest.raises(RetinaError, match=r"disc is \(8, 8\) and vessel is \(128, 128\)"):
        paint(vessel, fov, disc=np.ones((8, 8), np.uint8))


def test_a_disc_is_found_in_a_map_of_any_size(finder: DiscFinder, phantoms: Path) -> None:
    find = retina_monai.load(finder.bundle, trust=True)
    assert isinstance(find, MapDiscSegmenter)
    item = find_datalist(phantoms)["training"][0]
    vessel, fov = read_mask(item["vessel"]), read_mask(item["fov"])
    found = find(vessel, fov)
    assert found.mask.shape == vessel.shape[1:] and found.mask.any() and 0 < found.confidence <= 1
    larger = find(np.kron(vessel, np.ones((1, 3, 3), np.uint8)), np.kron(fov, np.ones((1, 3, 3), np.uint8)))
    overlap = larger.mask[1::3, 1::3].astype(bool) & found.mask.astype(bool)
    assert 2 * overlap.sum() / (larger.mask[1::3, 1::3].sum() + found.mask.sum()) > 0.9


def test_weights_that_take_the_vessel_map_alone_write_no_disc(
    run_config: RunConfig, phantoms: Path, tmp_path: Path
) -> None:
    path = BUNDLES / "pix2pix_vessel" / "configs" / "train.json"
    run_config(path, output_dir=str(tmp_path / "run"), conditions=["vessel"])
    bundle = copy_of("pix2pix_vessel", tmp_path / "run", tmp_path)
    folder = synthesize(bundle, phantoms, tmp_path / "set", trust=True)
    assert not (folder / "discs").exists() and len(list((folder / "images").iterdir())) == 8
    with pytest.raises(RetinaError, match="the network takes no disc"):
        synthesize(bundle, phantoms, tmp_path / "other", disc_dir=phantoms / "discs", trust=True)


def test_another_size_is_drawn_at_that_size(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    bundle = copy_of("pix2pix_vessel", trained, tmp_path)
    folder = synthesize(bundle, phantoms, tmp_path / "set", size=96, trust=True)
    item = find_datalist(folder)["training"][0]
    assert read_photograph(item["image"]).shape == (3, 96, 96) == (3, *read_mask(item["vessel"]).shape[1:])
    with pytest.raises(
        RetinaError, match="size must be a multiple of 16 for a network that halves it 4 times, got 100"
    ):
        synthesize(bundle, phantoms, tmp_path / "other", size=100, trust=True)


def test_discs_that_a_data_set_lacks_are_found_in_its_photographs(phantoms: Path, tmp_path: Path) -> None:
    datalist = find_datalist(phantoms)
    bare = {
        split: [{key: item[key] for key in item if key != "disc"} for item in datalist[split]] for split in datalist
    }
    assert find_missing_discs(bare, ["vessel"], tmp_path) is bare
    assert find_missing_discs(datalist, ["vessel", "disc"], tmp_path) is datalist
    found = find_missing_discs(bare, ["vessel", "disc"], tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "discs").iterdir()}
    own = {item["name"]: item for items in datalist.values() for item in items}
    overlaps = [
        2 * (mine & true).sum() / (mine.sum() + true.sum())
        for items in found.values()
        for item in items
        for mine, true in [(read_mask(item["disc"]), read_mask(own[item["name"]]["disc"]))]
    ]
    assert len(overlaps) >= 6 and np.median(overlaps) > 0.8, "unet_disc has learned phantoms"
    assert all(item["disc_by"].startswith("unet_disc ") for items in found.values() for item in items)
    assert find_missing_discs(bare, ["disc"], tmp_path) == found, "from the cache"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "discs").iterdir()} == files


def test_photographs_without_a_disc_are_left_out(
    phantoms: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = np.full((3, 128, 128), 90, np.uint8)
    write_png(tmp_path / "grey.png", image, synthetic=False)
    grey = {"image": str(tmp_path / "grey.png"), "name": "grey", "patient": "grey"}
    eye = {key: value for key, value in find_datalist(phantoms)["training"][0].items() if key != "disc"}
    found = find_missing_discs({"training": [grey, eye]}, ["disc"], tmp_path)
    assert [item["name"] for item in found["training"]] == [eye["name"]] and "1 of 2 eyes" in caplog.text
    with pytest.raises(RetinaError, match="no disc was found in any photograph"):
        find_missing_discs({"training": [grey]}, ["disc"], tmp_path)
