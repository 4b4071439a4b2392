"""NIfTI in any orientation, MetaImage and DICOM give the array that PNG gives; colours are those that were encoded."""

from __future__ import annotations

import itertools
from io import BytesIO
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pydicom
import pytest
from monai.transforms import Compose, Flip, LoadImage, Rotate90, SaveImage
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from retina_monai.data.files.reading import read_array, read_mask, read_photograph
from retina_monai.errors import RetinaError

ROWS, COLUMNS = np.mgrid[:24, :40]
RGB = np.stack([150 + COLUMNS, 70 + ROWS, 30 + COLUMNS // 4], -1).astype(np.uint8)
GREY = (3 * ROWS + 2 * COLUMNS).astype(np.uint8)
WORLDS = {
    "RAS, of nibabel": np.eye(4),
    "LPS, of ITK": np.diag([-1.0, -1, 1, 1]),
    "RAS in mm": np.diag([0.01, 0.02, 1, 1]),
    "LPS in mm": np.diag([-0.01, -0.02, 1, 1]),
}


def _voxels(array: np.ndarray) -> np.ndarray:
    """Columns first, with a third axis; colours as a structure."""
    if array.ndim == 2:
        return array.T[:, :, None]
    return np.ascontiguousarray(array.swapaxes(0, 1)).view([(name, "u1") for name in "RGB"])


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "colour"])
def test_a_nifti_is_the_same_in_all_48_orientations(tmp_path: Path, world: str, array: np.ndarray) -> None:
    image = nibabel.Nifti1Image(_voxels(array), WORLDS[world])
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            stored = image.as_reoriented(np.column_stack([order, signs]))
            nibabel.save(stored, tmp_path / "a.nii")
            np.testing.assert_array_equal(read_array(tmp_path / "a.nii"), array)


@pytest.mark.parametrize("world", WORLDS)
def test_an_oblique_affine_counts_as_the_nearest_axes(tmp_path: Path, world: str) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    flipped = nibabel.Nifti1Image(_voxels(GREY), WORLDS[world]).as_reoriented(np.array([[1, -1], [0, 1], [2, 1]]))
    nibabel.save(nibabel.Nifti1Image(np.asarray(flipped.dataobj), turn @ flipped.affine), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_array(tmp_path / "a.nii"), GREY)


def test_a_nifti_without_orientation_is_as_it_is_stored(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(GREY.T, None), tmp_path / "a.nii")
    np.testing.assert_array_equal(read_array(tmp_path / "a.nii"), GREY)


