"""Appearances of generated photographs: the average of a camera, a random training eye, or a given photograph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from retina_monai.data.files.reading import read_photograph
from retina_monai.data.sets.dataset import CachedEyes
from retina_monai.data.sets.vessel_maps import VesselMaps
from retina_monai.errors import RetinaError
from retina_monai.files import write_text
from retina_monai.seeds import appearance_number
from retina_monai.settings import expand_home
from retina_monai.transforms.appearance import Appearance, appearance_map, measure_appearance
from retina_monai.transforms.field_of_view import compute_fov, resize_area
from retina_monai.transforms.texture import Texture, measure_texture

__all__ = ["Appearances", "WithAppearance", "appearance_picture", "load_appearances", "photograph_appearance"]

AVERAGE, DRAWN = "average", "random"


class Appearances:
    """Table of the appearance of each training eye, distributed with the weights.

    Args:
        eyes: one dictionary per eye with ``name``, ``dataset`` (the camera), ``mean``, ``std``, and optionally
            ``texture`` (:class:`retina_monai.transforms.Texture`).

    Raises:
        RetinaError: if there are no eyes.
    """

    def __init__(self, eyes: Sequence[dict[str, Any]]) -> None:
        if not eyes:
            raise RetinaError("a table of appearances needs at least one eye")
        self.eyes = list(eyes)

    @classmethod
    def load(cls, path: str | Path) -> Appearances:
        """Read ``appearances.json``.

        Raises:
            RetinaError: if the file does not exist or is invalid.
        """
        try:
            eyes = json.loads(Path(path).read_text())["eyes"]
            return cls([_read(eye) for eye in eyes])
        except OSError as error:
            raise RetinaError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RetinaError(f"{path} is not a table of appearances: it needs eyes with mean and std") from error

    @classmethod
    def measure(cls, eyes: CachedEyes, size: int | None = None) -> Appearances:
        """Measure the photographs of a data set inside their fields of view.

        Args:
            eyes: eyes with uint8 ``image`` and ``fov``, and ``vessel`` if textures are measured.
            size: side length in pixels to which photographs are resized for the textures, or ``None`` to measure no
                textures.
        """
        measured = []
        for place in tqdm(range(len(eyes)), "measuring appearances", leave=False, disable=None):
            eye = eyes.deterministic(place)
            appearance = measure_appearance(eye["image"].float() / 127.5 - 1, eye["fov"] >= 128)
            about = {"name": eye["name"], "dataset": eye["dataset"], "mean": appearance.mean, "std": appearance.std}
            texture = None if size is None else _texture(eye, size)
            measured.append(about if texture is None else {**about, "texture": texture})
        return cls(measured)

    def save(self, path: str | Path) -> None:
        """Write the table for :meth:`load`, one eye per line, with four digits (a hundredth of a grey level).

        Raises:
            RetinaError: if the file cannot be written.
        """
        eyes = ",\n        ".join(json.dumps(_written(eye)) for eye in self.eyes)
        head = '    "scale": "[-1, 1]",\n    "channels": "RGB"'
        write_text(path, f'{{\n{head},\n    "eyes": [\n        {eyes}\n    ]\n}}\n')

    @property
    def cameras(self) -> list[str]:
        """Names of the data sets."""
        return sorted({eye["dataset"] for eye in self.eyes})

    def average(self, camera: str | None = None) -> Appearance:
        """Average the means, standard deviations and textures of the eyes of one camera or of all.

        Raises:
            RetinaError: if there is no eye of that camera.
        """
        eyes = self._of(camera)
        mean, std = (np.mean([eye[key] for eye in eyes], axis=0).tolist() for key in ("mean", "std"))
        return Appearance(tuple(mean), tuple(std), _mean_texture([eye.get("texture") for eye in eyes]))

    def drawn(self, seed: int, index: int, camera: str | None = None) -> Appearance:
        """Draw the appearance of one eye. It depends only on ``seed`` and ``index``.

        Raises:
            RetinaError: if there is no eye of that camera.
        """
        eyes = self._of(camera)
        eye = eyes[appearance_number(seed, index) % len(eyes)]
        return Appearance(tuple(eye["mean"]), tuple(eye["std"]), eye.get("texture"))

    def choose(self, choice: str, seed: int = 0, index: int = 0) -> Appearance:
        """The appearance that a user chose.

        Args:
            choice: ``average`` for the average of all training eyes; a camera, such as ``HRF``, for its average;
                ``random`` or ``random:HRF`` for a random training eye, of any or of that camera; or the path of a
                photograph for its colours with the average texture, since its vessels are unknown.
            seed, index: seed of the run and index of the sample, for random choices.

        Raises:
            RetinaError: if the choice is unknown.
        """
        choice = expand_home(choice)
        kind, _, camera = choice.partition(":")
        if choice == AVERAGE:
            return self.average()
        if choice in self.cameras:
            return self.average(choice)
        if kind == DRAWN and (not camera or camera in self.cameras):
            return self.drawn(seed, index, camera or None)
        if Path(choice).is_file():
            return replace(photograph_appearance(choice), texture=self.average().texture)
        raise RetinaError(
            f"appearance {choice} is unknown: give {AVERAGE}, {DRAWN}, a camera ({', '.join(self.cameras)}), "
            f"{DRAWN}:CAMERA, or the path of a photograph"
        )

    def settings(self, choice: str) -> dict[str, str]:
        """Settings that determine colours: ``appearance``, the choice, and ``appearances``, a digest of the table.

        If the choice is a photograph, its path is replaced by a digest of the file.
        """
        known = (AVERAGE, *self.cameras)
        choice = expand_home(choice)
        named = choice in known or choice.partition(":")[0] == DRAWN or not Path(choice).is_file()
        table = json.dumps([_written(eye) for eye in self.eyes]).encode()
        return {
            "appearance": choice if named else f"photograph {_digest(Path(choice).read_bytes())}",
            "appearances": _digest(table),
        }

    def _of(self, camera: str | None) -> list[dict[str, Any]]:
        if camera is None:
            return self.eyes
        eyes = [eye for eye in self.eyes if eye["dataset"] == camera]
        if not eyes:
            raise RetinaError(f"camera {camera} is unknown: the table has {', '.join(self.cameras)}")
        return eyes


class WithAppearance:
    """Samples of another source with the chosen appearance, for networks that take it as a condition.

    Each sample gets ``appearance_map`` (:func:`appearance_picture`).

    Args:
        samples: source of samples with ``index`` (:class:`retina_monai.data.VesselMaps`).
        appearance: index of a sample -> its appearance.
    """

    def __init__(self, samples: VesselMaps, appearance: Callable[[int], Appearance]) -> None:
        self.samples, self.appearance = samples, appearance

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        appearance = self.appearance(int(sample["index"]))
        return {**sample, "appearance_map": appearance_picture(appearance, self.samples.size)}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of image in a sample."""
        return (*self.samples.kinds, "appearance_map")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that determine the samples, without the choice of appearances."""
        return self.samples.settings


def appearance_picture(appearance: Appearance, size: int) -> NDArray[np.float32]:
    """An appearance as a picture of a sample.

    Returns:
        ``appearance_map``, float32 ``(3, size, size)`` in [0, 255] (:func:`retina_monai.transforms.appearance_map`).
    """
    return np.asarray((appearance_map(appearance, size).numpy() + 1) * 127.5, np.float32)


def photograph_appearance(path: str | Path) -> Appearance:
    """Measure the appearance of a photograph inside its computed field of view.

    Raises:
        RetinaError: if the photograph cannot be read.
    """
    image = read_photograph(path)
    return measure_appearance(torch.from_numpy(image).float() / 127.5 - 1, torch.from_numpy(compute_fov(image)))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _texture(eye: Mapping[str, Any], size: int) -> Texture | None:
    """Measure the texture of a uint8 eye after resizing it."""
    image, fov, vessel = (
        torch.from_numpy(resize_area(eye[key].numpy().astype(np.float32), size)) for key in ("image", "fov", "vessel")
    )
    return measure_texture(image / 127.5 - 1, fov >= 128, vessel >= 128)


def _mean_texture(textures: Sequence[Texture | None]) -> Texture | None:
    """Mean of the known textures; ``None`` if there are none."""
    known = [texture for texture in textures if texture is not None]
    if not known:
        return None
    mean = np.mean([texture.covariances for texture in known], axis=0).tolist()
    return _as_texture(mean, float(np.mean([texture.patchiness for texture in known])))


def _as_texture(covariances: Sequence[Sequence[Sequence[float]]], patchiness: float) -> Texture:
    return Texture(tuple(tuple(tuple(row) for row in band) for band in covariances), float(patchiness))


def _written(eye: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an eye of the table for JSON."""
    texture = {"texture": _rounded(asdict(eye["texture"]))} if eye.get("texture") else {}
    return {**eye, **{key: np.round(eye[key], 4).tolist() for key in ("mean", "std")}, **texture}


def _rounded(value: Any) -> Any:
    """Round numbers to four significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, tuple) else float(f"{value:.4g}")


def _read(eye: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an eye of the table from JSON."""
    texture = {"texture": _as_texture(**eye["texture"])} if "texture" in eye else {}
    return {**eye, "mean": tuple(eye["mean"]), "std": tuple(eye["std"]), **texture}


def load_appearances(checkpoint: str | Path, bundle_root: str | Path) -> Appearances:
    """Load the appearances of a checkpoint's training eyes, from beside it or from the bundle's ``configs``."""
    beside = Path(checkpoint).with_name("appearances.json")
    return Appearances.load(beside if beside.is_file() else Path(bundle_root) / "configs" / "appearances.json")
