"""Miniature copies of the data sets, in their exact names and encodings."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (20, 24)
PHOTOGRAPH = np.full((*SHAPE, 3), 90, dtype=np.uint8)
PHOTOGRAPH[:, 12:] = (140, 70, 30)
LONG_NAME = "FIVES A Fundus Image Dataset for AI-based Vessel Segmentation"
STARE_IDS = (
    *("0001", "0002", "0003", "0004", "0005", "0044", "0077", "0081", "0082", "0139"),
    *("0162", "0163", "0235", "0236", "0239", "0240", "0255", "0291", "0319", "0324"),
)

AREAS: dict[Path, int] = {}
"""Pixels inside each mask that was written."""


def save(path: Path, picture: np.ndarray | Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    if path.suffix != ".gz":
        image.save(path)
        return
    content = io.BytesIO()
    image.save(content, Path(path.stem).suffix[1:])
    path.write_bytes(gzip.compress(content.getvalue()))


def vessels(number: int) -> np.ndarray:
    """A vessel map that no other number has."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask.flat[: 40 + number] = True
    return mask


def save_mask(path: Path, mask: np.ndarray, encoding: str = "L") -> None:
    """Write a mask as PNG, TIFF, GIF or PPM, and note its area.

    Encodings: '1', 'L' and 'RGB' (0 and 255), 'RGBA' (opaque), 'dim' (a palette of grey 3 and 253, as DRIVE's second
    observer), 'red' (a palette of black and red, as IDRiD's masks: as grey it is 76), 'smooth' (grey edges below half).
    """
    AREAS[path] = int(mask.sum())
    grey = mask * np.uint8(255)
    if encoding in ("dim", "red"):
        image = Image.fromarray(mask.astype(np.uint8), mode="P")
        image.putpalette([3, 3, 3, 253, 253, 253] if encoding == "dim" else [0, 0, 0, 255, 0, 0])
    elif encoding == "smooth":
        image = Image.fromarray(np.where(mask, np.uint8(200), np.uint8(100)))
    else:
        image = Image.fromarray(mask if encoding == "1" else grey).convert(encoding)
    save(path, image)


def make_chase(folder: Path, children: int = 14) -> Path:
    for child in range(1, children + 1):
        for eye in "LR":
            stem = folder / f"Image_{child:02d}{eye}"
            save(stem.with_suffix(".jpg"), PHOTOGRAPH)
            save_mask(Path(f"{stem}_1stHO.png"), vessels(child), "1")
            save_mask(Path(f"{stem}_2ndHO.png"), vessels(child + 1), "1")
    return folder


def make_hrf(folder: Path, numbers: int = 5) -> Path:
    for number in range(1, numbers + 1):
        for kind, ending in (("dr", ".JPG"), ("g", ".jpg"), ("h", ".jpg")):
            name = f"{number:02d}_{kind}"
            save(folder / "images" / f"{name}{ending}", PHOTOGRAPH)
            save_mask(folder / "manual1" / f"{name}.tif", vessels(number), "L")
            save_mask(folder / "mask" / f"{name}_mask.tif", np.ones(SHAPE, dtype=bool), "RGB")
    return folder


def make_fives(folder: Path, splits: tuple[str, ...] = ("train", "test"), count: int = 10) -> Path:
    for shift, split in enumerate(splits):
        for number in range(1, count + 1):
            name = f"{number}_{'ADGN'[number % 4]}.png"
            mask = vessels(number + 50 * shift)
            save(folder / split / "Original" / name, PHOTOGRAPH)
            save_mask(folder / split / "Ground truth" / name, mask, "RGB" if number % 5 else "RGBA")
    return folder


def make_drive(folder: Path, labelled: bool = True) -> Path:
    """DRIVE; with the two observers of the test photographs, as older copies have them, or without."""
    for split, numbers in (("training", range(21, 41)), ("test", range(1, 21))):
        for number in range(numbers[0], numbers[-1] + 1):
            save(folder / split / "images" / f"{number:02d}_{split}.tif", PHOTOGRAPH)
            save_mask(folder / split / "mask" / f"{number:02d}_{split}_mask.gif", np.ones(SHAPE, dtype=bool))
            if split == "training" or labelled:
                save_mask(folder / split / "1st_manual" / f"{number:02d}_manual1.gif", vessels(number))
            if split == "test" and labelled:
                save_mask(folder / split / "2nd_manual" / f"{number:02d}_manual2.gif", vessels(number + 1), "dim")
    return folder


def make_drive_unlabelled(folder: Path) -> Path:
    return make_drive(folder, labelled=False)


def make_stare(folder: Path, ending: str = ".ppm.gz", flat: bool = False) -> Path:
    places = ("", "", "") if flat else ("stare-images", "labels-ah", "labels-vk")
    for number, name in enumerate(STARE_IDS):
        save(folder / places[0] / f"im{name}{ending}", PHOTOGRAPH)
        save_mask(folder / places[1] / f"im{name}.ah{ending}", vessels(number), "RGB")
        save_mask(folder / places[2] / f"im{name}.vk{ending}", vessels(number + 1), "RGB")
    return folder


def make_stare_plain(folder: Path) -> Path:
    return make_stare(folder, ".ppm", flat=True)


