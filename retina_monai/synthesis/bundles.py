"""A bundle as a function: its network, and what its ``inference.json`` does before and after it."""

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
        bundle: name of a bundle of this library, or the path of one.
        checkpoint: other weights than the released ones.
        trust: whether a bundle of another origin may run its code (:func:`retina_monai.bundle.find_bundle`).

    Attributes:
        takes: kinds of picture (:mod:`retina_monai.kinds`) that it is given.
        makes: kinds that it makes.
        root: folder of the bundle.
        name: of that folder.
        size: pixels a side of the pictures that it takes.
        network: in evaluation mode.

    Raises:
        RetinaError: no such bundle, or weights that do not fit it.
    """

    def __init__(self, bundle: str | Path, checkpoint: str | Path | None = None, trust: bool = False) -> None:
        self.root = find_bundle(bundle, trust)
        self.name = self.root.name
        self._parser = ConfigParser()
        self._parser.read_config(self.root / "configs" / "inference.json")
        self._parser["bundle_root"] = str(self.root)
        if checkpoint is not None:
            self._parser["checkpoint"] = Path(
                checkpoint
            ).expanduser()  # in text, MONAI gives meanings of its own to $, @, % and #
        self.size, self._device = self.part("size"), self.part("device")
        chain = ("preprocessing", "network", "inferer", "postprocessing")
        self._preprocessing, self.network, self._inferer, self._postprocessing = map(self.part, chain)
        self._noise = self.part("sample_noise") if "sample_noise" in self._parser else None
        self.takes = network_input(self.root).kinds
        self.network_output = network_output(self.root)
        self.makes = self.network_output.kinds
        self._network_input = self.part("network_input")

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the file from which they were loaded."""
        return digest(self.part("checkpoint"))

    @property
    def drawn_by(self) -> dict[str, Any]:
        """How a network that starts from noise samples, on which what it draws depends; of others nothing."""
        drawn_by: dict[str, Any] = getattr(self.network, "drawn_by", {})
        return drawn_by

    def draw_as(self, settings: Mapping[str, Any]) -> None:
        """From now on sample as a set was drawn; of a network that starts from no noise nothing changes.

        Args:
            settings: of ``settings.json`` in that set.
        """
        if told := {key: settings[key] for key in self.drawn_by if key in settings}:
            self.network.sample_by(**told)

    def part(self, name: str) -> Any:
        """A part of ``inference.json``, evaluated.

        Raises:
            RetinaError: there is no such part, or as :func:`part`.
        """
        if name not in self._parser:
            path = self.root / "configs" / "inference.json"
            raise RetinaError(f"{path} has no {name}: take it from a bundle of this library")
        return part(self._parser, name)

    def options(self, **values: Any) -> ConfigParser:
        """Its ``inference.json`` with other settings and the network that is loaded.

        Args:
            values: of the keys that are to be changed.
        """
        parser = ConfigParser(copy(self._parser.config))
        parser["network"] = self.network
        for key, value in values.items():
            parser[key] = value
        return parser

    def draw(self, sample: Mapping[Any, Any], latent: int = 0) -> dict[Any, Any]:
        """Add to a sample what the network makes of it.

        Args:
            sample: pictures ``(C, H, W)`` by kind, among them those that it takes: masks in {0, 1}, all others in
                [0, 255]. A network that only finds masks takes pictures of any size.
            latent: from which the noise of a network that starts from noise is drawn.

        Returns:
            The sample, with what :meth:`retina_monai.data.sets.network_format.NetworkOutput.__call__` adds to it, and
            for each mask that was found in a picture, ``<kind>_by``: the bundle and the digest of its weights.
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
        """Whether it takes pictures of any size: it finds masks in photographs, and draws nothing."""
        return self.takes == ("image",) and self.network_output.masks_only

    def run(self, image: NDArray[np.float32], latent: int = 0) -> NDArray[np.float32]:
        """Prepare the network's input, run the network on it, and bring what it makes to its scale.

        One sample at a time: the convolutions of a batch add up in another order, and a grey level here and there is
        another.

        Args:
            image: as the preprocessing takes it.
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
    """A part of a config, evaluated.

    Raises:
        RetinaError: the part refuses its settings.
    """
    try:
        return parser.get_parsed_content(name)
    except Exception as error:  # whatever a part raises, MONAI wraps it
        if mistake := root_error(error):
            raise RetinaError(str(mistake)) from error
        raise
