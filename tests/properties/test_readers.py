"""Pictures of every kind, drawn at random: what was written is read, or the file is refused in a sentence."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import itk
import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from retina_monai.data.files.reading import (
    IMAGE_SUFFIXES,
    check_picture,
    read_array,
    read_mask,
    read_photograph,
    read_size,
)
from retina_monai.errors import RetinaError

SIDE = st.integers(2, 9)  # ITK takes a single column for a single row when it writes
SHAPE = st.tuples(SIDE, SIDE)
GREY = hnp.arrays(np.uint8, SHAPE)
RGB = hnp.arrays(np.uint8, st.tuples(SIDE, SIDE, st.just(3)))
DEEP = hnp.arrays(np.uint16, SHAPE)
MASK = hnp.arrays(np.bool_, SHAPE)
PILLOW = ["png", "tif", "bmp"]
GREY_FORMATS = [*PILLOW, "gif", "pgm", "nii", "nii.gz", "mha", "mhd", "dcm"]
RGB_FORMATS = [*PILLOW, "ppm", "nii", "nii.gz", "mha", "mhd", "dcm"]
DEEP_FORMATS = ["png", "tif", "nii", "nii.gz", "mha", "mhd", "dcm"]
FLOAT_FORMATS = ["tif", "nii", "nii.gz", "mha", "mhd"]
READERS = (read_array, read_photograph, read_mask, read_size, check_picture)
COUNT = itertools.count()


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """From a suffix to a path that no example has used."""
    folder = tmp_path_factory.mktemp("pictures")
    return lambda suffix: folder / f"{next(COUNT)}.{suffix}"


def write(path: Path, array: np.ndarray, **options: Any) -> Path:
    """Write ``(H, W)`` or ``(H, W, C)`` by the format's own library."""
    suffix = path.name.partition(".")[2]
    if suffix.startswith("nii"):
        nibabel.save(nibabel.Nifti1Image(_columns_first(array), np.eye(4)), path)
    elif suffix in ("mha", "mhd"):
        itk.imwrite(itk.image_from_array(array, is_vector=array.ndim == 3), str(path))
    elif suffix == "dcm":
        write_dicom(path, array)
    else:
        Image.fromarray(array).save(path, **options)
    return path


def _columns_first(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array.T
    colours = np.ascontiguousarray(array.transpose(1, 0, 2))[:, :, None]
    return colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]


def write_dicom(path: Path, array: np.ndarray) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["the same"])
    dicom = pydicom.Dataset()
    dicom.file_meta = meta
    dicom.SOPClassUID, dicom.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dicom.Rows, dicom.Columns = array.shape[:2]
    dicom.SamplesPerPixel = array.shape[2] if array.ndim == 3 else 1
    dicom.PhotometricInterpretation = "RGB" if array.ndim == 3 else "MONOCHROME2"
    if array.ndim == 3:
        dicom.PlanarConfiguration = 0
    bits = array.dtype.itemsize * 8
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = bits, bits, bits - 1, 0
    dicom.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    dicom.save_as(path, enforce_file_format=True)


def same(path: Path, array: np.ndarray) -> None:
    """What is read is what was written, and its size is known without it."""
    found = read_array(path)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    assert read_size(path) == check_picture(path) == array.shape[:2]


@pytest.mark.parametrize("suffix", GREY_FORMATS)
@settings(max_examples=15)
@given(array=GREY)
def test_grey_is_what_was_written(new: Callable[[str], Path], suffix: str, array: np.ndarray) -> None:
    path = write(new(suffix), array)
    same(path, array)
    np.testing.assert_array_equal(read_photograph(path), np.stack([array] * 3))


@pytest.mark.parametrize("suffix", RGB_FORMATS)
@settings(max_examples=15)
@given(array=RGB)
def test_colours_are_what_was_written(new: Callable[[str], Path], suffix: str, array: np.ndarray) -> None:
    path = write(new(suffix), array)
    same(path, array)
    np.testing.assert_array_equal(read_photograph(path), array.transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", DEEP_FORMATS)
@settings(max_examples=15)
@given(array=DEEP)
def test_sixteen_bits_are_what_was_written(new: Callable[[str], Path], suffix: str, array: np.ndarray) -> None:
    same(write(new(suffix), array), array)


@pytest.mark.parametrize("suffix", FLOAT_FORMATS)
@settings(max_examples=10)
@given(array=hnp.arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)))
def test_fractions_are_what_was_written(new: Callable[[str], Path], suffix: str, array: np.ndarray) -> None:
    same(write(new(suffix), array), array)


