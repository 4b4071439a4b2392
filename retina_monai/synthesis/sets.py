"""A labelled synthetic set by one call: what the bundle's ``inference.json`` writes, with the settings of a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from retina_monai.bundle import find_bundle, new_run_folder
from retina_monai.errors import RetinaError
from retina_monai.settings import check_path

__all__ = ["synthesize"]


def synthesize(
    bundle: str | Path = "pix2pix_vessel",
    input_dir: str | Path | None = None,
    output_dir: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
    appearance: str = "average",
    checkpoint: str | Path | None = None,
    batch_size: int = 1,
    skip_unreadable: bool = False,
    split: str = "all",
    augment: int = 0,
    texture: bool = True,
) -> Path:
    """Generate a photograph for each vessel map of a folder, or for vessel trees that the phantom grows.

    The bundle's ``inference.json`` runs, with these settings; an interrupted set is completed by the same call.

    Args:
        bundle: name of a bundle, or the path of one.
        input_dir: a folder of vessel maps, or a data set whose layout is recognised; ``None``: phantoms.
        output_dir: where the set is written; ``None``: a folder of its own in ``runs`` of the bundle.
        count: how many phantoms, at least 3; only where there is no ``input_dir``.
        seed: of phantoms, random appearances, textures and warps.
        appearance: ``average``, a camera's name, ``random``, ``random:CAMERA``, or the path of a photograph.
        checkpoint: other weights than the released ones.
        batch_size: photographs at a time; they depend on it by rounding alone (one grey level, here and there).
        skip_unreadable: leave out vessel maps that cannot be read, and log which.
        split: ``training``, ``validation`` or ``test``: vessel maps of that split of ``input_dir`` only; ``all``.
        augment: warp each map so many times, and generate from the warped ones only; 0: maps as they are.
        texture: draw the appearance's texture, by the seed; without it photographs are as the network paints them.

    Returns:
        ``output_dir``: ``images``, ``vessels``, ``fovs``, ``datalist.json``, ``manifest.jsonl``.

    Raises:
        RetinaError: no such bundle, or one without a setting that is given; ``count`` beside ``input_dir``, or
            ``split`` without it; settings, weights, vessel maps or an ``output_dir`` that ``inference.json`` refuses.
    """
    if input_dir is not None and count is not None:
        raise RetinaError("count is the number of phantoms to grow: give it, or --input_dir, not both")
    if input_dir is None and split != "all":
        raise RetinaError(f"split {split} is of a data set: give one with --input_dir, or leave --split out")
    if appearance.startswith(("$", "@", "%")):  # to MONAI an expression, a reference, a macro
        raise RetinaError(f"appearance {appearance} is unknown: give ./{appearance} if it is the path of a photograph")
    root = find_bundle(str(bundle))
    settings: dict[str, Any] = {
        "bundle_root": str(root),
        "input_dir": _path("input_dir", input_dir),
        "output_dir": new_run_folder(root) if output_dir is None else _path("output_dir", output_dir),
        "phantom_count": count,
        "seed": seed,
        "appearance": appearance,
        "checkpoint": _path("checkpoint", checkpoint),
        "batch_size": batch_size,
        "skip_unreadable": skip_unreadable or None,
        "split": None if split == "all" else split,
        "augment": augment or None,
        "texture": None if texture is True else texture,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    if unknown := [key for key in given if key not in parser]:
        raise RetinaError(f"{root} has no setting {', '.join(unknown)}: take a newer copy of the bundle")
    parser.update(given)
    for step in ("initialize", "run"):
        for place in range(len(parser[step])):
            parser.get_parsed_content(f"{step}#{place}")
    return Path(parser.get_parsed_content("output_dir"))


def _path(key: str, path: str | Path | None) -> Path | None:
    """Not as text, in which MONAI gives meanings of its own to $, @, % and #."""
    check_path(key, path)
    return None if path is None else Path(path)
