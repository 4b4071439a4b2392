"""One asymmetric picture in every format gives one array; masks in every encoding give one mask."""

from __future__ import annotations

import gzip
import itertools
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image, ImageCms
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from retina_monai.data.files.reading import (
    IMAGE_SUFFIXES,
    check_picture,
    read_array,
    read_mask,
    read_photograph,
    read_preview,
    read_size,
)
from retina_monai.errors import RetinaError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
MASK = np.zeros((12, 20), dtype=np.uint8)
MASK[2:7, 3:15] = 1
LOSSLESS = ["png", "tif", "gif", "ppm", "bmp", "ppm.gz", "png.gz", "nii", "nii.gz", "mha", "mhd", "dcm"]


def write(path: Path, array: np.ndarray) -> Path:
    """Write ``(H, W)`` or ``(H, W, 3)`` in the format that the suffix names, by that format's own library."""
    suffix = path.name.partition(".")[2].lower()
    if suffix.endswith(".gz") and not suffix.startswith("nii"):
        path.write_bytes(gzip.compress(write(path.with_suffix(""), array).read_bytes()))
    elif suffix.startswith("nii"):
        nibabel.save(nibabel.Nifti1Image(_nifti(array), np.eye(4)), path)
    elif suffix in ("mha", "mhd"):
        itk.imwrite(itk.image_from_array(array, is_vector=array.ndim == 3), str(path))
    elif suffix in ("dcm", ""):
        write_dicom(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def _nifti(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array.T
    colours = np.ascontiguousarray(array.transpose(1, 0, 2))[:, :, None]
    return colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]


def write_dicom(path: Path, array: np.ndarray) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dicom = pydicom.Dataset()
    dicom.file_meta = meta
    dicom.SOPClassUID, dicom.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dicom.Modality = "OP"
    dicom.Rows, dicom.Columns = array.shape[:2]
    dicom.SamplesPerPixel = 3 if array.ndim == 3 else 1
    dicom.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        dicom.PlanarConfiguration = 0
    bits = array.dtype.itemsize * 8
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = bits, bits, bits - 1, 0
    dicom.PixelData = array.tobytes()
    dicom.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_a_grey_picture_is_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"picture.{suffix}", GREY)
    np.testing.assert_array_equal(read_array(path), GREY)
    np.testing.assert_array_equal(read_photograph(path), np.stack([GREY] * 3))
    assert read_size(path) == GREY.shape


@pytest.mark.parametrize("suffix", [suffix for suffix in LOSSLESS if suffix != "gif"])
def test_a_colour_picture_is_the_same_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"picture.{suffix}", RGB)
    np.testing.assert_array_equal(read_array(path), RGB)
    photograph = read_photograph(path)
    assert photograph.dtype == np.uint8
    np.testing.assert_array_equal(photograph, RGB.transpose(2, 0, 1))


def test_jpeg_is_nearly_the_same(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(48) * 4, np.arange(64)).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "picture.JPG", quality=95)
    assert np.abs(read_array(tmp_path / "picture.JPG").astype(int) - smooth).max() <= 3


def test_dicom_is_known_without_its_suffix_and_any_case_of_suffix_is(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_array(write(tmp_path / "IM0001", RGB)), RGB)
    np.testing.assert_array_equal(read_array(write(tmp_path / "a.dcm", GREY).rename(tmp_path / "a.DCM")), GREY)
    np.testing.assert_array_equal(read_array(write(tmp_path / "b.nii", GREY).rename(tmp_path / "b.NII")), GREY)


def test_rgb_along_the_last_axis_of_a_nifti(tmp_path: Path) -> None:
    columns_first = RGB.transpose(1, 0, 2)
    for name, array in (
        ("a.nii", columns_first),
        ("b.nii", columns_first[:, :, None]),
        ("c.nii", columns_first[:, :, None, None]),
    ):
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / name)
        np.testing.assert_array_equal(read_array(tmp_path / name), RGB)


@pytest.mark.parametrize(
    ("bits", "factor"), [(8, 1), (10, 1023 / 255), (12, 4095 / 255), (16, 257)], ids=["8", "10", "12", "16"]
)
def test_deep_photographs_are_scaled_to_eight_bits(tmp_path: Path, bits: int, factor: float) -> None:
    full = GREY.copy()
    full[0, 0] = 255
    write_dicom(tmp_path / "deep.dcm", np.rint(full * float(factor)).astype(np.uint16))
    np.testing.assert_array_equal(read_photograph(tmp_path / "deep.dcm")[0], full)


