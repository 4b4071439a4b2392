"""KID over the released encoder rises with what is wrong with photographs, and not where nothing is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from retina_monai.data import LoadAnatomyd, find_datalist
from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.evaluation.measuring.extractors import load_extractors
from retina_monai.evaluation.measuring.sensitivity import (
    STRENGTHS,
    SensitivityReport,
    measure_sensitivity,
    repeat,
    sensitivity_table,
    spoil,
)
from retina_monai.metrics import extract_features, halve, kid
from retina_monai.transforms import DEGRADATIONS, STRUCTURES, ReduceEyed

ROOT = Path(__file__).resolve().parents[2]
SIZE = 256
PHANTOMS = 32
PARTINGS = 8
TEST_SETS = ("CHASE_DB1", "HRF", "FIVES")

Features = NDArray[np.float32]


class Eyes:
    """Photographs with their fields of view and masks, and what the released encoder makes of them."""

    def __init__(self, images: Tensor, fovs: Tensor, masks: Mapping[str, Tensor], patients: list[str]) -> None:
        self.images, self.fovs, self.masks, self.patients = images, fovs, masks, patients
        self.name, self.extractor = next(iter(load_extractors().items()))
        self.clean = self.features(images)
        self.rises: dict[str, tuple[list[float], float]] = {}

    @cached_property
    def floor(self) -> NDArray[np.float64]:
        """KID of the halves, neither spoilt."""
        return self.distances(lambda half: self.clean[half])

    def features(self, images: Tensor) -> Features:
        return np.concatenate([extract_features(self.extractor, batch) for batch in images.split(16)])

    def spoilt(self, kind: str, strength: float) -> Features:
        return self.features(spoil(self.images, self.fovs, self.masks, kind, strength, seed=0))

    def distances(self, take: Callable[[NDArray[np.int64]], Features]) -> NDArray[np.float64]:
        """KID of one half as it is to the other half as ``take`` gives it, for several partings by patient."""
        generator = np.random.default_rng(5)
        parted = [halve(len(self.clean), generator, self.patients) for _ in range(PARTINGS)]
        return np.array([self.kid(self.clean[first], take(second)) for first, second in parted])

    def kid(self, real: Features, other: Features) -> float:
        return kid(real, other, np.random.default_rng(0), extractor=self.name, resolution=SIZE).value

    def rise(self, kind: str) -> tuple[list[float], float]:
        """KID at each strength, over the partings' mean, and how many spreads of the floor the last lies above it."""
        if kind not in self.rises:
            spoilt = {strength: self.spoilt(kind, strength) for strength in STRENGTHS}
            means = [float(self.distances(lambda half, s=s: spoilt[s][half]).mean()) for s in STRENGTHS]
            ratio = (means[-1] - self.floor.mean()) / self.floor.std(ddof=1)
            self.rises[kind] = [float(self.floor.mean()), *means], float(ratio)
        return self.rises[kind]


@pytest.fixture(scope="module", autouse=True)
def released() -> None:
    if not (ROOT / "bundles" / "retina_encoder" / "models" / "model.pt").is_file():
        pytest.skip("retina_encoder has no released weights yet")


@pytest.fixture(scope="module")
def phantoms() -> Eyes:
    drawn = [generate_phantom(10_000 + seed, SIZE, grade=None, myopia=None) for seed in range(PHANTOMS)]
    stacked = {
        key: torch.from_numpy(np.stack([eye[key] for eye in drawn])).float() for key in ("fov", "vessel", "disc")
    }
    images = torch.from_numpy(np.stack([eye["image"] for eye in drawn])).float() / 127.5 - 1
    return Eyes(images, stacked.pop("fov"), stacked, [str(index) for index in range(PHANTOMS)])


def read_eyes(items: list[dict[str, Any]]) -> Eyes:
    load, reduce = LoadAnatomyd(2 * SIZE, SIZE), ReduceEyed("image", 2)
    eyes = [reduce(load(item)) for item in items]
    anatomy = torch.stack([eye["anatomy"] for eye in eyes]).float() / 255
    masks = {key: anatomy[:, STRUCTURES.index(key), None] for key in ("vessel", "disc")}
    images, fovs = (torch.stack([eye[key] for eye in eyes]) for key in ("image", "fov"))
    return Eyes(images, fovs, masks, [item["patient"] for item in items])


@pytest.fixture(scope="module")
def test_eyes(real_set: Callable[[str], Path]) -> Eyes:
    """The test splits of the three sets whose training splits the encoder saw."""
    return read_eyes([item for name in TEST_SETS for item in find_datalist(real_set(name))["test"]])


@pytest.fixture(scope="module")
def eyes_with_discs(real_set: Callable[[str], Path]) -> Eyes:
    """Eyes of a set that the encoder never saw; not all, since reading them takes most of the time."""
    return read_eyes([item for split in find_datalist(real_set("IDRiD")).values() for item in split][:14])


def assert_rises(eyes: Eyes, kind: str, least: float) -> None:
    means, ratio = eyes.rise(kind)
    assert all(below < above for below, above in pairwise(means)), f"{kind}: {means}"
    assert ratio > least, f"{kind}: {ratio:.1f} spreads of the floor, {means}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_kid_of_phantoms_rises_with_strength(phantoms: Eyes, kind: str) -> None:
    assert_rises(phantoms, kind, 4 if kind == "disc" else 8)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [name for name, way in DEGRADATIONS.items() if way.needs != "disc"])
