"""A JPEG's markers (ISO/IEC 10918-1, annex B), found as libjpeg finds them, and the file rebuilt from what it takes.

Bytes between segments that belong to none are skipped. Kept are the tables, the frame and the scans; what JFIF's and
Adobe's markers say of the colours is written anew, in one marker each. All other metadata are left out, and so is
whatever follows the end of the image.
"""

import re
import struct

from preprocess import exif
from preprocess.image_header import Header

SOI, EOI, SOS, DNL, APP0, APP1, APP14 = 0xD8, 0xD9, 0xDA, 0xDC, 0xE0, 0xE1, 0xEE
DQT, DHT, DRI, DAC = 0xDB, 0xC4, 0xDD, 0xCC
TABLES = {DQT, DHT, DRI, DAC}
METADATA = {*range(0xE0, 0xF0), 0xFE, DNL}  # APPn, COM, and DNL, which libjpeg skips, too
FRAMES = {*range(0xC0, 0xD0)} - {DHT, 0xC8, DAC}  # SOFn
DECODED = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive, with Huffman or arithmetic codes
PROGRESSIVE = {0xC2, 0xCA}
LS = 0xF7  # the frame header of JPEG-LS (ISO/IEC 14495-1)
ALONE = {0x01, *range(0xD0, 0xD8)}  # TEM, RSTn: markers without a segment
FIRST = ("JFIF", "Exif", "Adobe")  # the markers that are written anew, in this order
SEGMENTS = 1000
"""Before the first scan, and behind it: a real file has a handful, an attacker's any number."""
MARKER = re.compile(rb"\xff[^\xff]")  # behind any number of fill bytes
MARKER_IN_DATA = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed 0xFF nor RSTn
JFIF = struct.pack(">HH5sHBHHBB", 0xFFE0, 16, b"JFIF\0", 0x101, 0, 1, 1, 0, 0)


def read(data):
    """Bytes that begin with SOI -> Header. ValueError, in one line, for what decoders could read in two ways."""
    first, orientations, tables, frame = {}, [], [], None
    for marker, start, end in _segments(data, 2):
        if marker in TABLES:
            _check_table(data, marker, start + 4, end)
            tables.append(data[start:end])
        elif marker in FRAMES:
            if frame:
                raise ValueError("a JPEG with two frame headers")
            frame = _frame(data, marker, start, end)
            tables.append(data[start:end])
        elif marker == APP0 and end - start >= 18 and data.startswith(b"JFIF\0", start + 4):
            first["JFIF"] = JFIF
        elif marker == APP1 and data.startswith(exif.PREFIX, start + 4):
            orientations.append(data[start + 10 : end])
        elif marker == APP14 and end - start >= 16 and data.startswith(b"Adobe", start + 4):
            first["Adobe"] = struct.pack(">HH5sHHHB", 0xFFEE, 14, b"Adobe", 100, 0, 0, data[start + 15])
        elif marker == SOS:
            break
        elif marker == EOI:
            raise ValueError("a JPEG without a scan")
        elif marker == SOI:
            raise ValueError("a JPEG that begins twice")
        elif marker == LS:
            raise ValueError("a JPEG-LS")
        elif marker not in METADATA | ALONE:
            raise ValueError(f"a JPEG with the unknown marker 0xFF{marker:02X}, at byte {start}")
    if not frame:
        raise ValueError("a JPEG without a frame header before its first scan")
    marker, height, width, components = frame
    orientation = exif.read(exif.PREFIX + b"".join(orientations)) if orientations else exif.UPRIGHT
    if orientation != exif.UPRIGHT:
        first["Exif"] = _exif_segment(orientation)
    one_scan = marker not in PROGRESSIVE and data[start + 4] == components
    scans, count, complete = _scans(data, start, end, one_scan)
    if not complete and not one_scan:
        raise ValueError("a JPEG without its end (EOI)")
    return Header(
        width,
        height,
        orientation,
        parts=[b"\xff\xd8", *(first[name] for name in FIRST if name in first), *tables, *scans],
        scans=count,
        reencoded="a CMYK JPEG" if components == 4 else "",
        complete=complete,
    )


