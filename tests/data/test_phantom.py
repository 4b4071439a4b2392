from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import load_decathlon_datalist
from PIL import Image
from scipy import ndimage

from retina_monai.data.phantom.fundus import fundus_phantom as phantom
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom, write_phantoms
from retina_monai.data.phantom.fundus.phantom_eye import Eye, draw_eye
from retina_monai.data.phantom.fundus.vessel_raster import rasterise
from retina_monai.data.phantom.fundus.vessel_tree import VesselTree, branching_angles
from retina_monai.errors import RetinaError
from retina_monai.kinds import LESIONS

SEEDS = range(12)
MASKS = ("vessel", "artery", "vein", "disc", "cup", "fov")


@pytest.fixture(scope="module")
def eyes() -> list[Eye]:
    return [draw_eye(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def trees(eyes: list[Eye]) -> list[VesselTree]:
    return [tree for eye in eyes for tree in (eye.arteries, eye.veins)]


@pytest.fixture(scope="module")
def phantoms() -> list[dict[str, Any]]:
    return [generate_phantom(seed) for seed in SEEDS]


def branchings(tree: VesselTree) -> np.ndarray:
    """(B, 3) parent, wider and narrower daughter, for each branching."""
    order = np.argsort(tree.parent, kind="stable")
    pairs = order[tree.parent[order] >= 0].reshape(-1, 2)
    pairs = np.take_along_axis(pairs, np.argsort(-tree.radii[pairs, 0], axis=1), axis=1)
    return np.column_stack([tree.parent[pairs[:, 0]], pairs])


def digest(sample: dict[str, Any]) -> str:
    arrays = (sample[key].tobytes() for key in ("image", *MASKS))
    return hashlib.sha256(b"".join(arrays) + sample["laterality"].encode()).hexdigest()


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * np.logical_and(first, second).sum() / (first.sum() + second.sum())


def shrink(array: np.ndarray, factor: int) -> np.ndarray:
    channels, height, width = array.shape
    return array.reshape(channels, height // factor, factor, width // factor, factor).mean((2, 4))


# --- the sample


def test_shapes_types_and_values(phantoms: list[dict[str, Any]]) -> None:
    for sample in phantoms:
        assert set(sample) == {"image", *MASKS, "atrophy", *LESIONS, "grade", "laterality"}
        assert sample["grade"] == 0
        assert not any(sample[key].any() for key in ("atrophy", *LESIONS))
        assert sample["image"].shape == (3, 256, 256)
        assert sample["laterality"] in ("L", "R")
        assert all(sample[key].dtype == np.uint8 for key in ("image", *MASKS))
        assert all(sample[key].shape == (1, 256, 256) and set(np.unique(sample[key])) == {0, 1} for key in MASKS)


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_the_threads(phantoms: list[dict[str, Any]]) -> None:
    code = "import sys; from retina_monai.data import *; sys.stdout.buffer.write(generate_phantom(3)['image'])"
    assert digest(generate_phantom(3)) == digest(phantoms[3])
    for threads in ("1", "3"):
        variables = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        run = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, check=True)
        assert run.stdout == phantoms[3]["image"].tobytes()


def test_different_seeds_differ(phantoms: list[dict[str, Any]]) -> None:
    assert len({digest(sample) for sample in phantoms}) == len(phantoms)
    colours = np.array([sample["image"][:, sample["fov"][0] > 0].mean(axis=1) for sample in phantoms])
    assert (colours.std(axis=0) > (15, 8, 4)).all()
    assert {sample["laterality"] for sample in phantoms} == {"L", "R"}
    assert {0 in sample["fov"][0, [8, -9], 128] for sample in phantoms} == {True, False}  # clipped and whole fields


def test_masks_agree(phantoms: list[dict[str, Any]]) -> None:
    for sample in phantoms:
        assert np.array_equal(sample["vessel"], sample["artery"] | sample["vein"])
        assert (sample["cup"] <= sample["disc"]).all()
        assert all((sample[key] <= sample["fov"]).all() for key in MASKS)
        assert not (sample["image"] * (1 - sample["fov"])).any()


def test_the_whole_disc_is_seen_on_the_side_of_its_laterality(eyes: list[Eye], phantoms: list[dict[str, Any]]) -> None:
    for eye, sample in zip(eyes, phantoms, strict=True):
        area = np.pi * eye.disc[0] * eye.disc[1] * (eye.margin * 128 / eye.extent) ** 2
        assert sample["disc"].sum() == pytest.approx(area, rel=0.03)
        column = np.nonzero(sample["disc"][0])[1].mean()
        assert (column > 127.5) == (sample["laterality"] == "R")
        assert eye.fovea.real < -4  # right eyes, before mirroring: the fovea is left of the disc


def test_the_disc_is_bright_and_vessels_and_fovea_are_dark(eyes: list[Eye], phantoms: list[dict[str, Any]]) -> None:
    for sample in phantoms:
        green = sample["image"][1].astype(float)
        fundus = sample["fov"][0] - sample["disc"][0] > 0
        assert green[sample["disc"][0] > 0].mean() > 1.3 * green[fundus].mean()
        wide = ndimage.binary_erosion(sample["vessel"][0], np.ones((2, 2))) & fundus
        beside = ndimage.binary_dilation(wide, iterations=6) & ~ndimage.binary_dilation(sample["vessel"][0]) & fundus
        assert green[wide].mean() < 0.9 * green[beside].mean()


def test_veins_are_wider_and_darker_than_arteries(eyes: list[Eye], phantoms: list[dict[str, Any]]) -> None:
    assert all(0.5 < eye.arteries.radii[0, 0] / eye.veins.radii[0, 0] < 1 for eye in eyes)
    darker = []
    for sample in phantoms:
        blood = [
            ndimage.binary_erosion(sample[kind][0]) & ~sample["disc"][0].astype(bool) for kind in ("vein", "artery")
        ]
        vein, artery = (np.median(sample["image"][1][mask]) for mask in (blood[0] & ~blood[1], blood[1] & ~blood[0]))
        darker.append(vein < artery)
    assert np.mean(darker) > 0.7


def test_vessel_density_is_that_of_real_eyes(phantoms: list[dict[str, Any]]) -> None:
    density = [sample["vessel"].sum() / sample["fov"].sum() for sample in phantoms]
    assert min(density) > 0.08
    assert max(density) < 0.14


@pytest.mark.parametrize("seed", [0, 2])
def test_one_seed_is_one_eye_at_every_size(seed: int) -> None:
    large, small = generate_phantom(seed, 512), generate_phantom(seed, 128)
    assert large["laterality"] == small["laterality"]
    assert dice(shrink(large["fov"], 4) > 0.5, small["fov"]) > 0.99
    assert dice(shrink(large["disc"], 4) > 0.5, small["disc"]) > 0.98
    assert dice(shrink(large["vessel"], 4) > 0.3, small["vessel"]) > 0.7
    assert np.abs(shrink(large["image"], 4) - small["image"]).mean() < 3


@pytest.mark.parametrize("seed", [1, 4])
def test_trees_are_connected(seed: int) -> None:
    sample = generate_phantom(seed, 512)
    for kind in ("artery", "vein"):
        pieces, count = ndimage.label(sample[kind][0], np.ones((3, 3)))
        assert count <= 5  # the edge of the field cuts some ends off
        assert np.bincount(pieces.ravel())[1:].max() > 0.95 * sample[kind].sum()


@pytest.mark.parametrize("size", [32, 100])
def test_unusual_sizes(size: int) -> None:
    assert generate_phantom(5, size)["image"].shape == (3, size, size)


@pytest.mark.parametrize(("seed", "size", "key"), [(-1, 64, "seed"), (0, 16, "size")])
def test_numbers_out_of_range_are_named(seed: int, size: int, key: str) -> None:
    with pytest.raises(RetinaError, match=f"^{key} must be"):
        generate_phantom(seed, size)


# --- the trees


def test_murrays_law_holds_at_every_branching(trees: list[VesselTree]) -> None:
    for tree in trees:
        parent, wide, narrow = branchings(tree).T
        assert len(parent) > 12
        flow = tree.radii**3
        assert np.allclose(flow[parent, -1], flow[wide, 0] + flow[narrow, 0], rtol=1e-9)
        assert (tree.radii[narrow, 0] / tree.radii[wide, 0]).min() < 0.5  # not all alike


def test_every_segment_tapers_and_begins_where_its_parent_ends(trees: list[VesselTree]) -> None:
    for tree in trees:
        child = np.flatnonzero(tree.parent >= 0)
        assert (np.diff(tree.radii, axis=1) < 0).all()
        assert np.allclose(tree.points[child, 0], tree.points[tree.parent[child], -1])
        assert (tree.parent < 0).sum() == 2  # the upper and the lower trunk
        assert len(np.unique(tree.points[tree.parent < 0, 0])) == 1


def test_branching_angles_known_values() -> None:
    alike = branching_angles(np.array(2 ** (1 / 3)), np.array(1.0), np.array(1.0))
    assert np.degrees(alike) == pytest.approx(37.47, abs=0.01)  # Murray: equal branches, 75 degrees between them
    along, across = branching_angles(np.array((1 + 1e-6) ** (1 / 3)), np.array(1.0), np.array(0.01))
    assert np.degrees(along) < 0.1
    assert np.degrees(across) == pytest.approx(90, abs=0.5)


def test_vessels_leave_at_murrays_angles(trees: list[VesselTree]) -> None:
    def direction(points: np.ndarray, end: int) -> np.ndarray:
        return np.gradient(points, axis=1, edge_order=2)[:, end]

    errors, opposite = [], []
    for tree in trees:
        parent, wide, narrow = branchings(tree).T
        before = direction(tree.points[parent], -1)
        turns = [np.angle(direction(tree.points[daughter], 0) / before) for daughter in (wide, narrow)]
        expected = branching_angles(tree.radii[parent, -1], tree.radii[wide, 0], tree.radii[narrow, 0])
        errors.extend(np.degrees(np.abs(np.abs(turns[1]) - expected[1])))
        opposite.extend(np.sign(tree.turn[wide]) == -np.sign(tree.turn[narrow]))
    assert np.median(errors) < 1
    assert np.percentile(errors, 95) < 5
    assert all(opposite)


def test_the_fovea_has_no_vessels(eyes: list[Eye]) -> None:
    for eye in eyes:
        for tree in (eye.arteries, eye.veins):
            assert np.abs(tree.points - eye.fovea).min() > 0.15  # mm; a zone of 0.5 to 0.7 across, less the bends


def test_arteries_and_veins_cross(phantoms: list[dict[str, Any]]) -> None:
    crossings = [ndimage.label(sample["artery"][0] & sample["vein"][0] & ~sample["disc"][0])[1] for sample in phantoms]
    assert min(crossings) > 3


def test_rasterise_draws_a_rod_of_known_width() -> None:
    rod = VesselTree(np.linspace(-3, 3, 25)[None] + 0j, np.full((1, 25), 0.5), np.array([-1]), np.array([0.0]))
    gap, radius = rasterise(rod, 40, 4.0, 0j)
    expected = np.abs(np.arange(40) - 19.5) - 2
    assert gap[:, 20][expected < 1] == pytest.approx(expected[expected < 1])
    assert np.isinf(gap[:, 20][expected > 4]).all()
    assert (gap[20] < 0).sum() == pytest.approx(6 * 4 + 2 * 2, abs=1)  # its length and a round cap at either end
    assert radius[20, 20] == pytest.approx(2)


# --- the set


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("sets") / "phantoms", count=12, size=64, seed=7)


def test_the_set_is_what_monai_and_its_manifest_read(written: Path) -> None:
    lines = [json.loads(line) for line in (written / "manifest.jsonl").read_text().splitlines()]
    assert [line["patient"] for line in lines] == [f"phantom/7-{i:05d}" for i in range(12)]
    parts = {key: load_decathlon_datalist(str(written / "datalist.json"), True, key) for key in SPLIT}
    assert {key: len(part) for key, part in parts.items()} == SPLIT
    items = [item for part in parts.values() for item in part]
    assert len({item["patient"] for item in items}) == len(items)
    for item, line in zip(items, lines, strict=True):
        sample = generate_phantom(line["seed"], line["size"])
        assert (item["name"], item["laterality"], item["dataset"]) == (line["name"], sample["laterality"], "phantom")
        for key in ("image", "vessel", "fov", "disc", "cup"):
            with Image.open(item[key]) as picture:
                assert picture.info["SyntheticData"] == "YES"
                read = np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1)
            assert np.array_equal(read, sample[key] * (1 if key == "image" else 255))


