"""Bundles of other kinds than the released ones, end to end: noise -> photograph + disc, grey image -> vessel map.

Their networks have nothing to learn; what is tested is that no module in between expects a vessel map or a colour
photograph: ``synthesize``, ``monai.bundle run``, reading back, ``prepare``, ``evaluate``, chains.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from throwaway import SIZE, write_grey_bundle, write_noise_bundle

import retina_monai
from retina_monai.data import find_datalist, generate_phantom, write_phantoms
from retina_monai.data.export.prepare import prepare
from retina_monai.data.files.reading import read_array, read_mask, read_photograph
from retina_monai.data.files.writing import is_synthetic, write_png
from retina_monai.errors import RetinaError
from retina_monai.evaluation.report.report import evaluate
from retina_monai.synthesis import synthesize

COUNT = 6


@pytest.fixture(scope="module")
def noise_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_bundle(tmp_path_factory.mktemp("bundles") / "noise_eye")


@pytest.fixture(scope="module")
def grey_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_grey_bundle(tmp_path_factory.mktemp("bundles") / "grey_vessel")


@pytest.fixture(scope="module")
def eyes(noise_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first bundle draws."""
    folder = tmp_path_factory.mktemp("sets") / "eyes"
    return synthesize(noise_bundle, output_dir=folder, count=COUNT, seed=3, trust=True)


