"""Several patches of an eye in an epoch, cameras in balance, and no training on what was generated."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.transforms import Compose, Randomizable, Transform

from retina_monai.data import BalancedEyes, CachedEyes, RepeatedEyes, eye_loader, find_datalist, refuse_synthetic
from retina_monai.data.files.writing import is_synthetic, write_png
from retina_monai.errors import RetinaError


class Counted(Transform):
    """Counts what is read."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, data: Any) -> Any:
        self.read += 1
        return dict(data)


class Drawn(Randomizable, Transform):
    def __call__(self, data: Any) -> Any:
        return {**data, "drawn": float(self.R.random())}


def repeated(times: int = 3, seed: int = 0) -> tuple[RepeatedEyes, Counted]:
    counted = Counted()
    eyes = CachedEyes([{"eye": n} for n in range(4)], Compose([counted, Drawn()]), seed=seed)
    return RepeatedEyes(eyes, times), counted


def test_each_eye_comes_as_often_as_asked_for_and_is_read_once() -> None:
    data, counted = repeated()
    items = [data[(1, place)] for place in range(len(data))]
    assert len(data) == 12 and sorted(item["eye"] for item in items) == sorted([*range(4)] * 3)
    assert counted.read == 4


def test_every_time_of_every_epoch_draws_its_own_and_the_same_again() -> None:
    (one, _), (other, _), (reseeded, _) = repeated(), repeated(), repeated(seed=1)
    drawn = {(epoch, place): one[(epoch, place)]["drawn"] for epoch in (1, 2) for place in range(12)}
    assert len(set(drawn.values())) == 24
    assert drawn == {key: other[key]["drawn"] for key in reversed(drawn)}
    assert not set(drawn.values()) & {reseeded[key]["drawn"] for key in drawn}


def test_it_loads_in_the_order_of_the_seed() -> None:
    def order(epoch: int) -> list[int]:
        loader = eye_loader(repeated()[0], 4)
        loader.sampler.set_epoch(epoch)
        return [eye for batch in loader for eye in batch["eye"].tolist()]

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == sorted([*range(4)] * 3)


def balanced(found_weight: float, seed: int = 0) -> BalancedEyes:
    """Twelve eyes of camera A, three of B, and fifteen of C whose vessel maps were segmented."""
    items = [{"dataset": camera} for camera in "A" * 12 + "B" * 3] + [{"dataset": "C", "vessel_by": "net"}] * 15
    eyes: list[dict[str, Any]] = [{**item, "eye": place} for place, item in enumerate(items)]
    return BalancedEyes(CachedEyes(eyes, Compose([Drawn()]), seed=seed), found_weight)


@pytest.mark.parametrize(("found_weight", "shares"), [(1.0, (1 / 3, 1 / 3, 1 / 3)), (0.5, (0.4, 0.4, 0.2))])
def test_cameras_are_drawn_equally_often_and_segmented_maps_less_often(
    found_weight: float, shares: tuple[float, ...]
) -> None:
    data = balanced(found_weight)
    for epoch in range(1, 6):
        eyes = Counter(data[epoch, place]["eye"] for place in range(30))
        for camera, share, size in zip("ABC", shares, (12, 3, 15), strict=True):
            counts = [eyes[place] for place, item in enumerate(data.data) if item["dataset"] == camera]
            assert all(abs(count - 30 * share / size) < 1 for count in counts)
            assert abs(sum(counts) - 30 * share) < 1


def test_cameras_are_drawn_in_given_proportions() -> None:
    eyes = balanced(1.0).eyes
    data = BalancedEyes(eyes, camera_weights={"A": 0.25, "C": 1.75})
    counts = Counter(data[epoch, place]["dataset"] for epoch in range(1, 21) for place in range(30))
    assert all(
        abs(counts[camera] / 600 - share) < 0.02 for camera, share in zip("ABC", (1 / 12, 1 / 3, 7 / 12), strict=True)
    )
    with pytest.raises(RetinaError, match="camera_weights of A must be > 0, got 0"):
        BalancedEyes(eyes, camera_weights={"A": 0})


def test_repeated_draws_of_an_eye_differ_and_are_reproducible() -> None:
    one, other = balanced(1.0), balanced(1.0)
    drawn = {(epoch, place): one[epoch, place]["drawn"] for epoch in range(1, 5) for place in range(30)}
    assert len(set(drawn.values())) == len(drawn)
    assert drawn == {key: other[key]["drawn"] for key in reversed(drawn)}


def test_equal_weights_draw_each_eye_once_as_without_balance() -> None:
    eyes = CachedEyes([{"eye": n, "dataset": "A"} for n in range(7)], Compose([Drawn()]))
    data = BalancedEyes(eyes)
    assert [data[3, place] for place in range(7)] == [eyes[3, place] for place in range(7)]


def test_phantoms_given_as_a_data_set_are_refused_but_by_a_switch(phantoms: Path) -> None:
    datalist = find_datalist(phantoms)
    with pytest.raises(RetinaError, match=r"holds 8 eyes marked as synthetic \(.+\): give real ones, or give --allow"):
        refuse_synthetic(datalist, phantoms)
    refuse_synthetic(datalist, phantoms, allow_synthetic=True)
    refuse_synthetic(datalist, None)


@pytest.mark.parametrize(
    ("marked", "line", "found"), [(True, {}, True), (False, {"synthetic": True}, True), (False, {}, False)]
)
def test_a_photographs_own_file_or_its_line_says_so(
    tmp_path: Path, marked: bool, line: dict[str, Any], found: bool
) -> None:
    write_png(tmp_path / "eye.png", np.zeros((3, 4, 4), np.uint8), synthetic=marked)
    assert is_synthetic({"image": str(tmp_path / "eye.png"), **line}) is found


def test_what_cannot_be_read_is_left_to_those_who_read_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "eye.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        assert not is_synthetic({"image": str(tmp_path / "eye.png")})
    assert not caplog.records
