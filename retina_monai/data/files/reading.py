"""Read photographs and masks from the file formats of retinal imaging, as rows and columns in every format.

The formats differ in axis order, alpha, palettes, value ranges and orientation, and MONAI's readers pass these
differences on. The functions of this module remove them. Photographs are converted to 8-bit RGB if the conversion is
lossless, and rejected otherwise. A file that cannot be read raises a ``RetinaError`` that names it.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from retina_monai.data.files.masks import DEPTHS, refuse_values, to_mask
from retina_monai.data.files.medical_files import read_dicom, read_meta_image, read_nifti
from retina_monai.data.files.structure import is_whole, late_metadata
from retina_monai.errors import RetinaError

__all__ = [
    "IMAGE_SUFFIXES",
    "check_picture",
    "read_array",
    "read_mask",
    "read_photograph",
    "read_preview",
    "read_size",
]

PILLOW_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".bmp")
PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "PPM", "BMP")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
META_SUFFIXES = (".mha", ".mhd")
DICOM_SUFFIXES = (".dcm",)
PLAIN_SUFFIXES = PILLOW_SUFFIXES + NIFTI_SUFFIXES + META_SUFFIXES + DICOM_SUFFIXES
IMAGE_SUFFIXES = PLAIN_SUFFIXES + tuple(f"{suffix}.gz" for suffix in PILLOW_SUFFIXES)
"""Suffixes of supported files, in lower case. DICOM and gzip are also recognised by their content."""

DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")  # Pillow's modes with more than 8 bits, all grey
OTHER_COLOURS = {"CMYK": "a printer's", "LAB": "L*a*b*", "HSV": "HSV", "YCbCr": "YCbCr"}
FRACTION = 1e-6  # rounding error of multiples of 1 / 255 in float32
NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL = 254, 258, 262, 277  # tags of TIFF 6.0
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
REDUCED, TRANSPARENCY, WHITE_IS_ZERO, ALPHA, SIGNED = 1, 4, 0, (1, 2), 2  # values of these tags
ORIENTATION = 274  # the orientation tag of EXIF 2.3, section 4.6.4
ZIPPED_PIXEL, ZIPPED_REST = 32, 2**26  # maximum unpacked bytes per pixel (RGB as text takes many) and of metadata

_pillow_lock = Lock()  # guards Python's warning filters, which all threads share


def read_array(path: str | Path) -> NDArray:
    """Read one image with its stored values.

    Palettes are applied, 1-bit values become 0 and 255, transparent pixels become black, and the EXIF orientation is
    applied. :mod:`retina_monai.data.files.medical_files` explains how the affine of NIfTI and MetaImage is applied.

    Args:
        path: PNG, JPEG, TIFF, GIF, PPM, PGM, BMP (Pillow), gzipped or not; NIfTI (nibabel); MHA, MHD (ITK); DICOM
            (pydicom).

    Returns:
        Array ``(H, W)``, or ``(H, W, 3)`` in RGB, in the data type of the file.

    Raises:
        RetinaError: if the file does not exist, is empty, damaged or truncated, or is not an image; if it has several
            pages, frames or slices, or more pixels than Pillow's limit against decompression bombs; if its colour space
            is CMYK, LAB, HSV or YCbCr; or if it has 16-bit colours in a format that Pillow reads.
    """
    return _opaque(_read(path))


def read_photograph(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph that 8-bit RGB can represent without loss.

    Grey images get three equal channels, and fully transparent pixels become black. Integers of more than 8 bits are
    accepted if each value is one of the 256 values of 8 bits, either unscaled or scaled to 10, 12, 14 or 16 bits.
    Values in [0, 1] are accepted if they are multiples of 1 / 255.

    Args:
        path: see :func:`read_array`.

    Returns:
        Photograph ``(3, H, W)`` in [0, 255], RGB.

    Raises:
        RetinaError: if 8 bits cannot hold the values; if the image is partly transparent; if values are negative, not
            finite or beyond 16 bits; or as :func:`read_array`.
    """
    stored = _read(path)
    if stored.ndim == 3 and stored.shape[2] in (2, 4):
        alpha = stored[..., -1]
        if ((alpha > 0) & (alpha < _full(alpha))).any():
            raise RetinaError(f"{path} is partly transparent, which a photograph is not: save it as RGB without alpha")
    pixels = _exact_uint8(_opaque(stored), path)
    channels = [pixels] * 3 if pixels.ndim == 2 else [pixels[..., channel] for channel in range(3)]
    return np.stack(channels)


