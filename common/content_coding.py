"""Content-Encoding: what a proxy has compressed is unpacked, though nobody asked for it, up to a size."""

import zlib

MOST_UNPACKED = 2**28
"""Bytes of a compressed answer's content: a megabyte may stand for a thousand, which is memory of the client's."""


def decode(body: bytes, coding: bytes) -> bytes:
    """Undo the Content-Encoding of a body. None is asked for, but a proxy may compress nevertheless.

    Raises ValueError or zlib.error if it is not known, the body not whole, or larger than MOST_UNPACKED bytes.
    """
    if coding.lower() in (b"gzip", b"x-gzip", b"deflate"):
        unpacking = zlib.decompressobj(zlib.MAX_WBITS + 32)  # of either kind
        content = unpacking.decompress(body, MOST_UNPACKED + 1)
        if len(content) > MOST_UNPACKED:
            raise ValueError(f"it unpacks to more than {MOST_UNPACKED} bytes")
        if not unpacking.eof:
            raise ValueError("it is compressed, and cut short")
        return content
    if coding.lower() not in (b"", b"identity"):
        raise ValueError(f"its content-encoding is {coding.decode('latin-1')}; gzip and deflate are read")
    return body
