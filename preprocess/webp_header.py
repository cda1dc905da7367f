"""A WebP's chunks (RFC 9649), and the file rebuilt from the one that holds its picture.

Of an animation that is the first frame, on its canvas. Alpha is dropped by the rule, so ALPH is left out, with colour
profiles and the rest. The orientation is that of the first EXIF chunk, if the file is of the extended format and its
flags tell of it.
"""

import struct

from preprocess import exif
from preprocess.format_names import begins_like
from preprocess.image_header import Header

CHUNKS = 2**16
"""Of one file: more than 32 MiB of any real one's."""
EXIF_FLAG, ANIMATION_FLAG = 0x08, 0x02
PICTURES = (b"VP8 ", b"VP8L")


def read(data):
    """Bytes that begin with RIFF -> Header. ValueError, in one line, for what a decoder would stumble over."""
    if data[8:12] != b"WEBP":
        raise ValueError(f"not an image of an accepted format: a RIFF file that is no WebP{begins_like(data)}")
    end = 8 + _little(data, 4, 4)
    if end > len(data):
        raise ValueError("a WebP that is shorter than its header says")
    (kind, start, stop), *chunks = [*_chunks(data, 12, end)] or [(b"", 0, 0)]
    if kind in PICTURES:
        return _still(data, kind, start, stop, exif.UPRIGHT)
    if kind != b"VP8X" or stop - start < 10:
        raise ValueError("a WebP without an image at its start")
    canvas = _little(data, start + 4, 3) + 1, _little(data, start + 7, 3) + 1
    flags, picture, orientation = data[start], None, None
    for kind, start, stop in chunks:
        if kind == b"EXIF" and flags & EXIF_FLAG and orientation is None:
            orientation = exif.read(data[start:stop])
        elif kind in (*PICTURES, b"ANMF") and picture is None:
            picture = kind, start, stop
    if picture is None:
        raise ValueError("a WebP without an image")
    orientation = orientation or exif.UPRIGHT
    if picture[0] == b"ANMF":
        return _first_frame(data, picture, canvas, orientation)
    return _still(data, *picture, orientation, canvas)


def size(data):
    """(width, height) of a file as `read` rebuilds it."""
    for kind, start, stop in _chunks(data, 12, len(data)):
        if kind in PICTURES:
            return _picture_size(data, kind, start, stop)
    raise ValueError("a WebP without an image")


def _chunks(data, at, limit):
    """(kind, where its body begins and ends) of each chunk up to `limit`."""
    for _ in range(CHUNKS):
        if at + 8 > limit:
            return
        end = at + 8 + _little(data, at + 4, 4)
        if end > limit:
            raise ValueError(f"a WebP with a chunk beyond its end, at byte {at}")
        if not data[at : at + 4].isascii() or data[at] < 0x20:  # zeros, as a batch pads a file that was cut
            raise ValueError(f"a WebP with a chunk without a name, at byte {at}")
        yield data[at : at + 4], at + 8, end
        at = end + (end & 1)
    raise ValueError(f"a WebP with more than {CHUNKS} chunks")


def _still(data, kind, start, stop, orientation, canvas=None):
    width, height = _picture_size(data, kind, start, stop)
    if canvas not in (None, (width, height)):
        raise ValueError(f"a WebP whose header says {canvas[0]} x {canvas[1]}, its picture {width} x {height}")
    first = []
    if orientation != exif.UPRIGHT:
        first = [*_extended(EXIF_FLAG, (width, height)), *_chunk(b"EXIF", exif.write(orientation))]
    return Header(width, height, orientation, parts=_riff([*first, *_chunk(kind, memoryview(data)[start:stop])]))


def _first_frame(data, frame, canvas, orientation):
    """Of an animation (RFC 9649, 2.7.1.1): x / 2, y / 2, width - 1, height - 1, duration, three bytes each, flags."""
    _, start, stop = frame
    if stop - start < 16:
        raise ValueError("a WebP with a damaged frame")
    x, y, width, height = (_little(data, start + at, 3) for at in (0, 3, 6, 9))
    frame_size = width + 1, height + 1
    for kind, at, end in _chunks(data, start + 16, stop):
        if kind in PICTURES:
            if _picture_size(data, kind, at, end) != frame_size:
                raise ValueError("a WebP with a damaged frame")
            if (x, y) == (0, 0) and frame_size == canvas:
                return _still(data, kind, at, end, orientation)
            return _animation(canvas, memoryview(data)[start:stop], orientation)
    raise ValueError("a WebP with a frame without an image")


def _animation(canvas, frame, orientation):
    """Of one frame, which leaves some of the canvas transparent: black, once alpha is dropped."""
    parts = [*_extended(ANIMATION_FLAG, canvas), *_chunk(b"ANIM", bytes(6)), *_chunk(b"ANMF", frame)]
    width, height = canvas
    return Header(width, height, orientation, parts=_riff(parts), reencoded="an animated WebP")


def _extended(flags, canvas):
    sides = [(side - 1).to_bytes(3, "little") for side in canvas]
    return _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + b"".join(sides))


def _picture_size(data, kind, start, stop):
    """(width, height) by the frame header of VP8 (RFC 6386, 9.1: a key frame) or VP8L (RFC 9649, 3.4)."""
    if kind == b"VP8 ":
        if stop - start < 10 or data[start] & 1 or data[start + 3 : start + 6] != b"\x9d\x01\x2a":
            raise ValueError("a WebP with a damaged picture")
        return _little(data, start + 6, 2) & 0x3FFF, _little(data, start + 8, 2) & 0x3FFF
    if stop - start < 5 or data[start] != 0x2F:
        raise ValueError("a WebP with a damaged picture")
    sides = _little(data, start + 1, 4)
    return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1


def _riff(parts):
    return [struct.pack("<4sL4s", b"RIFF", 4 + sum(map(len, parts)), b"WEBP"), *parts]


def _chunk(kind, body):
    """Return [header, body, padding to an even length]."""
    return [kind + struct.pack("<L", len(body)), body, b"\0" * (len(body) & 1)]


def _little(data, at, size):
    return int.from_bytes(data[at : at + size], "little")