def test_fractions_are_scaled_to_eight_bits(tmp_path: Path) -> None:
    path = write(tmp_path / "fractions.mha", GREY.astype(np.float32) / 255)
    np.testing.assert_array_equal(read_photograph(path)[0], GREY)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    white = np.full((4, 6, 4), 255, dtype=np.uint8)
    white[:, :2, 3] = 0
    Image.fromarray(white).save(tmp_path / "colour.png")
    Image.fromarray(np.ascontiguousarray(white[..., 2:])).save(tmp_path / "grey.png")
    expected = np.repeat([[0, 0, 255, 255, 255, 255]], 4, axis=0)
    np.testing.assert_array_equal(read_array(tmp_path / "colour.png")[..., 1], expected)
    np.testing.assert_array_equal(read_array(tmp_path / "grey.png"), expected)


def _palette(index_of_inside: int, colour: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(np.where(MASK, index_of_inside, 1 - index_of_inside).astype(np.uint8), mode="P")
    colours = [0] * 6
    colours[3 * index_of_inside : 3 * index_of_inside + 3] = colour
    picture.putpalette(colours)
    return picture


MASK_PICTURES = {
    "one bit.png": Image.fromarray(MASK.astype(bool)),
    "0 and 1.png": Image.fromarray(MASK),
    "0 and 255.tif": Image.fromarray(MASK * np.uint8(255)),
    "rgb.png": Image.fromarray(np.dstack([MASK * np.uint8(255)] * 3)),
    "rgba as in FIVES.png": Image.fromarray(np.dstack([MASK * np.uint8(255)] * 3 + [np.full_like(MASK, 255)])),
    "white on transparent.png": Image.fromarray(np.dstack([np.full_like(MASK, 255)] * 3 + [MASK * np.uint8(255)])),
    "red on black.png": Image.fromarray(np.dstack([MASK * np.uint8(255), MASK * 0, MASK * 0])),
    "inverted index.gif": _palette(0, (255, 255, 255)),
    "red at index 1.tif": _palette(1, (255, 0, 0)),
    "16 bits.png": Image.fromarray(MASK * np.uint16(65535)),
    "dark red as in IDRiD.tif": _palette(1, (76, 0, 0)),
    "only label 3.png": Image.fromarray(MASK * np.uint8(3)),
}


@pytest.mark.parametrize("name", MASK_PICTURES)
def test_a_mask_is_the_same_in_every_encoding(tmp_path: Path, name: str) -> None:
    MASK_PICTURES[name].save(tmp_path / name)
    mask = read_mask(tmp_path / name)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, MASK[None])


@pytest.mark.parametrize("suffix", ["nii.gz", "mha", "dcm"])
@pytest.mark.parametrize("inside", [1, 255])
def test_a_mask_is_the_same_in_every_medical_format(tmp_path: Path, suffix: str, inside: int) -> None:
    np.testing.assert_array_equal(read_mask(write(tmp_path / f"mask.{suffix}", MASK * np.uint8(inside))), MASK[None])


def test_a_mask_of_fractions_and_anti_aliased_edges(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a.mha", MASK * np.float32(0.7))), MASK[None])
    edges = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "edges.png", edges)), [[[0, 0, 1, 1]]])
    np.testing.assert_array_equal(read_mask(tmp_path / "edges.png", threshold=100), [[[0, 1, 1, 1]]])


def test_an_empty_mask_is_a_mask_and_label_numbers_are_none(tmp_path: Path) -> None:
    assert not read_mask(write(tmp_path / "empty.png", MASK * 0)).any()
    labels = MASK * np.uint8(3)
    labels[0] = 1
    labels = write(tmp_path / "labels.nii.gz", labels)
    with pytest.raises(
        RetinaError, match=r"labels\.nii\.gz has the values 0, 1 and 3: a mask has 0 and 1, or 0 and 255"
    ):
        read_mask(labels)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", *LOSSLESS[:-2], "dcm"])
def test_a_file_cut_short_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    content = write(tmp_path / f"whole.{suffix}", RNG.integers(0, 256, (120, 200), dtype=np.uint8)).read_bytes()
    path = tmp_path / f"short.{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RetinaError) as error:
        read_photograph(path)
    assert str(path) in str(error.value)
    assert ("empty" if share == 0 else "truncated") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("This is not a picture.\n" * 40)
    for read in (read_array, read_photograph, read_mask, read_size, check_picture):
        with pytest.raises(RetinaError, match=r"text\.\S+ is damaged, truncated or not a picture"):
            read(path)


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(RetinaError, match=r"absent\.png is not there"):
        read_array(tmp_path / "absent.png")
    with pytest.raises(RetinaError, match="is a directory"):
        read_array(tmp_path)


