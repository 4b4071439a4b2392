"""Two bundles of no use, for tests: noise -> photograph and disc, and grey image -> vessel map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

SIZE = 64
COLORS = ("red", "green", "blue")


class NoiseEye(nn.Module):
    """Noise ``(B, 4, 8, 8)`` -> photograph and disc ``(B, 4, S, S)`` in [-1, 1]: colours and place follow the noise."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        self.size = size
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, noise: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, self.size)] * 2, indexing="ij")
        inside = (rows**2 + columns**2 < 0.95).float()
        mean = noise.mean((2, 3))[:, :, None, None]
        disc = ((rows - mean[:, :1]) ** 2 + (columns - 0.4 + mean[:, 1:2]) ** 2 < 0.03).float()
        ground = torch.tensor([0.6, 0.3, 0.1])[:, None, None] * (1 + 0.4 * mean[:, 2:3] + 0.1 * rows)
        ripple = 0.05 * torch.sin(12 * columns + 8 * mean[:, 3:4])
        photograph = (ground + ripple + 0.3 * disc).clamp(0.04, 1) * inside
        return self.gain * (torch.cat([photograph, disc * inside], 1) * 2 - 1)


class BrightLines(nn.Module):
    """Grey image ``(B, 1, H, W)`` in [-1, 1] -> probability of what is brighter than its surroundings."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(20.0))

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.gain * (image - avg_pool2d(image, 9, 1, 4, count_include_pad=False) - 0.2))


def write_bundle(folder: Path, network: nn.Module, ends: dict[str, Any], config: dict[str, Any]) -> Path:
    """A bundle with released weights."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    about = {"name": folder.name, "version": "0.0.1", "network_data_format": ends}
    (folder / "configs" / "metadata.json").write_text(json.dumps(about))
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    return folder


def inference(name: str, network: str, more: dict[str, Any]) -> dict[str, Any]:
    """An ``inference.json`` as those of this library are written; ``more`` is what is particular to it."""
    bundle = "$retina_monai.bundle"
    return {
        "imports": ["$import retina_monai"],
        "in_use": f"{bundle}.config_in_use()",
        "bundle_root": f"{bundle}.find_bundle_root('{name}', @in_use.folders)",
        "output_dir": f"{bundle}.run_folder(@bundle_root)",
        "checkpoint": "$@bundle_root + '/models/model.pt'",
        "seed": 0,
        "size": SIZE,
        "device": "cpu",
        "network_def": {"_target_": network},
        "network": f"{bundle}.load_network(@network_def, @checkpoint)",
        "network_input": f"{bundle}.network_input(@bundle_root)",
        "network_output": f"{bundle}.network_output(@bundle_root)",
        "dataset": {
            "_target_": "retina_monai.data.NetworkInputs",
            "samples": "@source",
            "network_input": "@network_input",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},
        "drawn_with": "$dict()",
        "settings": f"{bundle}.set_settings('{name}', @bundle_root, @checkpoint, @source, **@drawn_with)",
        "handlers": ["@writer"],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
        "run": ["$@evaluator.run()"],
    } | more


def writer(name: str) -> dict[str, Any]:
    how = {key: f"@{key}" for key in ("output_dir", "settings", "network_output")}
    return {"_target_": f"retina_monai.handlers.{name}", **how}


def scale(keys: str, source: tuple[float, float], target: tuple[float, float]) -> dict[str, Any]:
    ends = dict(zip(("a_min", "a_max", "b_min", "b_max"), source + target, strict=True))
    return {"_target_": "ScaleIntensityRanged", "keys": keys, **ends, "clip": True}


def write_noise_bundle(folder: Path) -> Path:
    """Noise -> photograph and disc."""
    kinds = [*(f"image: {color}" for color in COLORS), "disc: 1 in the disc, -1 elsewhere"]
    ends = {
        "inputs": {"image": {"format": "latent", "num_channels": 4, "spatial_shape": [8, 8], "channel_def": {}}},
        "outputs": {"pred": {"channel_def": dict(enumerate(kinds))}},
    }
    source = {
        "_target_": "retina_monai.data.Noise",
        "count": "@count",
        "seed": "@seed",
        "finished": "$retina_monai.handlers.finished_samples(@output_dir)",
    }
    more = {
        "count": 8,
        "source": source,
        "preprocessing": {"_target_": "EnsureTyped", "keys": "image", "track_meta": False},
        "postprocessing": scale("pred", (-1, 1), (0, 255)),
        "writer": writer("SyntheticSet"),
    }
    return write_bundle(folder, NoiseEye(), ends, inference(folder.name, "throwaway.NoiseEye", more))


def write_grey_bundle(folder: Path) -> Path:
    """Grey image -> vessel map."""
    ends = {
        "inputs": {"image": {"channel_def": {"0": "image: grey"}}},
        "outputs": {"pred": {"channel_def": {"0": "vessel: probability"}}},
    }
    source = {
        "_target_": "retina_monai.data.Photographs",
        "data": "$retina_monai.data.find_photographs(@input_dir)",
        "size": "@size",
        "finished": "$retina_monai.handlers.finished_samples(@output_dir)",
    }
    first = {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"}
    more = {
        "input_dir": None,
        "source": source,
        "preprocessing": {"_target_": "Compose", "transforms": [first, scale("image", (0, 255), (-1, 1))]},
        "postprocessing": {"_target_": "EnsureTyped", "keys": "pred", "track_meta": False},
        "writer": writer("FoundSet"),
    }
    return write_bundle(folder, BrightLines(), ends, inference(folder.name, "throwaway.BrightLines", more))
