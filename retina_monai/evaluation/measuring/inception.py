"""The Inception-v3 of FID and KID (TensorFlow's graph of 2015-12-05), as implemented by torch-fidelity."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retina_monai.errors import RetinaError
from retina_monai.handlers import load_file

__all__ = ["InceptionV3"]

PACKAGE = "torch_fidelity"


class InceptionV3(nn.Module):
    """Photographs -> the 2048 features of the last pooling layer.

    Network: https://github.com/toshas/torch-fidelity. Architecture: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna,
    "Rethinking the Inception architecture for computer vision", CVPR 2016, https://arxiv.org/abs/1512.00567.

    Args:
        weights: file published by torch-fidelity (``weights-inception-2015-12-05``) or pytorch-fid
            (``pt_inception-2015-12-05``).

    Raises:
        RetinaError: torch-fidelity is not installed; the file is missing, unreadable or belongs to another network.
    """

    def __init__(self, weights: str | Path) -> None:
        super().__init__()
        tensors = {key: value for key, value in load_file(weights).items() if isinstance(value, Tensor)}
        checked = BytesIO()  # tensors only: torch-fidelity would unpickle anything
        torch.save(tensors, checked)
        checked.seek(0)
        try:
            self.network = _torch_fidelity().FeatureExtractorInceptionV3("inception", ["2048"], checked)
        except RuntimeError as error:
            raise RetinaError(
                f"{weights} does not hold the weights of the Inception-v3 of FID: give torch-fidelity's "
                "weights-inception-2015-12-05-6726825d.pth or pytorch-fid's pt_inception-2015-12-05-6726825d.pth"
            ) from error

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] -> ``(B, 2048)``.

        Images are rounded to 8 bits first, since the network is defined for 8-bit images.
        """
        features: Tensor = self.network((image.clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8))[0]
        return features


def _torch_fidelity() -> Any:
    """The module of this network. The package ``torch_fidelity`` itself needs torchvision, the module does not."""
    spec = find_spec(PACKAGE)
    if spec is None:
        raise RetinaError(
            "--inception_weights needs torch-fidelity: pip install 'retina_monai[fid]', or pip install --no-deps "
            "torch-fidelity to do without torchvision"
        )
    imported = PACKAGE in sys.modules
    sys.modules.setdefault(PACKAGE, module_from_spec(spec))
    try:
        return import_module(f"{PACKAGE}.feature_extractor_inceptionv3")
    finally:
        if not imported:
            del sys.modules[PACKAGE]
