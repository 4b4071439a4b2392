"""Compare the released weights side by side: seconds per photograph, and a picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comparison.methods import DATASETS, METHODS
from retina_monai.data import LoadEyed, find_datalist
from retina_monai.data.files.writing import write_png
from retina_monai.evaluation.report.plots import image_grid
from retina_monai.files import write_json
from retina_monai.seeds import draw_latent, texture_generator
from retina_monai.synthesis import PhotographGenerator, load
from retina_monai.transforms.field_of_view import resize_area

SECONDS = "seconds.json"
SHOWN = 2  # eyes of each data set


def load_methods() -> dict[str, PhotographGenerator]:
    """Load the generators with their released weights."""
    return {name: load(method.generator) for name, method in METHODS.items()}


def test_eyes(data: Path, size: int) -> list[dict[str, Any]]:
    """Test eyes of all data sets: pictures, facts and ``path`` of the photograph."""
    items = [item for name in DATASETS for item in find_datalist(str(data / name))["test"]]
    return [{**LoadEyed(size)(item), "path": item["image"]} for item in items]


def paint(chain: PhotographGenerator, eye: Mapping[str, Any], index: int) -> np.ndarray:
    """Paint a photograph around an eye's vessel map in its own appearance; ``index`` seeds the texture and noise."""
    assert chain.appearances is not None
    appearance = chain.appearances.choose(eye["path"], 0, index)
    return chain.paint(sample_of(eye), appearance, texture_generator(0, index), draw_latent(0, index))


def sample_of(eye: Mapping[str, Any]) -> dict[str, np.ndarray]:
    share, fov = np.asarray(eye["vessel"], np.float32), np.asarray(eye["fov"]) >= 128
    return {"vessel_share": share, "fov": fov.astype(np.uint8)}


def measure_seconds(
    chains: Mapping[str, PhotographGenerator], eyes: Sequence[Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Processor time of each photograph, with the methods in turns; the first round is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in chains}
    for eye in (eyes[0], *eyes):
        for name, chain in chains.items():
            assert chain.appearances is not None
            appearance, start = chain.appearances.average(), time.process_time()
            chain.paint(sample_of(eye), appearance, texture_generator(0, 0))
            seconds[name].append(round(time.process_time() - start, 4))
    return {name: times[1:] for name, times in seconds.items()}


def draw(chains: Mapping[str, PhotographGenerator], eyes: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the first two eyes of each data set: vessel map, output of each method, photograph."""
    rows = []
    for index, eye in enumerate(eyes):
        if sum(other["dataset"] == eye["dataset"] for other in eyes[:index]) < SHOWN:
            row = {"vessel map": np.asarray(eye["vessel"])}
            for name, chain in chains.items():
                if "color_vessel" in chain.makes:
                    color = np.rint(chain.draw(sample_of(eye))["color_vessel"]).astype(np.uint8)
                    row["colour vessel mask"] = color * sample_of(eye)["fov"]
                row[METHODS[name].title] = paint(chain, eye, index)
            rows.append(row | {"real": np.asarray(eye["image"]) * sample_of(eye)["fov"]})
    halves = [[halved(picture) for picture in row.values()] for row in rows]
    write_png(path, image_grid(halves, list(rows[0])))


def halved(picture: np.ndarray) -> np.ndarray:
    """Scale a picture ``(C, H, H)`` to half its size."""
    return np.rint(resize_area(picture, picture.shape[-1] // 2)).astype(np.uint8)


def show(data: Path, notes: Path, picture: Path) -> None:
    """Write the picture, and the seconds per photograph of each method into the folder of notes."""
    chains = load_methods()
    eyes = test_eyes(data, next(iter(chains.values())).size)
    write_json(notes / SECONDS, measure_seconds(chains, eyes))
    draw(chains, eyes, picture)
