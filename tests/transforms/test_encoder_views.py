from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from retina_monai.transforms import (
    STRUCTURES,
    TRAITS,
    DetectedStructuresd,
    EncoderTargetsd,
    RandDegradedEyed,
    RandViewd,
)

SIDE, MASKS = 64, 32
VESSEL, DISC = STRUCTURES.index("vessel"), STRUCTURES.index("disc")


@pytest.fixture
def eye() -> dict[str, Any]:
    """A grey photograph with a disc at the upper right and a vertical vessel left of the middle; no lesion is known."""
    anatomy = torch.zeros(len(STRUCTURES), MASKS, MASKS, dtype=torch.uint8)
    anatomy[VESSEL, :, 10:12] = 255
    anatomy[DISC, 4:10, 20:26] = 255
    image = torch.zeros(3, SIDE, SIDE)
    image[:, 8:20, 40:52], image[:, :, 20:24] = 0.7, -0.4
    known = torch.tensor([index in (VESSEL, DISC) for index in range(len(STRUCTURES))])
    return {
        "image": image,
        "fov": torch.ones(1, SIDE, SIDE),
        "anatomy": anatomy,
        "known": known,
        "grade": 3.0,
        "name": "e",
    }


def answers(eye: dict[str, Any], seed: int) -> dict[str, Any]:
    return EncoderTargetsd(cells=4)(RandDegradedEyed().set_random_state(seed)(eye))


def trait(item: dict[str, Any], name: str) -> float:
    return float(item["traits"][TRAITS.index(name)])


def first(eye: dict[str, Any], wanted: dict[str, bool], most: int = 4000) -> dict[str, Any]:
    """The first seed's answers in which these, and no others, of what can be done were done."""
    done = ("blur", "noise", "pattern", "erased", "vessels", "disc")
    for seed in range(most):
        item = answers(eye, seed)
        if {name for name in done if trait(item, name)} == {name for name, value in wanted.items() if value}:
            return item
    raise AssertionError("no seed")


def test_what_is_told_of_a_photograph_that_was_left_as_it_is(eye: dict[str, Any]) -> None:
    item = next(item for seed in range(20) if (item := answers(eye, seed))["plain"])
    assert torch.equal(item["image"], eye["image"])
    assert [trait(item, name) for name in ("blur", "noise", "pattern", "erased", "vessels", "disc")] == [0.0] * 6
    assert trait(item, "red") == pytest.approx(eye["image"][0].mean()) and trait(item, "grade") == 0.75
    assert trait(item, "disc_right") == pytest.approx(45 / 31 - 1) and trait(item, "disc_down") == pytest.approx(
        13 / 31 - 1
    )
    assert trait(item, "tilt_right") > 0 > trait(item, "tilt_down"), "the bright disc is at the upper right"
    shares = eye["anatomy"][VESSEL].float().view(4, 8, 4, 8).mean((1, 3)) / 255
    torch.testing.assert_close(item["maps"][VESSEL], shares.sqrt())
    assert item["maps"][DISC + 1 :].isnan().all() and item["maps"].shape == (len(STRUCTURES), 4, 4)
    assert set(item) == {"image", "maps", "traits", "plain", "name"} and item["traits"].shape == (len(TRAITS),)