@pytest.fixture(scope="module")
def angiograms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of bright vessels, and their vessel maps in a folder of their own."""
    folder = tmp_path_factory.mktemp("angiograms")
    for seed in range(COUNT):
        vessel = generate_phantom(seed, 128)["vessel"]
        ground = np.random.default_rng(seed).integers(40, 70, vessel.shape)
        write_png(folder / "images" / f"scan{seed}.png", (ground + 150 * vessel).astype(np.uint8), synthetic=False)
        write_png(folder / "truth" / f"scan{seed}.png", vessel * np.uint8(255), synthetic=False)
    return folder


@pytest.fixture(scope="module")
def found(grey_bundle: Path, angiograms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the second bundle finds."""
    return synthesize(grey_bundle, angiograms / "images", tmp_path_factory.mktemp("sets") / "found", trust=True)


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_photographs_and_discs_from_noise(eyes: Path) -> None:
    names = [f"sample_{index:05d}" for index in range(COUNT)]
    assert set(pictures(eyes)) == {f"{folder}/{name}.png" for folder in ("images", "discs") for name in names}
    items = [item for items in find_datalist(eyes).values() for item in items]
    assert sorted(item["name"] for item in items) == names and not any("vessel" in item for item in items)
    assert all(is_synthetic(item) for item in items)
    for item in items:
        image, disc = read_photograph(item["image"]), read_mask(item["disc"], key="disc")[0]
        assert image.shape == (3, SIZE, SIZE) and 60 < disc.sum() < 120
        assert image[:, disc > 0].mean() > image[:, disc == 0].mean() + 60
    assert len({read_photograph(item["image"]).tobytes() for item in items}) == COUNT
    lines = [json.loads(line) for line in (eyes / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(COUNT)) and all(line["seed"] == 3 for line in lines)
    assert len({line["latent"] for line in lines}) == COUNT


def test_samples_depend_on_seed_and_index_alone(noise_bundle: Path, eyes: Path, tmp_path: Path) -> None:
    first = synthesize(noise_bundle, output_dir=tmp_path / "first", count=2, seed=3, batch_size=1, trust=True)
    assert pictures(first).items() < pictures(eyes).items()
    assert pictures(synthesize(noise_bundle, output_dir=first, count=COUNT, seed=3, trust=True)) == pictures(eyes)
    other = synthesize(noise_bundle, output_dir=tmp_path / "other", count=2, seed=4, trust=True)
    assert not set(pictures(other).values()) & set(pictures(eyes).values())
    generated = retina_monai.generate(noise_bundle, 2, seed=3, trust=True)
    for index, sample in enumerate(generated):
        assert set(sample) == {"image", "disc"}
        assert np.array_equal(sample["image"], read_photograph(eyes / "images" / f"sample_{index:05d}.png"))


@pytest.mark.parametrize("made_by", ["noise", "grey"])
def test_monai_writes_the_same_set(
    made_by: str,
    request: pytest.FixtureRequest,
    run_config: Callable[..., ConfigParser],
    angiograms: Path,
    tmp_path: Path,
) -> None:
    bundle, made = (request.getfixturevalue(name) for name in (f"{made_by}_bundle", "eyes"))
    options = {"count": COUNT, "seed": 3}
    if made_by == "grey":
        made, options = request.getfixturevalue("found"), {"input_dir": str(angiograms / "images")}
    run_config(bundle / "configs" / "inference.json", output_dir=str(tmp_path / "set"), **options)
    assert pictures(tmp_path / "set") == pictures(made)
    for name in ("manifest.jsonl", "datalist.json"):
        assert (tmp_path / "set" / name).read_text() == (made / name).read_text()


def test_vessels_in_grey_images(found: Path, angiograms: Path) -> None:
    items = [item for items in find_datalist(found).values() for item in items]
    assert len(items) == COUNT and not any(is_synthetic(item) for item in items)
    for item in items:
        name = Path(item["image"]).stem
        assert read_array(Path(item["image"])).shape == read_array(angiograms / "images" / f"{name}.png").shape
        assert np.array_equal(read_photograph(item["image"]), read_photograph(angiograms / "images" / f"{name}.png"))
        vessel, truth = read_mask(item["vessel"])[0], read_mask(angiograms / "truth" / f"{name}.png")[0]
        assert 2 * (vessel & truth).sum() / (vessel.sum() + truth.sum()) > 0.6
        assert item["vessel_by"].startswith("grey_vessel ")


@pytest.mark.parametrize("made", ["eyes", "found"])
def test_the_set_is_prepared_and_evaluated(made: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(made)
    assert f"{COUNT}" in prepare([str(folder)], str(tmp_path / "datalist.json"))
    listed = json.loads((tmp_path / "datalist.json").read_text())
    assert sum(len(items) for items in listed.values() if isinstance(items, list)) == COUNT
    real = write_phantoms(tmp_path / "real", COUNT, SIZE, 1)
    report = evaluate(folder, real, tmp_path / "report", size=64, mlflow=False)
    sections = json.loads((report / "report.json").read_text())["sections"]
    assert {"image", "distribution", "faithfulness", "privacy", "usefulness"} <= set(sections)
    assert all(section["light"] in ("green", "yellow", "red", "grey") for section in sections.values())
    assert sections["image"]["figures"]


def test_chains_of_both(noise_bundle: Path, grey_bundle: Path, small_bundles: Path, eyes: Path, tmp_path: Path) -> None:
    chain = retina_monai.load(f"{noise_bundle}+{grey_bundle}", trust=True)
    assert (chain.takes, chain.makes, chain.name) == ((), ("image", "disc", "vessel"), "noise_eye+grey_vessel")
    folder = synthesize(chain, output_dir=tmp_path / "set", count=2, seed=3)
    assert {path.parent.name for path in folder.rglob("*.png")} == {"images", "discs", "vessels", "probabilities"}
    assert pictures(folder)["images/sample_00001.png"] == pictures(eyes)["images/sample_00001.png"]
    line = json.loads((folder / "manifest.jsonl").read_text().splitlines()[0])
    assert line["vessel_by"].startswith("grey_vessel ") and line["synthetic"]
    with pytest.raises(RetinaError, match="takes vessel_share, which no bundle before makes: noise_eye is given noise"):
        synthesize(f"{noise_bundle}+{small_bundles}/pix2pix_color_vessel", output_dir=tmp_path / "none", trust=True)
    with pytest.raises(RetinaError, match="noise_eye has no option augment: leave out --augment"):
        synthesize(noise_bundle, output_dir=tmp_path / "none", augment=2, trust=True)
    assert not (tmp_path / "none").exists()


def test_visits_of_patients_keep_their_facts(grey_bundle: Path, angiograms: Path, tmp_path: Path) -> None:
    shutil.copytree(angiograms / "images", tmp_path / "clinic" / "images")
    shutil.copytree(angiograms / "truth", tmp_path / "clinic" / "vessels")
    rows = [f"scan{visit},p{visit // 3},s1t{visit % 3},{visit % 5},L" for visit in range(COUNT)]
    (tmp_path / "clinic" / "visits.csv").write_text("\n".join(["name,patient,stage,grade,laterality", *rows]))
    folder = synthesize(grey_bundle, tmp_path / "clinic", tmp_path / "set", trust=True)
    items = {item["name"]: item for items in find_datalist(folder).values() for item in items}
    for visit in range(COUNT):
        item = items[f"clinic_scan{visit}"]
        facts = {key: item[key] for key in ("patient", "stage", "grade", "laterality")}
        assert facts == {
            "patient": f"clinic/p{visit // 3}",
            "stage": f"s1t{visit % 3}",
            "grade": visit % 5,
            "laterality": "L",
        }
