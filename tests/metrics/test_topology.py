"""Centreline Dice and Betti numbers on drawn vessels of known values, against scikit-image and a flood fill."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from scipy import ndimage
from skimage.measure import euler_number, label
from skimage.morphology import skeletonize

from retina_monai.metrics import topology
from retina_monai.metrics.segmentation_quality import dice
from retina_monai.metrics.topology import TopologyQuality, betti_0, betti_0_error, betti_1, betti_1_error, cldice

PAIRS = [cldice, betti_0_error, betti_1_error]


def drawn(*rows: str) -> torch.Tensor:
    """One mask from its picture: # is a vessel."""
    return torch.tensor([[sign == "#" for sign in row] for row in rows])[None, None].long()


def line(columns: slice, size: int = 40, row: int = 20, width: int = 1) -> torch.Tensor:
    mask = torch.zeros(1, 1, size, size, dtype=torch.long)
    mask[..., row - width // 2 : row - width // 2 + width, columns] = 1
    return mask


def wild(batch: int = 12, size: int = 24) -> torch.Tensor:
    """Blobs and specks of several densities, many of which touch the picture's border or each other's corners."""
    rng = np.random.default_rng(0)
    density = np.linspace(0.05, 0.95, batch).reshape(-1, 1, 1, 1)
    return torch.from_numpy(rng.random((batch, 1, size, size)) < density).long()


def flood(mask: np.ndarray, steps: list[tuple[int, int]]) -> int:
    """How many pieces a mask has, by walking over it."""
    left, pieces = set(zip(*np.nonzero(mask), strict=True)), 0
    while left:
        pieces, border = pieces + 1, [left.pop()]
        while border:
            row, column = border.pop()
            reached = {(row + down, column + right) for down, right in steps} & left
            left -= reached
            border.extend(reached)
    return pieces


EDGES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
CORNERS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


# --- Betti numbers


@pytest.mark.parametrize(
    ("mask", "pieces", "holes"),
    [
        (drawn("....", "....", "...."), 0, 0),
        (drawn("####", "####", "####"), 1, 0),
        (drawn("##.##"), 2, 0),
        (drawn("#..", ".#.", "..#"), 1, 0),  # a diagonal vessel is one
        (drawn(".#.", "#.#", ".#."), 1, 1),  # and a diamond of four encloses its middle
        (drawn("###", "#.#", "###"), 1, 1),
        (drawn("#####", "#.#.#", "#####"), 1, 2),
        (drawn("####", "#.##", "##.#", "####"), 1, 2),  # background does not leak through a corner
        (drawn("###", "#.#", "#.#"), 1, 0),  # open to the picture's border
        (drawn("#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"), 2, 2),
    ],
)
def test_betti_numbers_of_drawn_masks(mask: torch.Tensor, pieces: int, holes: int) -> None:
    assert betti_0(mask).tolist() == [pieces]
    assert betti_1(mask).tolist() == [holes]


def test_betti_numbers_equal_scikit_image_and_a_flood_fill() -> None:
    masks = wild()
    pieces, holes = betti_0(masks).tolist(), betti_1(masks).tolist()
    for index, mask in enumerate(masks[:, 0].numpy()):
        assert pieces[index] == label(mask, connectivity=2).max() == flood(mask, EDGES + CORNERS)
        assert holes[index] == flood(np.pad(1 - mask, 1, constant_values=1), EDGES) - 1
        assert pieces[index] - holes[index] == euler_number(mask, connectivity=2)
    assert max(pieces) > 20
    assert max(holes) > 20


def test_betti_numbers_do_not_change_under_turning_and_scaling() -> None:
    masks = wild()
    for other in (masks.flip(-1), masks.rot90(1, (-2, -1)), masks.repeat_interleave(3, -1).repeat_interleave(3, -2)):
        assert betti_0(other).tolist() == betti_0(masks).tolist()
        assert betti_1(other).tolist() == betti_1(masks).tolist()


def test_a_broken_line_keeps_its_dice_and_not_its_betti_number() -> None:
    target = line(slice(2, 38))
    pred = target.clone()
    pred[..., 20, 17] = 0
    assert dice(pred, target).item() > 0.98
    assert betti_0_error(pred, target).tolist() == betti_0_error(target, pred).tolist() == [1]
    assert betti_1_error(pred, target).tolist() == [0]


def test_a_broken_ring_loses_its_hole() -> None:
    ring = drawn("#####", "#...#", "#...#", "#####")
    broken = drawn("#####", "#...#", "#....", "#####")
    assert betti_1_error(broken, ring).tolist() == betti_1_error(ring, broken).tolist() == [1]
    assert betti_0_error(broken, ring).tolist() == [0]


def test_betti_errors_are_differences_image_by_image() -> None:
    pred, target = wild(), wild().flip(0)
    assert betti_0_error(pred, target).tolist() == (betti_0(pred) - betti_0(target)).abs().tolist()
    assert betti_1_error(pred, target).tolist() == (betti_1(pred) - betti_1(target)).abs().tolist()
    assert betti_0_error(pred, target).max() > 0


# --- centreline Dice


@pytest.mark.parametrize("width", [5, 7])
def test_cldice_of_a_thickened_line_is_one(width: int) -> None:
    level, slanting = line(slice(10, 30)), torch.zeros(1, 1, 40, 40, dtype=torch.long)
    slanting[..., range(10, 30), range(10, 30)] = 1
    for thin in (level, slanting):
        thick = torch.from_numpy(ndimage.distance_transform_edt(1 - thin[0, 0].numpy()) <= width / 2)[None, None]
        assert cldice(thick, thin).item() == cldice(thin, thick).item() == 1
        assert dice(thick, thin).item() < 2 / width


@pytest.mark.parametrize("length", [10, 20, 30])
def test_cldice_of_a_vessel_three_pixels_wide_loses_two_pixels_at_its_tips(length: int) -> None:
    """Whatever its length: the skeleton, of length + 1, ends beyond the thin line and beside it."""
    thin, thick = line(slice(5, 5 + length)), line(slice(4, 6 + length), width=3)
    precision = 1 - 2 / (length + 1)
    assert cldice(thick, thin).item() == pytest.approx(2 * precision / (precision + 1))


def test_cldice_of_half_a_line() -> None:
    whole, half = line(slice(0, 40)), line(slice(0, 20))
    assert cldice(half, whole).item() == pytest.approx(2 * 1 * 0.5 / 1.5)  # precision 1, sensitivity 1/2
    assert cldice(whole, half).item() == pytest.approx(2 * 1 * 0.5 / 1.5)


def test_cldice_weighs_precision_and_sensitivity() -> None:
    target = line(slice(0, 40), width=3)
    pred = line(slice(0, 10)) | line(slice(0, 30), row=30)  # a quarter found, and three times as much invented
    real = skeletonize(target[0, 0].numpy())
    precision, found = 10 / 40, real[:, :10].sum() / real.sum()
    assert cldice(pred, target).item() == pytest.approx(2 * precision * found / (precision + found))


def test_cldice_misses_a_thin_branch_as_much_as_a_thick_one() -> None:
    """Dice forgives the loss of a capillary beside a wide vessel; the centreline does not."""
    wide, thin = line(slice(0, 40), width=9, row=10), line(slice(0, 40), row=30)
    assert dice(wide, wide | thin).item() == pytest.approx(2 * 360 / (360 + 400))
    skeleton = int(skeletonize(wide[0, 0].numpy()).sum())
    assert cldice(wide, wide | thin).item() == pytest.approx(2 * skeleton / (2 * skeleton + 40))


def test_cldice_equals_its_definition_over_sets_of_pixels() -> None:
    pred, target = wild(), wild().roll(1, -1)
    for index, value in enumerate(cldice(pred, target).tolist()):
        first, second = (set(zip(*np.nonzero(m[index, 0].numpy()), strict=True)) for m in (pred, target))
        lines = [set(zip(*np.nonzero(skeletonize(m[index, 0].numpy() > 0)), strict=True)) for m in (pred, target)]
        precision, recall = len(lines[0] & second) / len(lines[0]), len(lines[1] & first) / len(lines[1])
        assert value == pytest.approx(2 * precision * recall / (precision + recall) if precision + recall else 0)


def test_identical_masks() -> None:
    masks = wild()
    assert cldice(masks, masks).tolist() == [1] * len(masks)
    assert betti_0_error(masks, masks).tolist() == betti_1_error(masks, masks).tolist() == [0] * len(masks)


def test_empty_masks_and_masks_that_do_not_meet() -> None:
    empty, vessel = torch.zeros(1, 1, 40, 40), line(slice(5, 35), width=3)
    assert cldice(empty, empty).item() == 1
    assert cldice(empty, vessel).item() == cldice(vessel, empty).item() == 0
    assert cldice(vessel, vessel.roll(10, -2)).item() == 0
    assert betti_0_error(empty, vessel).tolist() == [1]
    assert betti_0_error(empty, empty).tolist() == [0]


# --- field of view, batches, types


def test_what_is_outside_of_the_fov_does_not_count() -> None:
    target, pred = wild(), wild().flip(0)
    fov = torch.from_numpy(np.hypot(*np.mgrid[-11.5:12, -11.5:12]) < 9).long().expand_as(target)
    for measure in PAIRS:
        assert torch.equal(measure(pred | (1 - fov), target & fov, fov), measure(pred & fov, target & fov))
        assert not torch.equal(measure(pred, target), measure(pred, target, fov))
    assert torch.equal(betti_0(target, fov), betti_0(target & fov))
    assert torch.equal(betti_1(target | (1 - fov), fov), betti_1(target & fov))


def test_a_fork_that_ends_at_the_border_of_the_fov_closes_no_loop() -> None:
    fork = drawn("#...#", ".#.#.", "..#..", "..#..")
    assert betti_1(fork).tolist() == betti_1(fork, drawn(".....", "#####", "#####", "#####")).tolist() == [0]


def test_images_of_a_batch_do_not_mix_and_types_count_alike() -> None:
    pred, target = wild(), wild().flip(0)
    for measure in PAIRS:
        alone = torch.cat([measure(p[None].bool(), t[None].float()) for p, t in zip(pred, target, strict=True)])
        assert torch.equal(measure(pred, target), alone)
        assert measure(pred, target).dtype == (torch.float32 if measure is cldice else torch.int64)


def test_masks_are_left_as_they_were() -> None:
    pred, target = wild(), wild().flip(0)
    for measure in PAIRS:
        measure(pred, target, torch.ones_like(pred))
    assert torch.equal(pred, wild())
    assert torch.equal(target, wild().flip(0))


MASK = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize("measure", PAIRS)
@pytest.mark.parametrize(
    ("pred", "target", "fov", "message"),
    [
        (MASK, MASK[:1], None, "pred and target must be .* of one shape, got"),
        (MASK[:, 0], MASK[:, 0], None, r"\(B, 1, H, W\)"),
        (MASK + 0.4, MASK, None, "pred must be a mask of 0 and 1: apply a threshold"),
        (MASK, MASK + 255, None, "target must be a mask of 0 and 1"),
        (MASK, MASK, MASK, "fov is empty"),
        (MASK, MASK, MASK[..., 1:] + 1, "fov must be"),
    ],
)
def test_wrong_input_is_refused(measure, pred, target, fov, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(pred, target, fov)


@pytest.mark.parametrize("number", [betti_0, betti_1])
def test_wrong_masks_are_refused(number) -> None:
    with pytest.raises(ValueError, match=r"mask must be \(B, 1, H, W\)"):
        number(MASK[0])
    with pytest.raises(ValueError, match="mask must be a mask of 0 and 1"):
        number(MASK + 2)
    with pytest.raises(ValueError, match="fov is empty"):
        number(MASK, MASK)


# --- the metric


@pytest.mark.parametrize("name", ["cldice", "betti_0_error", "betti_1_error"])
def test_the_metric_averages_over_images_in_an_engine(name: str) -> None:
    target = wild(5)
    probability = torch.from_numpy(ndimage.uniform_filter(target.double().numpy(), (1, 1, 2, 2)))
    fov = torch.ones_like(target)
    fov[..., :5] = 0
    eyes = [{"pred": p, "vessel": t, "fov": f} for p, t, f in zip(probability, target, fov, strict=True)]
    engine = Engine(lambda engine, batch: batch)
    TopologyQuality(name, threshold=0.7, inside_fov=True).attach(engine, "quality")
    value = engine.run([eyes[:2], eyes[2:]]).metrics["quality"]
    assert value == pytest.approx(getattr(topology, name)(probability >= 0.7, target, fov).double().mean().item())
    assert value > 0


def test_the_metric_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="must be one of cldice, betti_0_error, betti_1_error"):
        TopologyQuality("dice")
    with pytest.raises(NotComputableError, match="TopologyQuality has seen no image"):
        TopologyQuality("cldice").compute()
    with pytest.raises(KeyError, match="TopologyQuality finds no 'vessel'"):
        TopologyQuality("cldice").update([{"pred": MASK[0]}])


def test_the_examples_run() -> None:
    assert doctest.testmod(topology).failed == 0