def test_kid_of_real_eyes_rises_with_strength(test_eyes: Eyes, kind: str) -> None:
    assert_rises(test_eyes, kind, 6)


@pytest.mark.slow
def test_kid_of_real_eyes_rises_as_their_discs_fade(eyes_with_discs: Eyes) -> None:
    """One set of one camera alone: its floor spreads more, for eyes with and without much disease are in it."""
    assert_rises(eyes_with_discs, "disc", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantoms", "test_eyes"])
def test_kid_rises_with_mode_collapse(request: pytest.FixtureRequest, name: str) -> None:
    eyes: Eyes = request.getfixturevalue(name)
    floor = eyes.floor
    means = [eyes.distances(lambda half, s=s: repeat(eyes.clean[half], s)).mean() for s in (0.5, 0.75, 1)]
    assert floor.mean() < means[0] < means[1] < means[2]
    assert means[-1] - floor.mean() > 8 * floor.std(ddof=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantoms", "test_eyes"])
def test_kid_of_a_fresh_half_does_not_rise(request: pytest.FixtureRequest, name: str) -> None:
    eyes: Eyes = request.getfixturevalue(name)
    floor = eyes.floor
    weakest = min(eyes.rise(kind)[0][-1] for kind in ("blur", "colour", "vessels"))
    assert abs(floor.mean()) < 0.15 * weakest and np.abs(floor).max() < 0.5 * weakest


# --- how it is measured


def test_known_distances() -> None:
    """Features that move by a step that is far beyond what the eyes differ by."""
    clean = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    patients = [str(index // 2) for index in range(40)]
    results = measure_sensitivity(clean, {("moved", 1.0): clean + 5, ("same", 0.5): clean}, patients)
    found = {(result.kind, result.strength): result for result in results}
    assert set(found) == {("moved", 1.0), ("same", 0.5), *(("repeated", share) for share in STRENGTHS)}
    assert found["moved", 1.0].ratio > 100 and found["same", 0.5].ratio == 0
    assert found["same", 0.5].kid == found["same", 0.5].floor == pytest.approx(0, abs=3 * found["same", 0.5].spread)
    assert found["repeated", 1.0].kid > found["repeated", 0.5].kid > found["repeated", 0.25].kid
    assert {result.eyes for result in results} == {40}


@pytest.mark.parametrize(("share", "distinct"), [(0, 8), (0.25, 6), (0.5, 4), (1, 1)])
def test_repeated_features_are_as_many_of_fewer_eyes(share: float, distinct: int) -> None:
    features = np.arange(8, dtype=np.float32)[:, None]
    repeated = repeat(features, share)
    assert repeated.shape == features.shape and len(np.unique(repeated)) == distinct


def test_a_photograph_is_spoilt_alike_whatever_stands_beside_it() -> None:
    images, fovs = torch.rand(3, 3, 16, 16) - 0.5, torch.ones(3, 1, 16, 16)
    three = spoil(images, fovs, {}, "noise", 0.5, seed=4)
    assert torch.equal(spoil(images[:2], fovs[:2], {}, "noise", 0.5, seed=4), three[:2])
    assert not torch.equal(three[0] - images[0], three[1] - images[1])
    assert not torch.equal(spoil(images, fovs, {}, "noise", 0.5, seed=5), three)


def test_the_report_leaves_out_what_the_eyes_have_no_masks_for(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    report = SensitivityReport(lambda images: images.mean((2, 3)), tmp_path, about={"split": "test"})
    known = torch.tensor([key == "vessel" for key in STRUCTURES])
    anatomy = torch.zeros(len(STRUCTURES), 8, 8, dtype=torch.uint8)
    anatomy[0, 3:5] = 255
    for index in range(8):
        image = torch.rand(3, 16, 16, generator=generator) - 0.5
        item = {"image": image, "fov": torch.ones(1, 16, 16), "anatomy": anatomy, "known": known}
        report.collect(SimpleNamespace(state=SimpleNamespace(output=[item | {"patient": str(index)}])))
    report.write()
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["about"] == {"split": "test"}
    kinds = list(dict.fromkeys(row["kind"] for row in content["sensitivity"]))
    assert sorted(kinds) == ["blur", "colour", "noise", "pattern", "repeated", "vessels"]
    colour = next(row for row in content["sensitivity"] if (row["kind"], row["strength"]) == ("colour", 1))
    assert colour["ratio"] > 10 and colour["eyes"] == 8
    table = (tmp_path / "table.md").read_text().splitlines()
    assert table[0] == "| degradation | eyes | floor (spread) | 0.25 | 0.5 | 1 |" and len(table) == 2 + len(kinds)


def test_the_table_says_distance_and_ratio() -> None:
    result = SimpleNamespace(kind="blur", strength=1.0, eyes=20, kid=0.5, floor=0.01, spread=0.1, ratio=4.9)
    assert sensitivity_table([result]).splitlines()[-1] == "| blur | 20 | 0.010 (0.100) | 0.500 (4.9) |"
