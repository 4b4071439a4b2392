"""Find bundles and the folders that they write to."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from retina_monai.errors import RetinaError

__all__ = [
    "REPOSITORY",
    "bundle_names",
    "digest",
    "find_bundle",
    "find_bundle_root",
    "is_bare",
    "new_run_folder",
    "run_folder",
    "weights_of",
]

REPOSITORY = Path(__file__).resolve().parents[2]


def bundle_names() -> list[str]:
    """Names of the bundles that come with the repository."""
    return sorted(path.parent.parent.name for path in REPOSITORY.glob("bundles/*/configs/metadata.json"))


def is_bare(name: str | Path) -> bool:
    """Whether it is a name and not a path: a text without a separator."""
    return isinstance(name, str) and name not in (".", "..") and not {"/", os.sep, os.altsep} & set(name)


def find_bundle(name: str | Path, trust: bool = False) -> Path:
    """The folder of a bundle.

    Args:
        name: of a bundle of this library; or the path of one, which has a separator (``./name``) or is a ``Path``.
        trust: whether a bundle of another origin is accepted. The expressions in its configs are code, and run.

    Raises:
        RetinaError: there is no such bundle, or it is not of this library and not trusted.
    """
    bundles = REPOSITORY / "bundles"
    path = bundles / name if is_bare(name) else Path(name).expanduser()
    if not name or not (path / "configs" / "metadata.json").is_file():
        advice = f"give the path of one, or one of {', '.join(bundle_names())}"
        if is_bare(name) and name and Path(name).is_dir():
            advice = f"the folder of that name is ./{name}"
        raise RetinaError(f"there is no bundle {name}: {advice}")
    path = path.resolve()
    if not trust and path.parent != bundles.resolve():
        raise RetinaError(
            f"{name} is not a bundle of this library, and the expressions in its configs run as code: give "
            "--trust true (trust=True in Python) if you know who wrote it"
        )
    return path


def find_bundle_root(name: str, folders: Iterable[Path] = ()) -> str:
    """Where the bundle lies whose config is being evaluated; ``bundle_root`` of every config.

    MONAI does not give a config its own path. In order: the folder of the ``--config_file`` in use; the current
    directory if it is a copy of the bundle ``name``, by the ``name`` in its metadata; the library's bundle ``name``.

    Args:
        name: of the bundle.
        folders: of the config files in use (:class:`retina_monai.bundle.ConfigInUse`).
    """
    for root in folders:
        if (root / "configs" / "metadata.json").is_file():
            return str(root.resolve())
    own = find_bundle(name)
    return str(Path.cwd() if _title(Path.cwd()) == _title(own) else own)


def new_run_folder(bundle_root: str | Path) -> Path:
    """``runs/<date>-<time>`` in the bundle, to the microsecond: no two runs share one."""
    return Path(bundle_root) / "runs" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")


def run_folder(bundle_root: str, resume: bool = False) -> str:
    """Where a config writes without ``output_dir``: a new folder, or that of the newest training in ``runs`` to resume.

    Raises:
        RetinaError: there is no training to resume.
    """
    runs = Path(bundle_root) / "runs"
    if not resume:
        return str(new_run_folder(bundle_root))
    trainings = [path for path in runs.glob("*") if any(path.glob("checkpoints/epoch_*.pt"))]
    if not trainings:
        raise RetinaError(f"there is no training to resume in {runs}: name its --output_dir, or train without --resume")
    return str(max(trainings, key=lambda path: max(file.stat().st_mtime for file in path.glob("checkpoints/*.pt"))))


def weights_of(bundle: str | Path, checkpoint: str | Path | None = None, trust: bool = False) -> Path:
    """``checkpoint`` if one is given, else the released weights of a bundle.

    Raises:
        RetinaError: as :func:`find_bundle`.
    """
    return find_bundle(bundle, trust) / "models" / "model.pt" if checkpoint is None else Path(checkpoint)


def digest(path: str | Path) -> str:
    """SHA-256 of a file, as manifests and reports name the weights.

    Raises:
        RetinaError: it cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise RetinaError(f"{path} cannot be read: {error.strerror}") from error


def _title(bundle: Path) -> str | None:
    """The name that a bundle's metadata gives it; ``None`` where there is no such bundle."""
    try:
        return str(json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
