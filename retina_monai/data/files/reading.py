"""Read photographs and masks from the files that retinal imaging uses: rows, then columns, whatever the format.

The formats disagree about axes, alpha, palettes, value ranges and which side is up (MONAI's own readers hand that on);
here they end. A photograph comes out as 8-bit RGB where that loses nothing, and is refused where it does. What cannot
be read is a ``RetinaError`` that names the file.
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
"""Endings of the files that can be read, in lower case. DICOM and gzip are known by their content as well."""

DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")  # of Pillow, all grey
OTHER_COLOURS = {"CMYK": "a printer's", "LAB": "L*a*b*", "HSV": "HSV", "YCbCr": "YCbCr"}
FRACTION = 1e-6  # what a fraction of 255 may be off as float32
NEW_SUBFILE_TYPE, BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL = 254, 258, 262, 277  # tags of TIFF 6.0,
EXTRA_SAMPLES, SAMPLE_FORMAT = 338, 339
REDUCED, TRANSPARENCY, WHITE_IS_ZERO, ALPHA, SIGNED = 1, 4, 0, (1, 2), 2  # and what they say
ORIENTATION = 274  # the tag of EXIF 2.3, section 4.6.4, that says how a camera was held
ZIPPED_PIXEL, ZIPPED_REST = 32, 2**26  # bytes that a pixel (RGB as text, say) and metadata may take unpacked

_pillow_lock = Lock()  # of Python's warning filters, which all threads share


def read_array(path: str | Path) -> NDArray:
    """Read one picture as it is stored.

    Palettes are applied, 1-bit pictures become 0 and 255, what is transparent is black, and a picture is turned or
    mirrored as its EXIF orientation says. Where the affine of NIfTI or MetaImage puts a picture is explained in
    :mod:`retina_monai.data.files.medical_files`.

    Args:
        path: PNG, JPEG, TIFF, GIF, PPM, PGM, BMP (Pillow), gzipped or not; NIfTI (nibabel); MHA, MHD (ITK); DICOM
            (pydicom).

    Returns:
        ``(H, W)``, or ``(H, W, 3)`` in RGB, of the file's number type.

    Raises:
        RetinaError: no such file; empty, damaged or truncated; not a picture; several pages, frames or
            slices; more pixels than Pillow takes for a decompression bomb; CMYK, LAB, HSV or YCbCr; colours of 16
            bits in a format that Pillow reads.
    """
    return _opaque(_read(path))


def read_photograph(path: str | Path) -> NDArray[np.uint8]:
    """Read a photograph, if 8-bit RGB can hold all of it.

    Grey ones get three equal channels, and what is wholly transparent is black. Deeper ones are taken when each value
    is one of the 256 that 8 bits have, as it is or scaled to 10, 12, 14 or 16 bits; fractions when they are of 255.

    Args:
        path: as for :func:`read_array`.

    Returns:
        ``(3, H, W)`` in [0, 255], RGB.

    Raises:
        RetinaError: as :func:`read_array`; more depth than 8 bits hold; partly transparent; values that are negative,
            not finite or beyond 16 bits.
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
    """Read a binary mask, whatever it was stored as.

    0 and 1, 0 and 255, fractions, a colour on black, with smooth edges or stored as JPEG; label maps and photographs
    are refused: see :func:`retina_monai.data.files.masks.to_mask`.

    Args:
        path: as for :func:`read_array`.
        threshold: what is at least this, on the scale of [0, 255], is inside.
        key: what it marks (of :data:`retina_monai.kinds.MASKS`), for the error.

    Returns:
        ``(1, H, W)`` of {0, 1}.

    Raises:
        RetinaError: as :func:`read_array` and :func:`~retina_monai.data.files.masks.to_mask`.
    """
    return to_mask(read_array(path), path, key, threshold)


def read_preview(path: str | Path, side: int) -> NDArray[np.uint8]:
    """Read a photograph in grey, reduced where it is large: a JPEG is decoded at a fraction of its size.

    Args:
        path: as for :func:`read_array`.
        side: pixels that the shorter side keeps at least.

    Returns:
        ``(H, W)`` in [0, 255]: the luma of ITU-R BT.601.

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
    """Height and width of a picture as it is read; from the header alone where Pillow reads the format.

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
    """Check that a picture is there and whole: by its header and structure where Pillow reads the format, or decoded.

    Returns:
        Height and width, as :func:`read_size`.

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
    except (OSError, ValueError) as error:  # a name that is too long, a folder that may not be looked into
        raise RetinaError(f"{path} cannot be read ({error}): give another name, or change its permissions") from error
    return path


def _absence(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"a link to {path.readlink()}, which is not there: mend the link or remove it"
    if path.exists():
        return "a directory, not a picture" if path.is_dir() else "not a file: give a picture"
    return "not there: no such file"


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever a decoder raises becomes one sentence with the file's name; decoders raise all sorts of exceptions."""
    try:
        yield
    except RetinaError:
        raise
    except Image.DecompressionBombError as error:
        raise RetinaError(f"{path} has too many pixels to be a photograph of an eye: give a smaller one") from error
    except PermissionError as error:
        raise RetinaError(f"{path} may not be read: change its permissions") from error
    except Exception as error:
        kinds = " ".join(suffix[1:] for suffix in PLAIN_SUFFIXES)
        raise RetinaError(
            f"{path} is damaged, truncated or not a picture of a kind that is read ({kinds}): "
            "copy it again or convert it"
        ) from error