@pytest.mark.parametrize("reader", ["PILReader", "ITKReader"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_what_monai_makes_of_a_png_is_that_png(tmp_path: Path, reader: str, suffix: str) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    for number, transform in enumerate(([], [Flip(0)], [Flip(1)], [Rotate90()], [Rotate90(), Flip(0)])):
        save = SaveImage(
            tmp_path,
            output_postfix=str(number),
            output_ext=suffix,
            output_dtype=np.uint8,
            resample=False,
            separate_folder=False,
            print_log=False,
            writer="ITKWriter" if suffix == ".mha" else None,
        )
        Compose([LoadImage(reader=reader, ensure_channel_first=True), *transform, save])(tmp_path / "a.png")
        np.testing.assert_array_equal(read_array(tmp_path / f"a_{number}{suffix}"), GREY)


@pytest.mark.parametrize("suffix", ["mha", "mhd", "nii"])
@pytest.mark.parametrize("array", [GREY, RGB], ids=["grey", "colour"])
def test_what_itk_makes_of_a_png_is_that_png(tmp_path: Path, suffix: str, array: np.ndarray) -> None:
    Image.fromarray(array).save(tmp_path / "a.png")
    itk.imwrite(itk.imread(str(tmp_path / "a.png")), str(tmp_path / f"a.{suffix}"))
    np.testing.assert_array_equal(read_array(tmp_path / f"a.{suffix}"), array)


def test_photograph_and_mask_of_one_world_lie_alike(tmp_path: Path) -> None:
    photograph = nibabel.Nifti1Image(_voxels(RGB), np.diag([-1.0, -1, 1, 1]))
    mask = nibabel.as_closest_canonical(nibabel.Nifti1Image(_voxels(np.uint8(RGB[..., 0] > 170)), photograph.affine))
    nibabel.save(photograph, tmp_path / "image.nii.gz")
    nibabel.save(mask, tmp_path / "mask.nii.gz")
    image = read_photograph(tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz")[0], image[0] > 170)


def test_several_slices_are_no_picture(tmp_path: Path) -> None:
    for shape in ((6, 5, 2), (6, 5, 4, 3), (3, 6, 5)):
        nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "a.nii")
        with pytest.raises(RetinaError, match=r"a\.nii holds an array of"):
            read_array(tmp_path / "a.nii")


def _dicom(
    path: Path,
    pixels: bytes,
    said: str,
    syntax: str = ExplicitVRLittleEndian,
    shape: tuple[int, ...] = RGB.shape,
    **more: Any,
) -> pydicom.Dataset:
    dicom = pydicom.Dataset()
    dicom.file_meta = FileMetaDataset()
    dicom.file_meta.TransferSyntaxUID = syntax
    dicom.file_meta.MediaStorageSOPClassUID = dicom.SOPClassUID = SecondaryCaptureImageStorage
    dicom.file_meta.MediaStorageSOPInstanceUID = dicom.SOPInstanceUID = generate_uid()
    dicom.Rows, dicom.Columns = shape[:2]
    dicom.SamplesPerPixel, dicom.PhotometricInterpretation = 3 if len(shape) == 3 else 1, said
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit, dicom.PixelRepresentation = 8, 8, 7, 0
    if len(shape) == 3:
        dicom.PlanarConfiguration = 0
    for key, value in more.items():
        setattr(dicom, key, value)
    encoded = syntax != ExplicitVRLittleEndian
    dicom.PixelData = encapsulate([pixels]) if encoded else pixels
    dicom["PixelData"].VR = "OB"
    dicom["PixelData"].is_undefined_length = encoded
    dicom.save_as(path, enforce_file_format=True)
    return dicom


def _encoded(array: np.ndarray, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def _jpeg(marker: str) -> bytes:
    if marker in ("Adobe, RGB", "none, RGB"):
        coded = _encoded(RGB, "JPEG", quality=98, keep_rgb=True)
        start = coded.index(b"\xff\xee")
        bare = coded[:start] + coded[start + 16 :]
        return coded if marker.startswith("Adobe") else bare
    coded = _encoded(RGB, "JPEG", quality=98, subsampling=1 if marker == "none, reduced chroma" else 0)
    start = coded.index(b"\xff\xe0")
    bare = coded[:start] + coded[start + 18 :]
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
    return {"JFIF": coded, "Adobe": bare[:2] + adobe + bare[2:]}.get(marker, bare)


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL_422", "YBR_FULL"])
@pytest.mark.parametrize("marker", ["JFIF", "Adobe", "Adobe, RGB", "none, RGB", "none, reduced chroma"])
def test_a_jpeg_in_dicom_has_the_colours_that_it_says_itself(tmp_path: Path, marker: str, said: str) -> None:
    _dicom(tmp_path / "a.dcm", _jpeg(marker), said, JPEGBaseline8Bit)
    assert np.abs(read_array(tmp_path / "a.dcm").astype(int) - RGB).max() <= 6


def test_of_a_jpeg_that_says_nothing_the_header_speaks(tmp_path: Path) -> None:
    _dicom(tmp_path / "a.dcm", _jpeg("none"), "YBR_FULL", JPEGBaseline8Bit)
    assert np.abs(read_array(tmp_path / "a.dcm").astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("said", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL"])
def test_jpeg_2000_in_dicom_is_in_true_colours_or_refused(tmp_path: Path, said: str) -> None:
    syntax = JPEG2000 if said == "YBR_ICT" else JPEG2000Lossless
    _dicom(tmp_path / "a.dcm", _encoded(RGB, "JPEG2000", no_jp2=True, mct=1), said, syntax)
    np.testing.assert_array_equal(read_array(tmp_path / "a.dcm"), RGB)
    untransformed = convert_color_space(RGB, "RGB", "YBR_FULL") if said == "YBR_FULL" else RGB
    _dicom(tmp_path / "a.dcm", _encoded(untransformed, "JPEG2000", no_jp2=True, mct=0), said, syntax)
    if said in ("YBR_RCT", "YBR_ICT"):
        with pytest.raises(RetinaError, match=rf"a\.dcm has the unsupported colour space {said}"):
            read_array(tmp_path / "a.dcm")
    else:
        assert np.abs(read_array(tmp_path / "a.dcm").astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL"])
def test_colours_that_are_not_compressed_or_by_runs(tmp_path: Path, said: str) -> None:
    array = RGB if said == "RGB" else convert_color_space(RGB, "RGB", said)
    planes = np.ascontiguousarray(array.transpose(2, 0, 1)).tobytes()
    _dicom(tmp_path / "planes.dcm", planes, said, PlanarConfiguration=1)
    runs = _dicom(tmp_path / "runs.dcm", array.tobytes(), said)
    runs.compress(RLELossless)
    runs.save_as(tmp_path / "runs.dcm")
    for name in ("planes.dcm", "runs.dcm"):
        assert np.abs(read_array(tmp_path / name).astype(int) - RGB).max() <= (said != "RGB")


def test_grey_of_which_0_is_white_rescaled_grey_and_palettes(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    _dicom(path, (255 - GREY).tobytes(), "MONOCHROME1", shape=GREY.shape)
    np.testing.assert_array_equal(read_array(path), GREY)
    _dicom(path, GREY.tobytes(), "MONOCHROME2", shape=GREY.shape, RescaleSlope="2", RescaleIntercept="1")
    np.testing.assert_array_equal(read_array(path), 2.0 * GREY + 1)
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) // 2], -1)
    for bits in (8, 16):
        entries = table.astype(np.uint8) if bits == 8 else (table * 256).astype("<u2")
        colours = {
            f"{name}PaletteColorLookupTable{part}": [256, 0, bits] if part == "Descriptor" else entries[:, i].tobytes()
            for i, name in enumerate(("Red", "Green", "Blue"))
            for part in ("Descriptor", "Data")
        }
        _dicom(path, GREY.tobytes(), "PALETTE COLOR", shape=GREY.shape, **colours)
        np.testing.assert_array_equal(read_array(path), table[GREY])


@pytest.mark.parametrize("said", ["MONOCHROME1", "MONOCHROME2"])
def test_lossless_jpeg_is_decoded_by_itk(tmp_path: Path, said: str) -> None:
    writer = itk.GDCMImageIO.New()
    writer.SetCompressor("JPEG")
    itk.imwrite(itk.image_from_array(GREY), str(tmp_path / "a.dcm"), compression=True, imageio=writer)
    dicom = pydicom.dcmread(tmp_path / "a.dcm")
    assert dicom.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    dicom.PhotometricInterpretation, dicom.RescaleSlope, dicom.RescaleIntercept = said, "1", "0"
    dicom.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_array(tmp_path / "a.dcm"), GREY if said == "MONOCHROME2" else 255 - GREY)


def test_frames_and_other_colours_of_dicom_are_refused(tmp_path: Path) -> None:
    _dicom(tmp_path / "a.dcm", GREY.tobytes() * 3, "MONOCHROME2", shape=GREY.shape, NumberOfFrames=3)
    with pytest.raises(RetinaError, match=r"a\.dcm has 3 frames: give one picture"):
        read_array(tmp_path / "a.dcm")
    _dicom(tmp_path / "a.dcm", RGB.tobytes(), "HSV")
    with pytest.raises(RetinaError, match=r"a\.dcm has the unsupported colour space HSV: export it in RGB"):
        read_array(tmp_path / "a.dcm")
