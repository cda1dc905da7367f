"""EXIF orientation: one rule for every format, and one form in which it is written.

EXIF is a TIFF file in miniature (EXIF 2.32, 4.6; TIFF 6.0, 2). The rule is that of Pillow's ``Image.Exif``, so that a
client that uses ``ImageOps.exif_transpose`` agrees unless the file has XMP: the first entry 0x0112 of the first
directory, of any numeric type, if its first value is 1 to 8. Directories may be cut: the entries before the cut count,
and those behind an entry whose values lie outside do not. Orientations in XMP are ignored, as by web browsers.
"""

import struct

PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
UPRIGHT = 1
BYTE_ORDERS = {b"MM\0\x2a": ">", b"MM\x2a\0": ">", b"MM\0\x2b": ">", b"II\x2a\0": "<", b"II\0\x2a": "<"}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""TIFF type -> bytes of one value."""
NUMBERS = {3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L", 16: "Q"}
"""TIFF type -> its format in `struct`: the types that are numbers. BYTE is none to Pillow."""


def write(orientation):
    """1 to 8 -> the smallest TIFF file (26 bytes) that says so."""
    return struct.pack(">2sHLHHHLHHL", b"MM", 42, 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)


def read(data):
    """Bytes of a TIFF file, behind up to two `Exif` prefixes -> orientation, 1 to 8; 1 where none can be read."""
    for _ in range(2):
        data = data.removeprefix(PREFIX)
    order = BYTE_ORDERS.get(data[:4])
    if not order or len(data) < 8:
        return UPRIGHT
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    return _orientation(data, order, start) or UPRIGHT


def _orientation(data, order, start):
    """Return what the directory at `start` says; None if nothing that can be read."""
    if start + 2 > len(data):
        return None
    (count,) = struct.unpack_from(f"{order}H", data, start)
    outside, seen = 0, set()  # bytes of the values that lie outside their entries, tags
    for at in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{order}HHL", data, at)
        size, place = values * SIZES.get(kind, 0), at + 8
        if tag in seen or not size:
            continue
        if size > 4:
            (place,) = struct.unpack_from(f"{order}L", data, at + 8)
            outside += size
            if outside > len(data):
                continue
            if place + size > len(data):
                return None
        seen.add(tag)
        if tag == ORIENTATION:
            return _value(data, order, kind, place)
    return None


def _value(data, order, kind, place):
    if kind not in NUMBERS:
        return None
    value, *denominator = struct.unpack_from(order + NUMBERS[kind], data, place)
    if denominator:
        value = value / denominator[0] if denominator[0] else 0
    return int(value) if value in range(1, 9) else None
