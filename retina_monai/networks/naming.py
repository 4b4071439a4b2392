"""Networks by the names of their classes, so that weights outlive the file in which a class is defined."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

__all__ = ["describe_network", "find_network_class"]

PACKAGES = ("retina_monai.networks", "monai.networks.nets")
OLD_PREFIXES = ("retina_monai.networks.", "monai.networks.")


def describe_network(network: nn.Module) -> dict[str, Any]:
    """Class name and arguments of a network, as ``network.json`` stores them.

    Args:
        network: has ``arguments``, plain data with which its class builds it again.
    """
    arguments: Any = network
    return {"_target_": type(network).__name__, **arguments.arguments}


def find_network_class(name: str) -> type[nn.Module] | None:
    """The class of that name among the networks of this library and of MONAI.

    Args:
        name: of a class, such as ``Pix2PixUNet``. The older form names the module too
            (``retina_monai.networks.unet.Pix2PixUNet``): it is accepted, whether or not the class still lies there.

    Returns:
        ``None`` if there is no such class: nothing else that those packages import is found.
    """
    module, _, last = name.rpartition(".")
    if module and not name.startswith(OLD_PREFIXES):
        return None
    for package in PACKAGES:
        found = getattr(importlib.import_module(package), last, None)
        if isinstance(found, type) and issubclass(found, nn.Module):
            return found
    return None
