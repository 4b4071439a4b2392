"""Chains of bundles: vessel map in, photograph out, by one network after the other.

A chain is a class with the loaded bundles that it is made of and a method :meth:`~Chain.draw`, which calls them. One
that cleans a map of specks first, say:

    class Cleaned(Chain):
        def __init__(self, checkpoint=None):
            self.paint_around = LoadedBundle("pix2pix_vessel", checkpoint)
            super().__init__("cleaned", self.paint_around)

        def draw(self, share, fov, latent=0):
            return self.paint_around.run(image=median_filter(share, 3))

    synthesize(Cleaned(), "VESSELS", "OUT")

Written into :data:`CHAINS`, it has a name for the command line. The last bundle tells the appearances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retina_monai.bundle import check_size
from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.sets.appearances import Appearances
from retina_monai.data.sets.vessel_maps import fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.handlers import to_uint8
from retina_monai.seeds import draw_latent, texture_generator
from retina_monai.synthesis.arrays import as_mask
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.synthesis.stages import Outpainter, VesselColorer
from retina_monai.transforms import Appearance, render_appearance

__all__ = ["CHAINS", "Chain", "PhotographGenerator", "TwoStage"]


class Chain(ABC):
    """Photographs around vessel maps, by loaded bundles.

    Args:
        name: of the chain.
        bundles: that it is made of, in their order.

    Attributes:
        size: pixels a side of its photographs.
        appearances: that they can be given.
        root: folder of the last bundle, in whose ``runs`` is written what has no other place.

    Raises:
        RetinaError: the bundles are of different sizes or share a name, or a network cannot take its size.
    """

    def __init__(self, name: str, *bundles: LoadedBundle) -> None:
        sizes = {bundle.name: bundle.size for bundle in bundles}
        if len(sizes) < len(bundles):
            raise RetinaError(f"{name} is made of bundles of one name, {bundles[0].name}: give each a name of its own")
        if len(set(sizes.values())) > 1:
            told = " and ".join(f"{bundle} of {size}" for bundle, size in sizes.items())
            raise RetinaError(f"{name} is made of bundles of different sizes, {told} pixels: give both one size")
        for bundle in bundles:
            check_size(bundle.network, bundle.size)
        self.name, self.size, self.root = name, bundles[-1].size, bundles[-1].root
        self.appearances: Appearances = bundles[-1].part("appearances")
        self.bundles = bundles

    @property
    def checkpoint(self) -> str | Path | dict[str, str | Path]:
        """File of the weights; of several bundles by their names."""
        files = {bundle.name: bundle.part("checkpoint") for bundle in self.bundles}
        return files if len(files) > 1 else self.bundles[0].part("checkpoint")

    @property
    def roots(self) -> Path | dict[str, Path]:
        """Folder of the bundle; of several by their names."""
        return {bundle.name: bundle.root for bundle in self.bundles} if len(self.bundles) > 1 else self.root

    @cached_property
    def weights(self) -> str | dict[str, str]:
        """SHA-256 of the weights; of several bundles by their names."""
        weights = {bundle.name: bundle.weights for bundle in self.bundles}
        return weights if len(weights) > 1 else self.bundles[0].weights

    @abstractmethod
    def draw(self, share: NDArray[np.float32], fov: NDArray[np.uint8], latent: int = 0) -> NDArray[np.float32]:
        """Paint a photograph in the canonical appearance.

        Args:
            share: ``(size, size)`` in [0, 255], what of each pixel vessels cover.
            fov: ``(1, size, size)`` in {0, 1}.
            latent: tells the noise of a network that starts from noise.

        Returns:
            ``(3, size, size)`` in [0, 255], RGB, not rounded.
        """

    def __call__(
        self,
        vessel: NDArray,
        fov: NDArray | None = None,
        appearance: str = "average",
        seed: int = 0,
        index: int = 0,
    ) -> NDArray[np.uint8]:
        """Paint one photograph.

        Args:
            vessel: vessel map ``(H, W)`` or ``(1, H, W)`` of any size: Boolean, {0, 1}, or uint8 with
                vessels above 127.
            fov: field of view of the same shape, by the same rule; ``None``: the circle inscribed in the frame.
            appearance: ``average``, a camera's name, ``random``, ``random:CAMERA``, or the path of a photograph.
            seed, index: of a random appearance, of the texture, and of the noise of a network that starts from noise.

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.

        Raises:
            RetinaError: as :func:`retina_monai.synthesis.arrays.as_mask` and
                :func:`retina_monai.data.files.mask_checks.check_masks`; arrays of different sizes; an unknown
                appearance.
        """
        mask = as_mask(vessel, "vessel")
        inside = None if fov is None else as_mask(fov, "fov")
        if inside is not None and inside.shape != mask.shape:
            raise RetinaError(f"fov is {inside.shape[1:]} and vessel {mask.shape[1:]}: give arrays of one size")
        names = {"vessel": "vessel"} | ({} if inside is None else {"fov": "fov"})
        check_masks({"vessel": mask}, names, inside)
        fitted = fit_vessel_map(mask, inside, self.size)
        chosen = self.appearances.choose(appearance, seed, index)
        return self.paint(
            fitted["image"], fitted["fov"], chosen, texture_generator(seed, index), draw_latent(seed, index)
        )

    def paint(
        self,
        vessel: NDArray[np.float32],
        fov: NDArray[np.uint8],
        appearance: Appearance,
        random: np.random.Generator | None = None,
        latent: int = 0,
    ) -> NDArray[np.uint8]:
        """Paint around a vessel map that is of the network's size and form already.

        Args:
            vessel: float32 ``(size, size)`` in [0, 255], the share of each pixel that vessels cover.
            fov: ``(1, size, size)`` in {0, 1}.
            appearance: that the photograph gets.
            random: of the appearance's texture; ``None``: no texture.
            latent: as for :meth:`draw`.

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.
        """
        image = torch.from_numpy(self.draw(vessel, fov, latent)) / 127.5 - 1
        drawn = torch.from_numpy(np.rint(vessel) >= 128)[None]
        return to_uint8(render_appearance(image, torch.from_numpy(fov), drawn, appearance, random))


class PhotographGenerator(Chain):
    """A chain of one bundle, which paints photographs around vessel maps.

    Args:
        bundle, checkpoint, trust: as for :class:`LoadedBundle`.

    Raises:
        RetinaError: as :class:`LoadedBundle`.
    """

    def __init__(
        self, bundle: str | Path = "pix2pix_vessel", checkpoint: str | Path | None = None, trust: bool = False
    ) -> None:
        self.bundle = LoadedBundle(bundle, checkpoint, trust)
        super().__init__(self.bundle.name, self.bundle)

    def draw(self, share: NDArray[np.float32], fov: NDArray[np.uint8], latent: int = 0) -> NDArray[np.float32]:
        return self.bundle.run(latent, image=share)


class TwoStage(Chain):
    """The vessels in colour first, then all else around them, which leaves them untouched.

    Args:
        checkpoint: other weights than the released ones: of one of the bundles or of both, by their names.
        colorer, outpainter: names of the bundles, or their paths.
        folder: where bundles of these names lie; ``None``: they are this library's.
        trust: as for :class:`LoadedBundle`, of both.

    Raises:
        RetinaError: ``checkpoint`` names no bundle of the chain; as :class:`LoadedBundle` and :class:`Chain`.
    """

    def __init__(
        self,
        checkpoint: Mapping[str, str | Path] | None = None,
        colorer: str | Path = "pix2pix_color_vessel",
        outpainter: str | Path = "lama_fundus",
        folder: str | Path | None = None,
        trust: bool = False,
    ) -> None:
        bundles = [bundle if folder is None else Path(folder) / bundle for bundle in (colorer, outpainter)]
        first, second = _weights_of("two_stage", [Path(bundle).name for bundle in bundles], checkpoint)
        self.color = VesselColorer(bundles[0], first, trust)
        self.outpaint = Outpainter(bundles[1], second, trust)
        super().__init__("two_stage", self.color, self.outpaint)

    def draw(self, share: NDArray[np.float32], fov: NDArray[np.uint8], latent: int = 0) -> NDArray[np.float32]:
        return self.outpaint.draw(self.color(share), share, fov)


CHAINS: dict[str, Callable[..., Chain]] = {"two_stage": TwoStage}
"""Chains of several bundles by name.

Each takes ``checkpoint``, by the names of its bundles; and, to be found by the path of a folder of bundles (``load``),
``folder`` and ``trust``.
"""


def _weights_of(chain: str, bundles: list[str], checkpoint: Any) -> list[str | Path | None]:
    """Of each bundle the weights that are given, or none."""
    given = {} if checkpoint is None else checkpoint
    if not isinstance(given, Mapping) or not set(given) <= set(bundles):
        names = " and ".join(bundles)
        raise RetinaError(
            f"{chain} is made of {names}: give --checkpoint as {{'{bundles[-1]}': 'FILE'}}, of one of them or of both"
        )
    return [given.get(bundle) for bundle in bundles]
