"""Procedural fundus photographs with exact ground truth, for use without downloaded data.

``phantom_eye`` draws the anatomy of an eye in mm of retina, ``vessel_tree`` grows its vessels, ``myopia`` and
``lesions`` add pathology, and ``paint`` renders a photograph with a camera of ``camera``. The same seed gives the same
bytes, since all computations are elementwise, single-threaded, and based on PCG64. Geometry is in mm, so a seed gives
the same eye at every size. Each part has its own seed sequence, so the eye is the same with and without pathology.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from retina_monai.data.files.writing import software, write_png
from retina_monai.data.phantom.fundus.camera import CAMERAS, find_camera
from retina_monai.data.phantom.fundus.canvas import Canvas
from retina_monai.data.phantom.fundus.lesion_paint import LesionMaps, draw_lesion_maps
from retina_monai.data.phantom.fundus.lesions import draw_lesions
from retina_monai.data.phantom.fundus.myopia import Myopia, draw_myopia, reach_of_atrophy
from retina_monai.data.phantom.fundus.paint import photograph
from retina_monai.data.phantom.fundus.phantom_eye import Eye, draw_eye, generator
from retina_monai.data.phantom.fundus.vessel_raster import rasterise
from retina_monai.errors import RetinaError
from retina_monai.files import make_partial, replacing, write_json
from retina_monai.kinds import KINDS, LESIONS

__all__ = ["generate_phantom", "write_phantoms"]

SMALLEST = 32
THINNEST = 0.18  # minimum radius in pixels of drawn vessels
NARROWEST = 0.52  # minimum radius in pixels to which vessels are widened in the masks, so that they stay connected
WRITTEN = ("image", "vessel", "fov", "disc", "cup")
ANNOTATED = ("vessel", "fov", "disc", "cup", "atrophy", *LESIONS)
MIXED_GRADES = (0.4, 0.15, 0.25, 0.1, 0.1)  # probabilities of random grades 0 to 4
MYOPIC = 0.4  # probability of random myopia
LEAST_MYOPIA = 0.4  # minimum degree of random myopia; the maximum is 1


def generate_phantom(
    seed: int, size: int = 256, grade: int | None = 0, myopia: float | bool | None = 0.0, camera: str | None = None
) -> dict[str, Any]:
    """Generate one phantom, which is healthy by default.

    Args:
        seed: non-negative seed. It gives the same eye at every size, with and without pathology.
        size: height and width in pixels, at least 32.
        grade: grade of diabetic retinopathy from 0 to 4 (Wilkinson et al., Ophthalmology 2003), or ``None`` for a
            random grade with the probabilities ``MIXED_GRADES``.
        myopia: degree of myopia in [0, 1], ``True`` for a random degree in [0.4, 1], or ``None`` for such a degree in
            two of five eyes.
        camera: one of ``CAMERAS``, or ``None`` for a random camera. The named cameras see different parts of the same
            eye, whereas the eye of a random camera has other vessels.

    Returns:
        Dictionary of ``image`` uint8 ``(3, S, S)``; the masks ``vessel`` (= ``artery`` | ``vein``), ``artery``,
        ``vein``, ``disc``, ``cup``, ``fov``, ``atrophy``, ``microaneurysms``, ``haemorrhages``, ``hard_exudates``,
        ``soft_exudates`` and ``neovascularisation`` uint8 ``(1, S, S)`` in {0, 1}; ``grade``; and ``laterality`` 'L' or
        'R'. Image and masks are 0 outside ``fov``. ``vessel`` excludes new vessels and includes vessels hidden by
        blood.

    Raises:
        RetinaError: if ``seed`` is negative, ``size`` is too small, ``grade`` or ``myopia`` is out of range, or
            ``camera`` is unknown.
    """
    if size < SMALLEST:
        raise RetinaError(f"size must be at least {SMALLEST} pixels, got {size}")
    grade, degree, view = choose_grade(seed, grade), choose_myopia(seed, myopia), find_camera(camera)
    eye, signs = draw_eye(seed, view), None
    if degree:
        eye, signs = draw_myopia(seed, eye, degree)
    canvas = _canvas(eye, size)
    lesions = draw_lesion_maps(canvas, draw_lesions(seed, eye, signs, grade)) if grade else None
    arrays = _masks(canvas, signs, lesions)
    arrays["image"] = photograph(np.random.SeedSequence((seed, 1)), canvas, view, signs, lesions) * arrays["fov"]
    if eye.laterality == "L":
        arrays = {key: np.ascontiguousarray(array[..., ::-1]) for key, array in arrays.items()}
    return {**arrays, "grade": grade, "laterality": eye.laterality}


def choose_grade(seed: int, grade: int | None) -> int:
    """Return the given grade, or draw a random one if it is ``None``.

    Raises:
        RetinaError: if there is no such grade, or ``seed`` is negative.
    """
    if grade is None:
        return int(np.searchsorted(np.cumsum(MIXED_GRADES)[:-1], generator(seed, 5).random(), side="right"))
    if isinstance(grade, bool) or grade not in range(len(MIXED_GRADES)):
        raise RetinaError(f"grade must be 0, 1, 2, 3 or 4, got {grade}")
    return int(grade)


def choose_myopia(seed: int, myopia: float | bool | None) -> float:
    """Return the given degree of myopia, or draw a random one if it is ``None`` or ``True``.

    Raises:
        RetinaError: if the degree is not in [0, 1], or ``seed`` is negative.
    """
    if myopia is None or myopia is True:
        has, degree = generator(seed, 6).random(2)
        return float(LEAST_MYOPIA + (1 - LEAST_MYOPIA) * degree) if myopia or has < MYOPIC else 0.0
    if isinstance(myopia, str) or not 0 <= myopia <= 1:
        raise RetinaError(f"myopia must be in [0, 1], true or false, got {myopia}")
    return float(myopia)


def _canvas(eye: Eye, size: int) -> Canvas:
    scale = eye.margin * size / 2 / eye.extent
    step = (np.arange(size) - (size - 1) / 2) / scale
    x, y = np.meshgrid((step + eye.view.real).astype(np.float32), (step + eye.view.imag).astype(np.float32))
    arteries, veins = (rasterise(tree, size, scale, eye.view, THINNEST) for tree in (eye.arteries, eye.veins))
    return Canvas(eye, x, y, scale, arteries, veins)


def _masks(canvas: Canvas, myopia: Myopia | None, lesions: LesionMaps | None) -> dict[str, NDArray[np.uint8]]:
    """All masks ``(1, S, S)``, clipped to the field of view."""
    eye, nowhere = canvas.eye, np.zeros(canvas.x.shape, np.bool_)
    fov = canvas.distance(eye.view) <= eye.extent
    fov &= np.abs(canvas.y - eye.view.imag) <= eye.clip * eye.extent
    artery, vein = (gap <= np.maximum(NARROWEST - radius, 0) for gap, radius in (canvas.arteries, canvas.veins))
    disc = canvas.ellipse(0j, eye.disc, eye.turn) <= 1
    cup = disc & (canvas.ellipse(eye.cup_centre, eye.cup, eye.turn) <= 1)
    atrophy = nowhere if myopia is None else (reach_of_atrophy(canvas, myopia) <= 1) & ~disc
    masks = {"vessel": artery | vein, "artery": artery, "vein": vein, "disc": disc, "cup": cup, "fov": fov}
    masks |= {"atrophy": atrophy, **(dict.fromkeys(LESIONS, nowhere) if lesions is None else lesions.masks)}
    return {key: (mask & fov)[None].astype(np.uint8) for key, mask in masks.items()}


@dataclass(frozen=True)
class _Plan:
    """Parameters of a set; 'mixed' for random values per eye."""

    size: int
    seed: int
    grade: int | Literal["mixed"]
    myopia: float | bool | Literal["mixed"]
    camera: str | None

    def of(self, own: int) -> dict[str, Any]:
        """Grade, degree of myopia and camera of the eye with seed ``own``."""
        named = list(CAMERAS)[int(generator(own, 7).integers(len(CAMERAS)))] if self.camera == "mixed" else self.camera
        return {
            "grade": choose_grade(own, None if self.grade == "mixed" else self.grade),
            "myopia": choose_myopia(own, None if self.myopia == "mixed" else self.myopia),
            "camera": named,
        }

    def folders(self) -> dict[str, str]:
        """Folders of the images and of all masks that eyes of the set may have, by kind."""
        atrophy = ("atrophy",) if self.myopia else ()
        return {key: KINDS[key].folders[0] for key in (*WRITTEN, *atrophy, *(LESIONS if self.grade else ()))}

    def words(self) -> str:
        """Deviations from a set of healthy eyes, for its description; empty if there are none."""
        myopia = f", myopia {self.myopia}" if self.myopia else ""
        return (f", grade {self.grade}" if self.grade else "") + myopia + (f", {self.camera}" if self.camera else "")


def write_phantoms(
    directory: str | Path,
    count: int,
    size: int,
    seed: int,
    grade: int | Literal["mixed"] = 0,
    myopia: float | bool | Literal["mixed"] = False,
    camera: str | None = None,
) -> Path:
    """Write a data set of phantoms in the layout of the package, completely or not at all.

    The set is written to a hidden folder beside ``directory`` that is then renamed. An existing set with the same
    description, also one that another process completes first, is reused.

    The set has ``images``, ``vessels``, ``fovs``, ``discs``, ``cups``, ``datalist.json`` and ``manifest.jsonl``, as
    well as ``atrophy`` unless ``myopia`` is off, and a folder for each type of lesion unless ``grade`` is 0. A fifth of
    the eyes are for testing and a tenth for validation, at least one each.

    Args:
        directory: folder to create.
        count: number of eyes. Of two eyes, one is for training and one for testing. A single eye is for training.
        size: height and width in pixels.
        seed: seed of the set. Eye ``i`` depends only on ``(seed, i)``.
        grade: grade of diabetic retinopathy of all eyes, or 'mixed' for random grades with the probabilities
            ``MIXED_GRADES``.
        myopia: degree of myopia of all eyes, true for random degrees in [0.4, 1], or 'mixed' for such degrees in two of
            five eyes.
        camera: one of ``CAMERAS`` for all eyes, ``None`` for random cameras, or 'mixed' for random ones of the named
            cameras.

    Returns:
        ``directory`` as a path.

    Raises:
        RetinaError: if ``directory`` cannot be written or holds something else, or a parameter is out of range.
    """
    directory = Path(directory).expanduser()
    if count < 1:
        raise RetinaError(f"count must be at least 1, got {count}")
    if grade is None or myopia is None:
        raise RetinaError("grade and myopia of a set must not be None: give numbers, or 'mixed' for random ones")
    plan = _Plan(size, seed, grade, myopia, camera)
    find_camera(plan.of(0)["camera"])
    description = f"{count} procedural fundus phantoms of {size} px, seed {seed}{plan.words()}"
    if _finished(directory, description):
        return directory
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = make_partial(directory)
    except OSError as error:
        raise RetinaError(f"{directory} cannot be written ({error.strerror}); choose another folder") from error
    try:
        _write_set(partial, count, plan, description)
        _take_place(partial, directory, description)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _finished(directory: Path, description: str) -> bool:
    """Whether the set exists.

    Raises:
        RetinaError: if ``directory`` holds something else.
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
    """Rename ``partial`` to ``directory``, unless another process has completed the same set meanwhile."""
    try:
        os.rename(partial, directory)
    except OSError as error:
        if not _finished(directory, description):
            raise RetinaError(f"{directory} cannot be written ({error.strerror}); choose another folder") from error


