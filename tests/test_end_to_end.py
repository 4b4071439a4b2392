"""The whole way once, by the commands of the card: train, evaluate, generate; and the same from Python."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from monai.bundle import ConfigParser
from PIL import Image

import retina_monai
from retina_monai.data import find_datalist
from retina_monai.data.files.reading import read_mask, read_photograph
from retina_monai.data.files.writing import write_png
from retina_monai.data.listing.manifest import read_manifest
from retina_monai.errors import RetinaError

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "pix2pix_vessel"
CONFIGS = BUNDLE / "configs"
SIZE = 64
SETTINGS = {"features": 8}
PROTOCOLS = {"given", "camera", "average", "drawn"}

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As the commands run: sums are added up in the same order here and there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def training(monai_bundle: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end_to_end") / "training"
    result = monai_bundle(CONFIGS / "train.json", "training", output_dir=folder, **SETTINGS)
    assert result.returncode == 0, result.stdout
    return folder


@pytest.fixture(scope="module")
def eyes(phantoms: Path) -> Path:
    """The phantoms of the training."""
    return phantoms


@pytest.fixture(scope="module")
def evaluation(monai_bundle: Command, training: Path) -> Path:
    folder = training.parent / "evaluation"
    overlay = [CONFIGS / "train.json", CONFIGS / "evaluate.json"]
    weights = {"checkpoint": training / "model.pt", "mlflow": True}
    result = monai_bundle(overlay, "run", output_dir=folder, **(SETTINGS | weights))
    assert result.returncode == 0, result.stdout
    return folder


@pytest.fixture(scope="module")
def synthetic_set(monai_bundle: Command, training: Path, eyes: Path) -> Path:
    folder = training.parent / "synthetic"
    paths = {"checkpoint": training / "model.pt", "input_dir": eyes, "output_dir": folder}
    result = monai_bundle(CONFIGS / "inference.json", "run", size=SIZE, **paths)
    assert result.returncode == 0, result.stdout
    return folder


@pytest.fixture(scope="module")
def bundle_with_weights(training: Path) -> Path:
    """A copy of the bundle, for small pictures, with the trained weights in place of the released ones."""
    copy = Path(shutil.copytree(BUNDLE, training.parent / "copy", ignore=shutil.ignore_patterns("runs", "models")))
    config = json.loads((copy / "configs" / "inference.json").read_text())
    (copy / "configs" / "inference.json").write_text(json.dumps(config | {"size": SIZE}))
    (copy / "models").mkdir()
    for name in ("model.pt", "network.json", "appearances.json"):
        shutil.copy(training / name, copy / "models")
    return copy


def test_training_leaves_weights_that_describe_themselves(training: Path) -> None:
    arguments = json.loads((training / "network.json").read_text())
    assert (arguments["levels"], arguments["features"]) == (4, 8)
    assert (training / "pictures" / "epoch_0001.png").is_file()


def test_evaluation_reports_the_test_eyes(evaluation: Path, training: Path, eyes: Path) -> None:
    report = json.loads((evaluation / "report.json").read_text())
    digest = hashlib.sha256((training / "model.pt").read_bytes()).hexdigest()
    assert (report["about"]["weights_sha256"], report["about"]["split"]) == (digest, "test")
    with (evaluation / "eyes.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {item["name"] for item in find_datalist(eyes)["test"]}
    assert {(row["name"], row["appearance"]) for row in rows} == {
        (n, protocol) for n in names for protocol in PROTOCOLS
    }
    for row in rows:
        assert -1 <= float(row["ssim_fov"]) <= 1
        assert float(row["psnr"]) == pytest.approx(10 * math.log10(4 / float(row["mse"])), abs=0.01)
    assert "phantom" in (evaluation / "table.md").read_text()
    for name in ("grid_phantom.png", "spectrum_phantom.png"):
        with Image.open(evaluation / name) as picture:
            assert min(picture.size) > SIZE


def test_the_given_appearance_is_the_nearest(evaluation: Path) -> None:
    with (evaluation / "eyes.csv").open() as file:
        rows = list(csv.DictReader(file))
    errors = {key: np.mean([float(r["mse_fov"]) for r in rows if r["appearance"] == key]) for key in PROTOCOLS}
    assert errors["given"] == min(errors.values())


def test_evaluation_is_a_run_in_mlflow(evaluation: Path) -> None:
    client = MlflowClient(f"sqlite:///{evaluation / 'mlruns.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("pix2pix_vessel").experiment_id])
    assert run.info.status == "FINISHED"
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert {"table.md", "report.json", "config.json", "pictures"} <= files


def test_generated_photographs_are_round_marked_and_not_flat(synthetic_set: Path) -> None:
    items = [item for split in find_datalist(synthetic_set).values() for item in split]
    assert len(items) == 8
    for item in items:
        image, fov = read_photograph(item["image"]), read_mask(item["fov"])
        assert image.shape == (3, SIZE, SIZE)
        assert not image[:, fov[0] == 0].any(), "black outside of the field of view"
        assert image[:, fov[0] == 1].std() > 5
        with Image.open(item["image"]) as picture:
            assert picture.info["SyntheticData"] == "YES"


def test_load_paints_what_the_command_wrote(bundle_with_weights: Path, eyes: Path, synthetic_set: Path) -> None:
    paint = retina_monai.load(bundle_with_weights, trust=True)
    places = {line["name"]: line["index"] for line in read_manifest(synthetic_set)}
    for item in find_datalist(eyes)["test"]:
        vessel, fov, disc = (read_mask(item[kind]) for kind in ("vessel", "fov", "disc"))
        painted = paint(vessel, fov, index=places[item["name"]], disc=disc)
        written = read_photograph(synthetic_set / "images" / f"{item['name']}.png")
        assert np.array_equal(painted, written)


def test_load_paints_what_the_command_wrote_from_a_folder_of_maps(
    bundle_with_weights: Path,
    training: Path,
    eyes: Path,
    run_config: Callable[..., ConfigParser],
    tmp_path: Path,
) -> None:
    """Of any size and with no field of view; random appearances included."""
    vessel = read_mask(find_datalist(eyes)["test"][0]["vessel"])
    maps = {"square": vessel, "wide": vessel[:, 25:100], "tall": vessel[:, :, 25:100].copy()}
    for name, array in maps.items():
        write_png(tmp_path / "maps" / f"{name}.png", array * np.uint8(255))
    paths = {"checkpoint": str(training / "model.pt"), "input_dir": str(tmp_path / "maps")}
    chosen = {"appearance": "random", "seed": 3, "output_dir": str(tmp_path / "set"), "size": SIZE}
    run_config(CONFIGS / "inference.json", **(paths | chosen))
    paint = retina_monai.load(bundle_with_weights, trust=True)
    for index, name in enumerate(sorted(maps)):
        painted = paint(maps[name], appearance="random", seed=3, index=index)
        assert np.array_equal(painted, read_photograph(tmp_path / "set" / "images" / f"{name}.png"))


def test_generate_grows_the_same_eyes_however_many(bundle_with_weights: Path) -> None:
    two = retina_monai.generate(str(bundle_with_weights), n=2, seed=5, trust=True)
    one = retina_monai.generate(str(bundle_with_weights), n=1, seed=5, trust=True)
    other = retina_monai.generate(str(bundle_with_weights), n=1, seed=6, trust=True)
    for key in ("image", "vessel", "fov"):
        assert np.array_equal(one[0][key], two[0][key])
    assert not np.array_equal(two[0]["vessel"], two[1]["vessel"])
    assert not np.array_equal(one[0]["vessel"], other[0]["vessel"])
    for sample in two:
        assert sample["image"].shape == (3, SIZE, SIZE) and sample["image"].dtype == np.uint8
        assert set(np.unique(sample["vessel"])) == {0, 1} == set(np.unique(sample["fov"]))
        assert not sample["image"][:, sample["fov"][0] == 0].any()
        assert not sample["vessel"][sample["fov"] == 0].any()
        assert sample["laterality"] in ("L", "R")


def test_a_copied_bundle_loads_its_own_weights(bundle_with_weights: Path, training: Path, eyes: Path) -> None:
    vessel = read_mask(find_datalist(eyes)["test"][0]["vessel"])
    expected = retina_monai.load(bundle_with_weights, training / "model.pt", trust=True)(vessel)
    assert np.array_equal(retina_monai.load(bundle_with_weights, trust=True)(vessel), expected)


def test_mistakes_in_python_are_named(training: Path) -> None:
    with pytest.raises(RetinaError, match="no bundle no_such_bundle: give the path of a bundle, or one of ddpm"):
        retina_monai.load("no_such_bundle")
    paint = retina_monai.load("pix2pix_vessel", training / "model.pt")
    with pytest.raises(RetinaError, match=r"vessel has shape \(2, 8, 8\): give the vessel map as \(H, W\)"):
        paint(np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(RetinaError, match=r"fov is \(8, 9\) and vessel is \(8, 8\)"):
        paint(np.zeros((8, 8), np.uint8), np.ones((8, 9), np.uint8))
    with pytest.raises(RetinaError, match="n must be at least 1, got 0"):
        retina_monai.generate(n=0)


def test_the_released_weights_paint(eyes: Path) -> None:
    if not (BUNDLE / "models" / "model.pt").is_file():
        pytest.skip("pix2pix_vessel has no released weights yet")
    item = find_datalist(eyes)["test"][0]
    image = retina_monai.load()(read_mask(item["vessel"]), read_mask(item["fov"]))
    inside = image[:, image.any(axis=0)]
    assert inside[0].mean() > inside[1].mean() > inside[2].mean(), (
        "a fundus is red before it is green before it is blue"
    )
