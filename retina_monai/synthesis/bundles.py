"""A bundle as a function: its network with the preprocessing and postprocessing of its ``inference.json``."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from retina_monai.bundle import digest, find_bundle, network_input, network_output
from retina_monai.errors import RetinaError, root_error
from retina_monai.transforms.field_of_view import resize_area

__all__ = ["LoadedBundle"]


class LoadedBundle:
    """A network with the preprocessing and postprocessing of its bundle.

    Args:
        bundle: name of a bundle of this library, or path of a bundle.
        checkpoint: weights to use instead of the released ones.
        trust: whether a bundle from outside this library may run its code (:func:`retina_monai.bundle.find_bundle`).
        size: side length of its pictures in pixels, instead of the size in its ``inference.json``.

    Attributes:
        takes: kinds of its input pictures (:mod:`retina_monai.kinds`).
        makes: kinds of its output pictures.
        root: folder of the bundle.
        name: name of that folder.
        size: side length of its input pictures in pixels.
        network: the network, in evaluation mode.

    Raises:
        RetinaError: there is no such bundle, or the weights do not fit its network.
    """

    def __init__(
        self,
        bundle: str | Path,
        checkpoint: str | Path | None = None,
        trust: bool = False,
        size: int | None = None,
    ) -> None:
        self.root = find_bundle(bundle, trust)
        self.name = self.root.name
        self._parser = ConfigParser()
        self._parser.read_config(self.root / "configs" / "inference.json")
        self._parser["bundle_root"] = str(self.root)
        if checkpoint is not None:
            self._parser["checkpoint"] = Path(checkpoint).expanduser()  # MONAI would interpret $, @, % and # in a str
        if size is not None:
            self._parser["size"] = size
        self.size, self._device = self.part("size"), self.part("device")
        chain = ("preprocessing", "network", "inferer", "postprocessing")
        self._preprocessing, self.network, self._inferer, self._postprocessing = map(self.part, chain)
        self._noise = self.part("sample_noise") if "sample_noise" in self._parser else None
        self.network_output = network_output(self.root)
        self.makes = self.network_output.kinds
        self._network_input = self.part("network_input")
        self.takes = network_input(self.root, self.network).kinds

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the file of weights."""
        return digest(self.part("checkpoint"))

    @property
    def drawn_by(self) -> dict[str, Any]:
        """Sampling settings of a network that starts from noise; empty for other networks."""
        drawn_by: dict[str, Any] = getattr(self.network, "drawn_by", {})
        return drawn_by

    def draw_as(self, settings: Mapping[str, Any]) -> None:
        """Use the sampling settings of an existing set from now on. Has no effect on networks without noise.

        Args:
            settings: contents of ``settings.json`` of that set.
        """
        if sampling := {key: settings[key] for key in self.drawn_by if key in settings}:
            self.network.sample_by(**sampling)

    def part(self, name: str) -> Any:
        """Evaluate a part of ``inference.json``.

        Raises:
            RetinaError: there is no such part, or as :func:`part`.
        """
        if name not in self._parser:
            path = self.root / "configs" / "inference.json"
            raise RetinaError(f"{path} has no {name}: copy it from a bundle of this library")
        return part(self._parser, name)

    def options(self, **values: Any) -> ConfigParser:
        """Its ``inference.json`` with changed settings and the loaded network.

        Args:
            values: new values by key.
        """
        parser = ConfigParser(copy(self._parser.config))
        parser["network"] = self.network
        for key, value in values.items():
            parser[key] = value
        return parser

    def draw(self, sample: Mapping[Any, Any], latent: int = 0) -> dict[Any, Any]:
        """Add the network's output to a sample.

        Args:
            sample: pictures ``(C, H, W)`` by kind, including all of ``takes``: masks in {0, 1}, others in [0, 255].
                A segmentation network takes photographs of any size.
            latent: seeds the noise of a network that starts from noise.

        Returns:
            The sample with the entries added by :meth:`retina_monai.data.sets.network_format.NetworkOutput.__call__`.
            Each mask segmented from a photograph also gets ``<kind>_by``: the bundle and the digest of its weights.
        """
        given = {kind: np.asarray(sample[kind], np.float32) for kind in self.takes} if self.resizes else sample
        side = given[self.takes[0]].shape[-1] if self.resizes else self.size
        if side != self.size:
            given = {kind: resize_area(picture, self.size) for kind, picture in given.items()}
        pred = self.run(self._network_input({**sample, **given, "latent": latent}), latent)
        made = self.network_output(sample, pred if side == self.size else resize_area(pred, side))
        found = self.makes if self.resizes else ()
        return {**made, **{f"{kind}_by": f"{self.name} {self.weights[:12]}" for kind in found}}

    @property
    def resizes(self) -> bool:
        """Whether it takes pictures of any size, as networks that only segment photographs do."""
        return self.takes == ("image",) and self.network_output.masks_only

    def run(self, image: NDArray[np.float32], latent: int = 0) -> NDArray[np.float32]:
        """Preprocess one input, run the network, and postprocess its prediction.

        Samples are never batched: convolutions sum in another order in a batch, which changes single grey levels.

        Args:
            image: input of the preprocessing.
            latent: as for :meth:`draw`.

        Returns:
            ``(C, size, size)``.
        """
        prepared = self._preprocessing({"image": image})["image"][None].to(self._device)
        with torch.inference_mode():
            drawn = {"noise": self._noise({"image": prepared, "latent": torch.tensor([latent])})} if self._noise else {}
            made = self._inferer(inputs=prepared, network=self.network, **drawn)
            pred = self._postprocessing({"pred": made[0]})["pred"]
        picture: NDArray[np.float32] = torch.as_tensor(pred).as_subclass(torch.Tensor).cpu().float().numpy()
        return picture


def part(parser: ConfigParser, name: str) -> Any:
    """Evaluate a part of a config.

    Raises:
        RetinaError: the part rejects its settings.
    """
    try:
        return parser.get_parsed_content(name)
    except Exception as error:  # MONAI wraps any exception
        if mistake := root_error(error):
            raise RetinaError(str(mistake)) from error
        raise
