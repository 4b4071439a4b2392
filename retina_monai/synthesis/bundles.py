"""What a bundle's ``inference.json`` is made of, for those who call it as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from retina_monai.bundle import find_bundle

__all__ = ["bundle_parts"]


def bundle_parts(bundle: str, parts: Sequence[str], checkpoint: str | Path | None = None) -> list[Any]:
    """Evaluate parts of a bundle's ``inference.json``.

    Args:
        bundle: name of a bundle, or the path of one.
        parts: their ids.
        checkpoint: other weights than the released ones.

    Raises:
        RetinaError: no such bundle, or weights that do not fit it.
    """
    root = find_bundle(bundle)
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    parser["bundle_root"] = str(root)
    if checkpoint is not None:
        parser["checkpoint"] = Path(checkpoint)  # in text, MONAI gives meanings of its own to $, @, % and #
    return [parser.get_parsed_content(part) for part in parts]
