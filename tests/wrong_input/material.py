"""What the cases are made from: sound pictures and weights to copy and to spoil."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from retina_monai.data import Appearances
from retina_monai.networks import (
    ConditionedUNet,
    DiffusionGenerator,
    IterNet,
    LamaGenerator,
    Pix2PixUNet,
    RetinaEncoder,
)
from retina_monai.transforms import CANONICAL

Overrides = dict[str, Any]

SPLITS = {"training": (0, 1, 2, 3, 4), "validation": (5,), "test": (6, 7)}
SPOILED = (0, 5, 6)
"""An eye of each split, and the first of all."""
PICTURES = {"image": "images", "vessel": "vessels", "fov": "fovs"}


@dataclass(frozen=True)
class Material:
    """A folder of its own for a case, sound eyes and sound weights to copy."""

    folder: Path
    phantoms: Path
    trained: Path

    def eyes(self, name: str = "eyes") -> Eyes:
        """A copy of the phantoms: photographs, vessel maps and fields of view, with their list."""
        for kind in PICTURES.values():
            shutil.copytree(self.phantoms / kind, self.folder / name / kind)
        eyes = Eyes(self.folder / name, {})
        eyes.write_list()
        return eyes

    def eyes_without_list(self) -> Path:
        """As pictures in two folders."""
        for kind in ("images", "vessels"):
            shutil.copytree(self.phantoms / kind, self.folder / "eyes" / kind)
        return self.folder / "eyes"

    def checkpoint(self, content: bytes) -> Path:
        """Sound company for a file that claims to be weights."""
        shutil.copytree(self.trained, self.folder / "weights")
        (self.folder / "weights" / "model.pt").write_bytes(content)
        return self.folder / "weights" / "model.pt"


@dataclass
class Eyes:
    """A data set in a folder; ``moved`` tells where a picture lies whose name is another than at first."""

    folder: Path
    moved: dict[tuple[str, int], str]

    def path(self, key: str, eye: int) -> Path:
        return self.folder / self.moved.get((key, eye), f"{PICTURES[key]}/phantom_{eye:05d}.png")

    def move(self, key: str, eye: int, name: str) -> Path:
        """Let the list name another file; returns its path."""
        self.moved[key, eye] = f"{PICTURES[key]}/{name}"
        return self.path(key, eye)

    def write_list(self, splits: dict[str, tuple[int, ...]] = SPLITS, same: tuple[int, ...] = ()) -> Path:
        """``datalist.json``; the eyes in ``same`` are one patient's."""

        def item(eye: int) -> dict[str, str]:
            paths = {key: str(self.path(key, eye).relative_to(self.folder)) for key in PICTURES}
            return {**paths, "patient": f"patient {min(same) if eye in same else eye}", "dataset": "phantom"}

        lists = {split: [item(eye) for eye in eyes] for split, eyes in splits.items()}
        (self.folder / "datalist.json").write_text(json.dumps(lists), encoding="utf-8")
        return self.folder


def small_weights(folder: Path, kind: str) -> Path:
    """``model.pt`` of a small network of a bundle that nobody trained, as a training writes it."""
    torch.manual_seed(0)
    networks: dict[str, Callable[[], Any]] = {
        "iternet": lambda: IterNet(4, 2, 1, 2),
        "encoder": lambda: RetinaEncoder(4, 4, 64),
        "color": lambda: Pix2PixUNet(levels=4, features=4, norm="instance", inside_map=True),
        "lama": lambda: LamaGenerator(features=4, blocks=1, norm="instance"),
        "ddpm": lambda: DiffusionGenerator(ConditionedUNet(5, features=4, multipliers=(1, 2)), "clean", steps=2),
    }
    network = networks[kind]()
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model.pt")
    name = f"{type(network).__module__}.{type(network).__qualname__}"
    (folder / "network.json").write_text(json.dumps({"_target_": name, **network.arguments}))
    if kind in ("lama", "ddpm"):
        eyes = [{"name": "one", "dataset": "phantom", "mean": CANONICAL.mean, "std": CANONICAL.std}]
        Appearances(eyes).save(folder / "appearances.json")
    return folder / "model.pt"


def grey(picture: Image.Image) -> Image.Image:
    return picture.convert("L")


def few_colours(picture: Image.Image) -> Image.Image:
    return picture.quantize(200)


def lying(picture: Image.Image) -> Image.Image:
    """On its side, as a camera stores it that leaves it to EXIF to say so (orientation 6: to be turned clockwise)."""
    return picture.transpose(Image.Transpose.ROTATE_90)


def upright() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def cut_corner(picture: Image.Image) -> Image.Image:
    """Without a corner, which is transparent."""
    picture = picture.convert("RGBA")
    picture.paste((90, 90, 90, 0), (0, 0, 40, 40))
    return picture


def black_corner(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    picture.paste((0, 0, 0), (0, 0, 40, 40))
    return picture


def png16(array: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, grey ``(H, W)`` or RGB ``(H, W, 3)``, which Pillow cannot write."""
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in array)
    kind = 0 if array.ndim == 2 else 2
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def contents(folder: Path) -> dict[str, str]:
    """Everything below a folder; of files the SHA-256, of links where they point."""

    def entries() -> Iterator[tuple[str, str]]:
        for path in sorted(folder.rglob("*")):
            yield str(path.relative_to(folder)), _digest(path)

    return dict(entries())


def _digest(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
