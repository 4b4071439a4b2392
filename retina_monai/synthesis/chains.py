"""Chains of bundles: each adds to a sample what its network makes of it.

A sample is a dictionary of pictures by kind (:mod:`retina_monai.kinds`). A chain is valid if every bundle finds the
kinds that it takes among those that were given and those that the bundles before it made. ``load("a+b")`` makes one of
any two bundles; :data:`CHAINS` gives names to some. Any object with ``draw(sample, latent)`` can stand for a bundle: to
clean vessel maps of specks first, say,

    class Cleaned(LoadedBundle):
        def draw(self, sample, latent=0):
            return super().draw({**sample, "vessel_share": median_filter(sample["vessel_share"], (1, 3, 3))}, latent)

    synthesize(PhotographGenerator("cleaned", Cleaned("pix2pix_vessel")), "VESSELS", "OUT")
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retina_monai.bundle import check_size
from retina_monai.data.files.mask_checks import check_masks
from retina_monai.data.sets.appearances import Appearances
from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.data.sets.vessel_maps import fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.handlers import to_uint8
from retina_monai.seeds import draw_latent, texture_generator
from retina_monai.synthesis.arrays import as_mask
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms import Appearance, render_appearance
from retina_monai.transforms.field_of_view import circle
from retina_monai.transforms.vessel_label import HALF

__all__ = ["CHAINS", "Chain", "PhotographGenerator"]

VESSELS = {"vessel", "vessel_share"}
CHAINS = {"two_stage": ("pix2pix_color_vessel", "lama_fundus")}
"""Names of chains: the vessels in colour first, then all else around them, which leaves them untouched."""


class Chain:
    """Loaded bundles, one after the other.

    Args:
        name: of the chain.
        bundles: that it is made of, in their order.

    Attributes:
        takes: kinds that have to be given.
        makes: kinds that its bundles make.
        size: pixels a side of what it draws.
        drawing: the last bundle that makes photographs, or else the last; its ``writer`` writes what the chain makes.
        root: folder of that bundle, in whose ``runs`` is written what has no other place.

    Raises:
        RetinaError: the bundles are of different sizes or share a name, one makes again what another made, or a network
            cannot take its size.
    """

    def __init__(self, name: str, *bundles: LoadedBundle) -> None:
        self.name, self.bundles = name, bundles
        sizes = {bundle.name: bundle.size for bundle in bundles if not bundle.resizes}
        if len({bundle.name for bundle in bundles}) < len(bundles):
            raise RetinaError(f"{name} is made of bundles of one name, {bundles[0].name}: give each a name of its own")
        if len(set(sizes.values())) > 1:
            named = " and ".join(f"{bundle} of {size}" for bundle, size in sizes.items())
            raise RetinaError(f"{name} is made of bundles of different sizes, {named} pixels: give both one size")
        for bundle in bundles:
            check_size(bundle.network, bundle.size)
        self.takes, self.makes = _ends(name, bundles)
        self.drawing = next((bundle for bundle in reversed(bundles) if "image" in bundle.makes), bundles[-1])
        self.size, self.root = self.drawing.size, self.drawing.root

    @property
    def network_output(self) -> NetworkOutput:
        """What its bundles make, as if one network did."""
        return NetworkOutput(tuple(channel for bundle in self.bundles for channel in bundle.network_output.channels))

    @cached_property
    def appearances(self) -> Appearances | None:
        """That its photographs can be given; ``None`` where it makes none, or each as it is to stay."""
        appearances: Appearances | None = None
        if "appearances" in self.drawing.options():
            appearances = self.drawing.part("appearances")
        return appearances

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

    def draw(self, sample: Mapping[Any, Any], latent: int = 0) -> dict[Any, Any]:
        """Add to a sample what the bundles make of it.

        Args:
            sample: pictures ``(C, size, size)`` by kind, among them those in ``takes``: masks in {0, 1}, all others in
                [0, 255].
            latent: from which the noise of networks that start from noise is drawn.

        Returns:
            The sample with more pictures; photographs are in the canonical appearance, and not rounded.
        """
        drawn = dict(sample)
        for bundle in self.bundles:
            if VESSELS & {*bundle.takes}:
                drawn = with_both_vessels(drawn)
            drawn = bundle.draw(drawn, latent)
        return drawn


class PhotographGenerator(Chain):
    """A chain that paints photographs around vessel maps."""

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
        chosen = None if self.appearances is None else self.appearances.choose(appearance, seed, index)
        return self.paint(fitted, chosen, texture_generator(seed, index), draw_latent(seed, index))

    def paint(
        self,
        sample: Mapping[Any, Any],
        appearance: Appearance | None = None,
        random: np.random.Generator | None = None,
        latent: int = 0,
    ) -> NDArray[np.uint8]:
        """Paint around a vessel map that is of the network's size and form already.

        Args:
            sample: ``vessel_share``, float32 ``(1, size, size)`` in [0, 255], and ``fov``, ``(1, size, size)`` in
                {0, 1}.
            appearance: that the photograph gets; ``None``: it stays as the network paints it.
            random: of the appearance's texture; ``None``: no texture.
            latent: as for :meth:`draw`.

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.
        """
        image = torch.from_numpy(self.draw(sample, latent)["image"]) / 127.5 - 1
        if appearance is None:
            return to_uint8(image)
        drawn = torch.from_numpy(np.rint(sample["vessel_share"]) >= HALF)
        return to_uint8(render_appearance(image, torch.from_numpy(sample["fov"]), drawn, appearance, random))


def with_both_vessels(sample: dict[Any, Any]) -> dict[Any, Any]:
    """A sample that has a vessel map, as a mask or as shares, with both, and with a field of view.

    Args:
        sample: pictures ``(C, H, W)`` by kind; without a field of view it is the circle inscribed in the frame.
    """
    made: dict[Any, Any] = {}
    if "vessel_share" not in sample:
        made["vessel_share"] = np.float32(255) * sample["vessel"]
    if "vessel" not in sample:
        made["vessel"] = (np.asarray(sample["vessel_share"]) >= HALF).astype(np.uint8)
    if "fov" not in sample:
        made["fov"] = circle((sample | made)["vessel"].shape[-1])[None].astype(np.uint8)
    return sample | made


def _ends(name: str, bundles: tuple[LoadedBundle, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds that have to be given to a chain, and those that it makes."""
    takes: dict[str, None] = {}
    makes: dict[str, None] = {}
    for bundle in bundles:
        takes |= dict.fromkeys(kind for kind in bundle.takes if kind not in _with_vessels(makes))
        if again := [kind for kind in bundle.makes if kind in _with_vessels(takes | makes)]:
            raise RetinaError(f"{name}: {bundle.name} makes {again[0]}, which its samples have already")
        makes |= dict.fromkeys(bundle.makes)
    return tuple(takes), tuple(makes)


def _with_vessels(kinds: Collection[str]) -> set[str]:
    """Kinds, with those that :func:`with_both_vessels` adds."""
    return {*kinds} | ({*VESSELS, "fov"} if VESSELS & {*kinds} else set())
