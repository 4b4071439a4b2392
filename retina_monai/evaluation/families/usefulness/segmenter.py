"""Segmentation networks trained on a set of eyes to measure its usefulness, with one training loop for all.

Their input is the local contrast of a photograph, without colours, so that a set is not judged by its camera. The
settings were tuned for networks that are trained on phantoms alone and segment real eyes (``docs/phantom.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandRotate90d,
    RandScaleIntensityd,
    RandSpatialCropd,
)
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor, nn

from retina_monai.data.sets.dataset import untracked
from retina_monai.engines.process import choose_precision, keep_big_blocks
from retina_monai.networks.iternet import IterNet

__all__ = ["NETWORKS", "SmallUNet", "local_contrast", "segment", "train_segmenter"]

Floats = NDArray[np.float32]
TrainingEye = Mapping[str, NDArray]
"""``image`` (1, S, S), its :func:`local_contrast`, and ``mask`` (1, S, S) in {0, 1}."""

LEARNING_RATE, PEAK, WEIGHT_DECAY = 3e-3, 5e-3, 1e-4
WINDOW = 512  # side in pixels of the sliding window


class SmallUNet(nn.Module):
    """MONAI's U-Net in a size for CPUs. Like ``IterNet``, it returns logits in training, else probabilities."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 64, 128)
        self.unet = UNet(2, 1, 1, channels=widths, strides=(2, 2, 2), num_res_units=1, norm="batch", act="prelu")

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` -> ``(B, 1, H, W)``; height and width are multiples of 8."""
        pred: Tensor = self.unet(image)
        return pred if self.training else pred.float().sigmoid()


class ContrastIterNet(IterNet):
    """The network of ``iternet_vessel``, without its weights, on a photograph's local contrast."""

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` -> result of :meth:`retina_monai.networks.IterNet.forward`."""
        return self.segment_contrast(image)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"U-Net": SmallUNet, "IterNet": ContrastIterNet}


def local_contrast(image: ArrayLike, fov: NDArray) -> Floats:
    """Contrast of the green channel to its surroundings in the field of view, in local standard deviations: (1, S, S).

    Effects of the camera, such as colour and uneven illumination, cancel.

    Args:
        image: (3, S, S) in [0, 255].
        fov: (S, S) in {0, 1}.
    """
    weight = ndimage.binary_erosion(fov, iterations=max(len(fov) // 100, 1)).astype(np.float32)

    def local(values: Floats, width: float) -> Floats:
        near = [ndimage.gaussian_filter(part, width, truncate=3) for part in (values * weight, weight)]
        return near[0] / np.maximum(near[1], 1e-3)

    green = np.log1p(np.asarray(image)[1].astype(np.float32))
    detail = green - local(green, len(fov) / 25)
    return (weight * detail / np.sqrt(local(detail**2, len(fov) / 6) + 1e-4))[None].astype(np.float32)


def train_segmenter(
    network: str,
    eyes: Sequence[TrainingEye],
    steps: int,
    seed: int,
    *,
    patch: int = 192,
    batch_size: int = 8,
    weights: Sequence[float] | None = None,
    device: torch.device | str = "cpu",
    after_step: Callable[[int, float], object] | None = None,
) -> nn.Module:
    """Train a network of :data:`NETWORKS` from scratch. Equal seeds and eyes give equal networks on one machine.

    Args:
        network: name of the network.
        eyes: training eyes, read on access.
        steps: steps of AdamW under a one-cycle schedule (Smith and Topin, https://arxiv.org/abs/1708.07120).
        seed: seed of weights, sampling and augmentation; torch's global random state is preserved.
        patch: side of the patches in pixels, a multiple of 8.
        batch_size: patches per step.
        weights: sampling probability of each eye, with sum 1; ``None`` for equal probabilities.
        device: device of the training.
        after_step: callback with the number of each step, from 1, and its loss.

    Returns:
        The network, in evaluation mode.
    """
    keep_big_blocks()
    device = torch.device(device)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        model = NETWORKS[network]().to(device)
        # A fifth faster on a CPU. The annotations of torch lack this overload.
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, steps)
        drawn = _batches(eyes, seed, steps, patch, batch_size, weights)
        for step, (image, mask) in enumerate(drawn, 1):
            with _autocast(device):
                pred = model(image.to(device, memory_format=torch.channels_last))
            loss = _loss(pred.float(), mask.to(device).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if after_step is not None:
                after_step(step, loss.item())
    return model.eval()


@torch.inference_mode()
def segment(model: nn.Module, image: Floats) -> Floats:
    """Probability of each pixel: (1, S, S) :func:`local_contrast` -> (S, S) float32 in [0, 1]."""
    device = next(model.parameters()).device
    inferer = SlidingWindowInferer([min(WINDOW, side) for side in image.shape[1:]], overlap=0.25)
    pred = inferer(torch.as_tensor(image)[None].to(device), model)
    found: Floats = torch.as_tensor(pred)[0, 0].float().cpu().numpy()
    return found


def _loss(pred: Tensor, mask: Tensor) -> Tensor:
    """Mean of Dice loss and cross-entropy over the supervised maps, (B, K, H, W)."""
    loss = DiceCELoss(sigmoid=True)
    return torch.stack([loss(part, mask) for part in pred.split(1, dim=1)]).mean()


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=choose_precision("auto", device) == "bf16")


def _batches(
    eyes: Sequence[TrainingEye], seed: int, count: int, patch: int, size: int, weights: Sequence[float] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    rng, transform = np.random.default_rng(seed), _augmentation(patch, seed)
    for _ in range(count):
        with untracked():
            items = [transform(dict(eyes[index])) for index in rng.choice(len(eyes), size, p=weights)]
        image, mask = (torch.stack([torch.as_tensor(item[key]) for item in items]) for key in ("image", "mask"))
        yield image, mask


def _augmentation(patch: int, seed: int) -> Compose:
    """Random differences between cameras and eyes: position, size, orientation, blur, noise and contrast."""
    both, image = ("image", "mask"), "image"
    transform = Compose(
        [
            RandSpatialCropd(both, (5 * patch // 3,) * 2, random_size=False),
            RandAffined(
                both,
                prob=0.8,
                rotate_range=np.pi,
                scale_range=(-0.5, 0.3),
                spatial_size=(patch, patch),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandRotate90d(both, 0.5),
            RandFlipd(both, 0.5, 0),
            RandGaussianSmoothd(image, (0.4, 1.6), (0.4, 1.6), prob=0.5),
            RandAdjustContrastd(image, 0.3, (0.7, 1.5), retain_stats=True),
            RandScaleIntensityd(image, (-0.7, 0.3), prob=0.8),
            RandGaussianNoised(image, 0.5, std=0.4),
        ]
    )
    transform.set_random_state(seed)
    return transform