SPLIT = {"training": 9, "validation": 1, "test": 2}


def test_an_eye_depends_on_seed_and_index_alone(written: Path, tmp_path: Path) -> None:
    for count, shares in ((1, [1, 0, 0]), (2, [1, 0, 1]), (3, [1, 1, 1])):
        datalist = json.loads((write_phantoms(tmp_path / str(count), count, 64, seed=7) / "datalist.json").read_text())
        assert [len(datalist[split]) for split in ("training", "validation", "test")] == shares
    fewer = tmp_path / "3"
    other = write_phantoms(tmp_path / "other", count=3, size=64, seed=8)
    for name in ("images/phantom_00002.png", "vessels/phantom_00002.png"):
        assert (fewer / name).read_bytes() == (written / name).read_bytes()
        assert (other / name).read_bytes() != (written / name).read_bytes()


def test_a_finished_set_is_used_again(written: Path) -> None:
    before = (written / "datalist.json").stat().st_mtime_ns
    assert write_phantoms(written, count=12, size=64, seed=7) == written
    assert (written / "datalist.json").stat().st_mtime_ns == before


def test_another_set_is_not_overwritten(written: Path, tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match=f"{written} holds 12 .* seed 7, not 12 .* seed 8"):
        write_phantoms(written, count=12, size=64, seed=8)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RetinaError, match=f"{tmp_path} holds something else"):
        write_phantoms(tmp_path, count=3, size=64, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_interrupted_set_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seed: int, size: int, **traits: Any) -> dict[str, Any]:
        if any(tmp_path.rglob("*00001.png")):
            raise KeyboardInterrupt
        return generate_phantom(seed, size, **traits)

    monkeypatch.setattr(phantom, "generate_phantom", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_phantoms(tmp_path / "set", count=3, size=64, seed=0)
    assert not list(tmp_path.iterdir())


def test_the_set_of_a_faster_process_is_used(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = phantom._write_set

    def overtaken(directory: Path, *settings: Any) -> None:
        write(directory, *settings)
        shutil.copytree(written, tmp_path / "set")

    monkeypatch.setattr(phantom, "_write_set", overtaken)
    assert write_phantoms(tmp_path / "set", count=12, size=64, seed=7) == tmp_path / "set"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file" / "set", Path("/proc/none/set")):
        with pytest.raises(RetinaError, match=f"{directory} cannot be written"):
            write_phantoms(directory, count=3, size=64, seed=0)
    with pytest.raises(RetinaError, match="file holds something else"):
        write_phantoms(tmp_path / "file", count=3, size=64, seed=0)


def test_a_set_needs_an_eye(tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match=r"^count must be"):
        write_phantoms(tmp_path / "set", count=0, size=64, seed=0)
