"""Chains of bundles: what they are made of, that they do what the bundles do one after the other, and a third one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from scipy.ndimage import median_filter

import retina_monai
from retina_monai.bundle import digest
from retina_monai.data import VesselMaps
from retina_monai.data.files.reading import read_photograph
from retina_monai.errors import RetinaError
from retina_monai.evaluation.families.faithfulness.painting import find_painter
from retina_monai.evaluation.measuring.eye import Eye
from retina_monai.synthesis import (
    Chain,
    LoadedBundle,
    Outpainter,
    PhotographGenerator,
    VesselColorer,
    load_chain,
    synthesize,
)

SIZE = 64


@pytest.fixture
def colorer(small_bundles: Path) -> VesselColorer:
    return VesselColorer(small_bundles / "pix2pix_color_vessel", trust=True)


@pytest.fixture
def outpainter(small_bundles: Path) -> Outpainter:
    return Outpainter(small_bundles / "lama_fundus", trust=True)


@pytest.fixture
def two_stage(small_bundles: Path) -> PhotographGenerator:
    chain: PhotographGenerator = retina_monai.load(small_bundles / "two_stage", trust=True)
    return chain


@pytest.fixture
def eye(phantoms: Path) -> dict[str, Any]:
    item: dict[str, Any] = VesselMaps(phantoms, SIZE)[0]
    return item


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_a_stage_is_loaded_by_its_task(small_bundles: Path) -> None:
    kinds: dict[str, type] = dict.fromkeys(("two_stage", "pix2pix_vessel"), PhotographGenerator)
    kinds |= {"pix2pix_color_vessel": VesselColorer, "lama_fundus": Outpainter}
    assert {name: type(retina_monai.load(small_bundles / name, trust=True)) for name in kinds} == kinds
    assert isinstance(load_chain(f"{small_bundles}/two_stage", trust=True), Chain)
    joined = load_chain("+".join(str(small_bundles / name) for name in CHAIN), trust=True)
    assert isinstance(joined, PhotographGenerator) and joined.name == "+".join(CHAIN)
    assert (joined.takes, joined.makes) == (("vessel_share",), ("color_vessel", "image"))
    with pytest.raises(RetinaError, match="makes vessel, which the samples already have"):
        load_chain(f"{small_bundles / 'pix2pix_vessel'}+iternet_vessel", trust=True)
    with pytest.raises(RetinaError, match="retina_encoder makes no picture"):
        load_chain("retina_encoder")


def test_vessels_get_colours_and_all_else_is_black(colorer: VesselColorer, eye: dict[str, Any]) -> None:
    color = colorer(eye["vessel_share"][0])
    drawn = eye["vessel_share"][0] >= 127.5
    assert color.shape == (3, SIZE, SIZE) and color.dtype == np.uint8
    assert not color[:, ~drawn].any() and color[:, drawn].any()


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (
            np.zeros((SIZE, 2 * SIZE), np.float32),
            r"share must have shape \(64, 64\) for pix2pix_color_vessel, got \(64, 128\): ",
        ),
        (np.eye(SIZE, dtype=np.float32), r"share must be in \[0, 255\], got a maximum of 1: "),
    ],
)
def test_a_map_that_would_come_out_black_is_refused(
    colorer: VesselColorer, share: NDArray[np.float32], sentence: str
) -> None:
    with pytest.raises(RetinaError, match=sentence):
        colorer(share)


def test_colours_and_field_of_view_have_the_size_of_the_map(outpainter: Outpainter, eye: dict[str, Any]) -> None:
    color = np.zeros((3, SIZE, SIZE), np.uint8)
    with pytest.raises(RetinaError, match=r"color_vessel must have shape \(3, 64, 64\), got \(3, 64, 63\)"):
        outpainter(color[..., 1:], eye["vessel_share"][0], eye["fov"])
    with pytest.raises(RetinaError, match=r"fov must have shape \(1, 64, 64\), got \(64, 64\)"):
        outpainter(color, eye["vessel_share"][0], eye["fov"][0])
    with pytest.raises(RetinaError, match="share must be in"):
        outpainter(color, eye["vessel_share"][0] / 255, eye["fov"])


def test_bundles_of_one_name_are_told_apart_by_nothing(small_bundles: Path, tmp_path: Path) -> None:
    for name in CHAIN:
        shutil.copytree(small_bundles / name, tmp_path / name / "mine")
    with pytest.raises(RetinaError, match="has several bundles named mine: give each a different name"):
        load_chain(f"{tmp_path / CHAIN[0] / 'mine'}+{tmp_path / CHAIN[1] / 'mine'}", trust=True)


def test_a_mask_with_fractions_is_refused(two_stage: PhotographGenerator, eye: dict[str, Any]) -> None:
    with pytest.raises(RetinaError, match="vessel holds values between 0 and 1: give a mask, such as vessel"):
        two_stage(eye["vessel_share"][0] / 255)


def test_what_is_painted_around_vessels_leaves_them_untouched(
    colorer: VesselColorer, outpainter: Outpainter, two_stage: PhotographGenerator, eye: dict[str, Any]
) -> None:
    color = colorer(eye["vessel_share"][0])
    known = (eye["vessel_share"][0] >= 127.5) & (eye["fov"][0] > 0)
    photograph = outpainter(color, eye["vessel_share"][0], eye["fov"])
    assert np.array_equal(photograph[:, known], color[:, known])
    assert photograph[:, (eye["fov"][0] > 0) & ~known].any() and not photograph[:, eye["fov"][0] == 0].any()
    drawn = two_stage.draw(eye)["image"]
    assert drawn.dtype == np.float32 and np.array_equal(np.rint(drawn), photograph)


def test_the_chain_is_its_two_bundles_one_after_the_other_through_files(
    small_bundles: Path, phantoms: Path, run_config: Callable[..., ConfigParser], tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    how = {"size": SIZE, "seed": 3}
    first, second = (small_bundles / name / "configs" / "inference.json" for name in CHAIN)
    run_config(first, input_dir=str(phantoms), output_dir=str(tmp_path / "colours"), **how)
    run_config(
        second, input_dir=str(tmp_path / "colours"), output_dir=str(tmp_path / "files"), appearance="random", **how
    )
    torch.set_num_threads(threads)
    folder = synthesize(
        small_bundles / "two_stage", phantoms, tmp_path / "set", seed=3, appearance="random", trust=True
    )
    assert len(pictures(folder)) == 4 * 8
    assert pictures(folder) == pictures(tmp_path / "files")


CHAIN = ("pix2pix_color_vessel", "lama_fundus")


def test_settings_name_the_weights_of_each_bundle(small_bundles: Path, phantoms: Path, tmp_path: Path) -> None:
    generator = small_bundles / "two_stage"
    settings = json.loads((synthesize(generator, phantoms, tmp_path, trust=True) / "settings.json").read_text())
    weights = {name: digest(small_bundles / name / "models" / "model.pt") for name in CHAIN}
    assert (settings["bundle"], settings["weights"], settings["size"]) == ("two_stage", weights, SIZE)
    assert find_painter(settings) is None, "this library's chain of that name has other weights"
    painter = find_painter(settings, generator, trust=True)
    assert painter is not None and str(painter) == " ".join(["two_stage", *(text[:12] for text in weights.values())])
    with pytest.raises(RetinaError, match="has other weights than the one that made the synthetic set"):
        find_painter(settings | {"weights": weights | {"lama_fundus": "0" * 64}}, generator, trust=True)


def test_the_painter_of_a_chain_follows_the_map(
    two_stage: PhotographGenerator, phantoms: Path, tmp_path: Path, eye: dict[str, Any]
) -> None:
    folder = synthesize(two_stage, phantoms, tmp_path)
    painter = find_painter(json.loads((folder / "settings.json").read_text()), two_stage)
    assert painter is not None
    inside = eye["fov"][0] > 0
    like = Eye("eye", "", "", read_photograph(folder / "images" / f"{eye['name']}.png"), inside, {})
    painted = painter(eye["vessel_share"][0] / 255, inside, like)
    assert painted.shape == (3, SIZE, SIZE) and painted.dtype == np.uint8 and not painted[:, ~inside].any()
    assert not np.array_equal(painted, painter(np.zeros((SIZE, SIZE), np.float32), inside, like))


def test_other_weights_are_given_by_bundle(small_bundles: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "network.json", "appearances.json"):
        (tmp_path / name).write_bytes((small_bundles / "lama_fundus" / "models" / name).read_bytes())
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save({key: 2 * value for key, value in state.items()}, tmp_path / "model.pt")
    released, other = (
        load_chain(small_bundles / "two_stage", checkpoint, trust=True)
        for checkpoint in (None, {"lama_fundus": tmp_path / "model.pt"})
    )
    assert isinstance(released.weights, dict) and isinstance(other.weights, dict)
    assert [released.weights[name] == other.weights[name] for name in CHAIN] == [True, False]
    for checkpoint in (str(tmp_path / "model.pt"), {"pix2pix_vessel": tmp_path / "model.pt"}):
        with pytest.raises(
            RetinaError, match="two_stage consists of pix2pix_color_vessel and lama_fundus: give --check"
        ):
            load_chain(small_bundles / "two_stage", checkpoint, trust=True)


def test_bundles_of_two_sizes_are_no_chain(small_bundles: Path, tmp_path: Path) -> None:
    shutil.copytree(small_bundles / "lama_fundus", tmp_path / "larger")
    path = tmp_path / "larger" / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": 128}))
    with pytest.raises(RetinaError, match="different sizes, pix2pix_color_vessel of 64 and larger of 128 pixels"):
        load_chain(f"{small_bundles / CHAIN[0]}+{tmp_path / 'larger'}", trust=True)


class Cleaned(LoadedBundle):
    """A step of one's own, as the module says how to write one."""

    def draw(self, sample: Mapping[Any, Any], latent: int = 0) -> dict[Any, Any]:
        return super().draw({**sample, "vessel_share": median_filter(sample["vessel_share"], (1, 3, 3))}, latent)


def test_a_step_of_ones_own_is_a_few_lines(
    small_bundles: Path, phantoms: Path, tmp_path: Path, eye: dict[str, Any]
) -> None:
    chain = PhotographGenerator("cleaned", Cleaned(small_bundles / "pix2pix_vessel", trust=True))
    cleaned = synthesize(chain, phantoms, tmp_path / "given")
    direct = synthesize(small_bundles / "pix2pix_vessel", phantoms, tmp_path / "direct", trust=True)
    assert len(pictures(cleaned)) == 4 * 8
    image = f"images/{eye['name']}.png"
    assert pictures(cleaned)[image] != pictures(direct)[image]
    assert json.loads((cleaned / "settings.json").read_text())["bundle"] == "cleaned"


def test_a_map_without_a_field_of_view_gets_the_inscribed_circle(
    two_stage: PhotographGenerator, eye: dict[str, Any]
) -> None:
    drawn = two_stage.draw({"vessel_share": eye["vessel_share"]})
    size = drawn["vessel_share"].shape[-1]
    assert drawn["fov"].shape == drawn["vessel"].shape == (1, size, size)
    assert drawn["fov"][0, size // 2, 0] == 1 > drawn["fov"][0, 0, 0]
