"""Check that an image file is complete, from its structure and without decoding.

An interrupted copy or download leaves a valid header and too few bytes. Each format marks its end differently: PNG
(https://www.w3.org/TR/png-3/, section 5.3) by chunks with checksums up to IEND, JPEG (ITU-T T.81, annex B) by an
end-of-image marker, GIF (https://www.w3.org/Graphics/GIF/spec-gif89a.txt) by blocks up to the trailer, TIFF (revision
6.0) by the offsets of its strips or tiles, BMP and PNM by the number of pixels.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from math import inf
from typing import IO

from PIL.ImageFile import ImageFile

__all__ = ["is_whole", "late_metadata"]

END_OF_IMAGE = b"\xff\xd9"
TAIL = 2**16
STRIPS_AND_TILES = ((273, 279), (324, 325))  # tags of their offsets, and of their lengths in bytes
XMP = 700  # the tags below this number are those of revision 6.0, which decoding needs
TYPES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes per value of TIFF's types. All other types take one byte."""
BIG_TIFF = 43
BITS = {"1;I": 1, "L": 8, "I;16B": 16, "RGB": 24, "F;32F": 32, "F;32BF": 32}
"""Bits per pixel of a PNM, by Pillow's raw mode."""


def is_whole(file: IO[bytes], picture: ImageFile) -> bool:
    """Whether the file is as long as its structure requires.

    Args:
        file: file opened for reading, at any position.
        picture: Pillow image opened from that file, not decoded.
    """
    length = file.seek(0, os.SEEK_END)
    match picture.format:
        case "PNG":
            return any(kind == b"IEND" for kind, _ in _png_chunks(file))
        case "JPEG" | "MPO":
            return _has_end_of_image(file, length)
        case "GIF":
            return _has_gif_trailer(file)
        case "TIFF":
            return _directory_end(file) <= length and _strips_end(picture) <= length
        case _:
            return _raster_end(picture) <= length


def late_metadata(file: IO[bytes]) -> bool:
    """Whether a PNG has text or EXIF after its pixels, where Pillow finds it only after decoding."""
    kinds = [kind for kind, _ in _png_chunks(file, check=False)]
    behind = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
    return not {b"eXIf", b"iTXt", b"zTXt", b"tEXt"}.isdisjoint(behind)


def _png_chunks(file: IO[bytes], check: bool = True) -> Iterator[tuple[bytes, int]]:
    """Type and length of each chunk, up to the last or the first that is truncated or has a wrong checksum."""
    file.seek(8)
    kind = b""
    while kind != b"IEND" and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if not check:
            file.seek(length + 4, os.SEEK_CUR)
        elif struct.pack(">I", zlib.crc32(file.read(length), zlib.crc32(kind))) != file.read(4):
            return
        yield kind, length


def _has_end_of_image(file: IO[bytes], length: int) -> bool:
    """Search for the end-of-image marker after the start of scan, since a thumbnail before it may contain another."""
    start = _start_of_scan(file)
    for begin in (max(start, length - TAIL), start):
        file.seek(begin)
        if END_OF_IMAGE in file.read():
            return True
    return False


def _start_of_scan(file: IO[bytes]) -> int:
    """Offset of the compressed pixels of a JPEG, or of the end of the file if there are none."""
    place = 2
    while len(head := _read_at(file, place, 4)) == 4:
        marker, size = head[1], int.from_bytes(head[2:], "big")
        if marker == 0xDA:
            return place + 2 + size
        place += 1 if head[0] != 0xFF or marker in (0x00, 0xFF) else 2 if 0xD0 <= marker <= 0xD8 else 2 + size
    return place


def _has_gif_trailer(file: IO[bytes]) -> bool:
    flags = _read_at(file, 10, 1)[0]
    place = 13 + _colours(flags)
    while block := _read_at(file, place, 10):
        if block[0] == 0x3B:
            return True
        if block[0] == 0x2C and len(block) == 10:
            place = _after_blocks(file, place + 10 + _colours(block[9]) + 1)
        elif block[0] == 0x21:
            place = _after_blocks(file, place + 2)
        else:
            return False
    return False


def _colours(flags: int) -> int:
    """Length in bytes of the colour table after a descriptor with these flags."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(file: IO[bytes], place: int) -> int:
    """Offset after a sequence of GIF data sub-blocks."""
    file.seek(place)
    while size := file.read(1):
        place += 1 + size[0]
        if not size[0]:
            break
        file.seek(place)
    return place


def _directory_end(file: IO[bytes]) -> float:
    """End offset of a TIFF's first directory and of its baseline tags' values; infinite if truncated."""
    order = "<" if _read_at(file, 0, 2) == b"II" else ">"
    big = struct.unpack(order + "H", file.read(2))[0] == BIG_TIFF
    number, counter, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    (start,) = struct.unpack(order + number, _read_at(file, inline, inline))
    (count,) = struct.unpack(order + counter, _read_at(file, start, struct.calcsize(order + counter)))
    entry = struct.Struct(f"{order}HH{number}{number}")
    table = file.read(count * entry.size)
    if len(table) < count * entry.size or len(file.read(inline)) < inline:
        return inf
    sizes = [(value, TYPES.get(kind, 1) * many) for tag, kind, many, value in entry.iter_unpack(table) if tag < XMP]
    return max((place + size for place, size in sizes if size > inline), default=0)


def _strips_end(picture: ImageFile) -> float:
    """End offset of a TIFF's strips or tiles. A missing length counts as one byte."""
    tags = getattr(picture, "tag_v2", {})
    ends = [
        offset + length
        for places, lengths in STRIPS_AND_TILES
        for offset, length in zip_longest(_numbers(tags.get(places)), _numbers(tags.get(lengths)), fillvalue=1)
    ]
    return max(ends, default=inf)


def _numbers(value: int | Sequence[int] | None) -> Sequence[int]:
    return () if value is None else (value,) if isinstance(value, int) else value


def _raster_end(picture: ImageFile) -> int:
    """End offset of the pixels of a raw BMP or PNM; their start offset if they are compressed or stored as text."""
    codec, _, offset, arguments = picture.tile[0]
    mode, *more = (arguments,) if isinstance(arguments, str) else arguments or ("",)
    if codec == "raw":  # for BMP, the next argument is the row length
        row = more[0] if more and more[0] else -(-picture.width * BITS[mode] // 8)
    elif codec == "ppm":  # the next argument is the largest value
        row = picture.width * BITS[mode] // 8 * (2 if more[0] > 255 else 1)
    else:
        row = 0
    return offset + row * picture.height


def _read_at(file: IO[bytes], place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)