@given(array=RGB, suffix=st.sampled_from(["nii", "nii.gz"]), single=st.booleans(), structure=st.booleans())
def test_a_nifti_has_its_columns_first_and_its_colours_anywhere(
    new: Callable[[str], Path], array: np.ndarray, suffix: str, single: bool, structure: bool
) -> None:
    stored = _columns_first(array)[:, :, 0] if structure else array.transpose(1, 0, 2)
    path = new(suffix)
    nibabel.save(nibabel.Nifti1Image(stored[:, :, None] if single else stored, np.eye(4)), path)
    np.testing.assert_array_equal(read_array(path), array)


@given(array=GREY)
def test_a_volume_of_one_slice_is_a_picture(new: Callable[[str], Path], array: np.ndarray) -> None:
    path = new("mha")
    itk.imwrite(itk.image_from_array(array[None]), str(path))
    same(path, array)


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda array: array,
    2: np.fliplr,
    3: lambda array: np.rot90(array, 2),
    4: np.flipud,
    5: lambda array: array.swapaxes(0, 1),
    6: lambda array: np.rot90(array, -1),
    7: lambda array: np.rot90(array.swapaxes(0, 1), 2),
    8: np.rot90,
}
"""EXIF 2.3, section 4.6.4, A: what a viewer does to show the picture upright."""


@given(array=GREY | RGB, orientation=st.sampled_from(sorted(TURNS)), suffix=st.sampled_from(["png", "tif", "jpg"]))
def test_a_photograph_is_turned_as_its_exif_says(
    new: Callable[[str], Path], array: np.ndarray, orientation: int, suffix: str
) -> None:
    plain = read_array(write(new(suffix), array))
    exif = Image.Exif()
    exif[274] = orientation
    same(write(new(suffix), array, exif=exif), TURNS[orientation](plain))