def _write_set(directory: Path, count: int, plan: _Plan, description: str) -> None:
    lines = [_write_phantom(directory, i, plan) for i in tqdm(range(count), "phantoms", unit="eye", disable=None)]
    with replacing(directory / "manifest.jsonl") as file:
        file.writelines(f"{json.dumps(line)}\n".encode() for line in lines)
    test = count - (max(1, round(count / 5)) if count > 1 else 0)
    validation = test - (max(1, round(count / 10)) if count > 2 else 0)
    items = [_item(line, plan.folders()) for line in lines]
    datalist = {"training": items[:validation], "validation": items[validation:test], "test": items[test:]}
    write_json(directory / "datalist.json", {"name": "phantom", "description": description, **datalist})


def _write_phantom(directory: Path, index: int, plan: _Plan) -> dict[str, Any]:
    """Write the images of one eye and return its line of the manifest."""
    own = int(np.random.SeedSequence((plan.seed, index)).generate_state(1, np.uint64)[0])
    traits = plan.of(own)
    name, arrays = f"phantom_{index:05d}", generate_phantom(own, plan.size, **traits)
    for key, folder in plan.folders().items():
        write_png(directory / folder / f"{name}.png", arrays[key] * np.uint8(1 if key == "image" else 255))
    who = {"name": name, "patient": f"phantom/{plan.seed}-{index:05d}", "laterality": arrays["laterality"]}
    about = {"index": index, "seed": own, "size": plan.size, **traits}
    return {**who, **about, "software": software(), "synthetic": True}


def _item(line: dict[str, Any], folders: dict[str, str]) -> dict[str, Any]:
    """Convert a line of the manifest to a datalist item with paths relative to the datalist.

    Phantoms are fully annotated: ``annotated`` lists all kinds of mask, and masks without a file are empty.
    """
    paths = {key: f"{folder}/{line['name']}.png" for key, folder in folders.items()}
    texts = {key: line[key] for key in ("patient", "name", "laterality", "grade")}
    return {**paths, "dataset": "phantom", **texts, "annotated": list(ANNOTATED)}
