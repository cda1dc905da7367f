"""The door that every encoded photograph comes in by, on the client and on the server: `limits` are checked here."""

from preprocess import jpeg_header, limits, png_header, webp_header
from preprocess.format_names import begins_like
from preprocess.image_header import Header

READERS = {b"\xff\xd8": jpeg_header, png_header.SIGNATURE: png_header, b"RIFF": webp_header}
"""What a file begins with -> the module that reads it."""


def read(encoded: bytes) -> Header:
    """Read the header of an encoded photograph, with the parts of the rebuilt file.

    Raises ValueError, in one line, for another format, for a file that was cut or can be read in two ways, and for
    what is beyond `limits`. What is damaged within a JPEG's or a WebP's data is not found, and mostly decodes.
    """
    if len(encoded) > limits.MAX_BYTES:
        raise ValueError(f"more than {limits.MAX_BYTES} bytes")
    header = _reader(encoded).read(encoded)
    width, height = header.width, header.height
    pixels = width * height
    if not pixels:
        raise ValueError(f"the header says {width} x {height} pixels")
    special = header.reencoded or not header.complete
    most = limits.MAX_REENCODED if special else limits.MAX_PIXELS
    if max(width, height) > limits.MAX_SIDE or pixels > most:
        kind = f" of {header.reencoded or 'a JPEG without its end'}" if special else ""
        raise ValueError(
            f"the header says {width} x {height}; {most} pixels{kind}, {limits.MAX_SIDE} along a side, are the most"
        )
    if header.scans > limits.MAX_SCANS or header.scans * pixels > limits.MAX_SCANNED:
        raise ValueError(
            f"{header.scans} scans of {pixels} pixels; {limits.MAX_SCANS} scans, and {limits.MAX_SCANNED} pixels in "
            "all of them, are the most"
        )
    return header


def size(rebuilt: bytes) -> tuple[int, int]:
    """(width, height) of a file that `read` rebuilt, in a microsecond or ten."""
    return _reader(rebuilt).size(rebuilt)


def _reader(encoded):
    for magic, reader in READERS.items():
        if encoded[: len(magic)] == magic:
            return reader
    raise ValueError(f"not an image of an accepted format{begins_like(encoded)}")