@given(array=GREY | RGB, orientation=st.integers(9, 65535) | st.just(0))
def test_an_orientation_that_is_none_changes_nothing(
    new: Callable[[str], Path], array: np.ndarray, orientation: int
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    same(write(new("png"), array, exif=exif), array)


def indexed(mask: np.ndarray, inside: int, colour: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(np.where(mask, inside, 1 - inside).astype(np.uint8)).convert("P")
    picture.putdata([int(value) for value in np.where(mask, inside, 1 - inside).ravel()])
    picture.putpalette([*([0, 0, 0] if inside else colour), *(colour if inside else [0, 0, 0])])
    return picture


def grey(mask: np.ndarray, dtype: type, value: float) -> np.ndarray:
    return np.where(mask, value, 0).astype(dtype)


STORED: dict[str, tuple[str, Callable[[np.ndarray], Any]]] = {
    "one bit": ("png", lambda mask: Image.fromarray(mask)),
    "one bit, TIFF": ("tif", lambda mask: Image.fromarray(mask)),
    "0 and 1": ("png", lambda mask: grey(mask, np.uint8, 1)),
    "0 and 255": ("bmp", lambda mask: grey(mask, np.uint8, 255)),
    "RGB": ("ppm", lambda mask: np.dstack([grey(mask, np.uint8, 255)] * 3)),
    "green": ("png", lambda mask: np.dstack([mask * np.uint8(0), grey(mask, np.uint8, 255), mask * np.uint8(0)])),
    "opaque RGBA": (
        "png",
        lambda mask: np.dstack([grey(mask, np.uint8, 255)] * 3 + [grey(mask | True, np.uint8, 255)]),
    ),
    "on transparent": (
        "png",
        lambda mask: np.dstack([grey(mask | True, np.uint8, 255)] * 3 + [grey(mask, np.uint8, 255)]),
    ),
    "16 bits": ("png", lambda mask: grey(mask, np.uint16, 65535)),
    "16 bits, TIFF": ("tif", lambda mask: grey(mask, np.uint16, 65535)),
    "palette": ("gif", lambda mask: indexed(mask, 1, (255, 255, 255))),
    "palette upside down": ("png", lambda mask: indexed(mask, 0, (255, 0, 0))),
    "NIfTI 1": ("nii.gz", lambda mask: grey(mask, np.uint8, 1)),
    "NIfTI fractions": ("nii", lambda mask: grey(mask, np.float32, 1)),
    "NIfTI int16": ("nii", lambda mask: grey(mask, np.int16, 255)),
    "MHA": ("mha", lambda mask: grey(mask, np.uint8, 255)),
    "MHD": ("mhd", lambda mask: grey(mask, np.float32, 1)),
    "DICOM": ("dcm", lambda mask: grey(mask, np.uint16, 65535)),
}


@pytest.mark.parametrize("kind", STORED)
@settings(max_examples=10)
@given(mask=MASK)
def test_a_mask_does_not_depend_on_how_it_is_stored(new: Callable[[str], Path], kind: str, mask: np.ndarray) -> None:
    suffix, store = STORED[kind]
    path, stored = new(suffix), store(mask)
    stored.save(path) if isinstance(stored, Image.Image) else write(path, stored)
    found = read_mask(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, mask[None])


@given(array=GREY, suffix=st.sampled_from(["png", "tif", "bmp", "nii", "mha", "jpg"]))
def test_a_mask_is_zero_and_one_or_refused(new: Callable[[str], Path], array: np.ndarray, suffix: str) -> None:
    path = write(new(suffix), array)
    try:
        mask = read_mask(path)
    except RetinaError as error:
        labels = "a mask has 0 and 1, or 0 and 255, not labels" in str(error)
        assert str(error).startswith(str(path)) and (labels or "is a photograph where a mask belongs" in str(error))
        return
    assert set(np.unique(mask)) <= {0, 1} and mask.shape == (1, *array.shape)


@given(array=DEEP | GREY.map(lambda array: array * np.uint16(257)), suffix=st.sampled_from(["png", "tif", "mha"]))
def test_sixteen_bits_lose_nothing_or_are_refused(new: Callable[[str], Path], array: np.ndarray, suffix: str) -> None:
    path = write(new(suffix), array)
    if array.max() <= 255 or not (array % 257).any():
        expected = array if array.max() <= 255 else array // 257
        np.testing.assert_array_equal(read_photograph(path)[0], expected)
        return
    scaled = [array * (255 / (2**depth - 1)) for depth in (10, 12, 14, 16) if array.max() < 2**depth]
    try:
        found = read_photograph(path)[0]
    except RetinaError as error:
        assert "8 bits" in str(error)
    else:  # every value one of 256 steps, on one of the usual scales
        assert any((np.abs(values - found) < 0.5).all() for values in scaled) and len(np.unique(array)) <= 256
        assert len(np.unique(found)) == len(np.unique(array))


@given(array=GREY, suffix=st.sampled_from(FLOAT_FORMATS))
def test_fractions_of_255_lose_nothing(new: Callable[[str], Path], array: np.ndarray, suffix: str) -> None:
    path = write(new(suffix), (array / 255).astype(np.float32))
    np.testing.assert_array_equal(read_photograph(path)[0], array)


@given(array=hnp.arrays(np.float32, SHAPE, elements=st.floats(2**-10, 1 - 2**-10, width=32)))
def test_finer_fractions_are_refused(new: Callable[[str], Path], array: np.ndarray) -> None:
    path = write(new("tif"), array)
    if np.abs(np.rint(array * 255) / 255 - array).max() > 1e-5:
        with pytest.raises(RetinaError, match="8 bits"):
            read_photograph(path)


@given(array=RGB, alpha=st.data(), suffix=st.sampled_from(["png", "tif"]))
def test_alpha_is_opaque_or_black_or_refused(
    new: Callable[[str], Path], array: np.ndarray, alpha: st.DataObject, suffix: str
) -> None:
    elements = st.sampled_from([0, 255]) | st.integers(0, 255)
    layer = alpha.draw(hnp.arrays(np.uint8, array.shape[:2], elements=elements))
    path = write(new(suffix), np.dstack([array, layer]))
    if ((layer > 0) & (layer < 255)).any():
        with pytest.raises(RetinaError, match="transparent"):
            read_photograph(path)
    else:
        np.testing.assert_array_equal(read_photograph(path), (array * (layer[..., None] > 0)).transpose(2, 0, 1))


@given(
    indices=hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 3)),
    colours=hnp.arrays(np.uint8, (4, 3)),
    suffix=st.sampled_from(["png", "gif", "tif", "bmp"]),
)
def test_a_palette_is_applied(
    new: Callable[[str], Path], indices: np.ndarray, colours: np.ndarray, suffix: str
) -> None:
    picture = Image.new("P", indices.shape[::-1])
    picture.putdata([int(value) for value in indices.ravel()])
    picture.putpalette([int(value) for value in colours.ravel()])
    path = new(suffix)
    picture.save(path)
    np.testing.assert_array_equal(read_photograph(path), colours[indices].transpose(2, 0, 1))