def test_volumes_and_impossible_values_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6)), np.eye(4)), tmp_path / "volume.nii")
    with pytest.raises(RetinaError, match=r"volume\.nii holds an array of"):
        read_array(tmp_path / "volume.nii")
    for value in (-1, np.nan, 1e6):
        path = write(tmp_path / "values.mha", np.full((4, 5), value, dtype=np.float32))
        for read in (read_photograph, read_mask):
            with pytest.raises(RetinaError, match=r"values\.mha holds values from"):
                read(path)


def test_too_many_pixels_are_refused_and_merely_many_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    path = write(tmp_path / "large.png", GREY)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size - 1)
    np.testing.assert_array_equal(read_array(path), GREY)
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", GREY.size // 2 - 1)
    with pytest.raises(RetinaError, match=r"large\.png has too many pixels"):
        read_array(path)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, with their check sums."""
    whole = [
        struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def header(width: int, height: int, bits: int = 8, colour: int = 0) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def write_deep(path: Path, array: np.ndarray) -> Path:
    """Colours of 16 bits, which Pillow cannot write."""
    if path.suffix == ".png":
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
        colour = {2: 4, 3: 2, 4: 6}[array.shape[2]]
        image = header(array.shape[1], array.shape[0], 16, colour)
        path.write_bytes(png(image, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    elif path.suffix == ".ppm":
        path.write_bytes(b"P6 %d %d 65535\n" % array.shape[1::-1] + array.astype(">u2").tobytes())
    else:
        compression = "zlib" if "zip" in path.name else None
        tifffile.imwrite(
            path, array, photometric="rgb", byteorder=">" if "big" in path.name else "<", compression=compression
        )
    return path


@pytest.mark.parametrize("name", ["a.png", "alpha.png", "a.ppm", "little.tif", "big zip.tif"])
@pytest.mark.parametrize("read", [read_photograph, read_array, check_picture, partial(read_preview, side=8)])
def test_colours_of_16_bits_are_refused(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    """Pillow would keep the upper eight bits of each channel without a word."""
    deep = RGB * np.uint16(257)
    path = write_deep(tmp_path / name, np.dstack([deep, deep[..., :1]]) if "alpha" in name else deep)
    with pytest.raises(RetinaError, match=rf"{name} is a 16-bit colour picture: convert it to 8 bits per channel"):
        read(path)


def test_grey_of_16_bits_with_alpha_is_refused(tmp_path: Path) -> None:
    path = write_deep(tmp_path / "a.png", np.dstack([GREY, GREY]) * np.uint16(257))
    with pytest.raises(RetinaError, match=r"a\.png is a 16-bit .* convert it to 8 bits per channel"):
        read_photograph(path)


@pytest.mark.parametrize("suffix", ["png", "tif", "mha", "nii.gz", "dcm"])
def test_grey_values_that_8_bits_do_not_hold_are_refused(tmp_path: Path, suffix: str) -> None:
    deep = GREY * np.uint16(257)
    np.testing.assert_array_equal(read_photograph(write(tmp_path / f"exact.{suffix}", deep))[0], GREY)
    deep[3, 4] += 1
    with pytest.raises(RetinaError, match=rf"finer\.{suffix} has values up to .* convert it to 8 bits"):
        read_photograph(write(tmp_path / f"finer.{suffix}", deep))
    with pytest.raises(RetinaError, match="finer than"):
        read_photograph(write(tmp_path / "a.mha", np.float32([[0, 0.1234], [1, 0.5]])))


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "YCbCr"])
def test_other_colours_are_refused_before_they_are_decoded(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(RGB)
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.applyTransform(picture, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "other.tif")
    for read in (check_picture, read_array, read_photograph, read_mask):
        with pytest.raises(RetinaError, match=rf"other\.tif has .* colours \({mode}\), .*: convert it to RGB$"):
            read(tmp_path / "other.tif")


def test_a_photograph_is_not_half_transparent_but_a_mask_may_be(tmp_path: Path) -> None:
    array = np.full((4, 6, 4), 200, dtype=np.uint8)
    array[:, :3, 3] = 255
    Image.fromarray(array).save(tmp_path / "half.png")
    with pytest.raises(RetinaError, match=r"half\.png is partly transparent"):
        read_photograph(tmp_path / "half.png")
    assert read_mask(tmp_path / "half.png").all()
    array[:, 3:, 3] = 60
    Image.fromarray(array).save(tmp_path / "half.png")
    assert read_mask(tmp_path / "half.png")[0].any(axis=0).tolist() == [True] * 3 + [False] * 3


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_is_black(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(np.uint8([[255, 90], [90, 255]]))
    picture = picture.quantize(2) if mode == "P" else picture.convert(mode)
    key = {"L": 255, "RGB": (255, 255, 255), "P": picture.getpixel((0, 0))}[mode]
    picture.save(tmp_path / "keyed.png", transparency=key)
    np.testing.assert_array_equal(read_photograph(tmp_path / "keyed.png")[1], [[0, 90], [90, 0]])


TURNED = {
    1: lambda array: array,
    2: np.fliplr,
    3: lambda array: np.rot90(array, 2),
    4: np.flipud,
    5: lambda array: np.swapaxes(array, 0, 1),
    6: lambda array: np.rot90(array, 1),
    7: lambda array: np.rot90(np.swapaxes(array, 0, 1), 2),
    8: lambda array: np.rot90(array, -1),
}
"""How an upright picture is stored in each orientation of EXIF: 6, say, by a camera that was turned to the left."""


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_what_the_camera_turned_is_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    upright = np.kron(np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6), np.ones((16, 16), dtype=np.uint8))
    stored = np.ascontiguousarray(TURNED[orientation](upright))
    Image.fromarray(stored).save(tmp_path / f"turned.{suffix}", exif=exif, quality=100)
    assert np.abs(read_array(tmp_path / f"turned.{suffix}").astype(int) - upright).max() <= 2 * (suffix == "jpg")
    assert read_size(tmp_path / f"turned.{suffix}") == upright.shape == check_picture(tmp_path / f"turned.{suffix}")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_behind_the_pixels_of_a_png_counts_and_damaged_exif_does_not(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    content = write(tmp_path / "late.png", np.rot90(GREY).copy()).read_bytes()
    behind = png((b"eXIf", exif.tobytes()[6:]), (b"IEND", b""))[8:]
    (tmp_path / "late.png").write_bytes(content[:-12] + behind)
    np.testing.assert_array_equal(read_array(tmp_path / "late.png"), GREY)
    assert read_size(tmp_path / "late.png") == check_picture(tmp_path / "late.png") == GREY.shape
    Image.fromarray(GREY).save(tmp_path / "damaged.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nothing")
    assert read_array(tmp_path / "damaged.jpg").shape == check_picture(tmp_path / "damaged.jpg") == GREY.shape


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    write(tmp_path / "plain.ppm", RGB).rename(tmp_path / "named.ppm.gz")
    write(tmp_path / "zipped.ppm.gz", RGB).rename(tmp_path / "zipped.PPM.GZ")
    for name in ("named.ppm.gz", "zipped.PPM.GZ"):
        np.testing.assert_array_equal(read_array(tmp_path / name), RGB)
        assert check_picture(tmp_path / name) == GREY.shape


def test_gzip_whose_check_sum_is_wrong_is_named(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a.ppm.gz", GREY).read_bytes())
    content[-8] ^= 1
    (tmp_path / "a.ppm.gz").write_bytes(content)
    for read in (check_picture, read_size, read_array):
        with pytest.raises(RetinaError, match=r"a\.ppm\.gz is damaged"):
            read(tmp_path / "a.ppm.gz")


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "bomb.ppm.gz", "wb", compresslevel=1) as file:
        file.write(b"P6 4 2 255\n" + bytes(24))
        for _ in range(65):
            file.write(bytes(2**20))
    assert (tmp_path / "bomb.ppm.gz").stat().st_size < 2**20
    for read in (check_picture, read_size, read_array):
        with pytest.raises(RetinaError, match=r"bomb\.ppm\.gz unpacks to more than a picture of its size takes"):
            read(tmp_path / "bomb.ppm.gz")


SIDE = 60_000
LITTLE = zlib.compress(bytes(1000))
NIFTI = nibabel.Nifti1Image(np.zeros((1, 1), np.uint8), np.eye(4)).to_bytes()
BOMBS = {
    "bomb.png": png(header(SIDE, SIDE), (b"IDAT", LITTLE), (b"IEND", b"")),
    "bomb.png.gz": gzip.compress(png(header(SIDE, SIDE), (b"IDAT", LITTLE), (b"IEND", b""))),
    "bomb.ppm": b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(1000),
    "bomb.ppm.gz": gzip.compress(b"P5 %d %d 255\n" % (SIDE, SIDE) + bytes(1000)),
    "bomb.gif": b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0, 0, 0) + b"\x2c" + bytes(100),
    "bomb.bmp": b"BM" + struct.pack("<IIIIiiHHIIIIII", 154, 0, 54, 40, SIDE, SIDE, 1, 24, *[0] * 6) + bytes(100),
    "bomb.nii": NIFTI[:42] + struct.pack("<HH", 32_000, 32_000) + NIFTI[46:],
    "bomb.mha": b"ObjectType = Image\nNDims = 2\nDimSize = %d %d\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    % (SIDE, SIDE),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])
    for read in (check_picture, read_size, read_photograph, read_mask):
        with pytest.raises(RetinaError, match=r"bomb\.\S+ has too many pixels"):
            read(tmp_path / name)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


NOISE = Image.fromarray(RNG.integers(0, 256, (60, 50, 3), dtype=np.uint8))
THUMBNAIL = b"Exif\0\0" + saved(NOISE.resize((8, 8)), "JPEG")
FILES = {
    "png": saved(NOISE, "PNG"),
    "jpeg": saved(NOISE, "JPEG"),
    "progressive jpeg": saved(NOISE, "JPEG", progressive=True, quality=95),
    "jpeg with a thumbnail": saved(NOISE, "JPEG", exif=THUMBNAIL),
    "jpeg with bytes behind it": saved(NOISE, "JPEG") + bytes(70_000),
    "gif": saved(NOISE, "GIF"),
    "grey gif": saved(NOISE.convert("L"), "GIF", comment=b"a fundus"),
    "tiff": saved(NOISE, "TIFF"),
    "tiff lzw": saved(NOISE, "TIFF", compression="tiff_lzw"),
    "tiff of many strips": saved(NOISE, "TIFF", compression="tiff_lzw", strip_size=900),
    "big tiff": saved(NOISE, "TIFF", big_tiff=True),
    "tiff jpeg": saved(NOISE, "TIFF", compression="jpeg"),
    "tiff of one bit": saved(NOISE.convert("1"), "TIFF", compression="group4"),
    "bmp": saved(NOISE, "BMP"),
    "bmp with a palette": saved(NOISE.quantize(16), "BMP"),
    "ppm": saved(NOISE, "PPM"),
    "pgm": saved(NOISE.convert("L"), "PPM"),
    "pbm": saved(NOISE.convert("1"), "PPM"),
    "pgm of 16 bits": b"P5 20 12 65535\n" + (GREY * np.uint16(257)).astype(">u2").tobytes(),
    "pgm of 4 bits": b"P5 20 12 15\n" + (GREY // 16).tobytes(),
    "plain pgm": b"P2 20 12 255\n" + " ".join(map(str, GREY.ravel())).encode(),
    "ppm.gz": gzip.compress(saved(NOISE, "PPM")),
}


@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", FILES)
def test_the_structure_tells_a_whole_file_from_one_cut_short(tmp_path: Path, name: str) -> None:
    path, content = tmp_path / "picture", FILES[name]
    path.write_bytes(content)
    whole = read_array(path)
    assert check_picture(path) == whole.shape[:2]
    for length in itertools.chain(range(1, len(content), len(content) // 37), range(len(content) - 3, len(content))):
        path.write_bytes(content[:length])
        try:
            check_picture(path)
        except RetinaError:
            continue
        if name != "plain pgm":  # which must be decoded to be counted
            np.testing.assert_array_equal(read_array(path), whole)


@pytest.mark.parametrize("name", ["png", "ppm.gz"])
def test_a_flipped_bit_is_found_by_the_check_sum(tmp_path: Path, name: str) -> None:
    content = bytearray(FILES[name])
    content[len(content) // 2] ^= 4
    (tmp_path / "flipped").write_bytes(content)
    with pytest.raises(RetinaError, match="flipped is damaged"):
        check_picture(tmp_path / "flipped")


def test_other_files_are_checked_by_decoding_them(tmp_path: Path) -> None:
    for suffix in ("nii", "nii.gz", "mha", "dcm"):
        path = write(tmp_path / f"a.{suffix}", RGB)
        assert check_picture(path) == GREY.shape
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(RetinaError, match=r"a\.\S+ is damaged, truncated"):
            check_picture(path)


@pytest.mark.parametrize("read", [check_picture, read_array, read_size])
def test_links_are_followed_and_broken_ones_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "a.png", GREY)
    (tmp_path / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    read(tmp_path / "link.png")
    (tmp_path / "elsewhere" / "a.png").unlink()
    with pytest.raises(RetinaError, match=r"link\.png is a link to .*elsewhere/a\.png, which is not there: fix"):
        read(tmp_path / "link.png")
    (tmp_path / "round.png").symlink_to("round.png")
    with pytest.raises(RetinaError, match=r"round\.png is a link to round\.png, which is not there"):
        read(tmp_path / "round.png")


@pytest.mark.parametrize("name", ["two words.png", "Übersicht größe.png", "two\nlines.png", "bell\a.png", "x" * 300])
def test_any_name_is_read_or_refused_in_a_line(tmp_path: Path, name: str) -> None:
    if len(name) < 200:
        np.testing.assert_array_equal(read_array(write(tmp_path / name, GREY)), GREY)
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(RetinaError) as error:
        check_picture(tmp_path / name)
    assert str(error.value).isprintable()
    assert name.encode("unicode_escape").decode() in str(error.value) or "Ü" in str(error.value)


def test_slow_libraries_are_imported_for_their_own_files_only(tmp_path: Path) -> None:
    path = write(tmp_path / "picture.png", GREY)
    code = (
        "import sys\nfrom retina_monai.data.files.reading import read_photograph\nread_photograph(sys.argv[1])\n"
        "print([name for name in ('itk', 'monai', 'nibabel', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_several_pages_are_refused_and_thumbnails_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_array(path), RGB)
    assert check_picture(path) == GREY.shape
    tifffile.imwrite(path, RGB.transpose(2, 0, 1), photometric="minisblack")
    Image.fromarray(GREY).save(tmp_path / "film.gif", save_all=True, append_images=[Image.fromarray(GREY[::-1].copy())])
    for name, count in (("pages.tif", 3), ("film.gif", 2)):
        for read in (check_picture, read_array):
            with pytest.raises(RetinaError, match=rf"{name} has {count} pages or frames: give one picture"):
                read(tmp_path / name)


def test_what_pillow_leaves_out_of_a_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for dtype in (np.uint8, np.uint16):
        tifffile.imwrite(path, GREY.astype(dtype), photometric="miniswhite")
        np.testing.assert_array_equal(read_array(path), np.iinfo(dtype).max - GREY.astype(dtype))
    tifffile.imwrite(path, GREY.astype(np.float32), photometric="miniswhite")
    with pytest.raises(RetinaError, match="of which 0 is white"):
        read_array(path)
    tifffile.imwrite(path, GREY.view(np.int8))
    np.testing.assert_array_equal(read_array(path), GREY.view(np.int8))
    two = np.stack([GREY, GREY[::-1]], -1)
    tifffile.imwrite(path, two, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"])
    with pytest.raises(RetinaError, match="has 2 channels that are not a colour"):
        read_array(path)
    tifffile.imwrite(path, np.dstack([RGB, GREY]), photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_array(path), RGB)


@pytest.mark.parametrize("full", [1, 255])
def test_a_mask_of_floating_point_may_be_noisy(tmp_path: Path, full: int) -> None:
    noise = RNG.uniform(-1e-5, 1e-5, MASK.shape).astype(np.float32)
    for suffix in ("nii.gz", "mha", "tif"):
        path = write(tmp_path / f"noisy.{suffix}", MASK * np.float32(full) + noise)
        np.testing.assert_array_equal(read_mask(path), MASK[None])
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a.nii", MASK * np.float64(full) - 1e-8)), MASK[None])


def test_the_overshoot_of_a_resampled_mask_is_cut_off_and_labels_are_not(tmp_path: Path) -> None:
    resampled = np.clip(MASK + RNG.uniform(-0.2, 0.2, MASK.shape), -0.2, 1.2).astype(np.float32)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a.nii", resampled)), MASK[None])
    probabilities = np.where(MASK, RNG.uniform(0.51, 1, MASK.shape), RNG.uniform(0, 0.49, MASK.shape))
    np.testing.assert_array_equal(read_mask(write(tmp_path / "a.nii", probabilities)), MASK[None])
    with pytest.raises(RetinaError, match="labels"):
        read_mask(write(tmp_path / "a.nii", (MASK * 2 + np.eye(*MASK.shape)).astype(np.float32)))
    with pytest.raises(RetinaError, match="holds"):
        read_mask(write(tmp_path / "a.nii", MASK * np.float32(2) - 1))
