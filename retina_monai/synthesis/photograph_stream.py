"""Photographs with their vessel maps, as many as one asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.sets.vessel_maps import fit_label, fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.seeds import phantom_seed
from retina_monai.synthesis.chains import Chain
from retina_monai.synthesis.loading import load_chain

__all__ = ["generate"]

PHANTOM_SIZE = 512


def generate(
    bundle: str | Path = "pix2pix_vessel", n: int = 1, seed: int = 0, appearance: str = "random", trust: bool = False
) -> list[dict[str, Any]]:
    """Photographs with their vessel maps, from trees that the phantom grows; sample ``i`` depends on (seed, i) alone.

    Args:
        bundle, trust: as for :func:`retina_monai.load`.
        n: how many.
        seed: of trees and appearances.
        appearance: as for :class:`Chain`.

    Returns:
        Per sample ``image`` uint8 ``(3, size, size)``, ``vessel`` and ``fov`` uint8 ``(1, size, size)`` in {0, 1},
        and ``laterality``. Nothing in them is of a patient.

    Raises:
        RetinaError: as :func:`load_chain`, or ``n`` below 1.
    """
    if n < 1:
        raise RetinaError(f"n is the number of photographs and must be at least 1, not {n}")
    chain = load_chain(bundle, trust=trust)
    return [_generate_one(chain, seed, index, appearance) for index in range(n)]


def _generate_one(chain: Chain, seed: int, index: int, appearance: str) -> dict[str, Any]:
    phantom = generate_phantom(phantom_seed(seed, index), PHANTOM_SIZE)
    fitted = fit_vessel_map(phantom["vessel"], phantom["fov"], chain.size)
    return {
        "image": chain(phantom["vessel"], phantom["fov"], appearance, seed, index),
        "vessel": fit_label(phantom["vessel"], phantom["fov"], chain.size),
        "fov": fitted["fov"],
        "laterality": phantom["laterality"],
    }
