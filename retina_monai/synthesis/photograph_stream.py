"""Generate labelled samples without a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.sets.vessel_maps import fit_disc, fit_label, fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.kinds import KINDS
from retina_monai.seeds import draw_latent, phantom_seed
from retina_monai.synthesis.chains import Chain, PhotographGenerator
from retina_monai.synthesis.loading import load_chain

__all__ = ["generate"]

PHANTOM_SIZE = 512


def generate(
    bundle: str | Path = "pix2pix_vessel", n: int = 1, seed: int = 0, appearance: str = "random", trust: bool = False
) -> list[dict[str, Any]]:
    """Generate photographs with labels, from phantom vessel trees or from noise.

    Sample ``i`` depends on (seed, i) alone.

    Args:
        bundle, trust: as for :func:`retina_monai.load`.
        n: number of samples.
        seed: seed of vessel trees, noise and appearances.
        appearance: as for :class:`PhotographGenerator`.

    Returns:
        For each sample its pictures ``(C, size, size)`` by kind: ``image`` uint8 in [0, 255] and masks uint8 in {0, 1}.
        Samples from vessel trees have ``vessel``, ``fov``, ``laterality`` and, if the network takes it, ``disc``. No
        sample contains patient data.

    Raises:
        RetinaError: as :func:`load_chain`; ``n`` is below 1; or the bundle needs photographs as input.
    """
    if n < 1:
        raise RetinaError(f"n must be at least 1, got {n}")
    chain = load_chain(bundle, trust=trust)
    if isinstance(chain, PhotographGenerator):
        return [_around_phantom(chain, seed, index, appearance) for index in range(n)]
    if chain.takes:
        raise RetinaError(
            f"{chain.name} takes {' and '.join(chain.takes)} as input: use load({chain.name!r}) instead of generate"
        )
    return [_from_noise(chain, seed, index) for index in range(n)]


def _around_phantom(chain: PhotographGenerator, seed: int, index: int, appearance: str) -> dict[str, Any]:
    phantom = generate_phantom(phantom_seed(seed, index), PHANTOM_SIZE)
    disc = phantom["disc"] if "disc" in chain.takes and phantom["disc"].any() else None
    fitted = {} if disc is None else {"disc": fit_disc(disc, phantom["fov"], chain.size)}
    return {
        "image": chain(phantom["vessel"], phantom["fov"], appearance, seed, index, disc),
        **fitted,
        "vessel": fit_label(phantom["vessel"], phantom["fov"], chain.size),
        "fov": fit_vessel_map(phantom["vessel"], phantom["fov"], chain.size)["fov"],
        "laterality": phantom["laterality"],
    }


def _from_noise(chain: Chain, seed: int, index: int) -> dict[str, Any]:
    drawn = chain.draw({}, draw_latent(seed, index))
    pictures = {kind: drawn[kind] for kind in KINDS if kind in drawn}
    return {kind: np.clip(np.rint(picture), 0, 255).astype(np.uint8) for kind, picture in pictures.items()}
