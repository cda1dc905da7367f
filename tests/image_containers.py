"""JPEG, PNG and WebP files put together by hand, as encoders of the tests do not write them."""

import struct
import zlib

import numpy as np

ORIENTATION = 0x0112


def png(header, data):
    """The smallest PNG file of a header and compressed rows, whether they fit together or not."""
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*each) for each in chunks)


def tiff(orientation, order="<", kind="H", code=3, entries=1):
    """EXIF that says so: bytes, their order, and the number's type as `struct` and as TIFF call it."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    number = struct.pack(order + kind, orientation).ljust(4, b"\0")
    return head + struct.pack(f"{order}LHHHL", 8, entries, ORIENTATION, code, 1) + number


def with_segment(file, body, marker=0xE1, at=2):
    """A JPEG with one more segment, right after its start unless told otherwise."""
    return file[:at] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + file[at:]


def with_chunks(file, *chunks, at=33):
    """A PNG with more chunks, right after its header unless told otherwise."""
    return file[:at] + b"".join(png_chunk(*each) for each in chunks) + file[at:]


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def riff(*chunks):
    """A WebP file of chunks, each (kind, body)."""
    body = b"".join(kind + struct.pack("<I", len(each)) + each + b"\0" * (len(each) & 1) for kind, each in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_with(file, *between, exif=b"", flags=0x08):
    """A simple lossy WebP as one of the extended format: chunks before the picture's, EXIF behind."""
    canvas = b"".join(_minus_one(side) for side in _size(file))
    return riff((b"VP8X", bytes([flags, 0, 0, 0]) + canvas), *between, (b"VP8 ", file[20:]), (b"EXIF", exif))


def animated_png(file, frame):
    """An APNG whose still picture, a PNG, is not the one frame of its animation, an image of the same size."""
    control = struct.pack(">IIIIIHHBB", 0, frame.width, frame.height, 0, 0, 1, 10, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(frame))
    file = with_chunks(file, (b"acTL", struct.pack(">II", 1, 0)))
    data = struct.pack(">I", 1) + zlib.compress(rows)
    return with_chunks(file, (b"fcTL", control), (b"fdAT", data), at=len(file) - 12)


def animated_webp_in_a_corner(file, canvas=(600, 400)):
    """An animation whose only frame, a simple lossy WebP, fills a part of its canvas."""
    width, height, *frame = (_minus_one(side) for side in (*canvas, *_size(file)))
    corner = (20).to_bytes(3, "little") + (10).to_bytes(3, "little")
    body = corner + b"".join(frame) + bytes(4) + file[12:]
    return riff((b"VP8X", b"\2\0\0\0" + width + height), (b"ANIM", bytes(6)), (b"ANMF", body))


def _size(file):
    return [int.from_bytes(file[at : at + 2], "little") & 0x3FFF for at in (26, 28)]


def _minus_one(side):
    return (side - 1).to_bytes(3, "little")


def raw_profile(orientation):
    """ImageMagick's text in a PNG."""
    profile = (b"Exif\0\0" + tiff(orientation)).hex().encode()
    return b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(profile) // 2, profile)


def without_colours(file):
    """Of a PNG, all but ten entries of its palette."""
    at = file.index(b"PLTE") - 4
    end = at + 12 + int.from_bytes(file[at : at + 4], "big")
    return file[:at] + png_chunk(b"PLTE", file[at + 8 : at + 38]) + file[end:]
