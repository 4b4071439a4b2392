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
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.data.sets.vessel_maps import fit_disc
from retina_monai.errors import RetinaError
from retina_monai.synthesis import DiscFinder, MapDiscSegmenter, synthesize

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
def generator(run_config: RunConfig, finder: DiscFinder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pix2pix_vessel`` that takes vessel map and disc."""
    folder = tmp_path_factory.mktemp("generator")
    run_config(
        BUNDLES / "pix2pix_vessel" / "configs" / "train.json",
        output_dir=str(folder / "run"),
        conditions=["vessel", "disc"],
    )
    finds = f"$retina_monai.synthesis.DiscFinder(bundle={str(finder.bundle)!r}, trust=True)"
    bundle = copy_of("pix2pix_vessel", folder / "run", folder, disc_dir=None, find_disc=finds)
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    channels = {"0": "vessel_share: share of the pixel that is vessel", "1": "disc: optic disc"}
    metadata["network_data_format"]["inputs"]["image"] |= {"num_channels": 2, "channel_def": channels}
    path.write_text(json.dumps(metadata))
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["source"] |= {"disc_dir": "@disc_dir", "find_disc": "@find_disc"}
    config["preprocessing"]["transforms"] = [
        part for part in config["preprocessing"]["transforms"] if part["_target_"] != "EnsureChannelFirstd"
    ]
    path.write_text(json.dumps(config))
    return bundle


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


def test_a_generator_without_disc_has_no_such_option(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    bundle = copy_of("pix2pix_vessel", trained, tmp_path)
    if "disc_dir" in json.loads((bundle / "configs" / "inference.json").read_text()):
        pytest.skip("the released generator takes a disc")
    with pytest.raises(RetinaError, match="pix2pix_vessel has no option disc_dir: leave out --disc_dir"):
        synthesize(bundle, phantoms, tmp_path / "set", disc_dir=phantoms / "discs", trust=True)


def test_another_size_is_drawn_at_that_size(trained: Path, phantoms: Path, tmp_path: Path) -> None:
    bundle = copy_of("pix2pix_vessel", trained, tmp_path)
    folder = synthesize(bundle, phantoms, tmp_path / "set", size=96, trust=True)
    item = find_datalist(folder)["training"][0]
    assert read_photograph(item["image"]).shape == (3, 96, 96) == (3, *read_mask(item["vessel"]).shape[1:])
    with pytest.raises(
        RetinaError, match="size must be a multiple of 16 for a network that halves it 4 times, got 100"
    ):
        synthesize(bundle, phantoms, tmp_path / "other", size=100, trust=True)
