"""Statistics inside a mask, against NumPy over the pixels inside."""

from __future__ import annotations

import numpy as np
import torch

from retina_monai.masked_statistics import channel_statistics, masked_mean

IMAGE = torch.rand(2, 3, 8, 6, generator=torch.Generator().manual_seed(0))
MASK = torch.zeros(2, 1, 8, 6)
MASK[0, :, 1:4, 2:5] = 1
MASK[1, :, :, :2] = 1


def inside(index: int) -> np.ndarray:
    return IMAGE[index][:, MASK[index, 0] > 0].numpy()


def test_masked_mean_is_the_mean_over_images_of_their_means() -> None:
    expected = np.mean([inside(index).mean() for index in range(2)])
    torch.testing.assert_close(masked_mean(IMAGE, MASK), torch.tensor(expected))


def test_channel_statistics_are_those_of_the_pixels_inside() -> None:
    mean, std = channel_statistics(IMAGE, MASK)
    for index in range(2):
        np.testing.assert_allclose(mean[index].flatten(), inside(index).mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(std[index].flatten(), inside(index).std(axis=1), rtol=1e-5)


def test_a_flat_image_has_a_finite_gradient() -> None:
    image = torch.zeros(1, 1, 4, 4, requires_grad=True)
    channel_statistics(image, torch.ones(1, 1, 4, 4))[1].sum().backward()
    assert image.grad is not None and image.grad.isfinite().all()
