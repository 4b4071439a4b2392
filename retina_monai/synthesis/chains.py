"""Chains of bundles, each of which adds the output of its network to a sample.

A sample is a dictionary of pictures by kind (:mod:`retina_monai.kinds`). A chain is valid if the inputs of every bundle
are among the given kinds and the outputs of the bundles before it. ``load("a+b")`` chains any two bundles;
:data:`CHAINS` names some chains. Any object with ``draw(sample, latent)`` can replace a bundle, for example to remove
specks from vessel maps first:

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
from retina_monai.data.sets.appearances import Appearances, appearance_picture
from retina_monai.data.sets.network_format import NetworkOutput
from retina_monai.data.sets.vessel_maps import fit_disc, fit_vessel_map
from retina_monai.errors import RetinaError
from retina_monai.handlers import to_uint8
from retina_monai.seeds import draw_latent, texture_generator
from retina_monai.synthesis.arrays import vessels_and_masks
from retina_monai.synthesis.bundles import LoadedBundle
from retina_monai.transforms import Appearance, render_appearance
from retina_monai.transforms.field_of_view import circle
from retina_monai.transforms.vessel_label import HALF

__all__ = ["ADDED", "CHAINS", "Chain", "PhotographGenerator"]

VESSELS = {"vessel", "vessel_share"}
ADDED = {"disc", "appearance_map"}
"""Kinds that :func:`completed` adds to vessel maps."""

CHAINS = {"two_stage": ("pix2pix_color_vessel", "lama_fundus")}
"""Named chains. ``two_stage`` draws the vessels in colour, then paints the photograph around them."""


class Chain:
    """Run several loaded bundles in sequence.

    Args:
        name: name of the chain.
        bundles: its bundles, in order.

    Attributes:
        takes: kinds of its input pictures.
        makes: kinds of its output pictures.
        size: side length of its output in pixels.
        drawing: the last bundle that makes photographs, else the last bundle; its ``writer`` writes the samples.
        root: folder of that bundle, whose ``runs`` is the default place for output.

    Raises:
        RetinaError: the bundles differ in size, share a name or make the same kind, or a network does not support its
            size.
    """

    def __init__(self, name: str, *bundles: LoadedBundle) -> None:
        self.name, self.bundles = name, bundles
        sizes = {bundle.name: bundle.size for bundle in bundles if not bundle.resizes}
        if len({bundle.name for bundle in bundles}) < len(bundles):
            raise RetinaError(f"{name} has several bundles named {bundles[0].name}: give each a different name")
        if len(set(sizes.values())) > 1:
            named = " and ".join(f"{bundle} of {size}" for bundle, size in sizes.items())
            raise RetinaError(f"{name} has bundles of different sizes, {named} pixels: give both the same size")
        for bundle in bundles:
            check_size(bundle.network, bundle.size)
        self.takes, self.makes = _ends(name, bundles)
        self.drawing = next((bundle for bundle in reversed(bundles) if "image" in bundle.makes), bundles[-1])
        self.size, self.root = self.drawing.size, self.drawing.root

    @property
    def network_output(self) -> NetworkOutput:
        """The outputs of all bundles, as of one network."""
        return NetworkOutput(tuple(channel for bundle in self.bundles for channel in bundle.network_output.channels))

    @cached_property
    def appearances(self) -> Appearances | None:
        """Appearances to choose from; ``None`` if it makes no photographs or keeps their appearance."""
        appearances: Appearances | None = None
        if "appearances" in self.drawing.options():
            appearances = self.drawing.part("appearances")
        return appearances

    @property
    def checkpoint(self) -> str | Path | dict[str, str | Path]:
        """File of the weights; for several bundles a dictionary by bundle name."""
        files = {bundle.name: bundle.part("checkpoint") for bundle in self.bundles}
        return files if len(files) > 1 else self.bundles[0].part("checkpoint")

    @property
    def roots(self) -> Path | dict[str, Path]:
        """Folder of the bundle; for several bundles a dictionary by bundle name."""
        return {bundle.name: bundle.root for bundle in self.bundles} if len(self.bundles) > 1 else self.root

    @cached_property
    def weights(self) -> str | dict[str, str]:
        """SHA-256 of the weights; for several bundles a dictionary by bundle name."""
        weights = {bundle.name: bundle.weights for bundle in self.bundles}
        return weights if len(weights) > 1 else self.bundles[0].weights

    def draw(self, sample: Mapping[Any, Any], latent: int = 0) -> dict[Any, Any]:
        """Add the output of every bundle to a sample.

        Args:
            sample: pictures ``(C, size, size)`` by kind, including all of ``takes``: masks in {0, 1}, others in
                [0, 255].
            latent: seeds the noise of networks that start from noise.

        Returns:
            The sample with the pictures added. Photographs are in the canonical appearance and not rounded.
        """
        drawn = dict(sample)
        for bundle in self.bundles:
            drawn = bundle.draw(completed(drawn, bundle), latent)
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
        disc: NDArray | None = None,
    ) -> NDArray[np.uint8]:
        """Paint one photograph.

        Args:
            vessel: vessel map ``(H, W)`` or ``(1, H, W)`` of any size: Boolean, {0, 1}, or uint8 with
                vessels above 127.
            fov: field of view of the same shape and encoding; defaults to the circle inscribed in the frame.
            appearance: ``average``, a camera's name, ``random``, ``random:CAMERA``, or the path of a photograph.
            seed, index: seed a random appearance, the texture, and the noise of a network that starts from noise.
            disc: disc mask in the format of ``fov``, for a network that takes one; by default the disc is found from
                the vessel map (:class:`retina_monai.synthesis.DiscFinder`).

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.

        Raises:
            RetinaError: as :func:`retina_monai.synthesis.arrays.vessels_and_masks`; or the appearance is unknown.
        """
        masks, inside = vessels_and_masks(vessel, fov, disc=disc)
        fitted = fit_vessel_map(masks["vessel"], inside, self.size)
        if disc is not None:
            fitted["disc"] = fit_disc(masks["disc"], inside, self.size)
        chosen = None if self.appearances is None else self.appearances.choose(appearance, seed, index)
        return self.paint(fitted, chosen, texture_generator(seed, index), draw_latent(seed, index))

    def paint(
        self,
        sample: Mapping[Any, Any],
        appearance: Appearance | None = None,
        random: np.random.Generator | None = None,
        latent: int = 0,
    ) -> NDArray[np.uint8]:
        """Paint around a vessel map that already has the network's size and encoding.

        Args:
            sample: ``vessel_share``, float32 ``(1, size, size)`` in [0, 255], and ``fov``, ``(1, size, size)`` in
                {0, 1}.
            appearance: appearance of the photograph; ``None`` keeps it as the network paints it.
            random: draws the texture of the appearance; ``None`` omits the texture.
            latent: as for :meth:`draw`.

        Returns:
            uint8 ``(3, size, size)``, RGB; black outside the field of view.
        """
        given = {} if appearance is None else {"appearance_map": appearance_picture(appearance, self.size)}
        image = torch.from_numpy(self.draw({**given, **sample}, latent)["image"]) / 127.5 - 1
        if appearance is None:
            return to_uint8(image)
        drawn = torch.from_numpy(np.rint(sample["vessel_share"]) >= HALF)
        return to_uint8(render_appearance(image, torch.from_numpy(sample["fov"]), drawn, appearance, random))


def completed(sample: Mapping[Any, Any], bundle: LoadedBundle) -> dict[Any, Any]:
    """Add what a bundle takes and the sample lacks.

    The other form of a vessel map, its field of view and its disc follow from the map. The appearance is the average of
    the bundle's training eyes.

    Args:
        sample: pictures ``(C, H, W)`` by kind.
        bundle: bundle to run next.
    """
    given = with_both_vessels(dict(sample)) if VESSELS & {*bundle.takes} else dict(sample)
    if "disc" in bundle.takes and "disc" not in given:
        given = bundle.part("find_disc")(given)
    if "appearance_map" in bundle.takes and "appearance_map" not in given:
        given["appearance_map"] = appearance_picture(bundle.part("appearances").average(), bundle.size)
    return given


def with_both_vessels(sample: dict[Any, Any]) -> dict[Any, Any]:
    """Complete a sample so that it has the vessel map as a mask and as shares, and a field of view.

    Args:
        sample: pictures ``(C, H, W)`` by kind, including ``vessel`` or ``vessel_share``. The default field of view is
            the circle inscribed in the frame.
    """
    added: dict[Any, Any] = {}
    if "vessel_share" not in sample:
        added["vessel_share"] = np.float32(255) * sample["vessel"]
    if "vessel" not in sample:
        added["vessel"] = (np.asarray(sample["vessel_share"]) >= HALF).astype(np.uint8)
    if "fov" not in sample:
        added["fov"] = circle((sample | added)["vessel"].shape[-1]).astype(np.uint8)
    return sample | added


def _ends(name: str, bundles: tuple[LoadedBundle, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The input kinds and the output kinds of a chain."""
    takes: dict[str, None] = {}
    makes: dict[str, None] = {}
    for bundle in bundles:
        takes |= dict.fromkeys(kind for kind in bundle.takes if kind not in _with_vessels(makes, ADDED))
        if again := [kind for kind in bundle.makes if kind in _with_vessels(takes | makes)]:
            raise RetinaError(f"{name}: {bundle.name} makes {again[0]}, which the samples already have")
        makes |= dict.fromkeys(bundle.makes)
    return tuple(takes), tuple(makes)


def _with_vessels(kinds: Collection[str], added: Collection[str] = ()) -> set[str]:
    """``kinds`` with those that :func:`with_both_vessels` adds to vessel maps, and ``added``."""
    return {*kinds} | ({*VESSELS, "fov", *added} if VESSELS & {*kinds} else set())
