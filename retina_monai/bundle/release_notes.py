"""Update a bundle's metadata and model card when its weights are replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from retina_monai.errors import RetinaError
from retina_monai.files import write_json, write_text

__all__ = ["note_release"]

SECTION = "## Performance"
MARK = "> **Not measured for these weights.**"
PACKAGES = {"monai": "monai_version", "torch": "pytorch_version"}


def note_release(root: Path, weights: str, record: Mapping[str, Any] | None, earlier: Mapping[str, Any] | None) -> str:
    """Increase a bundle's version, describe its weights, and mark its figures as those of other weights.

    Does nothing if the bundle already describes these weights.

    Args:
        root: folder of the bundle.
        weights: SHA-256 of ``model.pt``.
        record: training record of the weights (:mod:`retina_monai.data.listing.weights_origin`), if there is one.
        earlier: training record of the replaced weights.

    Returns:
        The version.

    Raises:
        RetinaError: the metadata cannot be read or its version is not numeric, or a file cannot be written.
    """
    path = root / "configs" / "metadata.json"
    about = _read(path)
    old = str(about["version"])
    if weights[:12] in str(about["changelog"].get(old, "")):
        return old
    new, today = _next(old, path), date.today().isoformat()
    change = f"{today}: weights {weights[:12]}, {_training(record)}; figures not measured"
    about |= {"version": new, "changelog": {new: change, **about["changelog"]}}
    about |= {key: str((record or {}).get(package) or version(package)) for package, key in PACKAGES.items()}
    about["eval_metrics"] = {"status": f"not measured for version {new}"}
    if record is None or earlier is None or record["datasets"] != earlier["datasets"]:
        about["data_source"] = _sources(record)
    write_json(path, about)
    _mark_card(root / "docs" / "README.md", f"Version {new} of {today}, {_training(record)}", old)
    return new


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {**about, "version": str(about["version"]), "changelog": dict(about.get("changelog", {}))}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RetinaError(f"{path} is not the metadata of a bundle: it needs a JSON object with a version") from error


def _next(old: str, path: Path) -> str:
    """The next minor version."""
    parts = old.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        raise RetinaError(f"{path}: version must be numeric such as 0.1.0, got {old!r}")
    return ".".join([parts[0], str(int(parts[1]) + 1), *("0" for _ in parts[2:])])


def _training(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "from a training without training.json"
    return (
        f"trained on {', '.join(record['datasets'])} ({record['eyes']} eyes, fingerprint {record['fingerprint'][:12]})"
    )


def _sources(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "unknown: the training has no training.json"
    return f"{', '.join(record['datasets'])}; their terms are not recorded here, see docs/data_license.txt"


def _mark_card(path: Path, what: str, old: str) -> None:
    """Mark the card's figures as those of an earlier version; replaces an existing mark."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    marked = next((place for place, line in enumerate(lines) if line.startswith(MARK)), None)
    if marked is not None:
        found = re.search(r"figures below are those of version ([\d.]*\d)", lines[marked])
        old = found[1] if found else old
        del lines[marked : marked + 2]
    mark = f"{MARK} {what}. The figures below are those of version {old}: measure again, then remove this line."
    heading = next((place for place, line in enumerate(lines) if line.startswith(SECTION)), 0)
    lines[heading + 1 : heading + 1] = ["", mark]
    write_text(path, "\n".join(lines))
