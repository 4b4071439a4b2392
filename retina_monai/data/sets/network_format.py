"""Convert the images of a sample to the channels of a network, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from numpy.typing import NDArray
from torch import Tensor

from retina_monai.kinds import KINDS
from retina_monai.networks.hashed_noise import hashed_normal

__all__ = ["NetworkInput", "NetworkInputs", "NetworkOutput"]

NOISE = 0  # stream number of the network's noise
GREY = np.array((0.299, 0.587, 0.114), np.float32)  # luma of ITU-R BT.601, like Pillow's mode "L"


@dataclass(frozen=True)
class NetworkInput:
    """Convert the images of a sample to the input of a bundle's preprocessing.

    Attributes:
        channels: kind of each channel.
        noise: channels, rows and columns of the noise, for a network that starts from noise.
    """

    channels: tuple[str, ...]
    noise: tuple[int, int, int] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """Required kinds, without duplicates."""
        return tuple(dict.fromkeys(self.channels))

    def __call__(self, sample: Mapping[Any, Any]) -> NDArray[np.float32]:
        """Concatenate the images of a sample, or draw noise.

        Args:
            sample: images ``(C, H, W)`` by kind, masks in {0, 1} and others in [0, 255]; for noise, its ``latent``.

        Returns:
            Images as float32 ``(C, H, W)`` in [0, 255], or ``(H, W)`` if there is one channel, the layout of grey
            files; or standard normal noise ``(C, H, W)``.
        """
        if self.noise is not None:
            return hashed_normal(torch.tensor([int(sample["latent"])]), NOISE, *self.noise)[0].numpy()
        parts = [_scaled(sample[kind], kind, self.channels.count(kind)) for kind in self.kinds]
        return parts[0][0] if len(self.channels) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class NetworkOutput:
    """Convert the output of a bundle's postprocessing to images by kind.

    Attributes:
        channels: kind of each channel.
    """

    channels: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Generated kinds, without duplicates."""
        return tuple(dict.fromkeys(self.channels))

    @property
    def masks_only(self) -> bool:
        """Whether the network predicts only masks, that is, segments its input."""
        return all(KINDS[kind].type == "mask" for kind in self.channels)

    def __call__(self, sample: Mapping[Any, Any], pred: Tensor | NDArray[np.float32]) -> dict[Any, Any]:
        """Add the network's output to a sample.

        Args:
            sample: sample whose images were the input.
            pred: output ``(C, H, W)``: probabilities in [0, 1] if the network predicts only masks, otherwise values in
                [0, 255].

        Returns:
            The sample with float32 images in [0, 255] and uint8 masks in {0, 1}, ``(C, H, W)``, by kind. If the network
            predicts only masks, ``probabilities`` is a dictionary of the masks before thresholding.
        """
        made = torch.as_tensor(pred).as_subclass(torch.Tensor).detach().cpu().float().numpy()
        parts = {kind: made[[channel == kind for channel in self.channels]] for kind in self.kinds}
        threshold = 0.5 if self.masks_only else 127.5
        masks = {kind: (parts[kind] >= threshold).astype(np.uint8) for kind in parts if KINDS[kind].type == "mask"}
        probabilities = {"probabilities": {**sample.get("probabilities", {}), **parts}} if self.masks_only else {}
        return {**sample, **parts, **masks, **probabilities}


class NetworkInputs(Dataset):
    """Data set of samples with the network's input as ``image``, for MONAI's evaluators.

    Args:
        samples: samples to convert.
        network_input: function that converts a sample to the network's input (:class:`NetworkInput`).
        transform: preprocessing of the samples.
    """

    def __init__(
        self,
        samples: Sequence[Mapping[Any, Any]],
        network_input: Callable[[Mapping[Any, Any]], NDArray[np.float32]],
        transform: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(samples, transform)
        self.network_input = network_input

    def _transform(self, index: int) -> Any:
        sample = self.data[index]
        given = {**sample, "image": self.network_input(sample)}
        return given if self.transform is None else self.transform(given)


def _scaled(picture: Any, kind: str, channels: int) -> NDArray[np.float32]:
    """Rescale an image to [0, 255] and convert it to the given number of channels."""
    array = np.asarray(picture, np.float32)
    if KINDS[kind].type == "mask":
        array = array * np.float32(255)
    if len(array) == channels:
        return array
    if channels == 1:
        return np.rint(np.tensordot(GREY, array, 1))[None]
    return np.broadcast_to(array, (channels, *array.shape[1:]))
