"""What an encoded photograph says of itself, read without decoding it: some ten microseconds.

Only the formats that are promised are known here, so that a decoder's others (TIFF, JPEG 2000, BMP, PNM ...) are never
reached by a stranger's bytes.
"""

import zlib
from typing import NamedTuple

from preprocess import limits

FORMATS = "JPEG, PNG and WebP"
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOFn: the JPEG markers (ISO/IEC 10918-1, B.1) of a frame header
SEQUENTIAL = {0xC0, 0xC1, 0xC3, 0xC9, 0xCB}  # those of them whose components are each coded in one scan
ALONE = {0x01, *range(0xD0, 0xD9)}  # TEM, RSTn, SOI: markers without a segment
SEGMENTS = 1000  # before the first scan: a real file has a handful, an attacker's any number


class Header(NamedTuple):
    width: int
    height: int
    scans: int = 1
    special: bool = False
    """A CMYK JPEG or a 16-bit PNG: see `image_reencode`."""
    data: int = 0
    """Where a JPEG's first scan begins."""


def accepted(encoded):
    """bytes -> Header. ValueError, in one line, for another format, a header cut short, or beyond `limits`."""
    if len(encoded) > limits.MAX_BYTES:
        raise ValueError(f"more than {limits.MAX_BYTES} bytes")
    header = read(encoded)
    width, height, scans, special, _ = header
    pixels = width * height
    if not pixels:
        raise ValueError(f"the header says {width} x {height} pixels")
    most = limits.MAX_REENCODED if special else limits.MAX_PIXELS
    if max(width, height) > limits.MAX_SIDE or pixels > most:
        kind = " of a CMYK JPEG or a 16-bit PNG" if special else ""
        raise ValueError(
            f"the header says {width} x {height}; {most} pixels{kind}, {limits.MAX_SIDE} along a side, are the most"
        )
    if scans > limits.MAX_SCANS or scans * pixels > limits.MAX_SCANNED:
        raise ValueError(
            f"{scans} scans of {pixels} pixels; {limits.MAX_SCANS} scans, and {limits.MAX_SCANNED} pixels in all of "
            "them, are the most"
        )
    return header


def whole(encoded):
    """bytes -> Header, as `accepted`, of a file that besides has its end, and of a PNG whose checksums are right.

    That finds every truncation, and nearly all damage to a PNG, without decoding: DALI, which fails a whole batch for
    one bad file, must not get one. What is damaged within a JPEG's or a WebP's data is not found, and mostly decodes.
    """
    header = accepted(encoded)
    if encoded[:2] == b"\xff\xd8":
        if encoded.rfind(b"\xff\xd9") < header.data:
            raise ValueError("a JPEG without its end (EOI)")
    elif encoded[:4] == b"RIFF":
        if len(encoded) < 8 + _little(encoded, 4, 4):
            raise ValueError("a WebP that is shorter than its header says")
    else:
        _check_chunks(encoded)
    return header


def _check_chunks(encoded):
    at, kind, view = 8, b"", memoryview(encoded)
    while kind != b"IEND":
        if at + 12 > len(encoded):
            raise ValueError("a PNG without its end (IEND)")
        end, kind = at + 8 + _big(encoded, at, 4), encoded[at + 4 : at + 8]
        if end + 4 > len(encoded) or zlib.crc32(view[at + 4 : end]) != _big(encoded, end, 4):
            raise ValueError(f"a PNG with a damaged chunk, at byte {at}")
        at = end + 4


def read(encoded):
    """bytes -> Header. ValueError if it is of no promised format, or too short to say."""
    for magic, reader in ((b"\xff\xd8", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"RIFF", _webp)):
        if encoded[: len(magic)] == magic:
            return reader(encoded)
    raise ValueError(f"not an image of an accepted format, which are {FORMATS}")


def _jpeg(encoded):
    """Frame header and first scan, found as libjpeg finds them: what is no marker is skipped, segments stepped over.

    If all components are not in the first scan of a sequential JPEG, there are more. They are counted by their marker,
    wherever it stands: 0xFF in compressed data is never followed by it, so only metadata can add a few.
    """
    at, frame = 2, None
    for _ in range(SEGMENTS):
        at = encoded.find(b"\xff", at)
        if at < 0 or at + 9 >= len(encoded):
            raise ValueError("a JPEG that ends before its first scan")
        marker = encoded[at + 1]
        if marker in FRAMES:
            if frame:
                raise ValueError("a JPEG with two frame headers")
            frame, height, width, components = marker, _big(encoded, at + 5), _big(encoded, at + 7), encoded[at + 9]
        elif marker == 0xDA:
            if not frame:
                raise ValueError("a JPEG without a frame header before its first scan")
            once = frame in SEQUENTIAL and encoded[at + 4] == components
            return Header(width, height, 1 if once else encoded.count(b"\xff\xda", at), components == 4, at)
        elif marker == 0xD9:
            raise ValueError("a JPEG without a scan")
        at += 1 if marker in (0x00, 0xFF) else 2 if marker in ALONE else 2 + _big(encoded, at + 2)
    raise ValueError(f"a JPEG with more than {SEGMENTS} segments before its first scan")


def _png(encoded):
    if len(encoded) < 33 or encoded[12:16] != b"IHDR":
        raise ValueError("a PNG without its header (IHDR)")
    return Header(_big(encoded, 16, 4), _big(encoded, 20, 4), special=encoded[24] == 16)


def _webp(encoded):
    """Of the simple lossy, the simple lossless and the extended format (RFC 9649)."""
    if len(encoded) < 30 or encoded[8:12] != b"WEBP":
        raise ValueError(f"not an image of an accepted format, which are {FORMATS}, or a WebP cut in its header")
    kind = encoded[12:16]
    if kind == b"VP8 ":
        return Header(_little(encoded, 26, 2) & 0x3FFF, _little(encoded, 28, 2) & 0x3FFF)
    if kind == b"VP8L":
        sides = _little(encoded, 21, 4)
        return Header((sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return Header(_little(encoded, 24, 3) + 1, _little(encoded, 27, 3) + 1)
    raise ValueError("a WebP without an image at its start")


def _big(encoded, at, size=2):
    return int.from_bytes(encoded[at : at + size], "big")


def _little(encoded, at, size):
    return int.from_bytes(encoded[at : at + size], "little")
