"""The table of appearances: measured, kept, averaged, drawn and chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import RandFlipd, Transform
from PIL import Image

from retina_monai.data.sets.appearances import Appearances, photograph_appearance
from retina_monai.data.sets.dataset import CachedEyes
from retina_monai.errors import RetinaError
from retina_monai.transforms import Appearance, Texture
from retina_monai.transforms.field_of_view import circle, compute_fov


def eye(name: str, dataset: str, value: float) -> dict[str, Any]:
    return {
        "name": name,
        "dataset": dataset,
        "mean": (value, value / 2, -value),
        "std": (0.1 * value, 0.2 * value, 0.3),
    }


TABLE = [eye("a", "HRF", 0.2), eye("b", "HRF", 0.4), eye("c", "CHASE_DB1", 0.6), eye("d", "HRF", 0.3)]


@pytest.fixture
def table() -> Appearances:
    return Appearances(TABLE)


def values(appearance: Appearance) -> tuple[float, ...]:
    return (*appearance.mean, *appearance.std)


def test_averages_of_all_and_of_a_camera(table: Appearances) -> None:
    assert table.cameras == ["CHASE_DB1", "HRF"]
    assert values(table.average()) == pytest.approx((0.375, 0.1875, -0.375, 0.0375, 0.075, 0.3))
    assert values(table.average("HRF")) == pytest.approx((0.3, 0.15, -0.3, 0.03, 0.06, 0.3))
    assert values(table.average("CHASE_DB1")) == pytest.approx((0.6, 0.3, -0.6, 0.06, 0.12, 0.3))


def test_a_camera_of_no_eye_is_refused(table: Appearances) -> None:
    for ask in (lambda: table.average("FIVES"), lambda: table.drawn(0, 0, "FIVES"), lambda: table.average("")):
        with pytest.raises(RetinaError, match=r"camera \w* ?is unknown: the table has CHASE_DB1, HRF$"):
            ask()


def test_a_draw_is_an_eye_and_depends_on_seed_and_index_alone(table: Appearances) -> None:
    eyes = [Appearance(item["mean"], item["std"]) for item in TABLE]
    drawn = [table.drawn(0, index) for index in range(60)]
    assert all(appearance in eyes for appearance in drawn)
    assert all(appearance in drawn for appearance in eyes)
    assert [table.drawn(0, index) for index in reversed(range(60))] == drawn[::-1]
    assert [Appearances(TABLE).drawn(0, index) for index in range(60)] == drawn
    assert [table.drawn(1, index) for index in range(60)] != drawn
    assert all(table.drawn(0, index, "CHASE_DB1") == eyes[2] for index in range(20))
    assert {table.drawn(0, index, "HRF") for index in range(40)} == {eyes[0], eyes[1], eyes[3]}


def write_photograph(path: Path, size: int = 96) -> np.ndarray:
    inside = circle(size)[0].astype(bool)
    picture = np.zeros((size, size, 3), np.uint8)
    noise = np.random.default_rng(0).normal(0, 12, (size, size, 3))
    picture[inside] = np.clip(np.array([180, 90, 50]) + noise, 1, 255)[inside]
    Image.fromarray(picture).save(path)
    return picture.transpose(2, 0, 1)


def test_what_a_user_asks_for(table: Appearances, tmp_path: Path) -> None:
    path = tmp_path / "photograph.png"
    write_photograph(path)
    assert table.choose("average") == table.average()
    assert table.choose("HRF") == table.average("HRF")
    assert table.choose("random", seed=3, index=5) == table.drawn(3, 5)
    assert table.choose("random:HRF", seed=3, index=5) == table.drawn(3, 5, "HRF")
    assert table.choose(str(path)) == photograph_appearance(path)


@pytest.mark.parametrize("choice", ["FIVES", "random:FIVES", "average:HRF", "no/such/photograph.png", ""])
def test_anything_else_is_refused_with_what_there_is(table: Appearances, choice: str) -> None:
    with pytest.raises(RetinaError, match=rf"appearance {choice} is unknown: .*\(CHASE_DB1, HRF\).*path of a photo"):
        table.choose(choice)


def test_a_photograph_is_measured_inside_its_field_of_view(tmp_path: Path) -> None:
    picture = write_photograph(tmp_path / "photograph.png")
    inside = picture[:, compute_fov(picture)[0].astype(bool)] / 127.5 - 1
    measured = photograph_appearance(tmp_path / "photograph.png")
    np.testing.assert_allclose(measured.mean, inside.mean(1), atol=1e-5)
    np.testing.assert_allclose(measured.std, inside.std(1), atol=1e-5)
    assert measured.mean == pytest.approx((180 / 127.5 - 1, 90 / 127.5 - 1, 50 / 127.5 - 1), abs=0.03)


def test_training_eyes_are_measured_as_they_are_cached() -> None:
    random = np.random.default_rng(0)
    fov = torch.from_numpy(circle(16)) * 255

    def item(index: int) -> dict[str, Any]:
        image = torch.from_numpy(random.integers(0, 256, (3, 16, 16), dtype=np.uint8))
        return {"image": image, "fov": fov, "name": f"eye{index}", "dataset": "HRF"}

    items: Sequence[dict[str, Any]] = [item(index) for index in range(2)]
    augmenting = [Lookup(items), RandFlipd(["image"], prob=1.0, spatial_axis=1)]
    table = Appearances.measure(CachedEyes([{"name": str(index)} for index in range(2)], augmenting))
    assert [(eye["name"], eye["dataset"]) for eye in table.eyes] == [("eye0", "HRF"), ("eye1", "HRF")]
    for measured, source in zip(table.eyes, items, strict=True):
        inside = source["image"].numpy()[:, circle(16)[0].astype(bool)] / 127.5 - 1
        np.testing.assert_allclose(measured["mean"], inside.mean(1), atol=1e-5)
        np.testing.assert_allclose(measured["std"], inside.std(1), atol=1e-5)


def texture(strength: float, patchiness: float) -> Texture:
    band = ((strength, 0.0, 0.0), (0.0, 2 * strength, 0.0), (0.0, 0.0, strength / 3))
    return Texture((band,) * 10, patchiness)


def textured() -> Appearances:
    known = {"a": texture(1e-4, 0.2), "b": texture(3e-4, 0.4), "c": texture(5e-6, 0.1)}
    return Appearances([item | ({"texture": known[item["name"]]} if item["name"] in known else {}) for item in TABLE])


def test_textures_are_averaged_drawn_and_kept(tmp_path: Path) -> None:
    """Of the eye whose texture is not known there is nothing to average, and nothing to draw."""
    textured().save(tmp_path / "appearances.json")
    loaded = Appearances.load(tmp_path / "appearances.json")
    assert loaded.eyes[2]["texture"] == replace(texture(5e-6, 0.1), covariances=loaded.eyes[2]["texture"].covariances)
    np.testing.assert_allclose(loaded.eyes[2]["texture"].covariances, texture(5e-6, 0.1).covariances, rtol=1e-3)
    average = loaded.average("HRF").texture
    assert average is not None and average.patchiness == pytest.approx(0.3)
    np.testing.assert_allclose(average.covariances, texture(2e-4, 0.3).covariances, rtol=1e-3)
    drawn = {loaded.drawn(0, index, "HRF") for index in range(40)}
    assert {item.texture for item in drawn} == {loaded.eyes[0]["texture"], loaded.eyes[1]["texture"], None}
    assert Appearances(TABLE).average().texture is None


def test_a_photograph_gives_its_colours_and_the_average_texture(tmp_path: Path) -> None:
    write_photograph(tmp_path / "photograph.png")
    chosen = textured().choose(str(tmp_path / "photograph.png"))
    assert chosen == replace(photograph_appearance(tmp_path / "photograph.png"), texture=textured().average().texture)
    assert chosen.texture is not None


def test_textures_are_measured_at_the_size_that_is_painted() -> None:
    def noise(size: int, seed: int) -> torch.Tensor:
        values = np.random.default_rng(seed).normal(128, 8, (3, size, size)).clip(0, 255)
        return torch.from_numpy(values.astype(np.uint8))

    masks = {"fov": torch.from_numpy(circle(128)) * 255, "vessel": torch.zeros(1, 128, 128, dtype=torch.uint8)}
    fine = noise(64, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)  # all of it survives the reduction to 64
    items = [
        {"image": fine, "name": "fine", "dataset": "HRF", **masks},
        {"image": noise(128, 1), "name": "finer", "dataset": "HRF", **masks},
        {"image": fine, "name": "none", "dataset": "HRF", **masks, "vessel": masks["vessel"] + 255},
    ]
    eyes = CachedEyes([{"name": str(index)} for index in range(3)], [Lookup(items)])
    table = Appearances.measure(eyes, 64)
    kept, averaged = (np.trace(np.sum(eye["texture"].covariances, 0)) / 3 for eye in table.eyes[:2])
    assert kept == pytest.approx((8 / 127.5) ** 2, rel=0.2)
    assert averaged == pytest.approx((4 / 127.5) ** 2, rel=0.2), "a mean of four pixels"
    assert "texture" not in table.eyes[2] and "texture" not in Appearances.measure(eyes).eyes[0]


class Lookup(Transform):
    """Stands for what reads an eye from its files."""

    def __init__(self, items: Sequence[dict[str, Any]]) -> None:
        self.items = items

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return self.items[int(data["name"])]


def test_what_is_saved_is_loaded_to_four_decimals(tmp_path: Path) -> None:
    path = tmp_path / "appearances.json"
    Appearances([{**TABLE[0], "mean": (0.12345678, -1.0, 0.5)}, TABLE[2]]).save(path)
    loaded = Appearances.load(path)
    assert loaded.eyes[0]["mean"] == (0.1235, -1.0, 0.5) and loaded.eyes[1] == TABLE[2]
    assert loaded.cameras == ["CHASE_DB1", "HRF"]
    loaded.save(path)
    assert Appearances.load(path).eyes == loaded.eyes


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"eyes": 3}', '{"eyes": [{"name": "a"}]}', json.dumps({"eyes": [{"mean": 1, "std": 2}]})]
)
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "appearances.json"
    path.write_text(text)
    with pytest.raises(RetinaError, match=f"{path} is not a table of appearances"):
        Appearances.load(path)


def test_a_table_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match=r"appearances\.json cannot be read: No such file"):
        Appearances.load(tmp_path / "appearances.json")
    with pytest.raises(RetinaError, match="at least one eye"):
        Appearances([])
