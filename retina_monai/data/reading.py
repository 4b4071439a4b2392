"""Read photographs and masks from the files that retinal imaging uses: rows, then columns, whatever the format.

The formats disagree about axes, alpha, palettes and value ranges (MONAI's own readers hand that on); here they end.
What cannot be read is a ``RetinaError`` that names the file.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retina_monai.errors import RetinaError

__all__ = ["IMAGE_SUFFIXES", "read_array", "read_mask", "read_photograph", "read_size"]

PILLOW_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".bmp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
ITK_SUFFIXES = (".mha", ".mhd", ".dcm")
IMAGE_SUFFIXES = PILLOW_SUFFIXES + NIFTI_SUFFIXES + ITK_SUFFIXES
"""Endings of the files that can be read, in lower case. DICOM is known by its content as well."""

DEPTHS = (8, 10, 12, 14, 16)


def read_array(path: str | Path) -> NDArray:
    """Read one picture as it is stored.

    Palettes are applied, 1-bit pictures become 0 and 255, and what is transparent is black. Files of several frames
    give the first, except volumes, which are refused.

    Args:
        path: PNG, JPEG, TIFF, GIF, PPM, PGM, BMP (Pillow); NIfTI (nibabel); MHA, MHD, DICOM (ITK).

    Returns:
        ``(H, W)``, or ``(H, W, 3)`` in RGB, of the file's number type.

    Raises:
        RetinaError: no such file; empty, damaged or truncated; not a picture; a volume of several slices.
    """
    path = _existing(path)
    with _named(path):
        array = _opaque(_stored(path))
        if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3):
            return array
    raise RetinaError(f"{path} holds an array of {array.shape}: give one picture, grey or RGB, not a volume")


def read_photograph(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph.

    Grey ones get three equal channels; more than 8 bits are scaled down from the smallest usual depth (10, 12, 14, 16
    bits) that holds the brightest pixel, fractions up from [0, 1].

    Args:
        path: as for :func:`read_array`.

    Returns:
        ``(3, H, W)`` in [0, 255], RGB.

    Raises:
        RetinaError: as :func:`read_array`; values that are negative, not finite or beyond 16 bits.
    """
    array = read_array(path)
    pixels = _to_uint8(array, path)
    channels = [pixels] * 3 if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]
    return np.stack(channels)