def _read(path: str | Path) -> NDArray:
    """A picture as :func:`read_array` gives it, but with its alpha channel."""
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
    """The file, unpacked if it is gzipped, and Pillow's picture of it, of which no pixel is decoded."""
    with path.open("rb") as stored:
        file = _unpacked(stored, path) if stored.read(2) == b"\x1f\x8b" else stored
        with _open(file) as picture:
            yield file, picture


def _open(file: IO[bytes]) -> ImageFile.ImageFile:
    file.seek(0)
    with _pillow_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # at twice as many pixels it is an error
        return Image.open(file, formats=PILLOW_FORMATS)


def _unpacked(stored: IO[bytes], path: Path) -> BytesIO:
    """The content of a gzipped picture, refused when it is longer than a picture of the size in its header can be."""
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
    """Height and width as the picture is to be held."""
    if picture.format == "PNG" and late_metadata(file):
        picture.load()
    turned = picture.format != "TIFF" and _orientation(picture) in (5, 6, 7, 8)  # Pillow turns TIFF itself
    return (picture.width, picture.height) if turned else (picture.height, picture.width)


def _orientation(picture: ImageFile.ImageFile) -> int:
    """1 to 8, as EXIF numbers them; EXIF that cannot be read says nothing."""
    try:
        value = Image.Image.getexif(picture).get(ORIENTATION)  # that of PNG would decode the pixels
    except Exception:  # it raises all sorts
        return 1
    return value if isinstance(value, int) else 1


def _upright(array: NDArray, orientation: int) -> NDArray:
    """Turned and mirrored: what EXIF means by 5 to 8 are 1 to 4 with rows and columns exchanged."""
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
    """What Pillow leaves out of a TIFF: that numbers are signed, that 0 is white where there are more than 8 bits.

    Raises:
        RetinaError: two channels of which neither is alpha; numbers of an unlimited range of which 0 is white.
    """
    if tags.get(SAMPLES_PER_PIXEL, 1) == 2 and not set(tags.get(EXTRA_SAMPLES, ())) & set(ALPHA):
        raise RetinaError(f"{path} has 2 channels that are not a colour: give one picture, grey or RGB")
    if array.dtype == np.uint8 and tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED:
        return array.view(np.int8)
    if array.dtype != np.uint8 and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        if array.dtype != np.uint16:
            raise RetinaError(f"{path} has {array.dtype} numbers of which 0 is white: save it with 0 as black")
        return np.iinfo(array.dtype).max - array
    return array


def _refuse_colours(path: Path, picture: ImageFile.ImageFile) -> None:
    """Refuse colours that Pillow does not decode to RGB, or of which it would drop half of the bits."""
    if picture.mode in OTHER_COLOURS:
        raise RetinaError(
            f"{path} has {OTHER_COLOURS[picture.mode]} colours ({picture.mode}), which are not those of a "
            "screen: convert it to RGB"
        )
    if _is_deep(picture):
        raise RetinaError(f"{path} is a 16-bit colour picture: convert it to 8 bits per channel")


def _is_deep(picture: ImageFile.ImageFile) -> bool:
    """Whether the file has more bits per channel than Pillow's mode of it."""
    if picture.mode in DEEP_MODES:
        return False
    arguments = picture.tile[0].args or ""  # how the pixels lie in the file: of PNM, also the largest value
    mode, *more = (arguments,) if isinstance(arguments, str) else arguments
    largest = more[0] if more and picture.format == "PPM" else 255
    bits = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (8,))
    return ";16" in str(mode) or largest > 255 or max(bits) > 8


def _refuse_pages(path: Path, picture: ImageFile.ImageFile) -> None:
    """Refuse several pictures in one file. Thumbnails do not count, nor what a camera adds behind a JPEG."""
    count = getattr(picture, "n_frames", 1)
    if count == 1 or picture.format == "MPO":
        return
    pages = [page for page in range(count) if not _is_thumbnail(picture, page)]
    picture.seek(0)
    if pages != [0]:
        raise RetinaError(
            f"{path} has {count} pages or frames: give one picture, and colours as RGB, not as a page for each"
        )


def _is_thumbnail(picture: ImageFile.ImageFile, page: int) -> bool:
    """Whether a page of a TIFF says that it is a reduced copy, or the mask of another page."""
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
    """The mode that loses nothing of a picture with a palette."""
    if "transparency" in picture.info:
        return "RGBA"
    colours = np.reshape(picture.getpalette() or (), (-1, 3))
    return "L" if (colours == colours[:, :1]).all() else "RGB"


def _full(array: NDArray) -> int:
    """The value of what is wholly opaque."""
    return int(np.iinfo(array.dtype).max) if array.dtype.kind == "u" else 1


def _opaque(array: NDArray) -> NDArray:
    """Without its alpha channel: over black."""
    if array.ndim != 3 or array.shape[2] not in (2, 4):
        return array
    colour, alpha = array[..., :-1], array[..., -1:]
    full = _full(alpha)
    if (alpha != full).any():
        colour = np.rint(colour * (alpha / full)) if colour.dtype.kind == "u" else colour * alpha
    return colour.astype(array.dtype)[..., 0] if colour.shape[2] == 1 else colour.astype(array.dtype)


def _exact_uint8(array: NDArray, path: str | Path) -> NDArray[np.uint8]:
    """On the scale of [0, 255], if that loses nothing: back on its own scale, it is what it was."""
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
        "from the range of values that shows the eye"
    )
