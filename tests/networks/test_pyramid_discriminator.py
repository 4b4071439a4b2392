"""Patch discriminators on a pyramid: each scale is MONAI's own, on the picture at half the size of the one before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets import PatchDiscriminator
from torch.nn.functional import interpolate

from retina_monai.networks import PyramidDiscriminator

SMALL: dict[str, Any] = {"spatial_dims": 2, "channels": 4, "in_channels": 4, "num_layers_d": 2, "norm": "instance"}


def test_each_scale_sees_half_the_size_of_the_one_before() -> None:
    torch.manual_seed(0)
    pyramid, pair = PyramidDiscriminator(3, **SMALL), torch.rand(2, 4, 64, 64)
    features = pyramid(pair)
    assert len(features) == 3
    for index, (scale, found) in enumerate(zip(pyramid.discriminators, features, strict=True)):
        alone = PatchDiscriminator(**SMALL)
        alone.load_state_dict(scale.state_dict())
        seen = interpolate(pair, scale_factor=0.5**index, mode="area")
        for ours, theirs in zip(found, alone(seen), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert [found[-1].shape[1:] for found in features] == [(1, 14, 14), (1, 6, 6), (1, 2, 2)]


def test_scales_share_no_weights() -> None:
    features = PyramidDiscriminator(2, **SMALL)(torch.ones(1, 4, 32, 32))
    assert not torch.allclose(features[0][0][..., 8, 8], features[1][0][..., 4, 4])


def test_a_pyramid_without_scales_is_refused() -> None:
    with pytest.raises(ValueError, match="scales must be at least 1, got 0"):
        PyramidDiscriminator(0, **SMALL)
