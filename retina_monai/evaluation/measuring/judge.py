"""The frozen judge of faithfulness: the released network that finds vessels, on photographs of any size.

It judges and nothing else: no loss anywhere uses it, and it was never trained on anything generated.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from retina_monai.bundle import digest, find_bundle, load_network_of
from retina_monai.engines import choose_device, choose_precision
from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring.eye import Judge

__all__ = ["BUNDLE", "SIZE", "VesselJudge", "load_judge"]

BUNDLE = "iternet_vessel"
SIZE = 512
"""Pixels of the longer side at which the network looks: validation eyes of 256 pixels are read as well as at 640."""


class VesselJudge:
    """Probabilities of vessels, at the size of the photographs that it is given.

    Photographs are brought to :data:`SIZE`: smaller ones are interpolated (bicubic), larger ones averaged by area. What
    comes back is averaged by area, or interpolated linearly, to their own size; of a photograph that was enlarged, half
    of a pixel's area is then the threshold.

    Args:
        network: ``(B, 3, H, W)`` in [-1, 1] -> probabilities ``(B, 1, H, W)``; in evaluation mode.
        size: pixels of the longer side at which it looks.
    """

    def __init__(self, network: nn.Module, size: int = SIZE) -> None:
        self.device = choose_device()
        self.network = network.to(self.device).eval()
        self.size = size
        self.low = choose_precision("auto", self.device) == "bf16"

    def __call__(self, image: Tensor, fov: Tensor) -> Tensor:
        """Judge photographs one after the other, so that memory does not grow with the batch.

        Args:
            image: ``(B, 3, H, W)`` in [-1, 1].
            fov: ``(B, 1, H, W)`` of {0, 1}.

        Returns:
            ``(B, 1, H, W)`` in [0, 1], float32, 0 outside of the field of view, on the device of ``image``.

        Raises:
            ValueError: arrays of other shapes.
        """
        if image.ndim != 4 or image.shape[1] != 3 or fov.shape != image[:, :1].shape:
            shapes = f"{tuple(image.shape)} and {tuple(fov.shape)}"
            raise ValueError(f"image and fov must be (B, 3, H, W) and (B, 1, H, W), not {shapes}")
        with torch.no_grad():
            found = [self._judge(*pair) for pair in zip(image.split(1), fov.split(1), strict=True)]
        return torch.cat(found).to(image.device) if found else fov.float()

    def _judge(self, image: Tensor, fov: Tensor) -> Tensor:
        own = image.shape[-2:]
        sides = [max(1, round(side * self.size / max(own))) for side in own]
        inside = fov.to(self.device).float()
        black = image.to(self.device).float() * inside + (inside - 1)
        seen = _resized(black, sides, "bicubic").clamp(-1, 1)
        within = _resized(inside, sides, "bilinear") >= 0.5
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.low):
            found = self.network(torch.where(within, seen, -1.0)).float()
        return _resized(found, list(own), "bilinear").clamp(0, 1) * inside


def load_judge(checkpoint: str | Path | None = None, size: int = SIZE) -> tuple[Judge, str]:
    """The released judge, or other weights of its network.

    Args:
        checkpoint: a flat state_dict such as ``model.pt``; ``None``: the bundle's own.
        size: pixels of the longer side at which it looks.

    Returns:
        The judge, and its name for reports: bundle, version and the beginning of the weights' SHA-256.

    Raises:
        RetinaError: there are no such weights, or they are of another network.
    """
    root = find_bundle(BUNDLE)
    weights = Path(checkpoint) if checkpoint is not None else root / "models" / "model.pt"
    if not weights.is_file():
        hint = "give others with --judge" if checkpoint is not None else "train it (its card says how) and give --judge"
        raise RetinaError(f"there are no weights {weights} of the judge {BUNDLE}: {hint}")
    version = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    name = f"{BUNDLE} {version} (SHA-256 {digest(weights)[:12]})"
    return VesselJudge(load_network_of(BUNDLE, weights), size), name


def _resized(picture: Tensor, sides: list[int], growing: str) -> Tensor:
    """By area where it shrinks, by the given interpolation where it grows."""
    if list(picture.shape[-2:]) == sides:
        return picture
    if sides[0] <= picture.shape[-2] and sides[1] <= picture.shape[-1]:
        return interpolate(picture, sides, mode="area")
    return interpolate(picture, sides, mode=growing, align_corners=False)
