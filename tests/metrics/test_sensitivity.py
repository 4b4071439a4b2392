"""Branches that can be taken out, and painters whose answer is known: faithful, deaf, noisy, inventive, haunted."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from retina_monai.metrics import branch_removal
from retina_monai.metrics.branch_removal import (
    CALIBRES,
    Branch,
    Trial,
    choose_branches,
    find_branches,
    measure_removal,
    take_out,
    try_branches,
)

SIZE, FINE = 256, 6
WHOLE = np.ones((SIZE, SIZE), bool)
GREY, DARK = 170.0, 80.0  # of the background, and how much darker a vessel is
TRUNK = ((-5, 128), (261, 128), 6.0)
TWIGS = {
    "thin": ((60, 128), (40, 200), 1.1),
    "medium": ((120, 128), (150, 50), 1.7),
    "wide": ((180, 128), (210, 210), 4.0),
}


def rod(start: tuple[float, float], end: tuple[float, float], width: float) -> np.ndarray:
    """The share of each pixel that a vessel between two points (row, column) covers."""
    row, column = (np.mgrid[: SIZE * FINE, : SIZE * FINE] + 0.5) / FINE - 0.5
    (y, x), way = start, np.subtract(end, start)
    length = np.hypot(*way)
    along = ((row - y) * way[0] + (column - x) * way[1]) / length
    across = ((row - y) * way[1] - (column - x) * way[0]) / length
    fine = (along >= 0) & (along <= length) & (np.abs(across) <= width / 2)
    return fine.reshape(SIZE, FINE, SIZE, FINE).mean((1, 3)).astype(np.float32)


def union(*shares: np.ndarray) -> np.ndarray:
    return np.max(shares, axis=0)


PARTS = {name: rod(*twig) for name, twig in TWIGS.items()}
STEM = rod(*TRUNK)
TREE = union(STEM, *PARTS.values())


@pytest.fixture(scope="module")
def twigs() -> dict[str, Branch]:
    """The branches of ``TREE``, without the ends of its trunk, from thin to wide."""
    found = [branch for branch in find_branches(TREE, WHOLE) if not (STEM >= 0.5)[tuple(branch.line.T)].any()]
    return dict(zip(TWIGS, sorted(found, key=lambda branch: branch.calibre), strict=True))


# --- which branches


def test_the_branches_of_a_tree_are_its_twigs_and_the_ends_of_its_trunk(twigs: dict[str, Branch]) -> None:
    assert len(find_branches(TREE, WHOLE)) == 5
    for name, branch in twigs.items():
        assert branch.calibre * SIZE == pytest.approx(TWIGS[name][2], rel=0.12)
        assert (PARTS[name][tuple(branch.line.T)] >= 0.5).all()


def test_what_is_taken_out_is_the_branch_and_nothing_else(twigs: dict[str, Branch]) -> None:
    for name, branch in twigs.items():
        others = union(STEM, *(part for other, part in PARTS.items() if other != name))
        left = take_out(TREE, branch)
        assert left.dtype == np.float32 and (left <= TREE).all()
        wrong = np.abs(left - others) > 0.05
        start = TWIGS[name][0]
        assert np.linalg.norm(np.argwhere(wrong) - start, axis=1).max(initial=0) < 3 + 2 + TWIGS[name][2]  # its stump
        assert np.abs(left - others).sum() < 0.12 * (TREE - others).sum()
        assert (left[STEM >= 0.99] >= 0.99).all()  # no bite out of the trunk


def test_the_line_that_is_measured_keeps_clear_of_other_vessels(twigs: dict[str, Branch]) -> None:
    for branch in twigs.values():
        others = take_out(TREE, branch) >= 0.5
        assert ndimage.distance_transform_edt(~others)[tuple(branch.line.T)].min() > 3 / 256 * SIZE - 1


@pytest.mark.parametrize("turn", [np.rot90, np.flipud, np.transpose])
def test_a_turned_map_has_the_same_branches(turn: Callable[[np.ndarray], np.ndarray]) -> None:
    first, second = ([b.calibre for b in find_branches(tree, WHOLE)] for tree in (TREE, turn(TREE)))
    assert sorted(second) == pytest.approx(sorted(first), rel=0.1)


def test_a_branch_that_goes_on_below_half_a_pixel_is_taken_out_with_its_faint_end() -> None:
    faint = 0.35 * rod((40, 200), (35, 218), 1.1)
    tree = union(STEM, PARTS["thin"], faint)
    thin = min(find_branches(tree, WHOLE), key=lambda branch: branch.calibre)
    assert take_out(tree, thin)[:70, 140:].max() == 0


@pytest.mark.parametrize(
    "other",
    [
        union(0.35 * rod((40, 200), (37, 212), 1.1), rod((37, 212), (30, 240), 2)),  # goes on, after a faint stretch
        rod((40, 200), (30, 128), 1.1),  # leads back to the trunk
        rod((20, 202), (60, 202), 2),  # passes by its end
    ],
    ids=["gap", "loop", "neighbour"],
)
def test_a_branch_that_touches_others_is_left_alone(other: np.ndarray) -> None:
    tree = union(STEM, PARTS["thin"], other)
    assert not any(branch.region[50:52, 160:168].any() for branch in find_branches(tree, WHOLE))
    assert any(branch.region[50:52, 160:168].any() for branch in find_branches(union(STEM, PARTS["thin"]), WHOLE))


def test_a_vessel_that_leaves_the_field_of_view_ends_there() -> None:
    row, column = np.mgrid[:SIZE, :SIZE]
    fov = np.hypot(row - 127.5, column - 127.5) <= 95
    found = find_branches(TREE, fov)
    assert len(found) == 5 and all(fov[tuple(branch.line.T)].all() for branch in found)


def test_an_empty_map_and_stubs_have_no_branches() -> None:
    assert find_branches(np.zeros((SIZE, SIZE)), WHOLE) == []
    assert all(b.calibre * SIZE > 5 for b in find_branches(union(STEM, rod((120, 128), (122, 138), 2)), WHOLE))


def test_branches_are_drawn_in_turns_from_each_class_of_calibre(twigs: dict[str, Branch]) -> None:
    assert [branch.calibre_class for branch in twigs.values()] == ["thin", "medium", "wide"]
    many = [*twigs.values(), *[twigs["thin"]] * 20]
    drawn = choose_branches(many, 4, np.random.default_rng(0))
    assert [branch.calibre_class for branch in drawn] == [name for name, _ in CALIBRES] + ["thin"]
    assert len(choose_branches(many, 99, np.random.default_rng(0))) == 23
    assert choose_branches([], 3, np.random.default_rng(0)) == []
    five = find_branches(TREE, WHOLE)
    picks = {choose_branches(five, 3, np.random.default_rng(seed))[-1].line[0].tobytes() for seed in range(9)}
    assert len(picks) == 3  # a twig and both ends of the trunk are wide


@pytest.mark.parametrize(
    ("vessel", "fov", "error"),
    [
        (np.zeros((1, 8, 8)), np.ones((1, 8, 8)), r"\(H, W\) of one shape, got \(1, 8, 8\)"),
        (np.full((8, 8), 255), np.ones((8, 8)), r"in \[0, 1\]: divide 8-bit images by 255"),
        (np.full((8, 8), np.nan), np.ones((8, 8)), r"in \[0, 1\]"),
        (np.zeros((8, 8)), np.zeros((8, 8)), "fov is empty"),
    ],
)
def test_wrong_maps_are_refused(vessel: np.ndarray, fov: np.ndarray, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        find_branches(vessel, fov)


# --- painters


def picture(share: np.ndarray) -> np.ndarray:
    """A photograph of exactly these vessels."""
    return np.rint(GREY - DARK * np.stack([0.5 * share, share, 0.75 * share])).astype(np.uint8)


def look(photograph: np.ndarray) -> np.ndarray:
    """The judge: how dark a pixel is."""
    return np.clip((GREY - photograph[1].astype(float)) / DARK, 0, 1)


def noisy(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    generator = np.random.default_rng(0)
    return lambda share: np.clip(np.rint(picture(share) + generator.normal(0, sigma, (3, SIZE, SIZE))), 0, 255).astype(
        np.uint8
    )


def inventive(share: np.ndarray) -> np.ndarray:
    """Paints what is missing somewhere else: as in a mirror."""
    missing = TREE - share
    return picture(union(share, missing[:, ::-1]))


def tried(paint: Callable[[np.ndarray], np.ndarray], branches: dict[str, Branch]) -> list[Trial]:
    trials = list(try_branches(TREE, WHOLE, list(branches.values()), paint, look))
    assert [trial.branch for trial in trials] == list(branches.values())
    return trials


def test_a_painter_of_exactly_the_map_passes(twigs: dict[str, Branch]) -> None:
    for trial in tried(picture, twigs):
        removal = trial.removal
        assert removal.passed and removal.shown and removal.gone and removal.nothing_else
        assert removal.before > 0.7 and removal.after == pytest.approx(0, abs=0.01)
        assert removal.outside == removal.stray == 0 and removal.inside > 10
        assert removal.ghost == pytest.approx(0, abs=0.05)
        assert np.array_equal(trial.photographs[1], picture(take_out(TREE, trial.branch)))


@pytest.mark.parametrize("always", [TREE, np.zeros_like(TREE)], ids=["all vessels", "none"])
def test_a_painter_that_is_deaf_to_the_map_fails(always: np.ndarray, twigs: dict[str, Branch]) -> None:
    for trial in tried(lambda share: picture(always), twigs):
        assert trial.removal.shown == bool(always.any())
        assert not trial.removal.gone and trial.removal.nothing_else and not trial.removal.passed
        assert trial.removal.ghost == 1 if always.any() else np.isnan(trial.removal.ghost)


@pytest.mark.parametrize("sigma", [8, 20])
def test_a_painter_that_paints_all_anew_fails(sigma: float, twigs: dict[str, Branch]) -> None:
    for trial in tried(noisy(sigma), twigs):
        assert trial.removal.gone and not trial.removal.nothing_else and not trial.removal.passed
        assert trial.removal.outside == pytest.approx(sigma * 2 / np.sqrt(np.pi), rel=0.1)


def test_a_painter_with_a_grain_that_nobody_sees_passes(twigs: dict[str, Branch]) -> None:
    assert all(trial.removal.passed for trial in tried(noisy(0.5), twigs))


def test_a_painter_that_invents_vessels_fails(twigs: dict[str, Branch]) -> None:
    for trial in tried(inventive, twigs):
        assert trial.removal.gone and not trial.removal.nothing_else
        assert trial.removal.stray > 0.3 and trial.removal.outside < trial.removal.inside / 4  # only the judge sees it


def test_what_stays_behind_is_a_ghost(twigs: dict[str, Branch]) -> None:
    for trial in tried(lambda share: picture(union(share, 0.3 * TREE)), twigs):
        assert trial.removal.gone and trial.removal.ghost == pytest.approx(0.3, abs=0.05)


def test_the_change_is_measured_where_it_is() -> None:
    region, line = np.zeros((64, 64), bool), np.array([[30, column] for column in range(20, 40)])
    region[29:32, 20:40] = True
    vessel = region.astype(np.float32)
    fov = np.ones((64, 64), bool)
    fov[:, 60:] = False
    before, after = np.full((3, 64, 64), 100, np.uint8), np.full((3, 64, 64), 100, np.uint8)
    before[:, region] = 60
    after[:, 50:, :60] = 106
    after[:, :, 60:] = 255  # outside of the field of view: nobody looks
    found, later = np.zeros((64, 64)), np.zeros((64, 64))
    found[30, 20:40], later[30, 20:30], later[55, :6] = 0.8, 0.2, 0.7
    removal = measure_removal(
        Branch(line, region, 0.05, int((region & (vessel >= 0.5)).sum())), vessel, fov, (before, after), (found, later)
    )
    far = fov & (ndimage.distance_transform_edt(~region) > 2.5)  # 10 / 256 of the 64 pixels
    assert (removal.before, removal.after) == (pytest.approx(0.8), pytest.approx(0.1))
    assert removal.inside == 40 and removal.outside == pytest.approx(6 * 14 * 60 / far.sum())
    assert removal.stray == pytest.approx(6 / 60) and removal.ghost == 0
    assert removal.gone and removal.nothing_else
    with pytest.raises(ValueError, match=r"the map's size \(64, 64\)"):
        measure_removal(
            Branch(line, region, 0.05, int((region & (vessel >= 0.5)).sum())),
            vessel,
            fov,
            (before[:, 1:], after),
            (found, later),
        )


def test_the_examples_run() -> None:
    assert doctest.testmod(branch_removal).failed == 0
