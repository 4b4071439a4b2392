"""Eyes are read alike whatever surrounds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from retina_monai.data.phantom.fundus.fundus_phantom import generate_phantom
from retina_monai.data.sets.eyes import LoadEyed


def test_a_photograph_on_white_is_read_as_on_black(tmp_path: Path) -> None:
    eye = generate_phantom(5, 200, camera="hrf")
    item = {"name": "a", "patient": "a", "dataset": "a", "vessel": str(tmp_path / "vessel.png")}
    Image.fromarray(eye["vessel"][0] * np.uint8(255)).save(item["vessel"])
    Image.fromarray(eye["fov"][0] * np.uint8(255)).save(tmp_path / "fov.png")
    read = {}
    for name, surround in (("black", 0), ("white", 255)):
        pixels = np.where(eye["fov"], eye["image"], surround).astype(np.uint8)
        Image.fromarray(np.moveaxis(pixels, 0, 2)).save(tmp_path / f"{name}.png")
        with_path = item | {"image": str(tmp_path / f"{name}.png")}
        read[name] = LoadEyed(96)(with_path)
        read[f"{name}, fov given"] = LoadEyed(96)(with_path | {"fov": str(tmp_path / "fov.png")})
    np.testing.assert_array_equal(read["white, fov given"]["image"], read["black, fov given"]["image"])
    inside = (read["black"]["fov"] == 255) & (read["white"]["fov"] == 255)
    assert inside.float().mean() > 0.95 * (read["black"]["fov"] == 255).float().mean()
    assert read["white"]["image"].max(0).values[read["white"]["fov"][0] == 0].max() == 0
