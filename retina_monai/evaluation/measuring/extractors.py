"""Feature extractors for what compares sets of photographs: the retina encoder, and Inception-v3 if a user has it."""

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
DIGITS = 8  # of the SHA-256 of the weights, in a name


def load_extractors(
    encoder: str | Path | None = None, inception_weights: str | Path | None = None
) -> dict[str, Extractor]:
    """Feature extractors by name; each takes photographs ``(B, 3, H, W)`` in [-1, 1] and gives features ``(B, D)``.

    Names carry the digest of the weights, since figures over other weights do not compare.

    Args:
        encoder: weights of the bundle ``retina_encoder`` to take instead of the released ones.
        inception_weights: see :class:`~retina_monai.evaluation.measuring.inception.InceptionV3`; ``None`` leaves that
            extractor out.

    Returns:
        The retina encoder, then Inception-v3 if there are weights for it.

    Raises:
        RetinaError: a file of weights is missing, cannot be read, or holds those of another network; torch-fidelity is
            not installed and there are ``inception_weights``.
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
        raise RetinaError(f"{path} is not there: get the released weights of {ENCODER}, or give others with --encoder")
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
