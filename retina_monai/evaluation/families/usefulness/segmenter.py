"""Segmentation networks that learn from a set of eyes, to tell what the set is worth: one loop for all of them.

They see a photograph's local contrast and nothing of its colours, so that a set is not judged by its camera. Settings
were found where a network that had seen phantoms alone was to segment real eyes (``docs/phantom.md``).
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
"""``image`` (1, S, S), its :func:`local_contrast`, and ``mask`` (1, S, S) of {0, 1}."""

LEARNING_RATE, PEAK, WEIGHT_DECAY = 3e-3, 5e-3, 1e-4
WINDOW = 512  # pixels a side that are segmented at a time


class SmallUNet(nn.Module):
    """MONAI's U-Net, small enough for a CPU: logits in training, probabilities in evaluation, as ``IterNet``."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 64, 128)
        self.unet = UNet(2, 1, 1, channels=widths, strides=(2, 2, 2), num_res_units=1, norm="batch", act="prelu")

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` -> ``(B, 1, H, W)``; height and width are multiples of 8."""
        pred: Tensor = self.unet(image)
        return pred if self.training else pred.float().sigmoid()


class ContrastIterNet(IterNet):
    """The network of ``iternet_vessel``, not its weights, on a photograph's local contrast."""

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 1, H, W)`` -> as :meth:`retina_monai.networks.IterNet.forward` returns it."""
        return self.segment_contrast(image)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"U-Net": SmallUNet, "IterNet": ContrastIterNet}


def local_contrast(image: ArrayLike, fov: NDArray) -> Floats:
    """Green light against its surroundings within the field of view, in local standard deviations: (1, S, S).

    What a camera adds to the photograph, its colour and its uneven light, cancels.

    Args:
        image: (3, S, S) in [0, 255].
        fov: (S, S) of {0, 1}.
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
    """Train a network of :data:`NETWORKS` from scratch; the same from the same seed, eyes and machine.

    Args:
        network: its name.
        eyes: what it learns from; read when they are drawn.
        steps: of AdamW under a one-cycle schedule (Smith and Topin, https://arxiv.org/abs/1708.07120).
        seed: of the weights, the draws and the augmentation; torch's own random state stays as it was.
        patch: pixels a side of the patches, a multiple of 8.
        batch_size: patches of a step.
        weights: the chance of each eye to be drawn, summing to 1; ``None``: all alike.
        device: where it trains.
        after_step: called with the number of each step, from 1, and its loss.

    Returns:
        The network, in evaluation mode.
    """
    keep_big_blocks()
    device = torch.device(device)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        model = NETWORKS[network]().to(device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth quicker on a CPU
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
    """Probability of each pixel: (1, S, S) :func:`local_contrast` -> (S, S) in [0, 1], in float32."""
    device = next(model.parameters()).device
    inferer = SlidingWindowInferer([min(WINDOW, side) for side in image.shape[1:]], overlap=0.25)
    pred = inferer(torch.as_tensor(image)[None].to(device), model)
    found: Floats = torch.as_tensor(pred)[0, 0].float().cpu().numpy()
    return found


def _loss(pred: Tensor, mask: Tensor) -> Tensor:
    """Dice and cross-entropy, the mean over the maps (B, K, H, W) that the network is supervised in."""
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
    """What differs from camera to camera and from eye to eye: place, size, side, blur, noise, contrast."""
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
