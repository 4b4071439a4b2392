"""A bundle as a function: its network, and what its ``inference.json`` does before and after it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from retina_monai.bundle import digest, find_bundle
from retina_monai.errors import RetinaError, root_error

__all__ = ["LoadedBundle"]


class LoadedBundle:
    """A network with the preprocessing and postprocessing of its bundle.

    Args:
        bundle: name of a bundle of this library, or the path of one.
        checkpoint: other weights than the released ones.
        trust: whether a bundle of another origin may run its code (:func:`retina_monai.bundle.find_bundle`).

    Attributes:
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
            RetinaError: what the part says to its settings.
        """
        try:
            return self._parser.get_parsed_content(name)
        except Exception as error:  # whatever a part raises, MONAI wraps it
            if mistake := root_error(error):
                raise RetinaError(str(mistake)) from error
            raise

    def run(self, latent: int = 0, **pictures: NDArray) -> NDArray[np.float32]:
        """Prepare pictures, run the network on them, and bring what it makes to its scale.

        One sample at a time: the convolutions of a batch add up in another order, and a grey level here and there is
        another.

        Args:
            latent: tells the noise of a network that starts from noise.
            pictures: as the preprocessing takes them; ``image`` is what the network is given.

        Returns:
            ``(C, size, size)``.
        """
        prepared = self._preprocessing(pictures)["image"][None].to(self._device)
        with torch.inference_mode():
            drawn = {"noise": self._noise({"image": prepared, "latent": torch.tensor([latent])})} if self._noise else {}
            made = self._inferer(inputs=prepared, network=self.network, **drawn)
            pred = self._postprocessing({"pred": made[0]})["pred"]
        picture: NDArray[np.float32] = torch.as_tensor(pred).as_subclass(torch.Tensor).cpu().float().numpy()
        return picture