def read_mask(path: str | Path, threshold: int = 128, key: str = "") -> NDArray[np.uint8]:
    """Read a binary mask.

    Values may be 0 and 1, 0 and 255, fractions, or one colour on black. Smooth edges and JPEG compression are allowed.
    Label maps and photographs are rejected, see :func:`retina_monai.data.files.masks.to_mask`.

    Args:
        path: see :func:`read_array`.
        threshold: minimum foreground value on the scale of [0, 255].
        key: key of the mask in :data:`retina_monai.kinds.MASKS`, for error messages.

    Returns:
        Binary mask ``(1, H, W)`` in {0, 1}.

    Raises:
        RetinaError: as :func:`read_array` and :func:`~retina_monai.data.files.masks.to_mask`.
    """
    return to_mask(read_array(path), path, key, threshold)


def read_preview(path: str | Path, side: int) -> NDArray[np.uint8]:
    """Read a downsampled grey version of a photograph. JPEG files are decoded at reduced size, which is faster.

    Args:
        path: see :func:`read_array`.
        side: minimum length in pixels of the shorter side after downsampling.

    Returns:
        Luma ``(H, W)`` of ITU-R BT.601 in [0, 255].

    Raises:
        RetinaError: as :func:`read_photograph`.
    """
    path = _existing(path)
    if _is_pillow(path):
        with _named(path), _opened(path) as (_, picture):
            _refuse_colours(path, picture)
            if picture.mode in ("L", "RGB") and "transparency" not in picture.info:
                orientation = _orientation(picture)
                picture.draft("L", (side, side))
                return _upright(np.asarray(_shrunk(picture.convert("L"), side)), orientation)
    return np.asarray(_shrunk(Image.fromarray(np.moveaxis(read_photograph(path), 0, 2)).convert("L"), side))


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    return picture.reduce(max(1, min(picture.size) // side))


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of an image as read, from the header alone if Pillow reads the format.

    Raises:
        RetinaError: as :func:`read_array`.
    """
    path = _existing(path)
    if _is_pillow(path):
        with _named(path), _opened(path) as (file, picture):
            return _size(file, picture)
    height, width = read_array(path).shape[:2]
    return height, width


def check_picture(path: str | Path) -> tuple[int, int]:
    """Check that an image exists and is complete. Images in formats that Pillow does not read are decoded.

    Returns:
        Height and width, see :func:`read_size`.

    Raises:
        RetinaError: as :func:`read_array`.
    """
    path = _existing(path)
    if not _is_pillow(path):
        return read_size(path)
    with _named(path), _opened(path) as (file, picture):
        _refuse_colours(path, picture)
        if not is_whole(file, picture):
            raise EOFError("the file ends before the picture")
        _refuse_pages(path, picture)
        return _size(file, picture)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    try:
        if not path.is_file():
            raise RetinaError(f"{path} is {_absence(path)}")
        if not path.stat().st_size:
            raise RetinaError(f"{path} is empty (0 bytes): copy or download it again")
    except (OSError, ValueError) as error:  # such as a name that is too long, or a folder without permission
        raise RetinaError(f"{path} cannot be read ({error}): give another name, or change its permissions") from error
    return path


def _absence(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"a link to {path.readlink()}, which is not there: fix the link or remove it"
    if path.exists():
        return "a directory, not a picture" if path.is_dir() else "not a file: give a picture"
    return "not there: no such file"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn any exception of a decoder into a ``RetinaError`` that names the file."""
    try:
        yield
    except RetinaError:
        raise
    except Image.DecompressionBombError as error:
        raise RetinaError(f"{path} has too many pixels to be a photograph of an eye: give a smaller one") from error
    except PermissionError as error:
        raise RetinaError(f"{path} cannot be read: change its permissions") from error
    except Exception as error:
        kinds = " ".join(suffix[1:] for suffix in PLAIN_SUFFIXES)
        raise RetinaError(
            f"{path} is damaged, truncated or not a picture in a supported format ({kinds}): "
            "copy it again or convert it"
        ) from error


def _read(path: str | Path) -> NDArray:
    """Read an image like :func:`read_array`, but keep its alpha channel."""
    path = _existing(path)
    with _named(path):
        name = path.name.lower()
        if name.endswith(NIFTI_SUFFIXES):
            array = read_nifti(path)
        elif name.endswith(META_SUFFIXES):
            array = read_meta_image(path)
        else:
            array = _read_pillow(path) if _is_pillow(path) else read_dicom(path)
        if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (2, 3, 4)):
            return array
    raise RetinaError(f"{path} holds an array of {array.shape}: give one picture, grey or RGB, not a volume")


def _is_pillow(path: Path) -> bool:
    if path.name.lower().endswith(NIFTI_SUFFIXES + META_SUFFIXES + DICOM_SUFFIXES):
        return False
    with _named(path), path.open("rb") as file:
        return file.read(132)[128:] != b"DICM"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], ImageFile.ImageFile]]:
    """Open a file, unpacked if it is gzipped, together with Pillow's image of it before decoding."""
    with path.open("rb") as stored:
        file = _unpacked(stored, path) if stored.read(2) == b"\x1f\x8b" else stored
        with _open(file) as picture:
            yield file, picture


