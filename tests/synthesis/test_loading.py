"""A bundle as a function: which function it is, and that it does what the command does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

import retina_monai
from retina_monai.bundle import find_bundle, release
from retina_monai.data import find_datalist
from retina_monai.data.files.reading import read_array, read_mask, read_photograph
from retina_monai.errors import RetinaError
from retina_monai.networks import IterNet
from retina_monai.synthesis import PhotographGenerator, VesselSegmenter

BUNDLE = find_bundle("iternet_vessel")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a small network that nobody trained, with its arguments beside."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = IterNet(features=4, levels=2, iterations=1, small_levels=2, norm="none")
    torch.save(network.state_dict(), folder / "model.pt")
    named = {"_target_": "retina_monai.networks.IterNet"} | network.arguments
    (folder / "network.json").write_text(json.dumps(named))
    return folder / "model.pt"


def test_load_finds_the_vessels_that_the_command_finds(
    weights: Path, phantoms: Path, run_config: Callable[..., ConfigParser], tmp_path: Path
) -> None:
    paths = {"checkpoint": str(weights), "input_dir": str(phantoms), "output_dir": str(tmp_path / "set")}
    run_config(BUNDLE / "configs" / "inference.json", split="test", size=768, **paths)
    find: Any = retina_monai.load("iternet_vessel", weights)
    for item in find_datalist(phantoms)["test"]:
        found = find(read_photograph(item["image"]), read_mask(item["fov"]))
        written = read_array(tmp_path / "set" / "probabilities" / f"{item['name']}.png")
        assert found.shape == written.shape and found.dtype == np.float32
        np.testing.assert_allclose(np.rint(found * 255), written, atol=1)


def test_the_field_of_view_is_found_where_none_is_given(weights: Path, phantoms: Path) -> None:
    find: Any = retina_monai.load("iternet_vessel", weights)
    item = find_datalist(phantoms)["test"][0]
    found = find(read_photograph(item["image"]))
    fov = read_mask(item["fov"])[0]
    assert found.shape == fov.shape and not found[0, 0] and found[fov.shape[0] // 2, fov.shape[1] // 2] > 0


def test_which_function_a_bundle_is(weights: Path) -> None:
    assert isinstance(retina_monai.load("iternet_vessel", weights), VesselSegmenter)
    if (find_bundle("pix2pix_vessel") / "models" / "model.pt").is_file():
        assert isinstance(retina_monai.load(), PhotographGenerator)


@pytest.mark.parametrize(
    ("takes", "makes", "message"),
    [
        ("image", "age", "channel_def names 'age', which is not one of image, vessel,"),
        (None, "image", "has no channel_def of image and pred"),
    ],
)
def test_a_bundle_that_makes_something_else_is_refused(
    takes: str | None, makes: str, message: str, tmp_path: Path
) -> None:
    ends = {
        "inputs": {"image": {"channel_def": takes and {"0": takes}}},
        "outputs": {"pred": {"channel_def": {"0": makes}}},
    }
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": ends}))
    with pytest.raises(RetinaError, match=message):
        retina_monai.load(tmp_path, trust=True)


@pytest.mark.parametrize(
    ("photograph", "fov", "message"),
    [
        (np.zeros((40, 40), np.uint8), None, r"photograph must be uint8 \(3, H, W\), RGB, got uint8 \(40, 40\)"),
        (np.zeros((3, 40, 40), np.float32), None, r"photograph must be uint8 .*, got float32 \(3, 40, 40\)"),
        (np.zeros((3, 40, 40), np.uint8), None, "a photograph is black"),
        (np.ones((3, 40, 40), np.uint8), np.ones((40, 41)), r"fov is \(40, 41\) and photograph is \(40, 40\)"),
        (np.ones((3, 40, 40), np.uint8), np.zeros((40, 40)), "fov is an empty field of view"),
    ],
)
def test_what_is_no_photograph_is_refused(weights: Path, photograph: Any, fov: Any, message: str) -> None:
    find: Any = retina_monai.load("iternet_vessel", weights)
    with pytest.raises(RetinaError, match=message):
        find(photograph, fov)


def test_release_needs_appearances_only_where_the_bundle_has_them(tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    (copy / "configs").mkdir(parents=True)
    for name in ("metadata.json", "inference.json"):
        (copy / "configs" / name).write_bytes((BUNDLE / "configs" / name).read_bytes())
    network = IterNet()
    (tmp_path / "run").mkdir()
    torch.save(network.state_dict(), tmp_path / "run" / "model.pt")
    written = torch.load(release(tmp_path / "run", copy, trust=True), weights_only=True)
    assert written["first.0.weight"].dtype == torch.float16
    assert written["first.1.running_mean"].dtype == torch.float32
    torch.testing.assert_close(written["first.0.weight"].float(), network.first[0].weight, atol=1e-3, rtol=1e-3)
    assert not (copy / "configs" / "appearances.json").exists()
    (copy / "configs" / "appearances.json").write_text("{}")
    with pytest.raises(RetinaError, match=r"appearances\.json cannot be read"):
        release(tmp_path / "run", copy, overwrite=True, trust=True)