def make_idrid(folder: Path, splits: tuple[str, ...] = ("a. Training Set", "b. Testing Set")) -> Path:
    """IDRiD, photographs 01 to 10 to train and 55 to 59 to test, vessel maps of all but the multiples of 4.

    Haemorrhages are in even photographs, the three other lesions in multiples of 3.
    """
    part = folder / "A. Segmentation"
    kinds = (("1. Microaneurysms", "MA", 3), ("2. Haemorrhages", "HE", 2), ("3. Hard Exudates", "EX", 3))
    kinds += (("4. Soft Exudates", "SE", 3), ("5. Optic Disc", "OD", 1))
    for split, numbers in (("a. Training Set", range(1, 11)), ("b. Testing Set", range(55, 60))):
        for number in numbers if split in splits else ():
            name = f"IDRiD_{number:02d}"
            save(part / "1. Original Images" / split / f"{name}.jpg", PHOTOGRAPH)
            for place, (kind, ending, every) in enumerate(kinds):
                path = part / "2. All Segmentation Groundtruths" / split / kind / f"{name}_{ending}.tif"
                if number % every == 0:
                    save_mask(path, vessels(number + place), "red")
            if number % 4:
                encoding = "RGBA" if number % 3 else "smooth"
                save_mask(folder / "vessels_avmapnet" / f"{name}.png", vessels(number), encoding)
    return folder


def make_idrid_grading(folder: Path) -> Path:
    """IDRiD part B, photographs 001 to 010 to train and 001 to 005 to test, of grade ``number % 5``."""
    part = folder / "B. Disease Grading"
    for split, count, table in (("a. Training Set", 10, "Training"), ("b. Testing Set", 5, "Testing")):
        lines = ["Image name,Retinopathy grade,Risk of macular edema ,,"]
        for number in range(1, count + 1):
            save(part / "1. Original Images" / split / f"IDRiD_{number:03d}.jpg", PHOTOGRAPH)
            lines.append(f"IDRiD_{number:03d},{number % 5},0,,")
        path = part / "2. Groundtruths" / f"{split[:3]}IDRiD_Disease Grading_{table} Labels.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes("\r\n".join([*lines, ""]).encode())
    return folder


def make_rossa(folder: Path) -> Path:
    """ROSSA, six images to train by hand and four by SAM, three to validate and two to test."""
    for split, numbers in (("train_manual", 6), ("train_sam", 4), ("val", 3), ("test", 2)):
        for number in range(1, numbers + 1):
            save(folder / split / "image" / f"{number}.png", PHOTOGRAPH[:, :, 0])
            save_mask(folder / split / "label" / f"{number}.png", vessels(number))
    return folder


def make_idrid_training_only(folder: Path) -> Path:
    return make_idrid(folder, ("a. Training Set",))


def make_kaggle(folder: Path, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """The Retina Blood Vessel set of Kaggle, 20 to train and 5 to test; both use the names 0.png, 1.png, ..."""
    for shift, (split, count) in enumerate((("train", 20), ("test", 5))):
        for number in range(count if split in splits else 0):
            save(folder / "Data" / split / "image" / f"{number}.png", PHOTOGRAPH)
            path = folder / "Data" / split / "mask" / f"{number}.png"
            save_mask(path, vessels(number + 50 * shift), ("L", "RGB", "1")[number % 3])
    return folder


def make_kaggle_training_only(folder: Path) -> Path:
    return make_kaggle(folder, ("train",))


def make_own(folder: Path) -> Path:
    """A user's own folder: six eyes of four patients, umlauts and spaces, a csv of a spreadsheet."""
    eyes = ("Müller 1", "Müller 2", "eye.3", "eye 4", "eye5", "eye6")
    for number, (name, suffix) in enumerate(zip(eyes, ("jpg", "tif", "png", "JPEG", "bmp", "png"), strict=True)):
        save(folder / "images" / f"{name}.{suffix}", PHOTOGRAPH)
        save_mask(folder / "vessels" / f"{name}.png", vessels(number))
        save_mask(folder / "fov" / f"{name}.png", np.ones(SHAPE, dtype=bool), "1")
        save_mask(folder / "discs" / f"{name}.tif", vessels(number + 2), "red")
        if number % 2:
            save_mask(folder / "haemorrhages" / f"{name}.png", vessels(number + 3), "1")
    rows = ["Name;Patient;Laterality;Split;Grade"]
    rows += ["Müller 1;Jürgen M;OD;train;0", "Müller 2.tif;Jürgen M;OS;train;1", "eye.3;B;left;val;", "eye 4;C;;test;4"]
    rows += ["eye5.BMP;D;R;Training;2.0", "images/eye6.png;D;l;training;3"]
    (folder / "my eyes.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n")
    return folder


def add_stray_files(folder: Path) -> None:
    """What file managers and archives leave behind, in every folder."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for place in (*folders, folder / "__MACOSX"):
        place.mkdir(exist_ok=True)
        beside = [f"._{path.name}" for path in place.iterdir() if path.is_file()][:2]
        for name in ("Thumbs.db", ".DS_Store", "readme.txt", *beside):
            (place / name).write_bytes(b"stray")


def shout(folder: Path) -> None:
    """Write the endings of all files and the names of all folders in capitals."""
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        stem, dot, ending = path.name.partition(".p" if path.name.lower().endswith(".ppm.gz") else path.suffix or "?")
        name = path.name.upper() if path.is_dir() else f"{stem}{(dot + ending).upper()}"
        path.rename(path.with_name(name))