def _open(file: IO[bytes]) -> ImageFile.ImageFile:
    file.seek(0)
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # raised as an error at twice the limit
        return Image.open(file, formats=PILLOW_FORMATS)


def _unpacked(stored: IO[bytes], path: Path) -> BytesIO:
    """Unpack a gzipped image. Its length is limited by the image size in the header."""
    stored.seek(0)
    with gzip.GzipFile(fileobj=stored) as zipped:
        with _open(cast(IO[bytes], zipped)) as picture:
            limit = ZIPPED_PIXEL * picture.width * picture.height + ZIPPED_REST
        zipped.seek(0)
        content = zipped.read(limit + 1)
    if len(content) > limit:
        raise RetinaError(f"{path} unpacks to more than a picture of its size takes: pack the picture alone")
    return BytesIO(content)


def _size(file: IO[bytes], picture: ImageFile.ImageFile) -> tuple[int, int]:
    """Height and width in the upright orientation."""
    if picture.format == "PNG" and late_metadata(file):
        picture.load()
    turned = picture.format != "TIFF" and _orientation(picture) in (5, 6, 7, 8)  # Pillow rotates TIFF
    return (picture.width, picture.height) if turned else (picture.height, picture.width)


def _orientation(picture: ImageFile.ImageFile) -> int:
    """EXIF orientation from 1 to 8; 1 if EXIF cannot be read."""
    try:
        value = Image.Image.getexif(picture).get(ORIENTATION)  # the method of PNG would decode the pixels
    except Exception:  # Pillow raises various exceptions here
        return 1
    return value if isinstance(value, int) else 1


def _upright(array: NDArray, orientation: int) -> NDArray:
    """Apply an EXIF orientation. Orientations 5 to 8 are 1 to 4 with rows and columns swapped."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def _read_pillow(path: Path) -> NDArray:
    with _opened(path) as (_, picture):
        _refuse_colours(path, picture)
        _refuse_pages(path, picture)
        array = _pixels(picture)
        if picture.format == "TIFF":
            array = _as_tagged(path, array, getattr(picture, "tag_v2", {}))
        return _upright(array, _orientation(picture))


def _as_tagged(path: Path, array: NDArray, tags: Mapping[int, Any]) -> NDArray:
    """Apply TIFF tags that Pillow ignores: signed values, and 0 as white with more than 8 bits.

    Raises:
        RetinaError: if there are two channels without alpha, or if 0 is white and the data type is not 8 or 16 bits.
    """
    if tags.get(SAMPLES_PER_PIXEL, 1) == 2 and not set(tags.get(EXTRA_SAMPLES, ())) & set(ALPHA):
        raise RetinaError(f"{path} has 2 channels that are not a colour: give one picture, grey or RGB")
    if array.dtype == np.uint8 and tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED:
        return array.view(np.int8)
    if array.dtype != np.uint8 and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        if array.dtype != np.uint16:
            raise RetinaError(f"{path} has {array.dtype} values of which 0 is white: save it with 0 as black")
        return np.iinfo(array.dtype).max - array
    return array


def _refuse_colours(path: Path, picture: ImageFile.ImageFile) -> None:
    """Reject colours that Pillow does not decode to RGB or reduces from 16 to 8 bits."""
    if picture.mode in OTHER_COLOURS:
        raise RetinaError(
            f"{path} has {OTHER_COLOURS[picture.mode]} colours ({picture.mode}), which are not supported: "
            "convert it to RGB"
        )
    if _is_deep(picture):
        raise RetinaError(f"{path} is a 16-bit colour picture: convert it to 8 bits per channel")


def _is_deep(picture: ImageFile.ImageFile) -> bool:
    """Whether the file has more bits per channel than Pillow's mode can hold."""
    if picture.mode in DEEP_MODES:
        return False
    arguments = picture.tile[0].args or ""  # layout of the pixels; for PNM, also the largest value
    mode, *more = (arguments,) if isinstance(arguments, str) else arguments
    largest = more[0] if more and picture.format == "PPM" else 255
    bits = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return ";16" in str(mode) or largest > 255 or max(bits) > 8


