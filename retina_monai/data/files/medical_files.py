"""Pictures in NIfTI, MetaImage and DICOM, laid out as PNG has them: rows from the top, columns from the left.

NIfTI and MetaImage place their voxels in the world by an affine. A picture has no place in a patient, so it gets one
that its writer invents, and there are two customs. ITK (and what builds on it: SimpleITK, 3D Slicer, ITK-SNAP) gives a
PNG the identity in its own world, LPS: columns run to the patient's left, rows to the back, the first pixel is at the
origin. nibabel's users, and MONAI's ``SaveImage`` of what ``PILReader`` has read, give it the identity in RAS: columns
run to the right, rows to the front, again from the origin. The two differ by half a turn, and the sign of the
coordinates tells them apart, however the array was flipped, transposed, cropped or saved again since: a picture that
lies at positive coordinates of RAS is laid out by RAS, any other by LPS. So all of these files give one array, and
files of one world agree with one another in any case. An affine between two axes counts as the nearer one.

DICOM is laid out as it is stored, which is how it is to be shown.
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
NEAR = 1e-3  # of a coordinate's sign
TABLES = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422")
JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline, extended
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
CODING_STYLE = b"\xff\x52"  # ISO/IEC 15444-1, A.6.1: the marker, and 8 bytes on, whether components are transformed
JPEG_COLOURS = ("RGB", "rgb")  # identifiers of components that say what they are

_itk_lock = Lock()  # its parts are imported when first needed, which threads must not do at once


def read_nifti(path: Path) -> NDArray:
    """``(H, W)`` or ``(H, W, C)`` of the file's number type. Colours are a structure of three, or the last axis.

    Raises:
        RetinaError: a volume of several slices.
    """
    import nibabel  # slow to import, seldom needed

    image: Any = nibabel.load(path)
    _refuse_bomb(image.shape)
    array = np.asanyarray(image.dataobj)
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
        array = array.reshape(*(*image.shape, 1, 1)[:3], *image.shape[3:], -1)
    header = image.header
    placed = int(header["sform_code"]) or int(header["qform_code"])
    return _laid_out(array, image.affine if placed else LPS, path)


def read_meta_image(path: Path) -> NDArray:
    """As :func:`read_nifti`, of MHA and MHD."""
    array, image = _read_itk(path)
    dimensions = image.GetImageDimension()
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()) * np.asarray(image.GetSpacing())
    affine[:dimensions, :dimensions], affine[:dimensions, 3] = direction, np.asarray(image.GetOrigin())
    array = array.transpose(*reversed(range(dimensions)), *range(dimensions, array.ndim))
    return _laid_out(array if dimensions > 2 else array[:, :, None], LPS @ affine, path)


def is_dicom(path: Path) -> bool:
    """Whether a file is called as DICOM files are, or begins as they do; one that cannot be read does not."""
    try:
        with path.open("rb") as file:
            return path.name.lower().endswith(".dcm") or file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False


def read_attributes(path: Path, *keywords: str) -> dict[str, str]:
    """Values of a DICOM file's attributes by DICOM's keywords, as text; empty for those that it does not have.

    Raises:
        Exception: whatever pydicom raises on a file that is not DICOM.
    """
    import pydicom

    stored = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
    return {keyword: str(stored.get(keyword) or "").strip(" \0") for keyword in keywords}


def read_dicom(path: Path) -> NDArray:
    """``(H, W)`` or ``(H, W, 3)`` in RGB: the colours that were encoded, whatever the header says.

    pydicom reads it; ITK decodes what pydicom needs further packages for (lossless JPEG, JPEG-LS).

    Raises:
        RetinaError: several frames; colours whose kind header and pixels do not agree on, or of another kind.
    """
    import pydicom

    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":  # it was made before there was a header
            return _without_singles(_read_itk(path)[0])
    dicom = pydicom.dcmread(path)
    if (frames := int(dicom.get("NumberOfFrames") or 1)) > 1:
        raise RetinaError(f"{path} has {frames} frames: give one picture, in a file of its own")
    _refuse_bomb((dicom.Rows, dicom.Columns))
    array = _pixels(dicom, path)
    if dicom.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        array = apply_color_lut(array, dicom)
        return array >> 8 if array.dtype == np.uint16 and not (array & 255).any() else array
    if float(dicom.get("RescaleSlope") or 1) != 1 or float(dicom.get("RescaleIntercept") or 0) != 0:
        array = array * float(dicom.RescaleSlope) + float(dicom.RescaleIntercept)
    if dicom.PhotometricInterpretation == "MONOCHROME1":  # the least value is white
        full = 2**dicom.BitsStored - 1 if array.dtype.kind == "u" else array.max() + array.min()
        array = full - array
    return array


def _pixels(dicom: Any, path: Path) -> NDArray:
    """The stored values, colours in RGB."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder

    said, samples = str(dicom.PhotometricInterpretation), int(dicom.SamplesPerPixel)
    syntax = dicom.file_meta.TransferSyntaxUID
    coded: bytes = get_frame(dicom.PixelData, 0, number_of_frames=1) if syntax.is_encapsulated else b""
    if samples == 3 and syntax in JPEG:
        return _colour_jpeg(coded, said)
    if samples == 3 and syntax in JPEG_2000:
        transformed = coded[coded.index(CODING_STYLE) + 8] == 1
        said = "RGB" if transformed else said
        dicom.PhotometricInterpretation = said
    if said not in (TABLES if samples == 1 else COLOURS):
        raise RetinaError(f"{path} has colours of a kind that is not read ({said}): export it in RGB")
    deep = dicom.get("BitsStored", 8) > 8 and (samples == 3 or syntax in JPEG)  # which Pillow does not decode
    if not syntax.is_encapsulated or (get_decoder(syntax).is_available and not deep):
        pixels: NDArray = dicom.pixel_array
        return pixels
    if said not in ("RGB", "MONOCHROME1", "MONOCHROME2") or (samples == 3 and b"JFIF" in coded[:32]):
        raise RetinaError(f"{path} has {said} colours in {syntax.name}, which are not read: export it in RGB")
    dicom.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"  # ITK has applied what else it says
    dicom.RescaleSlope, dicom.RescaleIntercept = 1, 0
    return _without_singles(_read_itk(path)[0])


