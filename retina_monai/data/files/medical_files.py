"""Read images from NIfTI, MetaImage and DICOM in the layout of PNG: rows from the top, columns from the left.

NIfTI and MetaImage map voxels to world coordinates by an affine. A photograph has no position in a patient, so its
writer makes one up, by one of two conventions:

- ITK and the software built on it (SimpleITK, 3D Slicer, ITK-SNAP) use the identity in LPS. Columns run to the
  patient's left, rows to the back, and the first pixel is at the origin.
- Users of nibabel, and MONAI's ``SaveImage`` after ``PILReader``, use the identity in RAS. Columns run to the right,
  rows to the front, and the first pixel is at the origin.

The two differ by a rotation of 180 degrees. The sign of the coordinates distinguishes them, even after the array was
flipped, transposed, cropped or saved again: an image at positive RAS coordinates is read in RAS, any other in LPS. All
of these files therefore yield the same array, and files of the same convention always agree with each other. An oblique
affine is rounded to the nearest axes.

DICOM is read in its stored layout, which is the layout for display.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retina_monai.errors import RetinaError

__all__ = ["is_dicom", "read_attributes", "read_dicom", "read_meta_image", "read_nifti"]

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NEAR = 1e-3  # tolerance for the sign of a coordinate
TABLES = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422")
JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline, extended
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
CODING_STYLE = b"\xff\x52"  # ISO/IEC 15444-1, A.6.1: the marker; byte 8 after it is the component transform
JPEG_COLOURS = ("RGB", "rgb")  # component identifiers that name the colours

_itk_lock = Lock()  # ITK imports its modules lazily, which is not thread-safe


def read_nifti(path: Path) -> NDArray:
    """Read an image from NIfTI. Colours are a structured type of three fields, or the last axis.

    Returns:
        Array ``(H, W)`` or ``(H, W, C)`` in the data type of the file.

    Raises:
        RetinaError: if the file is a volume of several slices.
    """
    import nibabel  # slow to import and rarely needed

    image: Any = nibabel.load(path)
    _check_pixel_count(image.shape)
    array = np.asanyarray(image.dataobj)
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
        array = array.reshape(*(*image.shape, 1, 1)[:3], *image.shape[3:], -1)
    header = image.header
    placed = int(header["sform_code"]) or int(header["qform_code"])
    return _laid_out(array, image.affine if placed else LPS, path)


def read_meta_image(path: Path) -> NDArray:
    """Read an image from MHA or MHD, in the format of :func:`read_nifti`."""
    array, image = _read_itk(path)
    dimensions = image.GetImageDimension()
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()) * np.asarray(image.GetSpacing())
    affine[:dimensions, :dimensions], affine[:dimensions, 3] = direction, np.asarray(image.GetOrigin())
    array = array.transpose(*reversed(range(dimensions)), *range(dimensions, array.ndim))
    return _laid_out(array if dimensions > 2 else array[:, :, None], LPS @ affine, path)


def is_dicom(path: Path) -> bool:
    """Whether a file has the suffix or the header of DICOM. False for files that cannot be read."""
    try:
        with path.open("rb") as file:
            return path.name.lower().endswith(".dcm") or file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False


def read_attributes(path: Path, *keywords: str) -> dict[str, str]:
    """Read attributes of a DICOM file as text by their DICOM keywords. Missing attributes are empty.

    Raises:
        Exception: any exception that pydicom raises for a file that is not DICOM.
    """
    import pydicom

    stored = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
    return {keyword: str(stored.get(keyword) or "").strip(" \0") for keyword in keywords}


def read_dicom(path: Path) -> NDArray:
    """Read an image from DICOM. Colours are those of the encoded pixels, even if the header differs.

    The file is read by pydicom. ITK decodes lossless JPEG and JPEG-LS, for which pydicom needs further packages.

    Returns:
        Array ``(H, W)``, or ``(H, W, 3)`` in RGB.

    Raises:
        RetinaError: if the file has several frames, contradictory colour spaces in header and pixels, or an unsupported
            colour space.
    """
    import pydicom

    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":  # older than the header
            return _without_singles(_read_itk(path)[0])
    dicom = pydicom.dcmread(path)
    if (frames := int(dicom.get("NumberOfFrames") or 1)) > 1:
        raise RetinaError(f"{path} has {frames} frames: give one picture per file")
    _check_pixel_count((dicom.Rows, dicom.Columns))
    array = _pixels(dicom, path)
    if dicom.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        array = apply_color_lut(array, dicom)
        return array >> 8 if array.dtype == np.uint16 and not (array & 255).any() else array
    if float(dicom.get("RescaleSlope") or 1) != 1 or float(dicom.get("RescaleIntercept") or 0) != 0:
        array = array * float(dicom.RescaleSlope) + float(dicom.RescaleIntercept)
    if dicom.PhotometricInterpretation == "MONOCHROME1":  # the lowest value is white
        full = 2**dicom.BitsStored - 1 if array.dtype.kind == "u" else array.max() + array.min()
        array = full - array
    return array


def _pixels(dicom: Any, path: Path) -> NDArray:
    """Decode the pixels, with colours in RGB."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder

    declared, samples = str(dicom.PhotometricInterpretation), int(dicom.SamplesPerPixel)
    syntax = dicom.file_meta.TransferSyntaxUID
    coded: bytes = get_frame(dicom.PixelData, 0, number_of_frames=1) if syntax.is_encapsulated else b""
    if samples == 3 and syntax in JPEG:
        return _colour_jpeg(coded, declared)
    if samples == 3 and syntax in JPEG_2000:
        transformed = coded[coded.index(CODING_STYLE) + 8] == 1
        declared = "RGB" if transformed else declared
        dicom.PhotometricInterpretation = declared
    if declared not in (TABLES if samples == 1 else COLOURS):
        raise RetinaError(f"{path} has the unsupported colour space {declared}: export it in RGB")
    deep = dicom.get("BitsStored", 8) > 8 and (samples == 3 or syntax in JPEG)  # not decoded by Pillow
    if not syntax.is_encapsulated or (get_decoder(syntax).is_available and not deep):
        pixels: NDArray = dicom.pixel_array
        return pixels
    if declared not in ("RGB", "MONOCHROME1", "MONOCHROME2") or (samples == 3 and b"JFIF" in coded[:32]):
        raise RetinaError(f"{path} has {declared} colours in {syntax.name}, which is not supported: export it in RGB")
    dicom.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"  # ITK has converted the values
    dicom.RescaleSlope, dicom.RescaleIntercept = 1, 0
    return _without_singles(_read_itk(path)[0])


