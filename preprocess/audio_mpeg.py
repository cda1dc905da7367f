"""Where the frames of MPEG audio (MP3, layers I and II) begin in a file whose first bytes are something else.

Such are pieces of a stream, which start within a frame, and files with zeros, a line break or a tag in front.
The tables are those of ISO/IEC 11172-3 and 13818-3.
"""

import re

SEARCHED = 1 << 16
"""Bytes from the front in which the first frame must begin."""
CHAIN = 4
"""Frames that must follow each other, or two and more up to the end of the file: PCM of a quiet sound holds two by
chance in 1 of 50 files."""
HEADER = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]", re.DOTALL)
OTHER_FORMATS = re.compile(
    rb"FORM|\.snd|caff|riff|FLV|\xff\xd8\xff|\x1aE\xdf\xa3|\0\0\x01[\xb3\xba]|.{4}ftyp", re.DOTALL
)
"""Beginnings of formats that are not accepted, and may hold frames of MPEG audio or what looks like them."""

RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version: 1, 2, 2.5
KBITS = {  # by (MPEG 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def find_frames(encoded):
    """Find the first of the MPEG frames that follow each other: an offset within the first 64 KiB, or None.

    Each begins exactly where the one before ends, with the same version, layer and rate. A file that begins as another
    format has none.
    """
    if OTHER_FORMATS.match(encoded):
        return None
    at = 0
    while found := HEADER.search(encoded, at, SEARCHED):
        if _begins_chain(encoded, found.start()):
            return found.start()
        at = found.start() + 1
    return None


def find_end(encoded):
    """Find where the last frame ends, before zeros: an offset; the file's end if no frame reaches that far.

    Zeros stand behind the shorter files of a batch. FFmpeg takes many of them for one more frame, and then does not
    leave out what the encoder filled the last one up with.
    """
    data = len(encoded.rstrip(b"\0"))
    _, first = LENGTHS.get(encoded[1:3], (0, None)) if encoded[:1] == b"\xff" else (0, None)
    ends = [0]
    for found in HEADER.finditer(encoded, max(0, data - LONGEST), data):
        length, kind = LENGTHS.get(found[0][1:], (0, None))
        if kind == (first or kind):
            ends.append(found.start() + length)
    return min(len(encoded), max(ends)) if max(ends) >= data else len(encoded)


def _begins_chain(encoded, at):
    kind = None
    for count in range(CHAIN):
        if at + 3 > len(encoded):  # the last frame may be cut short
            return count >= 2
        header = encoded[at : at + 3]
        length, same = LENGTHS.get(header[1:], (0, None)) if header[:1] == b"\xff" else (0, None)
        if not length or same != (kind or same):
            return False
        kind = same
        at += length
    return True


def _lengths():
    """Bytes 2 and 3 of a header -> (length of the frame in bytes, what stays the same within a sound)."""
    lengths = {}
    for second in range(0xE0, 0x100):
        version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
        for third in range(0x100) if version != 1 and layer != 4 else ():
            bits, rate, padding = third >> 4, third >> 2 & 3, third >> 1 & 1
            if bits in (0, 15) or rate == 3:
                continue
            per_second = 1000 * KBITS[version == 3, layer][bits - 1]
            if layer == 1:
                length = (12 * per_second // RATES[version][rate] + padding) * 4
            else:
                length = (72 if layer == 3 and version != 3 else 144) * per_second // RATES[version][rate] + padding
            lengths[bytes([second, third])] = length, (version, layer, rate)
    return lengths


LENGTHS = _lengths()
LONGEST = max(length for length, _ in LENGTHS.values())
