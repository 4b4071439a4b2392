"""A procedural fundus photograph with exact ground truth: the data of a clone that has downloaded nothing.

`phantom_eye` chooses an eye in mm of retina, `vessel_tree` grows its vessels, `phantom_paint` photographs it. All is
elementwise arithmetic in one thread on numbers of PCG64, so that the same seed gives the same bytes; all geometry is in
mm, so that one seed is one eye at every size.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from retina_monai.data.phantom_eye import Eye, draw_eye
from retina_monai.data.phantom_paint import Canvas, photograph
from retina_monai.data.vessel_raster import rasterise
from retina_monai.data.writing import software, write_png
from retina_monai.errors import RetinaError
from retina_monai.files import process_mask, replacing, write_json

__all__ = ["generate_phantom", "write_phantoms"]

SMALLEST = 32
THINNEST = 0.18  # radius in pixels below which a vessel is not drawn
NARROWEST = 0.52  # radius in pixels to which what is drawn is widened in the masks, so that it stays connected
FOLDERS = {"image": "images", "vessel": "vessels", "fov": "fovs", "disc": "discs", "cup": "cups"}


def generate_phantom(seed: int, size: int = 256) -> dict[str, Any]:
    """Make one phantom.

    Args:
        seed: not negative; the same seed is the same eye at every size.
        size: height and width in pixels, at least 32.

    Returns:
        ``image`` uint8 (3, S, S); ``vessel`` (= ``artery`` | ``vein``), ``artery``, ``vein``, ``disc``, ``cup`` and
        ``fov`` uint8 {0, 1} (1, S, S); ``laterality`` 'L' or 'R'. Outside of ``fov`` everything is 0.

    Raises:
        RetinaError: ``seed`` is negative or ``size`` too small.
    """
    if size < SMALLEST:
        raise RetinaError(f"size is the phantom's side in pixels, {SMALLEST} or more, not {size}")
    canvas = _canvas(draw_eye(seed), size)
    arrays = _masks(canvas)
    arrays["image"] = photograph(np.random.SeedSequence((seed, 1)), canvas) * arrays["fov"]
    if canvas.eye.laterality == "L":
        arrays = {key: np.ascontiguousarray(array[..., ::-1]) for key, array in arrays.items()}
    return {**arrays, "laterality": canvas.eye.laterality}


def _canvas(eye: Eye, size: int) -> Canvas:
    scale = eye.margin * size / 2 / eye.extent
    step = (np.arange(size) - (size - 1) / 2) / scale
    x, y = np.meshgrid((step + eye.view.real).astype(np.float32), (step + eye.view.imag).astype(np.float32))
    arteries, veins = (rasterise(tree, size, scale, eye.view, THINNEST) for tree in (eye.arteries, eye.veins))
    return Canvas(eye, x, y, scale, arteries, veins)


def _masks(canvas: Canvas) -> dict[str, NDArray[np.uint8]]:
    """Every mask, (1, S, S), within the field of view."""
    eye = canvas.eye
    fov = canvas.distance(eye.view) <= eye.extent
    fov &= np.abs(canvas.y - eye.view.imag) <= eye.clip * eye.extent
    artery, vein = (gap <= np.maximum(NARROWEST - radius, 0) for gap, radius in (canvas.arteries, canvas.veins))
    disc = canvas.ellipse(0j, eye.disc) <= 1
    cup = disc & (canvas.ellipse(eye.cup_centre, eye.cup) <= 1)
    masks = {"vessel": artery | vein, "artery": artery, "vein": vein, "disc": disc, "cup": cup, "fov": fov}
    return {key: (mask & fov)[None].astype(np.uint8) for key, mask in masks.items()}


def write_phantoms(directory: str | Path, count: int, size: int, seed: int) -> Path:
    """Write a data set of phantoms in the layout of the package: complete, or not at all.

    It is made in a hidden folder beside ``directory`` and then renamed. A set of the same count, size and seed that is
    there already, or that another process finished first, is used as it is.

    Args:
        directory: the folder to make, with ``images``, ``vessels``, ``fovs``, ``discs``, ``cups``, ``datalist.json`` (a
            fifth of the eyes test, a tenth validation, each at least one) and ``manifest.jsonl``.
        count: number of eyes, at least 3.
        size: height and width in pixels.
        seed: of the set; eye ``i`` depends on ``(seed, i)`` alone.

    Returns:
        ``directory`` as a path.

    Raises:
        RetinaError: ``directory`` cannot be written or holds something else, or a number is out of range.
    """
    directory = Path(directory)
    if count < 3:
        raise RetinaError(f"count is the number of phantoms, 3 or more (training, validation, test), not {count}")
    description = f"{count} procedural fundus phantoms of {size} px, seed {seed}"
    if _finished(directory, description):
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise RetinaError(f"{directory} cannot be written ({error.strerror}); choose another folder") from error
    try:
        _write_set(partial, count, size, seed, description)
        _take_place(partial, directory, description)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _finished(directory: Path, description: str) -> bool:
    """Whether the set is there.

    Raises:
        RetinaError: ``directory`` holds something else.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    try:
        found = json.loads((directory / "datalist.json").read_text())["description"]
    except (OSError, ValueError, KeyError, TypeError):
        found = "something else"
    if found != description:
        raise RetinaError(f"{directory} holds {found}, not {description}: remove it or choose another folder")
    return True


def _take_place(partial: Path, directory: Path, description: str) -> None:
    """Rename ``partial`` to ``directory``, unless another process has made the same set meanwhile."""
    try:
        os.chmod(partial, 0o777 & ~process_mask())
        os.rename(partial, directory)
    except OSError as error:
        if not _finished(directory, description):
            raise RetinaError(f"{directory} cannot be written ({error.strerror}); choose another folder") from error


def _write_set(directory: Path, count: int, size: int, seed: int, description: str) -> None:
    lines = [_write_phantom(directory, i, size, seed) for i in tqdm(range(count), "phantoms", unit="eye", disable=None)]
    with replacing(directory / "manifest.jsonl") as file:
        file.writelines(f"{json.dumps(line)}\n".encode() for line in lines)
    test = count - max(1, round(count / 5))
    validation = test - max(1, round(count / 10))
    items = [_item(line) for line in lines]
    datalist = {"training": items[:validation], "validation": items[validation:test], "test": items[test:]}
    write_json(directory / "datalist.json", {"name": "phantom", "description": description, **datalist})


def _write_phantom(directory: Path, index: int, size: int, seed: int) -> dict[str, Any]:
    """Write the pictures of one eye; returns its line of the manifest."""
    own = int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0])
    name, arrays = f"phantom_{index:05d}", generate_phantom(own, size)
    for key, folder in FOLDERS.items():
        write_png(directory / folder / f"{name}.png", arrays[key] * np.uint8(1 if key == "image" else 255))
    line = {"name": name, "patient": f"phantom/{index:05d}", "laterality": arrays["laterality"], "index": index}
    return {**line, "seed": own, "size": size, "software": software(), "synthetic": True}


def _item(line: dict[str, Any]) -> dict[str, str]:
    """The entry of the datalist for a line of the manifest; paths are relative to the datalist."""
    paths = {key: f"{folder}/{line['name']}.png" for key, folder in FOLDERS.items()}
    return {**paths, "dataset": "phantom", **{key: line[key] for key in ("patient", "name", "laterality")}}