@given(array=hnp.arrays(np.uint8, st.tuples(SIDE, SIDE, st.just(4))), mode=st.sampled_from(["CMYK", "YCbCr", "LAB"]))
def test_colours_of_another_kind_are_refused(new: Callable[[str], Path], array: np.ndarray, mode: str) -> None:
    path = new("tif")
    pixels = np.ascontiguousarray(array if mode == "CMYK" else array[..., :3])
    Image.frombytes(mode, array.shape[1::-1], pixels.tobytes()).save(path)
    with pytest.raises(RetinaError, match="convert it to RGB"):
        read_photograph(path)


def picture_or_refused(path: Path) -> None:
    """Every reader gives what it promises, or one line that names the file."""
    for read in READERS:
        try:
            found = read(path)
        except RetinaError as error:
            assert str(error).startswith(str(path)) and len(str(error).splitlines()) == 1
        else:
            shape = found if isinstance(found, tuple) else found.shape
            assert len(shape) in (2, 3) and 0 not in shape


def samples() -> dict[str, bytes]:
    """A small file of each format."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (20, 24), dtype=np.uint8)
    with TemporaryDirectory() as folder:
        files = {suffix: write(Path(folder) / f"a.{suffix}", picture) for suffix in [*GREY_FORMATS, "jpg"]}
        return {suffix: path.read_bytes() for suffix, path in files.items()}


SAMPLES = samples()


@pytest.mark.filterwarnings("ignore")
@given(suffix=st.sampled_from(IMAGE_SUFFIXES), content=st.binary(max_size=200), data=st.data())
def test_bytes_are_a_picture_or_are_refused(
    new: Callable[[str], Path], suffix: str, content: bytes, data: st.DataObject
) -> None:
    head = data.draw(st.sampled_from([b"", *(sample[:16] for sample in SAMPLES.values())]))
    path = new(suffix[1:])
    path.write_bytes(head + content)
    picture_or_refused(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", SAMPLES)
@settings(max_examples=25)
@given(data=st.data())
def test_a_file_cut_or_changed_anywhere_is_a_picture_or_is_refused(
    new: Callable[[str], Path], suffix: str, data: st.DataObject
) -> None:
    content = bytearray(SAMPLES[suffix])
    del content[data.draw(st.integers(1, len(content))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, min(len(content), 500) - 1))] = data.draw(st.integers(0, 255))
    path = new(suffix)
    path.write_bytes(content)
    picture_or_refused(path)


@pytest.mark.filterwarnings("ignore")
@given(suffix=st.sampled_from(sorted(SAMPLES)), data=st.data())
def test_a_file_cut_in_its_pixels_is_refused(new: Callable[[str], Path], suffix: str, data: st.DataObject) -> None:
    path = new(suffix)
    path.write_bytes(SAMPLES[suffix][: data.draw(st.integers(0, len(SAMPLES[suffix]) * 9 // 10))])
    with pytest.raises(RetinaError):
        read_photograph(path)
