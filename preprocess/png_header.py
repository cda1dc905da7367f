"""A PNG's chunks (PNG specification, third edition), and the file rebuilt from those that hold its still picture.

Kept are IHDR, PLTE, IDAT and IEND: of an animation that is the picture that a decoder without animations shows.
Alpha is dropped by the rule, colour profiles are ignored, and so tRNS, gAMA and the others are left out. A palette is
filled up with black, as libpng does. The orientation is that of the last eXIf chunk, else of the last text called "Raw
profile type exif", which ImageMagick writes.
"""

import struct
import zlib

from preprocess import exif
from preprocess.image_header import Header

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNKS = 2**16
"""Of one file: more than 32 MiB of any real one's."""
PROFILES, PROFILE_BYTES = 8, 2**20
"""Of one file: texts that are called as ImageMagick's EXIF, and characters of each once it is decompressed."""
PROFILE = b"Raw profile type exif\0"
PALETTE, GREY = 3, 0  # colour types
DEPTHS = {GREY: (1, 2, 4, 8, 16), 2: (8, 16), PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def read(data):
    """Bytes that begin with the signature -> Header. ValueError, in one line, for what a decoder would stumble over."""
    width, height, depth, colour = _image_header(data)
    kept: list[tuple[int, int]] = []
    palette, metadata, animated = b"", [], False
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            if kept and kept[-1][1] != start - 12:
                raise ValueError("a PNG whose picture is in two places")
            kept.append((start, end))
        elif kind == b"PLTE":
            if palette or kept or (end - start) % 3 or not 3 <= end - start <= 768:
                raise ValueError("a PNG with a damaged palette (PLTE)")
            palette = data[start:end]
        elif kind == b"acTL":
            animated = not kept or animated
        elif kind == b"fcTL" and animated and kept:
            break  # frames of an animation follow
        elif kind == b"eXIf" or (kind in TEXTS and data.startswith(PROFILE, start)):
            metadata.append((kind, start, end))
        elif kind[0] < 0x60 and kind not in (b"IHDR", b"IEND"):  # capital letter: critical
            raise ValueError(f"a PNG with the unknown critical chunk {kind.decode('latin-1')!r}")
    if not kept:
        raise ValueError("a PNG without a picture (IDAT)")
    if colour == PALETTE and not palette:
        raise ValueError("a PNG without its palette (PLTE)")
    orientation = _orientation(data, metadata)
    parts = [data[: 8 + 25]]
    if orientation != exif.UPRIGHT:
        parts.append(chunk(b"eXIf", exif.write(orientation)))
    if colour == PALETTE:
        parts.append(chunk(b"PLTE", palette[: 3 << depth].ljust(3 << depth, b"\0")))
    parts += [memoryview(data)[kept[0][0] - 8 : kept[-1][1] + 4], chunk(b"IEND", b"")]
    return Header(width, height, orientation, parts=parts, reencoded="a 16-bit PNG" if depth == 16 else "")


def size(data):
    """Return (width, height) in pixels."""
    return struct.unpack_from(">LL", data, 16)


def chunk(kind, body):
    """Return the bytes of a chunk: length, kind, body, checksum."""
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def _image_header(data):
    """Return (width, height, bit depth, colour type)."""
    if len(data) < 33 or data[8:16] != b"\0\0\0\x0dIHDR":
        raise ValueError("a PNG without its header (IHDR)")
    width, height, depth, colour, compression, filters, interlace = struct.unpack_from(">LLBBBBB", data, 16)
    if depth not in DEPTHS.get(colour, ()) or compression or filters or interlace > 1:
        raise ValueError("a PNG with a damaged header (IHDR)")
    return width, height, depth, colour


def _chunks(data):
    """(kind, where its body begins and ends) of each chunk, checksums right, up to IEND."""
    at, kind, view = 8, b"", memoryview(data)
    for number in range(CHUNKS):
        if at + 12 > len(data):
            raise ValueError("a PNG without its end (IEND)")
        end, kind = at + 8 + int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if end + 4 > len(data) or zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"a PNG with a damaged chunk, at byte {at}")
        if (kind == b"IHDR") != (number == 0) or not kind.isalpha():
            raise ValueError(f"a PNG with a chunk that may not be there, at byte {at}")
        yield kind, at + 8, end
        if kind == b"IEND":
            return
        at = end + 4
    raise ValueError(f"a PNG with more than {CHUNKS} chunks")


def _orientation(data, metadata):
    """Return what the last eXIf chunk says, else the last text that can be read.

    `metadata` has (kind, start, end) of each.
    """
    if chunks := [data[start:end] for kind, start, end in metadata if kind == b"eXIf"]:
        return exif.read(exif.PREFIX + chunks[-1])  # as Pillow: of two prefixes of its own, one is too many
    if len(metadata) > PROFILES:
        raise ValueError(f"a PNG with more than {PROFILES} EXIF profiles")
    texts = [TEXTS[kind](data[start + len(PROFILE) : end]) for kind, start, end in metadata]
    return exif.read(_profile(([text for text in texts if text is not None] or [b""])[-1]))


def _text(body):
    """Read a tEXt chunk behind its keyword: text."""
    return _limited(body)


def _compressed_text(body):
    """Read a zTXt chunk behind its keyword: compression method 0, compressed text."""
    return (_decompressed(body[1:]) or b"") if body[:1] == b"\0" else b""


def _international_text(body):
    """Read an iTXt chunk behind its keyword.

    It is: compressed or not, compression method 0, language, 0, translated keyword, 0, text.
    """
    fields = body[2:].split(b"\0", 2)
    if len(fields) < 3 or (body[0] and body[1]):
        return None
    return _decompressed(fields[2]) if body[0] else _limited(fields[2])


TEXTS = {b"tEXt": _text, b"zTXt": _compressed_text, b"iTXt": _international_text}
"""Kind of chunk -> function of its body behind the keyword that returns the text; None where there is none."""


def _limited(text):
    if len(text) > PROFILE_BYTES:
        raise ValueError(f"a PNG with an EXIF profile of more than {PROFILE_BYTES} bytes")
    return text


def _decompressed(data):
    try:
        return _limited(zlib.decompressobj().decompress(data, PROFILE_BYTES + 1))
    except zlib.error:
        return None


def _profile(text):
    """ImageMagick's form: an empty line, a name, a length, then hexadecimal digits -> the bytes; none if damaged."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n", 3)[3:]).decode("latin-1"))
    except ValueError:
        return b""


def has_all_rows(data):
    """Return whether the compressed picture of a rebuilt file holds every row that its header announces."""
    width, height, depth, colour = _image_header(data)
    bits = depth * {GREY: 1, PALETTE: 1, 2: 3, 4: 2, 6: 4}[colour]
    passes = ADAM7 if data[28] else [(0, 0, 1, 1)]
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    missing = sum((1 + -(-bits * columns // 8)) * rows for columns, rows in sizes if columns > 0 and rows > 0)
    inflate, pictures = zlib.decompressobj(), [data[start:end] for kind, start, end in _chunks(data) if kind == b"IDAT"]
    try:
        for picture in pictures:
            while picture and missing > 0:
                missing -= len(inflate.decompress(picture, 2**20))
                picture = inflate.unconsumed_tail
    except zlib.error:
        return False
    return missing - len(inflate.flush()) <= 0


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""Of each pass of an interlaced picture: its first column and row, and the steps between them."""
