"""The frozen judge of faithfulness: the released vessel segmentation network, for photographs of any size.

No loss uses it, and it was never trained on synthetic photographs.
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
"""Longer side in pixels of the network's input. Validation eyes of 256 pixels score as well at this size as at 640."""


class VesselJudge:
    """Vessel probabilities at the size of the given photographs.

    Photographs are resized so that their longer side is ``size``: bicubic to enlarge, by area to reduce. The
    probabilities are resized back by area or bilinearly. For an enlarged photograph, the threshold 0.5 then means half
    of a pixel's area.

    Args:
        network: ``(B, 3, H, W)`` in [-1, 1] -> probabilities ``(B, 1, H, W)``.
        size: longer side in pixels of the network's input.
    """

    def __init__(self, network: nn.Module, size: int = SIZE) -> None:
        self.device = choose_device()
        self.network = network.to(self.device).eval()
        self.size = size
        self.low = choose_precision("auto", self.device) == "bf16"

    def __call__(self, image: Tensor, fov: Tensor) -> Tensor:
        """Segment photographs one at a time, so that memory does not grow with the batch.

        Args:
            image: ``(B, 3, H, W)`` in [-1, 1].
            fov: ``(B, 1, H, W)`` in {0, 1}.

        Returns:
            ``(B, 1, H, W)`` in [0, 1], float32, 0 outside the field of view, on the device of ``image``.

        Raises:
            ValueError: ``image`` or ``fov`` has another shape.
        """
        if image.ndim != 4 or image.shape[1] != 3 or fov.shape != image[:, :1].shape:
            shapes = f"{tuple(image.shape)} and {tuple(fov.shape)}"
            raise ValueError(f"image and fov must be (B, 3, H, W) and (B, 1, H, W), got {shapes}")
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
    """The judge with the released or other weights.

    Args:
        checkpoint: a flat state_dict such as ``model.pt``; ``None`` for the weights of the bundle.
        size: longer side in pixels of the network's input.

    Returns:
        The judge and its name in reports: bundle, version and first digits of the weights' SHA-256.

    Raises:
        RetinaError: the weights are missing or belong to another network.
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
    """Resized by area to shrink, by the interpolation ``growing`` to enlarge."""
    if list(picture.shape[-2:]) == sides:
        return picture
    if sides[0] <= picture.shape[-2] and sides[1] <= picture.shape[-1]:
        return interpolate(picture, sides, mode="area")
    return interpolate(picture, sides, mode=growing, align_corners=False)
