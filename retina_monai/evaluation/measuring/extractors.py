"""Feature extractors for the comparison of sets: the retina encoder and, optionally, Inception-v3."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from retina_monai.bundle import digest, find_bundle, load_network_of
from retina_monai.engines import choose_device
from retina_monai.errors import RetinaError
from retina_monai.evaluation.measuring.eye import Extractor
from retina_monai.evaluation.measuring.inception import InceptionV3

__all__ = ["load_extractors"]

ENCODER = "retina_encoder"
DIGITS = 8  # hex digits of the SHA-256 of the weights in a name


def load_extractors(
    encoder: str | Path | None = None, inception_weights: str | Path | None = None
) -> dict[str, Extractor]:
    """Feature extractors by name. Each maps photographs ``(B, 3, H, W)`` in [-1, 1] to features ``(B, D)``.

    Names contain the digest of the weights, because figures of different weights are not comparable.

    Args:
        encoder: weights of the bundle ``retina_encoder``; ``None`` for the released ones.
        inception_weights: weights for :class:`~retina_monai.evaluation.measuring.inception.InceptionV3`; ``None`` for
            no such extractor.

    Returns:
        The retina encoder, and then Inception-v3 if ``inception_weights`` is given.

    Raises:
        RetinaError: a weights file is missing, unreadable or belongs to another network; ``inception_weights`` is
            given but torch-fidelity is not installed.
    """
    name, network = _load_encoder(encoder)
    extractors = {name: _as_extractor(network)}
    if inception_weights is not None:
        label = f"inception_v3 of 2015-12-05 (sha256 {digest(inception_weights)[:DIGITS]})"
        extractors[label] = _as_extractor(InceptionV3(inception_weights))
    return extractors


def _load_encoder(weights: str | Path | None) -> tuple[str, nn.Module]:
    root = find_bundle(ENCODER)
    path = root / "models" / "model.pt" if weights is None else Path(weights)
    if weights is None and not path.is_file():
        raise RetinaError(f"{path} is missing: get the released weights of {ENCODER}, or give others with --encoder")
    network = load_network_of(ENCODER, path)
    version = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))["version"]
    kind = f"{ENCODER} {version}" if weights is None else ENCODER
    return f"{kind} (sha256 {digest(path)[:DIGITS]})", network


def _as_extractor(network: nn.Module) -> Extractor:
    device = choose_device()
    network = network.eval().requires_grad_(False).to(device)

    def extract(images: Tensor) -> Tensor:
        with torch.inference_mode():
            features: Tensor = network(images.to(device))
        return features

    return extract
