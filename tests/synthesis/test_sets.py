"""A set by one call is the set that the bundle's inference.json writes, one sample at a time on one thread."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from retina_monai.data import find_datalist
from retina_monai.errors import RetinaError, root_error
from retina_monai.synthesis import Chain, load_chain, synthesize

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "pix2pix_vessel"
SIZE = 64


@pytest.fixture(scope="module")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    """A copy of the bundle, for small pictures, with small weights and phantoms of its own."""
    copy = tmp_path_factory.mktemp("bundle") / "a_copy"
    shutil.copytree(BUNDLE / "configs", copy / "configs")
    config = json.loads((BUNDLE / "configs" / "inference.json").read_text())
    (copy / "configs" / "inference.json").write_text(json.dumps(config | {"size": SIZE}))
    (copy / "models").mkdir()
    for name in ("model.pt", "network.json", "appearances.json"):
        shutil.copy(trained / name, copy / "models")
    return load_chain(copy, trust=True)


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_what_inference_writes_is_written(
    bundle: Chain, run_config: Callable[..., ConfigParser], trained: Path, phantoms: Path, tmp_path: Path
) -> None:
    chosen = {"appearance": "random", "seed": 3}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    paths = {"input_dir": str(phantoms), "output_dir": str(tmp_path / "inference"), "checkpoint": f"{trained}/model.pt"}
    run_config(BUNDLE / "configs" / "inference.json", size=SIZE, **paths, **chosen)
    torch.set_num_threads(threads)
    folder = synthesize(bundle, phantoms, tmp_path / "call", batch_size=2, **chosen)
    assert folder == tmp_path / "call"
    assert pictures(folder) == pictures(tmp_path / "inference")
    manifests = [(place / "manifest.jsonl").read_text() for place in (folder, tmp_path / "inference")]
    lists = [(place / "datalist.json").read_text() for place in (folder, tmp_path / "inference")]
    assert manifests[0] == manifests[1] and lists[0] == lists[1]
    assert sum(len(items) for items in find_datalist(folder).values()) == 8


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_phantoms_are_enough(bundle: Chain, count: int, tmp_path: Path) -> None:
    folder = synthesize(bundle, output_dir=tmp_path / "set", count=count)
    assert len(list((folder / "images").iterdir())) == count
    assert sum(len(items) for items in find_datalist(folder).values()) == count


def test_phantoms_grow_by_count_and_seed(bundle: Chain, tmp_path: Path) -> None:
    first, again, other = (
        pictures(synthesize(bundle, output_dir=tmp_path / name, count=3, seed=seed))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert len(first) == 3 * 5
    assert first == again
    assert first["vessels/phantom_00000.png"] != other["vessels/phantom_00000.png"]
    assert (bundle.root / "runs" / "phantom").is_dir(), "beside the bundle, for the next call"


def test_names_mean_nothing_to_monai(
    bundle: Chain, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(phantoms, tmp_path / "%eyes #1 @size")
    folder = synthesize(bundle, "%eyes #1 @size", "$set #2")
    assert len(pictures(tmp_path / "$set #2")) == 5 * 8 and folder == Path("$set #2")


def test_an_interrupted_set_is_completed(bundle: Chain, phantoms: Path, tmp_path: Path) -> None:
    whole = pictures(synthesize(bundle, phantoms, tmp_path))
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "manifest.jsonl").write_text("".join(lines[:5]) + lines[5][:40])
    (tmp_path / "images" / "phantom_00006.png").unlink()
    assert pictures(synthesize(bundle, phantoms, tmp_path)) == whole


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    return {line["name"]: line for line in map(json.loads, lines)}


def test_warped_maps_of_a_split(bundle: Chain, phantoms: Path, tmp_path: Path) -> None:
    training = [item["name"] for item in find_datalist(phantoms)["training"]]
    folder = synthesize(bundle, phantoms, tmp_path, split="training", augment=2, seed=5)
    lines = manifest(folder)
    assert sorted(lines) == sorted(f"{name}_a{time}" for name in training for time in (1, 2))
    line = lines[f"{training[0]}_a2"]
    assert line["condition"] == {"name": training[0], "dataset": "phantom", "augmented": True}
    assert line["patient"] == f"phantom/0-{training[0][-5:]}" and line["laterality"] in ("L", "R")
    items = [item for items in find_datalist(folder).values() for item in items]
    assert all(item["condition"] == lines[item["name"]]["condition"] for item in items)
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["split"] == "training" and settings["augment"] == 2


def test_warped_maps_are_the_same_in_any_batches_and_after_an_interruption(
    bundle: Chain, phantoms: Path, tmp_path: Path
) -> None:
    chosen = {"split": "training", "augment": 1, "seed": 5, "appearance": "random"}
    count = len(find_datalist(phantoms)["training"])
    whole = pictures(synthesize(bundle, phantoms, tmp_path / "one", **chosen))
    other = pictures(synthesize(bundle, phantoms, tmp_path / "three", batch_size=3, **chosen))
    assert whole == other and len(whole) == 5 * count
    lines = (tmp_path / "one" / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "one" / "manifest.jsonl").write_text("".join(lines[:2]) + lines[2][:30])
    for path in (tmp_path / "one" / "images").iterdir():
        if path.stem not in {json.loads(line)["name"] for line in lines[:2]}:
            path.unlink()
    assert pictures(synthesize(bundle, phantoms, tmp_path / "one", **chosen)) == whole
    for changed in ({"augment": 2}, {"seed": 6}, {"split": "validation"}):
        with pytest.raises(Exception) as caught:
            synthesize(bundle, phantoms, tmp_path / "one", **(chosen | changed))
        assert "holds a set made with other settings" in str(root_error(caught.value))


def test_each_call_without_an_output_dir_writes_a_set_of_its_own(bundle: Chain, phantoms: Path) -> None:
    first, second = (synthesize(bundle, phantoms, seed=seed) for seed in (0, 1))
    assert first != second and first.parent == second.parent == bundle.root / "runs"
    assert len(pictures(first)) == len(pictures(second)) == 5 * 8


def test_mistakes(bundle: Chain, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match="count is the number of phantoms: give either --count or --input_dir"):
        synthesize(bundle, phantoms, count=5)
    with pytest.raises(RetinaError, match="split training needs a data set: give --input_dir, or leave out --sp"):
        synthesize(bundle, split="training")
    with pytest.raises(Exception) as caught:
        synthesize(bundle, phantoms, tmp_path / "set", augment=-1)
    assert str(root_error(caught.value)) == "augment must be an integer >= 0, got -1"
    with pytest.raises(RetinaError, match="there is no bundle no_such_bundle"):
        synthesize("no_such_bundle")
    with pytest.raises(Exception) as caught:
        synthesize(bundle, phantoms, tmp_path / "set", batch_size=0)
    assert str(root_error(caught.value)) == "batch_size must be an integer >= 1, got 0"
    assert list(tmp_path.iterdir()) == []


def test_a_switch_may_be_text(bundle: Chain, phantoms: Path, tmp_path: Path) -> None:
    plain, text, drawn = (
        synthesize(bundle, phantoms, tmp_path / str(texture), split="test", texture=texture)
        for texture in (False, "false", True)
    )
    assert pictures(plain) == pictures(text)
    settings = [json.loads((folder / "settings.json").read_text()) for folder in (plain, text, drawn)]
    assert [own["texture"] for own in settings] == [False, False, True]