def read_mask(path: str | Path, threshold: int = 128) -> NDArray[np.uint8]:
    """Read a binary mask, whatever it was stored as.

    0 and 1, 0 and 255, fractions, a colour on black: the brightest channel counts, and a picture without values above
    1 is taken to be on the scale of [0, 1].

    Args:
        path: as for :func:`read_array`.
        threshold: what is at least this, on the scale of [0, 255], is inside (anti-aliased edges, JPEG).

    Returns:
        ``(1, H, W)`` of {0, 1}.

    Raises:
        RetinaError: as :func:`read_photograph`; values above 1 of which none reaches the threshold (label numbers).
    """
    array = read_array(path)
    brightest = array if array.ndim == 2 else reduce(np.maximum, np.moveaxis(array, 2, 0))
    if brightest.min() >= 0 and brightest.max() <= 1:
        return (brightest.astype(np.float32) * 255 >= threshold).astype(np.uint8)[None]
    inside = _to_uint8(brightest, path) >= threshold
    if not inside.any():
        raise RetinaError(f"{path} has values up to {brightest.max():g}: a mask has 0 and 1, or 0 and 255, not labels")
    return inside.astype(np.uint8)[None]


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture; from the header alone where Pillow reads the format.

    Raises:
        RetinaError: as :func:`read_array`.
    """
    path = _existing(path)
    if _is_pillow(path):
        with _named(path), Image.open(path) as picture:
            return picture.height, picture.width
    height, width = read_array(path).shape[:2]
    return height, width


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise RetinaError(f"{path} is {'a directory, not a picture' if path.is_dir() else 'not there: no such file'}")
    if not path.stat().st_size:
        raise RetinaError(f"{path} is empty (0 bytes): copy or download it again")
    return path


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes one sentence with the file's name; decoders raise all sorts of exceptions."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # at twice as many pixels it is an error
            yield
    except RetinaError:
        raise
    except Image.DecompressionBombError as error:
        raise RetinaError(f"{path} has too many pixels to be a photograph of an eye: give a smaller one") from error
    except PermissionError as error:
        raise RetinaError(f"{path} may not be read: change its permissions") from error
    except Exception as error:
        kinds = " ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        raise RetinaError(f"{path} is damaged, truncated or not a picture of a kind that is read ({kinds})") from error


def _stored(path: Path) -> NDArray:
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        return _read_nifti(path)
    return _read_pillow(path) if _is_pillow(path) else _read_itk(path)


def _is_pillow(path: Path) -> bool:
    if path.name.lower().endswith(NIFTI_SUFFIXES + ITK_SUFFIXES):
        return False
    with _named(path), path.open("rb") as file:
        return file.read(132)[128:] != b"DICM"


def _read_pillow(path: Path) -> NDArray:
    with Image.open(path) as picture:
        if picture.mode == "1":
            return np.asarray(picture.convert("L"))
        if picture.mode == "P":
            return np.asarray(picture.convert(_palette_mode(picture)))
        if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA", "RGBX"):
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture)


def _palette_mode(picture: Image.Image) -> str:
    """The mode that loses nothing of a picture with a palette."""
    if "transparency" in picture.info:
        return "RGBA"
    colours = np.reshape(picture.getpalette() or (), (-1, 3))
    return "L" if (colours == colours[:, :1]).all() else "RGB"


def _read_nifti(path: Path) -> NDArray:
    """NIfTI is stored columns first; RGB as a structure of three, or along the last axis."""
    import nibabel  # slow to import, seldom needed

    image: Any = nibabel.load(path)
    array = np.asanyarray(image.dataobj)
    if array.dtype.names:
        array = np.stack([array[name] for name in array.dtype.names], axis=-1)
    if array.ndim > 2 and array.shape[2] == 1:
        array = array[:, :, 0]
    return array.swapaxes(0, 1)


def _read_itk(path: Path) -> NDArray:
    import itk  # seconds to import, seldom needed

    source = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    source.SetFileName(str(path))
    source.ReadImageInformation()
    channels = source.GetNumberOfComponents()
    pixel = () if channels == 1 else (itk.Vector[itk.F, channels],)  # Python's ITK has no vectors of bytes
    array: NDArray = itk.array_from_image(itk.imread(str(path), *pixel))
    if source.GetComponentType() == itk.CommonEnums.IOComponent_UCHAR:
        array = array.astype(np.uint8)
    return array[0] if source.GetNumberOfDimensions() == 3 and len(array) == 1 else array


def _opaque(array: NDArray) -> NDArray:
    """Without its alpha channel: over black."""
    if array.ndim != 3 or array.shape[2] not in (2, 4):
        return array
    colour, alpha = array[..., :-1], array[..., -1:]
    full = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    if (alpha != full).any():
        colour = np.rint(colour * (alpha / full)) if colour.dtype.kind == "u" else colour * alpha
    return colour.astype(array.dtype)[..., 0] if colour.shape[2] == 1 else colour.astype(array.dtype)


def _to_uint8(array: NDArray, path: str | Path) -> NDArray[np.uint8]:
    """On the scale of [0, 255], rounded."""
    if array.dtype == np.uint8:
        return array
    smallest, largest = float(array.min()), float(array.max())
    if not (smallest >= 0 and largest < 2 ** DEPTHS[-1]):
        raise RetinaError(f"{path} holds values from {smallest:g} to {largest:g}: a picture has 0 to 255, or 0 to 1")
    if array.dtype.kind == "f" and largest <= 1:
        return np.rint(array * 255).astype(np.uint8)
    depth = next(depth for depth in DEPTHS if largest < 2**depth)
    return np.rint(array * (255 / (2**depth - 1))).astype(np.uint8)
