"""Any bundle as a function, by what it is for, and any chain by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retina_monai.bundle import bundle_kinds, find_bundle, is_bare
from retina_monai.errors import RetinaError
from retina_monai.synthesis.chains import CHAINS, Chain, PhotographGenerator
from retina_monai.synthesis.segmentation import VesselSegmenter
from retina_monai.synthesis.stages import Outpainter, VesselColorer

__all__ = ["load", "load_chain"]

LOADERS: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[[str | Path, Any, bool], Any]] = {
    (("vessel_share",), ("image",)): PhotographGenerator,
    (("image",), ("vessel",)): VesselSegmenter,
    (("vessel_share",), ("color_vessel",)): VesselColorer,
    (("color_vessel", "vessel_share"), ("image",)): Outpainter,
}
"""By the kinds that a bundle takes and makes."""


def load(
    bundle: str | Path = "pix2pix_vessel",
    checkpoint: str | Path | Mapping[str, str | Path] | None = None,
    trust: bool = False,
) -> Any:
    """Load a bundle, or a chain of several, as a function.

    Args:
        bundle: name of a bundle of this library, or of a chain (``two_stage``); or the path of a bundle (``./mine``);
            or ``FOLDER/two_stage``, the chain made of the bundles in ``FOLDER``.
        checkpoint: other weights than the released ones; of a chain a dictionary, by the names of its bundles.
        trust: whether a bundle of another origin may run its code (:func:`retina_monai.bundle.find_bundle`).

    Returns:
        Of a bundle for synthesis, and of a chain, vessel map -> photograph (:class:`Chain`); of one for segmentation,
        photograph -> probabilities of vessels (:class:`VesselSegmenter`); of one for colouring, vessel map -> colour
        vessel mask (:class:`VesselColorer`); of one for outpainting, colour vessel mask, vessel map and
        field of view -> photograph in the canonical appearance (:class:`Outpainter`).

    Raises:
        RetinaError: no such bundle, one of another origin without ``trust``, one for another task, or weights that do
            not fit it.
    """
    chain = Path(bundle).name
    if chain in CHAINS and is_bare(bundle):
        return CHAINS[chain](checkpoint)
    if chain in CHAINS and not Path(bundle).exists():
        return CHAINS[chain](checkpoint, folder=Path(bundle).parent, trust=trust)
    takes, makes = bundle_kinds(find_bundle(bundle, trust))
    if (takes, makes) not in LOADERS:
        known = "; ".join(f"{_from_to(*kinds)}" for kinds in LOADERS)
        raise RetinaError(f"bundle {bundle} makes {_from_to(takes, makes)}: load takes bundles that make {known}")
    return LOADERS[takes, makes](bundle, checkpoint, trust)


def load_chain(
    bundle: str | Path = "pix2pix_vessel",
    checkpoint: str | Path | Mapping[str, str | Path] | None = None,
    trust: bool = False,
) -> Chain:
    """As :func:`load`, of what paints photographs around vessel maps.

    Raises:
        RetinaError: the bundle does something else; or as :func:`load`.
    """
    loaded = load(bundle, checkpoint, trust)
    if isinstance(loaded, Chain):
        return loaded
    raise RetinaError(
        f"bundle {bundle} alone makes no photograph of a vessel map: give {', '.join(CHAINS)}, or one that does"
    )


def _from_to(takes: tuple[str, ...], makes: tuple[str, ...]) -> str:
    return f"{' and '.join(makes) or 'no kind of picture'} from {' and '.join(takes) or 'nothing'}"
