"""Seeds never change: what was generated once is generated again by the same command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from retina_monai import seeds


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (seeds.draw_latent(7, 3), 4058054357691179513),
        (seeds.draw_latent(7, 3, epoch=2), 1684239238610986860),
        (seeds.texture_generator(7, 3).integers(2**63), 9120746271638915605),
        (seeds.warp_generator(7, 3).integers(2**63), 5242541773967197362),
        (seeds.augmentation_seed(7, 2, 3), 651736881),
        (seeds.augmentation_seed(7, 2, -1), 483682647),
        (seeds.appearance_number(7, 3), 12131557539188303670),
        (seeds.epoch_noise_seed(7, 3, 1), 2871124549116439736),
        (seeds.phantom_seed(7, 3), 3466196061),
    ],
)
def test_a_seed_is_derived_as_in_released_sets(drawn: int, expected: int) -> None:
    assert drawn == expected


@pytest.mark.parametrize(
    "derive",
    [seeds.draw_latent, seeds.phantom_seed, seeds.appearance_number, lambda *of: seeds.epoch_noise_seed(*of, 0)],
)
def test_neighbouring_seeds_and_indices_share_nothing(derive: Callable[[int, int], int]) -> None:
    assert len({derive(seed, index) for seed in range(30) for index in range(30)}) == 900
