"""Narrower fields of view and colourless photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retina_monai.transforms import RandApertured, RandMonochromed

SIZE = 64


def test_a_narrower_aperture_is_a_circle_inside_the_old_one() -> None:
    fov = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
    fov[:, :, 8:] = 255
    shares = []
    for seed in range(30):
        cut = RandApertured(prob=1.0).set_random_state(seed)({"fov": fov})["fov"]
        assert cut.dtype == fov.dtype and set(cut.unique().tolist()) <= {0, 255}
        assert not cut[fov == 0].any() and cut[0, SIZE // 2, SIZE // 2] == 255
        corners = cut[0, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert not corners.any()
        shares.append(float((cut > 0).float().mean()))
    assert min(shares) < 0.6 and max(shares) > 0.7, "some are cut off above and below"


def test_probability_zero_leaves_all_as_it_is() -> None:
    fov, image = torch.full((1, SIZE, SIZE), 255.0), torch.rand(3, SIZE, SIZE) * 255
    assert torch.equal(RandApertured(prob=0.0)({"fov": fov})["fov"], fov)
    assert torch.equal(RandMonochromed("image", prob=0.0)({"image": image})["image"], image)


def test_without_colours_all_channels_show_the_same() -> None:
    image = torch.rand(3, SIZE, SIZE) * 200
    for seed in range(10):
        grey = RandMonochromed("image", prob=1.0).set_random_state(seed)({"image": image})["image"]
        assert 0 <= float(grey.min()) <= float(grey.max()) <= 255
        spread = grey.flatten(1)[:, (grey < 255).all(0).flatten()]
        for channel in (1, 2):
            assert np.corrcoef(spread[0], spread[channel])[0, 1] == pytest.approx(1, abs=1e-4)


def test_the_same_seed_draws_the_same() -> None:
    item = {"image": torch.rand(3, SIZE, SIZE) * 255, "fov": torch.ones(1, SIZE, SIZE)}
    for transform, key in ((RandApertured(prob=0.5), "fov"), (RandMonochromed("image", prob=0.5), "image")):
        first, second = (transform.set_random_state(3)(item)[key] for _ in range(2))
        assert torch.equal(first, second)
