"""Networks, losses and batches of the compared sizes, from the bundle's own config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from benchmarks.measuring import Effort
from retina_monai.data import generate_phantom
from retina_monai.networks import initialize_weights

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "pix2pix_vessel"
SIZES = {"paper": ("train.json", "paper.json"), "released": ("train.json", "size_256.json")}
TITLES = {
    "paper": "paper (8 levels, 64 features, discriminator 64)",
    "released": "released (7 levels, 32 features, discriminators 48)",
}
PRECISIONS = ("fp32", "bf16")


def bundle_config(size: str, overrides: Mapping[str, Any]) -> ConfigParser:
    parser = ConfigParser(ConfigParser.load_config_files(config_files(size)))
    parser.update(dict(overrides))
    return parser


def config_files(size: str) -> list[str]:
    return [str(BUNDLE / "configs" / name) for name in SIZES[size]]


def build_networks(size: str, overrides: Mapping[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator of the bundle's config with initial weights."""
    torch.manual_seed(0)
    config = bundle_config(size, overrides)
    generator, discriminator = (config.get_parsed_content(f"{name}_def") for name in ("network", "discriminator"))
    return initialize_weights(generator), initialize_weights(discriminator)


def phantom_batch(size: str, effort: Effort, count: int = 1) -> dict[str, Tensor]:
    """The first phantoms at a size: ``image`` and ``condition`` in [-1, 1], ``vessel`` likewise, ``fov`` in {0, 1}.

    All are ``(count, C, H, W)``. The condition has the masks that the bundle's config names.
    """
    conditions = bundle_config(size, effort.overrides)["conditions"]
    eyes = [generate_phantom(seed, pixels_of(size, effort)) for seed in range(count)]
    batch = {key: torch.stack([torch.from_numpy(eye[key]) for eye in eyes]).float() for key in ("fov", *conditions)}
    masks = {key: batch[key] * 2 - 1 for key in conditions}
    image = torch.stack([torch.from_numpy(eye["image"]) for eye in eyes]) / 127.5 - 1
    return batch | masks | {"image": image, "condition": torch.cat([*masks.values()], dim=1)}


def pixels_of(size: str, effort: Effort) -> int:
    return int(bundle_config(size, effort.overrides)["size"])
