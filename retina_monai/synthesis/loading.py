"""Load bundles and chains of bundles as functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from retina_monai.bundle import bundle_kinds, find_bundle, is_bare
from retina_monai.errors import RetinaError
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.synthesis.chains import ADDED, CHAINS, Chain, PhotographGenerator
from retina_monai.synthesis.disc_segmentation import DiscSegmenter, MapDiscSegmenter
from retina_monai.synthesis.segmentation import VesselSegmenter
from retina_monai.synthesis.stages import Outpainter, VesselColorer

__all__ = ["load", "load_chain"]

JOIN = "+"
FUNCTIONS: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[..., Any]] = {
    (("image",), ("vessel",)): VesselSegmenter,
    (("image",), ("disc",)): DiscSegmenter,
    (("vessel_share",), ("disc",)): MapDiscSegmenter,
    (("vessel_share",), ("color_vessel",)): VesselColorer,
    (("vessel_share", "disc"), ("color_vessel",)): VesselColorer,
    (("color_vessel", "vessel_share"), ("image",)): Outpainter,
    (("color_vessel", "vessel_share", "disc"), ("image",)): Outpainter,
}
"""Input and output kinds of a bundle -> its function on arrays."""


def load(
    bundle: str | Path = "pix2pix_vessel",
    checkpoint: str | Path | Mapping[str, str | Path] | None = None,
    trust: bool = False,
    size: int | None = None,
) -> Any:
    """Load a bundle or a chain of bundles as a function.

    Args:
        bundle: name of a bundle of this library, or path of a bundle (``./mine``); several joined by ``+``; name of a
            chain (``two_stage``); or ``FOLDER/two_stage`` for the chain of the bundles in ``FOLDER``.
        checkpoint: weights to use instead of the released ones; for a chain a dictionary by bundle name.
        trust: whether a bundle from outside this library may run its code (:func:`retina_monai.bundle.find_bundle`).
        size: side length of its pictures in pixels, for networks that support other sizes than that of the bundle.

    Returns:
        The function depends on what the bundle or chain does:

        - it paints photographs: vessel map -> photograph (:class:`PhotographGenerator`);
        - it segments vessels: photograph -> vessel probabilities (:class:`VesselSegmenter`);
        - it segments the optic disc: photograph -> disc, confidence and laterality (:class:`DiscSegmenter`), or the
          same from a vessel map (:class:`MapDiscSegmenter`);
        - it colours vessels: vessel map -> colour vessel mask (:class:`VesselColorer`);
        - it outpaints: colour vessel mask, vessel map and field of view -> photograph in the canonical appearance
          (:class:`Outpainter`);
        - anything else: a :class:`Chain`, whose ``draw`` maps samples to samples.

    Raises:
        RetinaError: there is no such bundle, it is from outside this library and not trusted, it makes no picture, the
            bundles do not fit together, or the weights do not fit.
    """
    names = _bundles_of(bundle)
    if len(names) == 1 and checkpoint is not None and isinstance(checkpoint, Mapping):
        raise RetinaError(f"{bundle} is one bundle: give --checkpoint as a file, not {dict(checkpoint)}")
    kinds = [bundle_kinds(find_bundle(name, trust)) for name in names]
    if len(names) == 1 and kinds[0] in FUNCTIONS:
        return FUNCTIONS[kinds[0]](names[0], checkpoint, trust, size)
    if imageless := [name for name, (_, makes) in zip(names, kinds, strict=True) if not makes]:
        raise RetinaError(f"bundle {imageless[0]} makes no picture: run it with python -m monai.bundle run")
    single = None if isinstance(checkpoint, Mapping) else checkpoint
    weights = [single] if len(names) == 1 else _weights_of(bundle, [Path(name).name for name in names], checkpoint)
    loaded = [LoadedBundle(name, file, trust, size) for name, file in zip(names, weights, strict=True)]
    named = Path(bundle).name if Path(bundle).name in CHAINS else JOIN.join(one.name for one in loaded)
    chain = Chain(named, *loaded)
    draws = "image" in chain.makes and {"vessel_share"} <= {*chain.takes} <= {"vessel_share", *ADDED}
    return PhotographGenerator(named, *loaded) if draws else chain


def load_chain(
    bundle: str | Path = "pix2pix_vessel",
    checkpoint: str | Path | Mapping[str, str | Path] | None = None,
    trust: bool = False,
    size: int | None = None,
) -> Chain:
    """As :func:`load`, but always return a :class:`Chain`.

    Raises:
        RetinaError: as :func:`load`.
    """
    loaded = load(bundle, checkpoint, trust, size)
    return loaded if isinstance(loaded, Chain) else Chain(loaded.name, loaded)


def _bundles_of(bundle: str | Path) -> list[str | Path]:
    """Names or paths of the bundles of a chain, or of the single bundle."""
    path = Path(bundle)
    if path.name in CHAINS and is_bare(bundle):
        return list(CHAINS[path.name])
    if path.name in CHAINS and not path.exists():
        return [path.parent / name for name in CHAINS[path.name]]
    return list(str(bundle).split(JOIN)) if JOIN in str(bundle) and not path.exists() else [bundle]


def _weights_of(
    chain: str | Path, bundles: list[str], checkpoint: str | Path | Mapping[str, str | Path] | None
) -> list[str | Path | None]:
    """Given weights of each bundle; ``None`` for the released ones."""
    given = {} if checkpoint is None else checkpoint
    if not isinstance(given, Mapping) or not set(given) <= set(bundles):
        names = " and ".join(bundles)
        raise RetinaError(
            f"{Path(chain).name} consists of {names}: give --checkpoint as {{'{bundles[-1]}': 'FILE'}} with one entry "
            "per bundle to replace"
        )
    return [given.get(bundle) for bundle in bundles]
