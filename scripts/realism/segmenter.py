"""A small U-Net that learns to segment vessels, and what it is worth on other photographs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

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
from scipy import ndimage
from torch import Tensor

Eye = dict[str, np.ndarray]
PATCH, BATCH = 192, 8


def contrast(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Green light against its surroundings within the field of view, in local standard deviations: (1, S, S).

    What a camera adds to the photograph, its colour and its uneven light, cancels.

    Args:
        image: (3, S, S).
        fov: (S, S) of {0, 1}.
    """
    weight = ndimage.binary_erosion(fov, iterations=max(len(fov) // 100, 1)).astype(np.float32)

    def local(values: np.ndarray, width: float) -> np.ndarray:
        near = [ndimage.gaussian_filter(part, width, truncate=3) for part in (values * weight, weight)]
        return near[0] / np.maximum(near[1], 1e-3)

    green = np.log1p(image[1].astype(np.float32))
    detail = green - local(green, len(fov) / 25)
    return (weight * detail / np.sqrt(local(detail**2, len(fov) / 6) + 1e-4))[None].astype(np.float32)


def network() -> UNet:
    return UNet(2, 1, 1, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=1, norm="batch", act="prelu")


def augmentation(seed: int) -> Compose:
    """What differs from camera to camera and is not in the phantoms' own spread: size, blur, noise, contrast."""
    both, image = ("image", "vessel"), "image"
    transform = Compose(
        [
            RandSpatialCropd(both, (5 * PATCH // 3,) * 2, random_size=False),
            RandAffined(
                both,
                prob=0.8,
                rotate_range=np.pi,
                scale_range=(-0.5, 0.3),
                spatial_size=(PATCH, PATCH),
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
    return transform.set_random_state(seed)


def batches(eyes: Sequence[Eye], seed: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    rng, transform = np.random.default_rng(seed), augmentation(seed)
    for _ in range(count):
        items = [transform(eyes[index]) for index in rng.choice(len(eyes), BATCH)]
        yield tuple(torch.stack([torch.as_tensor(item[key]) for item in items]) for key in ("image", "vessel"))


def train(eyes: Sequence[Eye], iterations: int, seed: int) -> UNet:
    """Train a network on ``image`` (1, S, S), its :func:`contrast`, and ``vessel`` (1, S, S) of {0, 1}."""
    torch.manual_seed(seed)
    model, loss = network(), DiceCELoss(sigmoid=True)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, iterations)
    start = time.perf_counter()
    for iteration, (image, vessel) in enumerate(batches(eyes, seed, iterations), 1):
        with torch.autocast("cpu", torch.bfloat16):
            pred = model(image)
        value = loss(pred.float(), vessel.float())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if iteration % 100 == 0:
            print(
                f"  {iteration}/{iterations}: loss {value.item():.3f}, {time.perf_counter() - start:.0f} s", flush=True
            )
    return model.eval()


@torch.inference_mode()
def dice(model: UNet, eye: Eye) -> float:
    """Dice of the vessels found, probability at least 0.5, inside the field of view."""
    inferer = SlidingWindowInferer((512, 512), overlap=0.25)
    found = inferer(torch.as_tensor(eye["image"])[None], model)[0, 0].numpy() >= 0
    truth, inside = eye["vessel"][0] > 0, eye["fov"][0] > 0
    found, truth = found & inside, truth & inside
    return float(2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1))
