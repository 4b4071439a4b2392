from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from retina_monai.networks import LamaGenerator, Pix2PixUNet

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SIZE = 64
UNET = {"levels": 4, "features": 4, "dropout": 0.0, "norm": "instance", "upsampling": "smooth", "circular_fov": True}
NETWORKS: dict[str, Any] = {
    "pix2pix_vessel": lambda: Pix2PixUNet(**UNET),
    "pix2pix_color_vessel": lambda: Pix2PixUNet(**UNET, inside_map=True),
    "lama_fundus": lambda: LamaGenerator(features=8, downsamplings=2, blocks=2, norm="instance"),
}
EYES = [
    {
        "name": f"eye{place}",
        "dataset": "phantom",
        "mean": [0.2 + 0.1 * place, -0.4, -0.7],
        "std": [0.25, 0.15, 0.1],
        "texture": {"covariances": [[[1e-3, 0, 0], [0, 4e-4, 0], [0, 0, 1e-4]]] * 10, "patchiness": 0.3},
    }
    for place in range(3)
]


@pytest.fixture(scope="session")
def small_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with copies of the bundles that paint, of 64 pixels, with small weights that nobody trained."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, build in NETWORKS.items():
        shutil.copytree(BUNDLES / name / "configs", folder / name / "configs")
        path = folder / name / "configs" / "inference.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(config | {"size": SIZE}), encoding="utf-8")
        torch.manual_seed(0)
        network, models = build(), folder / name / "models"
        models.mkdir()
        torch.save(network.state_dict(), models / "model.pt")
        named = {"_target_": f"retina_monai.networks.{type(network).__name__}"} | network.arguments
        (models / "network.json").write_text(json.dumps(named))
        (models / "appearances.json").write_text(json.dumps({"eyes": EYES}))
    return folder
