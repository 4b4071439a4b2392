"""A loaded bundle as a function: vessel map in, photograph out; the same code as the bundle's ``inference.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from retina_monai.data.phantom import generate_phantom
from retina_monai.data.vessel_maps import fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.handlers import to_uint8
from retina_monai.synthesis.bundles import bundle_parts
from retina_monai.transforms import Appearance, render_appearance
from retina_monai.transforms.texture import sample_random

__all__ = ["PhotographGenerator", "generate"]

PHANTOM_SIZE = 512


class PhotographGenerator:
    """A bundle that paints photographs around vessel maps.

    Args:
        bundle: name of a bundle, or the path of one.
        checkpoint: other weights than the released ones.

    Raises:
        RetinaError: no such bundle, or weights that do not fit it.
    """

    def __init__(self, bundle: str = "pix2pix_vessel", checkpoint: str | Path | None = None) -> None:
        parts = ("size", "device", "preprocessing", "network", "inferer", "postprocessing", "appearances")
        self.size, self.device, *self._chain, self.appearances = bundle_parts(bundle, parts, checkpoint)

    def __call__(
        self,
        vessel: np.ndarray,
        fov: np.ndarray | None = None,
        appearance: str = "average",
        seed: int = 0,
        index: int = 0,
    ) -> np.ndarray:
        """Paint one photograph.

        Args:
            vessel: vessel map ``(H, W)`` or ``(1, H, W)`` of any size: Boolean, {0, 1}, or uint8 with
                vessels above 127.
            fov: field of view of the same shape, by the same rule; ``None``: the circle inscribed in the frame.
            appearance: ``average``, a camera's name, ``random``, ``random:CAMERA``, or the path of a photograph.
            seed, index: of a random appearance, and of the texture.

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.

        Raises:
            RetinaError: arrays of other shapes, or an unknown appearance.
        """
        mask = _as_mask(vessel, "vessel")
        inside = None if fov is None else _as_mask(fov, "fov")
        if inside is not None and inside.shape != mask.shape:
            raise RetinaError(f"fov is {inside.shape[1:]} and vessel {mask.shape[1:]}: give arrays of one size")
        fitted = fit_vessel_map(mask, inside, self.size)
        chosen = self.appearances.choose(appearance, seed, index)
        return self.paint(fitted["image"], fitted["fov"], chosen, sample_random(seed, index))

    def paint(
        self,
        vessel: np.ndarray,
        fov: np.ndarray,
        appearance: Appearance,
        random: np.random.Generator | None = None,
    ) -> np.ndarray:
        """Paint around a vessel map that is of the network's size and form already.

        Args:
            vessel: float32 ``(size, size)`` in [0, 255], the share of each pixel that vessels cover.
            fov: ``(1, size, size)`` in {0, 1}.
            appearance: that the photograph gets.
            random: of the appearance's texture; ``None``: no texture.

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.
        """
        preprocessing, network, inferer, postprocessing = self._chain
        condition = preprocessing({"image": vessel})["image"][None].to(self.device)
        with torch.inference_mode():
            pred = postprocessing({"pred": inferer(inputs=condition, network=network)[0]})["pred"]
        image = torch.as_tensor(pred).as_subclass(torch.Tensor).cpu().float() / 127.5 - 1
        drawn = torch.from_numpy(to_uint8(condition[0]) >= 128)
        return to_uint8(render_appearance(image, torch.from_numpy(fov), drawn, appearance, random))


def generate(
    bundle: str = "pix2pix_vessel", n: int = 1, seed: int = 0, appearance: str = "random"
) -> list[dict[str, Any]]:
    """Photographs with their vessel maps, from trees that the phantom grows; sample ``i`` depends on (seed, i) alone.

    Args:
        bundle: name or path.
        n: how many.
        seed: of trees and appearances.
        appearance: as for :class:`PhotographGenerator`.

    Returns:
        Per sample ``image`` uint8 ``(3, size, size)``, ``vessel`` and ``fov`` uint8 ``(1, size, size)`` in {0, 1},
        and ``laterality``. Nothing in them is of a patient.

    Raises:
        RetinaError: as :class:`PhotographGenerator`, or ``n`` below 1.
    """
    if n < 1:
        raise RetinaError(f"n is the number of photographs and must be at least 1, not {n}")
    generator = PhotographGenerator(bundle)
    return [_generate_one(generator, seed, index, appearance) for index in range(n)]


def _generate_one(generator: PhotographGenerator, seed: int, index: int, appearance: str) -> dict[str, Any]:
    sample_seed = int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
    phantom = generate_phantom(sample_seed, PHANTOM_SIZE)
    fitted = fit_vessel_map(phantom["vessel"], phantom["fov"], generator.size)
    return {
        "image": generator(phantom["vessel"], phantom["fov"], appearance, seed, index),
        "vessel": (fitted["image"][None] >= 128).astype(np.uint8),
        "fov": fitted["fov"],
        "laterality": phantom["laterality"],
    }


def _as_mask(array: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(array)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or values.shape[0] != 1:
        raise RetinaError(f"{name} has shape {np.shape(array)}: give (H, W) or (1, H, W)")
    return (values >= (1 if values.max(initial=0) <= 1 else 128)).astype(np.uint8)
