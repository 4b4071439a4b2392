"""The Inception-v3 that FID and KID are defined by: that of TensorFlow's graph of 2015-12-05, in PyTorch.

Architecture: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer vision",
CVPR 2016, https://arxiv.org/abs/1512.00567, figures 5 to 7 and table 1. That graph departs from it: mean pooling counts
no padding, the last block pools by maximum, there are 1008 classes, and pictures are resized as TensorFlow 1 does,
without half-pixel centres. Parameters are named as in torchvision, so that the weights in use load: torch-fidelity
(``weights-inception-2015-12-05-6726825d.pth``) and pytorch-fid (``pt_inception-2015-12-05-6726825d.pth``) have them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

__all__ = ["InceptionV3", "resize_as_tensorflow"]

SIZE = 299
CLASSES = 1008


class InceptionV3(nn.Module):
    """Photographs -> the 2048 features of the last pooling, on which FID and KID are taken.

    It has no weights of its own: load a state_dict.

    Attributes:
        features: 2048.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = 2048
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(768, 128)
        self.Mixed_6c = _BlockC(768, 160)
        self.Mixed_6d = _BlockC(768, 160)
        self.Mixed_6e = _BlockC(768, 192)
        self.Mixed_7a = _BlockD(768)
        self.Mixed_7b = _BlockE(1280, by_maximum=False)
        self.Mixed_7c = _BlockE(2048, by_maximum=True)
        self.fc = nn.Linear(self.features, CLASSES)  # the class scores are not used; published weights have them

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] -> ``(B, 2048)``.

        Pictures are rounded to 256 steps first, since the network is defined for those of 8 bits.
        """
        return self.stages((image.clamp(-1, 1) * 127.5 + 127.5).round())[-1]

    def stages(self, image: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)`` in [0, 255] -> means over the picture after 64, 192, 768 and 2048 channels."""
        x = (resize_as_tensorflow(image.float(), SIZE) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        first = max_pool2d(x, 3, 2)
        second = max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(first)), 3, 2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(second))))
        third = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        last = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(third)))
        return [stage.mean((2, 3)) for stage in (first, second, third, last)]


def resize_as_tensorflow(image: Tensor, size: int) -> Tensor:
    """Bilinear, as TensorFlow 1 has it: pixel ``i`` of the result lies at ``i * old / new``, and nothing is smoothed.

    Args:
        image: ``(B, C, H, W)``.
        size: height and width of the result.
    """
    for axis in (2, 3):
        old = image.shape[axis]
        at = torch.arange(size, dtype=torch.float32, device=image.device) * (old / size)
        low = at.long()
        weight = (at - low).view([-1 if axis == place else 1 for place in range(4)])
        first, second = (image.index_select(axis, place) for place in (low, (low + 1).clamp_max(old - 1)))
        image = first + (second - first) * weight
    return image


class _Convolution(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.bn(self.conv(x)))


class _BlockA(nn.Module):
    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Convolution(inputs, 64, 1)
        self.branch5x5_1 = _Convolution(inputs, 48, 1)
        self.branch5x5_2 = _Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, padding=1)
        self.branch_pool = _Convolution(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(_mean_pool(x))], 1)


class _BlockB(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Convolution(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Convolution(inputs, 64, 1)
        self.branch3x3dbl_2 = _Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Convolution(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, max_pool2d(x, 3, 2)], 1)


class _BlockC(nn.Module):
    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = _Convolution(inputs, 192, 1)
        self.branch7x7_1 = _Convolution(inputs, inner, 1)
        self.branch7x7_2 = _row(inner, inner)
        self.branch7x7_3 = _column(inner, 192)
        self.branch7x7dbl_1 = _Convolution(inputs, inner, 1)
        self.branch7x7dbl_2 = _column(inner, inner)
        self.branch7x7dbl_3 = _row(inner, inner)
        self.branch7x7dbl_4 = _column(inner, inner)
        self.branch7x7dbl_5 = _row(inner, 192)
        self.branch_pool = _Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean_pool(x))], 1)


class _BlockD(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = _Convolution(inputs, 192, 1)
        self.branch3x3_2 = _Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Convolution(inputs, 192, 1)
        self.branch7x7x3_2 = _row(192, 192)
        self.branch7x7x3_3 = _column(192, 192)
        self.branch7x7x3_4 = _Convolution(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, max_pool2d(x, 3, 2)], 1)


class _BlockE(nn.Module):
    """The last kind of block; the very last one of the graph of 2015 pools by maximum."""

    def __init__(self, inputs: int, by_maximum: bool) -> None:
        super().__init__()
        self.by_maximum = by_maximum
        self.branch1x1 = _Convolution(inputs, 320, 1)
        self.branch3x3_1 = _Convolution(inputs, 384, 1)
        self.branch3x3_2a = _Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Convolution(inputs, 448, 1)
        self.branch3x3dbl_2 = _Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Convolution(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        single = torch.cat([self.branch3x3_2a(single), self.branch3x3_2b(single)], 1)
        double = torch.cat([self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)], 1)
        pooled = max_pool2d(x, 3, 1, 1) if self.by_maximum else _mean_pool(x)
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(pooled)], 1)


def _row(inputs: int, outputs: int) -> _Convolution:
    return _Convolution(inputs, outputs, (1, 7), padding=(0, 3))


def _column(inputs: int, outputs: int) -> _Convolution:
    return _Convolution(inputs, outputs, (7, 1), padding=(3, 0))


def _mean_pool(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, 1, 1, count_include_pad=False)