def size(data):
    """(width, height) of a file as `read` rebuilds it."""
    for marker, start, end in _segments(data, 2):
        if marker in FRAMES:
            _, height, width, _ = _frame(data, marker, start, end)
            return width, height
    raise ValueError("a JPEG without a frame header")


def _exif_segment(orientation):
    tiff = exif.write(orientation)
    return struct.pack(">HH", 0xFFE1, 2 + len(exif.PREFIX) + len(tiff)) + exif.PREFIX + tiff


def _segments(data, at):
    """(marker, where it begins, where its segment ends) of each, up to the first scan's."""
    for _ in range(SEGMENTS):
        found = MARKER.search(data, at)
        if not found:
            raise ValueError("a JPEG that ends before its first scan")
        at = found.end() - 2
        marker = data[at + 1]
        end = _segment_end(data, marker, at)
        if marker:
            yield marker, at, end
        at = end
    raise ValueError(f"a JPEG with more than {SEGMENTS} segments before its first scan")


def _segment_end(data, marker, at):
    if marker in ALONE or marker in (0, SOI, EOI):
        return at + 2
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    if length < 2:
        raise ValueError(f"a JPEG with a segment of an impossible length, at byte {at}")
    if at + 2 + length > len(data):
        raise ValueError(f"a JPEG that ends within its segment at byte {at}")
    return at + 2 + length


def _frame(data, marker, start, end):
    """(marker, height, width, components) of a frame header."""
    if marker not in DECODED:
        raise ValueError("a lossless or hierarchical JPEG")
    length, bits, height, width, components = struct.unpack_from(">HBHHB", data.ljust(start + 10, b"\0"), start + 2)
    if bits != 8:
        raise ValueError(f"a JPEG of {bits} bits a sample")
    if components not in (1, 3, 4) or length != 8 + 3 * components:
        raise ValueError(f"a JPEG of {components} components, or with a damaged frame header")
    return marker, height, width, components


def _check_table(data, marker, at, end):
    """ValueError for a table that does not end where its segment does."""
    names = {DQT: "quantisation table (DQT)", DHT: "Huffman table (DHT)", DRI: "restart interval (DRI)"}
    if marker == DQT:
        while at < end and data[at] & 15 < 4:
            at += 129 if data[at] >> 4 else 65
    elif marker == DHT:
        while at + 17 <= end and data[at] & 0xEF < 4:
            at += 17 + sum(data[at + 1 : at + 17])
    elif marker == DRI:
        at += 2
    else:
        at = end
    if at != end:
        raise ValueError(f"a JPEG with a damaged {names[marker]}")


def _scans(data, start, end, one_scan):
    """(parts from the first scan to EOI, scans among them, whether there is an EOI). The first scan is at start:end.

    Only a scan's header is followed by data. Bytes behind any other segment are skipped, as libjpeg skips them, and so
    are fill bytes before a marker: nothing that is left out may make a marker of what stood around it.
    """
    parts, count, view = [data[start:end]], 1, memoryview(data)
    marker = SOS
    for _ in range(SEGMENTS):
        found = MARKER_IN_DATA.search(data, end)
        at = found.start() if found else _without_zeros(data, end)
        if marker == SOS:
            parts.append(view[end : _without_fill(data, end, at)])
        if not found:
            return parts, count, False
        marker = data[at + 1]
        if marker == EOI:
            return [*parts, b"\xff\xd9"], count, True
        if marker not in TABLES | METADATA | {SOS} or (marker == SOS and one_scan):
            raise ValueError(f"a JPEG with the marker 0xFF{marker:02X} within its data, at byte {at}")
        end = _segment_end(data, marker, at)
        count += marker == SOS
        if marker in TABLES:
            _check_table(data, marker, at + 4, end)
        if marker not in METADATA:
            parts.append(data[at:end])
    raise ValueError(f"a JPEG with more than {SEGMENTS} segments behind its first scan")


def _without_fill(data, start, end):
    """Where data[start:end] ends without the 0xFF bytes at its end."""
    while end > start and data[end - 1] == 0xFF:
        end -= 1
    return end


def _without_zeros(data, start):
    """Where data[start:] ends without the zeros that a batch pads its shorter files with; a stuffed 0xFF keeps one."""
    end = start + len(data[start:].rstrip(b"\0"))
    return end + 1 if data[end - 1 : end + 1] == b"\xff\0" else end