def _colour_jpeg(coded: bytes, said: str) -> NDArray:
    """Decoded as its markers say; where it has none, as the header of DICOM says."""
    with Image.open(BytesIO(coded), formats=("JPEG",)) as picture:
        layers = getattr(picture, "layer", ())
        named = "".join(chr(layer[0]) for layer in layers) in JPEG_COLOURS
        marked = named or "jfif" in picture.info or "adobe" in picture.info
        if not marked and said == "RGB" and len({layer[1:3] for layer in layers}) == 1:  # none is reduced, as chroma is
            picture.draft("YCbCr", picture.size)  # what is taken for YCbCr comes out as it is
        return np.asarray(picture)


def _read_itk(path: Path) -> tuple[NDArray, Any]:
    with _itk_lock:
        import itk  # seconds to import, seldom needed

        source = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        source.SetFileName(str(path))
        source.ReadImageInformation()
        _refuse_bomb([source.GetDimensions(axis) for axis in range(source.GetNumberOfDimensions())])
        channels = source.GetNumberOfComponents()
        pixel = () if channels == 1 else (itk.Vector[itk.F, channels],)  # Python's ITK has no vectors of bytes
        image = itk.imread(str(path), *pixel)
        array: NDArray = itk.array_from_image(image)
        if source.GetComponentType() == itk.CommonEnums.IOComponent_UCHAR:
            array = array.astype(np.uint8)
        return array, image


def _without_singles(array: NDArray) -> NDArray:
    """A stack ``(1, H, W)`` or ``(1, H, W, C)`` of one picture without its first axis."""
    return array[0] if array.ndim > 2 and len(array) == 1 else array


def _laid_out(array: NDArray, affine: NDArray, path: Path) -> NDArray:
    """From voxels ``(I, J, K, ...)`` and their affine to RAS to rows and columns."""
    from nibabel.orientations import apply_orientation, io_orientation

    sides = (*array.shape, 1, 1)[:3]
    colours = array.ndim == 3 and 1 not in sides and sides[2] in (3, 4)  # along the third axis
    sides = (*sides[:2], 1) if colours else sides
    if 1 not in sides:
        raise RetinaError(f"{path} holds an array of {array.shape}: give one picture, grey or RGB, not a volume")
    array = array.reshape(*sides, *(side for side in array.shape[2 if colours else 3 :] if side != 1))
    if np.isnan(io_orientation(affine)).any():  # an axis that leads nowhere
        affine = LPS
    middle = affine[:3] @ [*((side - 1) / 2 for side in sides), 1]
    array = apply_orientation(array, io_orientation(affine))
    through = 2 if array.shape[2] == 1 else array.shape[:2].index(1)
    plane = np.delete(middle, through)
    way = 1 if (plane > -NEAR).all() and (plane > NEAR).any() else -1
    return array.squeeze(through)[::way, ::way].swapaxes(0, 1)


def _refuse_bomb(shape: Sequence[int]) -> None:
    """Pillow's limit, before anything is decoded, for the libraries that have none."""
    if Image.MAX_IMAGE_PIXELS is not None and prod(int(side) for side in shape) > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"an array of {tuple(shape)}")
