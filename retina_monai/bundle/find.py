"""Find bundles and their output folders."""

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
    """Whether ``name`` is a bare name: a str without a path separator."""
    return isinstance(name, str) and name not in (".", "..") and not {"/", os.sep, os.altsep} & set(name)


def find_bundle(name: str | Path, trust: bool = False) -> Path:
    """Return the folder of a bundle.

    Args:
        name: name of a bundle of this library; or path of a bundle, with a separator (``./name``) or as a ``Path``.
        trust: whether to accept a bundle from outside this library. Expressions in its configs run as code.

    Raises:
        RetinaError: there is no such bundle, or it is from outside this library and not trusted.
    """
    bundles = REPOSITORY / "bundles"
    path = bundles / name if is_bare(name) else Path(name).expanduser()
    if not name or not (path / "configs" / "metadata.json").is_file():
        advice = f"give the path of a bundle, or one of {', '.join(bundle_names())}"
        if is_bare(name) and name and Path(name).is_dir():
            advice = f"give ./{name} for the folder of that name"
        raise RetinaError(f"there is no bundle {name}: {advice}")
    path = path.resolve()
    if not trust and path.parent != bundles.resolve():
        raise RetinaError(
            f"{name} is not a bundle of this library, and the expressions in its configs run as code: give "
            "--trust true (trust=True in Python) if you know who wrote it"
        )
    return path


def find_bundle_root(name: str, folders: Iterable[Path] = ()) -> str:
    """Folder of the bundle whose config is in use; ``bundle_root`` of every config.

    MONAI does not pass a config its own path. The first match is returned: the bundle of the ``--config_file`` in use;
    the current directory, if the ``name`` in its metadata is that of the bundle; the library's own bundle.

    Args:
        name: name of the bundle.
        folders: bundle folders of the config files in use (:class:`retina_monai.bundle.ConfigInUse`).
    """
    for root in folders:
        if (root / "configs" / "metadata.json").is_file():
            return str(root.resolve())
    own = find_bundle(name)
    return str(Path.cwd() if _title(Path.cwd()) == _title(own) else own)


def new_run_folder(bundle_root: str | Path) -> Path:
    """``runs/<date>-<time>`` in the bundle; the time has microseconds, so that every run gets its own folder."""
    return Path(bundle_root) / "runs" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")


def run_folder(bundle_root: str, resume: bool = False) -> str:
    """Default ``output_dir`` of a config: a new folder, or that of the latest training in ``runs`` to resume.

    Raises:
        RetinaError: there is no training to resume.
    """
    runs = Path(bundle_root) / "runs"
    if not resume:
        return str(new_run_folder(bundle_root))
    trainings = [path for path in runs.glob("*") if any(path.glob("checkpoints/epoch_*.pt"))]
    if not trainings:
        raise RetinaError(f"there is no training to resume in {runs}: give its --output_dir, or train without --resume")
    return str(max(trainings, key=lambda path: max(file.stat().st_mtime for file in path.glob("checkpoints/*.pt"))))


def weights_of(bundle: str | Path, checkpoint: str | Path | None = None, trust: bool = False) -> Path:
    """``checkpoint`` if given, else the released weights of a bundle.

    Raises:
        RetinaError: as :func:`find_bundle`.
    """
    return find_bundle(bundle, trust) / "models" / "model.pt" if checkpoint is None else Path(checkpoint)


def digest(path: str | Path) -> str:
    """SHA-256 of a file; manifests and reports use it to identify weights.

    Raises:
        RetinaError: the file cannot be read.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise RetinaError(f"{path} cannot be read: {error.strerror}") from error


def _title(bundle: Path) -> str | None:
    """The name in a bundle's metadata; ``None`` if the folder is not a bundle."""
    try:
        return str(json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
