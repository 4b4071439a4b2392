"""One asymmetric picture in every format gives one array; masks in every encoding give one mask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import itk
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from retina_monai.data.reading import IMAGE_SUFFIXES, read_array, read_mask, read_photograph, read_size
from retina_monai.errors import RetinaError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
RGB = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
MASK = np.zeros((12, 20), dtype=np.uint8)
MASK[2:7, 3:15] = 1
LOSSLESS = ["png", "tif", "gif", "ppm", "nii", "nii.gz", "mha", "mhd", "dcm"]


def write(path: Path, array: np.ndarray) -> Path:
    """Write ``(H, W)`` or ``(H, W, 3)`` in the format that the suffix names, by that format's own library."""
    suffix = path.name.partition(".")[2].lower()
    if suffix.startswith("nii"):
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
    for name, array in (("a.nii", RGB.transpose(1, 0, 2)), ("b.nii", RGB.transpose(1, 0, 2)[:, :, None])):
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
    labels = write(tmp_path / "labels.nii.gz", MASK * np.uint8(3))
    with pytest.raises(RetinaError, match=r"labels\.nii\.gz has values up to 3: a mask has 0 and 1, or 0 and 255"):
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
    for read in (read_array, read_photograph, read_mask, read_size):
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


def test_slow_libraries_are_imported_for_their_own_files_only(tmp_path: Path) -> None:
    path = write(tmp_path / "picture.png", GREY)
    code = (
        "import sys\nfrom retina_monai.data.reading import read_photograph\nread_photograph(sys.argv[1])\n"
        "print([name for name in ('itk', 'monai', 'nibabel', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
