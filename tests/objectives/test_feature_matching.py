"""Distance of a discriminator's features: known values, and both forms of discriminators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retina_monai.objectives.feature_matching import discriminator_features, feature_distance


def maps(*values: float) -> list[Tensor]:
    return [torch.full((1, 2, 3, 3), value) for value in values]


def test_the_distance_is_the_mean_over_layers_without_the_logits() -> None:
    fake, real = [maps(1, 2, 9), maps(3, 5, 9)], [maps(0, 0, 0), maps(0, 1, 0)]
    torch.testing.assert_close(feature_distance(fake, real), torch.tensor((1 + 2 + 3 + 4) / 4))
    torch.testing.assert_close(feature_distance(fake, real, torch.square), torch.tensor((1 + 4 + 9 + 16) / 4))


def test_one_scale_is_a_list_of_one() -> None:
    class Discriminator(nn.Module):
        def forward(self, picture: Tensor) -> list[Tensor]:
            return [picture, 2 * picture]

    class Pyramid(nn.Module):
        def forward(self, picture: Tensor) -> list[list[Tensor]]:
            return [[picture, 2 * picture]]

    one, same = (discriminator_features(kind(), torch.ones(1, 3, 4, 4)) for kind in (Discriminator, Pyramid))
    assert len(one) == len(same) == 1
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one[0], same[0], strict=True))