def _refuse_pages(path: Path, picture: ImageFile.ImageFile) -> None:
    """Reject files with several images. Thumbnails and images that cameras append to a JPEG are ignored."""
    count = getattr(picture, "n_frames", 1)
    if count == 1 or picture.format == "MPO":
        return
    pages = [page for page in range(count) if not _is_thumbnail(picture, page)]
    picture.seek(0)
    if pages != [0]:
        raise RetinaError(
            f"{path} has {count} pages or frames: give one picture, with colours as RGB instead of one page each"
        )


def _is_thumbnail(picture: ImageFile.ImageFile, page: int) -> bool:
    """Whether a page of a TIFF is tagged as a reduced copy or as the mask of another page."""
    picture.seek(page)
    return bool(getattr(picture, "tag_v2", {}).get(NEW_SUBFILE_TYPE, 0) & (REDUCED | TRANSPARENCY))


def _pixels(picture: ImageFile.ImageFile) -> NDArray:
    picture.load()
    if picture.mode == "P":
        return np.asarray(picture.convert(_palette_mode(picture)))
    if "transparency" in picture.info and picture.mode in ("1", "L", "RGB"):
        return np.asarray(picture.convert("RGBA" if picture.mode == "RGB" else "LA"))
    other = {"1": "L", "PA": "RGBA", "RGBX": "RGB", "La": "LA", "RGBa": "RGBA"}.get(picture.mode)
    return np.asarray(picture.convert(other) if other else picture)


def _palette_mode(picture: ImageFile.ImageFile) -> str:
    """The mode that represents a palette image without loss."""
    if "transparency" in picture.info:
        return "RGBA"
    colours = np.reshape(picture.getpalette() or (), (-1, 3))
    return "L" if (colours == colours[:, :1]).all() else "RGB"


def _full(array: NDArray) -> int:
    """The alpha value of opaque pixels."""
    return int(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1


def _opaque(array: NDArray) -> NDArray:
    """Compose over black and drop the alpha channel."""
    if array.ndim != 3 or array.shape[2] not in (2, 4):
        return array
    colour, alpha = array[..., :-1], array[..., -1:]
    full = _full(alpha)
    if (alpha != full).any():
        colour = np.rint(colour * (alpha / full)) if colour.dtype.kind == "u" else colour * alpha
    return colour.astype(array.dtype)[..., 0] if colour.shape[2] == 1 else colour.astype(array.dtype)


def _exact_uint8(array: NDArray, path: str | Path) -> NDArray[np.uint8]:
    """Rescale to [0, 255] if the conversion is lossless, that is, if it can be inverted."""
    if array.dtype == np.uint8:
        return array
    refuse_values(array, path)
    fractions = array.dtype.kind == "f" and array.max() <= 1
    for full in (1,) if fractions else (255, 2**16 - 1, *(2**depth - 1 for depth in DEPTHS[1:-1])):
        if array.max() <= full:
            pixels = np.rint(array * (255 / full))
            stored = pixels / 255 if fractions else np.rint(pixels * (full / 255))
            if np.abs(stored - array).max() <= (FRACTION if fractions else 0):
                return pixels.astype(np.uint8)
    raise RetinaError(
        f"{path} has values up to {array.max():g}, finer than the 256 steps of 8 bits: convert it to 8 bits, "
        "scaled from the range of values of the eye"
    )
