"""An interrupted set is completed from the very inputs that it was begun with, and from no others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.bundle import ConfigParser

from retina_monai.bundle import set_settings
from retina_monai.data import ColorVessels, Photographs, VesselMaps, find_photographs
from retina_monai.data.files.reading import read_array
from retina_monai.data.files.writing import write_png
from retina_monai.errors import RetinaError, root_error
from retina_monai.synthesis import Chain, load_chain, synthesize

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64
DATA: dict[str, Callable[[Path], Any]] = {
    "maps": lambda folder: VesselMaps(folder, SIZE),
    "maps alone": lambda folder: VesselMaps(folder / "vessels", SIZE),
    "masks": lambda folder: ColorVessels(folder, SIZE),
    "photographs": lambda folder: Photographs(find_photographs(folder), SIZE),
    "photographs alone": lambda folder: Photographs(find_photographs(folder / "images"), SIZE),
}


@pytest.fixture
def eyes(phantoms: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(phantoms, tmp_path / "eyes"))


def other_inputs(kind: str, eyes: Path) -> Iterator[str]:
    """What makes other inputs of a data set; each is undone."""
    first = "images" if kind.startswith("photographs") else "vessels"
    for folder in (first,) if kind.endswith("alone") else (first, "fovs"):
        path, other, *_ = sorted((eyes / folder).iterdir())
        before = path.read_bytes()
        path.write_bytes(other.read_bytes() + b"0")
        yield f"{folder} changed"
        path.write_bytes(before)
    if kind.endswith("alone"):
        path.rename(path.with_name("renamed.png"))
        yield "renamed"
        path.with_name("renamed.png").rename(path)
        content = path.read_bytes()
        path.unlink()
        yield "one less"
        path.write_bytes(content)


@pytest.mark.parametrize("kind", DATA)
def test_the_fingerprint_is_of_names_and_contents_and_not_of_places(kind: str, eyes: Path, tmp_path: Path) -> None:
    before = DATA[kind](eyes).settings
    other = Path(shutil.copytree(eyes, tmp_path / "moved" / "eyes"))
    assert DATA[kind](other).settings == before
    for change in other_inputs(kind, eyes):
        assert DATA[kind](eyes).settings["inputs"] != before["inputs"], change
    assert DATA[kind](eyes).settings == before


def test_what_is_finished_counts_too(eyes: Path) -> None:
    names = [str(item["name"]) for item in find_photographs(eyes)[:2]]
    assert VesselMaps(eyes, SIZE, finished=names).settings == VesselMaps(eyes, SIZE).settings
    assert ColorVessels(eyes, SIZE, finished=names).settings == ColorVessels(eyes, SIZE).settings
    whole = find_photographs(eyes)
    assert Photographs(whole, SIZE, finished=names).settings == Photographs(whole, SIZE).settings


def cut(folder: Path) -> None:
    """As if interrupted after two samples."""
    lines = (folder / "manifest.jsonl").read_text().splitlines(keepends=True)
    (folder / "manifest.jsonl").write_text("".join(lines[:2]))
    (folder / "datalist.json").unlink()


@pytest.fixture
def two_stage(small_bundles: Path) -> Chain:
    return load_chain(small_bundles / "two_stage", trust=True)


@pytest.mark.parametrize("same", [True, False])
def test_a_set_is_not_completed_from_another_folder_of_the_same_names(
    two_stage: Chain, eyes: Path, tmp_path: Path, same: bool
) -> None:
    folder = synthesize(two_stage, eyes / "vessels", tmp_path / "set")
    cut(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = Path(shutil.copytree(eyes / "vessels", tmp_path / "others"))
    if same:
        synthesize(two_stage, other, folder)
        return
    first, second, *_ = sorted(other.iterdir())
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(RetinaError, match="holds a set made from other inputs: give another --output_dir"):
        synthesize(two_stage, other, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_nor_from_another_number_of_phantoms(two_stage: Chain, tmp_path: Path) -> None:
    synthesize(two_stage, output_dir=tmp_path, count=3)
    cut(tmp_path)
    with pytest.raises(RetinaError, match="other inputs"):
        synthesize(two_stage, output_dir=tmp_path, count=4)


def test_nor_when_what_cannot_be_read_is_left_out_meanwhile(two_stage: Chain, eyes: Path, tmp_path: Path) -> None:
    folder = synthesize(two_stage, eyes / "vessels", tmp_path / "set")
    cut(folder)
    sorted((eyes / "vessels").iterdir())[-1].write_bytes(b"broken")
    with pytest.raises(RetinaError, match="other inputs"):
        synthesize(two_stage, eyes / "vessels", folder, skip_unreadable=True)


def test_nor_with_the_colours_of_another_photograph_of_the_same_name(
    two_stage: Chain, eyes: Path, tmp_path: Path
) -> None:
    look, other, *_ = sorted((eyes / "images").iterdir())
    folder = synthesize(two_stage, eyes / "vessels", tmp_path / "set", appearance=str(look))
    assert str(look.name) not in (folder / "settings.json").read_text()
    cut(folder)
    look.write_bytes(other.read_bytes())
    with pytest.raises(RetinaError, match="other settings"):
        synthesize(two_stage, eyes / "vessels", folder, appearance=str(look))


@pytest.mark.parametrize("bundle", ["pix2pix_vessel", "lama_fundus", "pix2pix_color_vessel"])
def test_inference_keeps_the_same_guard(
    bundle: str, small_bundles: Path, run_config: Callable[..., ConfigParser], eyes: Path, tmp_path: Path
) -> None:
    config = small_bundles / bundle / "configs" / "inference.json"
    paths = {"input_dir": str(eyes), "output_dir": str(tmp_path / "set"), "size": SIZE}
    run_config(config, **paths)
    settings = json.loads((tmp_path / "set" / "settings.json").read_text())
    kind = "masks" if bundle == "lama_fundus" else "maps"
    assert settings.items() >= DATA[kind](eyes).settings.items()
    cut(tmp_path / "set")
    path = sorted((eyes / "fovs").iterdir())[0]
    write_png(path, np.roll(read_array(path), 3)[None])
    with pytest.raises(Exception) as caught:
        run_config(config, **paths)
    assert "made from other inputs" in str(root_error(caught.value))


def test_both_ways_build_the_settings_in_one_place(
    small_bundles: Path, run_config: Callable[..., ConfigParser], eyes: Path, tmp_path: Path
) -> None:
    bundle = small_bundles / "pix2pix_vessel"
    paths = {"input_dir": str(eyes), "output_dir": str(tmp_path / "inference")}
    run_config(bundle / "configs" / "inference.json", size=SIZE, **paths)
    synthesize(bundle, eyes, tmp_path / "call", trust=True)
    inference, call = (json.loads((tmp_path / name / "settings.json").read_text()) for name in ("inference", "call"))
    assert inference == call
    chain = load_chain(bundle, trust=True)
    assert call.items() >= set_settings("pix2pix_vessel", chain.roots, chain.checkpoint, VesselMaps(eyes, SIZE)).items()