def test_vessels_that_fade_leave_their_map(eye: dict[str, Any]) -> None:
    item, before = first(eye, {"vessels": True}), answers(eye, 0)
    share = trait(item, "vessels")
    expected = (eye["anatomy"][VESSEL].float().view(4, 8, 4, 8).mean((1, 3)) / 255 * (1 - share)).sqrt()
    torch.testing.assert_close(item["maps"][VESSEL], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(item["maps"][DISC], before["maps"][DISC])


def test_a_disc_that_fades_leaves_its_map_and_at_last_its_place(eye: dict[str, Any]) -> None:
    item = first(eye, {"disc": True})
    share = trait(item, "disc")
    assert item["maps"][DISC].max().item() ** 2 == pytest.approx((1 - share) * 36 / 64, rel=0.7)
    assert math.isnan(trait(item, "disc_right")) is (share > 0.5)


def test_what_a_patch_hides_is_not_there(eye: dict[str, Any]) -> None:
    everywhere = eye | {"anatomy": torch.full_like(eye["anatomy"], 255) * eye["known"].view(-1, 1, 1)}
    item = first(everywhere | {"known": torch.zeros_like(eye["known"])}, {"erased": True})
    hidden = first(everywhere, {"erased": True})
    assert item["maps"].isnan().all()
    radius = trait(hidden, "erased") / 2
    assert 1 - hidden["maps"][DISC].square().mean().item() == pytest.approx(math.pi * radius**2, abs=0.03)


def test_what_is_not_known_is_not_made_up(eye: dict[str, Any]) -> None:
    unknown = eye | {"known": torch.zeros_like(eye["known"]), "grade": math.nan}
    for seed in range(30):
        item = answers(unknown, seed)
        assert item["maps"].isnan().all() and trait(item, "vessels") == trait(item, "disc") == 0
        assert math.isnan(trait(item, "grade")) and math.isnan(trait(item, "disc_right"))
        assert math.isfinite(trait(item, "red")) and item["image"].isfinite().all()


def test_about_a_third_is_left_as_it_is_and_all_is_drawn_from_the_seed(eye: dict[str, Any]) -> None:
    items = [answers(eye, seed) for seed in range(150)]
    assert 0.2 < np.mean([bool(item["plain"]) for item in items]) < 0.42
    for name in ("blur", "noise", "pattern", "erased", "vessels", "disc"):
        done = [trait(item, name) for item in items]
        assert 0.12 < np.mean([value > 0 for value in done]) < 0.4 and max(done) <= 1
    again = answers(eye, 7)
    assert torch.equal(again["image"], items[7]["image"]) and torch.equal(again["traits"], items[7]["traits"])


def view(eye: dict[str, Any], **settings: float) -> dict[str, Any]:
    plain = {"horizontal_flip": 0.0, "rotation": 0.0, "zoom": 0.0, "turned": 0.0}
    return RandViewd(["image", "anatomy"], **(plain | settings)).set_random_state(1)(eye)


def centre(mask: Tensor) -> list[float]:
    rows, columns = torch.nonzero(mask > 127, as_tuple=True)
    return [rows.float().mean().item(), columns.float().mean().item()]


def test_views_move_photograph_and_masks_alike(eye: dict[str, Any]) -> None:
    mirrored = view(eye, horizontal_flip=1.0)
    assert torch.equal(mirrored["image"], eye["image"].flip(2)) and torch.equal(
        mirrored["anatomy"], eye["anatomy"].flip(2)
    )
    turned = view(eye | {"image": (eye["image"] > 0.5).float() * 255}, rotation=0.5, zoom=0.3, turned=1.0)
    assert centre(turned["anatomy"][DISC]) != centre(eye["anatomy"][DISC])
    twice = [2 * place + 0.5 for place in centre(turned["anatomy"][DISC])]
    assert twice == pytest.approx(centre(turned["image"][0]), abs=0.7)
    assert (turned["anatomy"][DISC] > 127).sum() > (eye["anatomy"][DISC] > 127).sum(), "enlarged"
    assert torch.equal(view(eye)["image"], eye["image"])


def test_structures_as_a_picture() -> None:
    maps = torch.zeros(len(STRUCTURES), 2, 2)
    maps[VESSEL, 0, 0], maps[DISC, 0, 1], maps[4, 1, 0], maps[5] = 1, 1, 1, math.nan
    shown = DetectedStructuresd(4)({"maps": maps, "pred": {"maps": torch.full_like(maps, -100.0)}})
    corners = {
        place: shown["annotated"][:, 3 * place[0], 3 * place[1]].tolist() for place in ((0, 0), (0, 1), (1, 0), (1, 1))
    }
    assert corners == {(0, 0): [-1, -1, 1], (0, 1): [-1, 1, -1], (1, 0): [1, -1, -1], (1, 1): [-1, -1, -1]}
    assert shown["located"].shape == (3, 4, 4) and shown["located"].max() == -1
