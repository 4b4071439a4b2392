"""Store networks by class name instead of module path, so that saved weights survive moved code."""

from __future__ import annotations

import importlib
from inspect import signature
from typing import Any

from torch import nn

__all__ = ["describe_network", "find_network_class"]

PACKAGES = ("retina_monai.networks", "monai.networks.nets")
RENAMED = {"spatial_dims": "dimensions"}  # argument of MONAI's UNet -> attribute
OLD_PREFIXES = ("retina_monai.networks.", "monai.networks.")


def describe_network(network: nn.Module) -> dict[str, Any]:
    """Class name and arguments of a network, in the form of ``network.json``.

    Args:
        network: its ``arguments`` are the plain data with which its class rebuilds it. MONAI's ``UNet`` has no
            ``arguments``, but an attribute for each of them.
    """
    arguments = getattr(network, "arguments", None)
    if arguments is None:
        names = {name: RENAMED.get(name, name) for name in signature(type(network)).parameters}
        arguments = {name: getattr(network, attribute) for name, attribute in names.items()}
    return {"_target_": type(network).__name__, **arguments}


def find_network_class(name: str) -> type[nn.Module] | None:
    """Find a network class of this library or MONAI by name.

    Args:
        name: name of a class, such as ``Pix2PixUNet``. The older form with a module
            (``retina_monai.networks.unet.Pix2PixUNet``) is accepted even if the class has moved.

    Returns:
        The class, or ``None`` if there is no such network.
    """
    module, _, last = name.rpartition(".")
    if module and not name.startswith(OLD_PREFIXES):
        return None
    for package in PACKAGES:
        found = getattr(importlib.import_module(package), last, None)
        if isinstance(found, type) and issubclass(found, nn.Module):
            return found
    return None
