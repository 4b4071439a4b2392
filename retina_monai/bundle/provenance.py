"""Settings and provenance of a generated set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from retina_monai.bundle.find import REPOSITORY, digest
from retina_monai.data.files.writing import software
from retina_monai.data.listing.weights_origin import read_training

__all__ = ["set_settings"]


def set_settings(
    name: str,
    root: str | Path | Mapping[str, str | Path],
    checkpoint: str | Path | Mapping[str, str | Path],
    conditions: Any,
    **more: Any,
) -> dict[str, Any]:
    """Contents of ``settings.json`` of a generated set. A resumed run must have the same settings.

    Args:
        name: name of the bundle or chain.
        root: folder of the bundle; for a chain a dictionary by bundle name.
        checkpoint: weights of the bundle; for a chain a dictionary by bundle name.
        conditions: source of the inputs, whose ``settings`` include a fingerprint of all inputs.
        more: other settings that the samples depend on.

    Returns:
        ``bundle``, ``weights`` (SHA-256; for a chain by bundle), ``training`` (by bundle, the training data of its
        weights; ``None`` if unknown), the settings of ``conditions``, and ``more``. Samples do not depend on ``about``:
        date, package versions, and the versions, licences and credits of the bundles.

    Raises:
        RetinaError: the weights cannot be read.
    """
    files = checkpoint if isinstance(checkpoint, Mapping) else {name: checkpoint}
    roots = root if isinstance(root, Mapping) else {name: root}
    weights = {bundle: digest(path) for bundle, path in files.items()}
    return {
        "bundle": name,
        "weights": weights if isinstance(checkpoint, Mapping) else weights[name],
        "training": {bundle: read_training(path) for bundle, path in files.items()},
        **conditions.settings,
        **more,
        "about": {
            "date": date.today().isoformat(),
            "package": software(),
            "monai": version("monai"),
            "torch": version("torch"),
            "bundles": {bundle: _credits(Path(roots[bundle]), Path(path)) for bundle, path in files.items()},
        },
    }


def _credits(root: Path, checkpoint: Path) -> dict[str, str]:
    """The entries of a bundle's metadata that hold for the given weights."""
    about = json.loads((root / "configs" / "metadata.json").read_text(encoding="utf-8"))
    licence = root / "LICENSE"
    lines = licence.read_text(encoding="utf-8").split("\n") if licence.is_file() else []
    title = ", ".join([line.strip() for line in lines if line.strip()][:2])
    own = (root / "models" / "model.pt").resolve() == checkpoint.resolve()
    ours = root.resolve().parent == (REPOSITORY / "bundles").resolve()
    return {
        "version": str(about.get("version", "")),
        "weights": "released" if own and ours else "other",
        "licence": title or "not stated",
        "data_source": str(about.get("data_source", "")) if own else "whoever trained the weights knows its terms",
        "intended_use": str(about.get("intended_use", "")),
    }
