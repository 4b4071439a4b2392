"""The perceptual network: shapes, how far it sees, and that it learns what it is trained for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from retina_monai.networks import DilatedEncoder


@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_shapes(size: tuple[int, int]) -> None:
    *features, told = DilatedEncoder(3, 8)(torch.zeros(2, 3, *size))
    assert told.shape == (2, 4, *size)
    assert [layer.shape[1] for layer in features] == [8, 16, 32, 32, 32, 32, 32, 16, 8]
    assert features[6].shape[2:] == (size[0] // 8, size[1] // 8)
    assert features[-1].shape[2:] == (size[0] // 2, size[1] // 2)


def test_it_sees_far() -> None:
    """The last features at the middle depend on pixels a hundred away, the first on four pixels around."""
    torch.manual_seed(0)
    network = DilatedEncoder(3, 8)
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    *features, _ = network(image)

    def reach(layer: torch.Tensor) -> int:
        middle = layer.shape[-1] // 2
        (gradient,) = torch.autograd.grad(layer[0, :, middle, middle].sum(), image, retain_graph=True)
        rows = gradient[0].abs().sum(0).sum(1).nonzero()
        return int((rows - 128).abs().max())

    assert reach(features[0]) <= 4
    assert reach(features[6]) > 100


def test_it_learns_to_tell_a_pixel() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    target = (image[:, :1] > 0.5).float()
    network = DilatedEncoder(3, 8)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(150):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image)[-1][:, :1], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
