"""What an encoded photograph says of itself, read without decoding it, and the file rebuilt so that it says one thing.

Two parsers read every photograph: the one that makes room for the pixels and the one that fills it. Where a file can be
understood in two ways they may disagree, and then a decoder writes past its buffer or leaves part of it as it was. So
neither gets the file as it came. It is read once, here, by rules that `jpeg_header`, `png_header` and `webp_header`
state, and rebuilt from the parts that decoding needs, byte for byte as they were, with at most one orientation, in one
place. Nothing is decoded or encoded. What can be read in two ways is refused.

Only the formats that are promised are known here, so that a decoder's others (TIFF, JPEG 2000, BMP, PNM ...) are never
reached by a stranger's bytes.
"""

from typing import NamedTuple

from preprocess import exif


class Header(NamedTuple):
    """What is read of a photograph before it is decoded, and the parts of a file that can be read in one way only."""

    width: int
    """Pixels as stored, before turning upright."""
    height: int
    orientation: int = exif.UPRIGHT
    """EXIF's, 1 to 8."""
    parts: list = []  # noqa: RUF012 - never changed
    """Bytes-like objects that, joined, are the rebuilt file."""
    scans: int = 1
    reencoded: str = ""
    """Not empty: what kind of file this is that DALI decodes otherwise than the rule; see `image_reencode`."""
    complete: bool = True
    """False for a JPEG of one scan without its end: only decoding tells whether its data are all there."""

    def rebuilt(self):
        """Return the rebuilt file's bytes."""
        return b"".join(self.parts)