def _colour_jpeg(coded: bytes, declared: str) -> NDArray:
    """Decode a colour JPEG in the colour space of its markers, or of the DICOM header if it has no markers."""
    with Image.open(BytesIO(coded), formats=("JPEG",)) as picture:
        layers = getattr(picture, "layer", ())
        named = "".join(chr(layer[0]) for layer in layers) in JPEG_COLOURS
        marked = named or "jfif" in picture.info or "adobe" in picture.info
        if not marked and declared == "RGB" and len({layer[1:3] for layer in layers}) == 1:  # no subsampled chroma
            picture.draft("YCbCr", picture.size)  # no conversion: the values are RGB already
        return np.asarray(picture)


def _read_itk(path: Path) -> tuple[NDArray, Any]:
    with _itk_lock:
        import itk  # takes seconds to import and is rarely needed

        source = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        source.SetFileName(str(path))
        source.ReadImageInformation()
        _check_pixel_count([source.GetDimensions(axis) for axis in range(source.GetNumberOfDimensions())])
        channels = source.GetNumberOfComponents()
        pixel = () if channels == 1 else (itk.Vector[itk.F, channels],)  # ITK's Python package lacks vectors of bytes
        image = itk.imread(str(path), *pixel)
        array: NDArray = itk.array_from_image(image)
        if source.GetComponentType() == itk.CommonEnums.IOComponent_UCHAR:
            array = array.astype(np.uint8)
        return array, image


def _without_singles(array: NDArray) -> NDArray:
    """Drop the first axis of ``(1, H, W)`` or ``(1, H, W, C)``."""
    return array[0] if array.ndim > 2 and len(array) == 1 else array


def _laid_out(array: NDArray, affine: NDArray, path: Path) -> NDArray:
    """Bring voxels ``(I, J, K, ...)`` with an affine to RAS into rows and columns."""
    from nibabel.orientations import apply_orientation, io_orientation

    sides = (*array.shape, 1, 1)[:3]
    colours = array.ndim == 3 and 1 not in sides and sides[2] in (3, 4)  # colours along the third axis
    sides = (*sides[:2], 1) if colours else sides
    if 1 not in sides:
        raise RetinaError(f"{path} holds an array of {array.shape}: give one picture, grey or RGB, not a volume")
    array = array.reshape(*sides, *(side for side in array.shape[2 if colours else 3 :] if side != 1))
    if np.isnan(io_orientation(affine)).any():  # degenerate axis
        affine = LPS
    middle = affine[:3] @ [*((side - 1) / 2 for side in sides), 1]
    array = apply_orientation(array, io_orientation(affine))
    through = 2 if array.shape[2] == 1 else array.shape[:2].index(1)
    plane = np.delete(middle, through)
    way = 1 if (plane > -NEAR).all() and (plane > NEAR).any() else -1
    return array.squeeze(through)[::way, ::way].swapaxes(0, 1)


def _check_pixel_count(shape: Sequence[int]) -> None:
    """Apply Pillow's limit of pixels before decoding, for libraries without a limit."""
    if Image.MAX_IMAGE_PIXELS is not None and prod(int(side) for side in shape) > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"an array of {tuple(shape)}")
