"""Inputs and outputs of a bundle's network, from ``network_data_format`` in its metadata.

The first word of each ``channel_def`` of the input ``image`` and the output ``pred`` is the channel's kind
(:mod:`retina_monai.kinds`): ``"0": "vessel_share: -1 background, 1 vessel"``. A network whose input has an empty
``channel_def`` starts from noise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from retina_monai.data.sets.network_format import NetworkInput, NetworkOutput
from retina_monai.errors import RetinaError
from retina_monai.kinds import KINDS

__all__ = ["bundle_kinds", "network_input", "network_output"]


def network_input(root: str | Path, network: nn.Module | None = None) -> NetworkInput:
    """Input of a bundle's network.

    Args:
        root: folder of the bundle.
        network: the network. If it was trained with fewer input channels than the metadata lists, it gets the first
            ones.

    Raises:
        RetinaError: the metadata is invalid or names an unknown kind.
    """
    form = _read(root, "inputs", "image")
    channels = _kinds(root, form)
    if channels:
        arguments = getattr(network, "arguments", {})
        return NetworkInput(channels[: arguments.get("unet", arguments).get("in_channels")])
    try:
        height, width = form["spatial_shape"]
        return NetworkInput((), (int(form["num_channels"]), int(height), int(width)))
    except (KeyError, TypeError, ValueError) as error:
        raise RetinaError(
            f"{_path(root)}: the input image has no channel_def: give the kind of each channel, or for noise "
            "num_channels and spatial_shape"
        ) from error


def network_output(root: str | Path) -> NetworkOutput:
    """Output of a bundle's network.

    Args:
        root: folder of the bundle.

    Raises:
        RetinaError: as :func:`network_input`.
    """
    return NetworkOutput(_kinds(root, _read(root, "outputs", "pred")))


def bundle_kinds(root: str | Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Input kinds (empty if the network starts from noise) and output kinds (empty if it makes no pictures).

    Args:
        root: folder of the bundle.

    Raises:
        RetinaError: as :func:`network_input`.
    """
    return network_input(root).kinds, network_output(root).kinds


def _path(root: str | Path) -> Path:
    return Path(root) / "configs" / "metadata.json"


def _read(root: str | Path, side: str, name: str) -> dict[str, Any]:
    try:
        form = json.loads(_path(root).read_text(encoding="utf-8"))["network_data_format"][side][name]
        form["channel_def"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RetinaError(
            f"{_path(root)} has no channel_def of image and pred: restore its network_data_format"
        ) from error
    return dict(form)


def _kinds(root: str | Path, form: Mapping[str, Any]) -> tuple[str, ...]:
    kinds = tuple(str(text).partition(":")[0] for text in form["channel_def"].values())
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise RetinaError(f"{_path(root)}: channel_def names {unknown[0]!r}, which is not one of {', '.join(KINDS)}")
    return kinds
