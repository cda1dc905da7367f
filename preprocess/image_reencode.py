"""The pictures that DALI decodes otherwise than the rule, in an encoding that it decodes as the rule says.

DALI truncates the colours under a CMYK image's black ink where the rule rounds, and rounds 16-bit samples where the
rule truncates: half a grey level either way. A graph cannot tell such pictures apart. Their headers do, so these
few are decoded by Pillow and handed on as PNG.
"""

from preprocess import image_pillow

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOFn: the JPEG markers (ISO/IEC 10918-1, B.1) of a frame header
ALONE = {0x01, *range(0xD0, 0xD9)}  # TEM, RSTn, SOI: markers without a segment


def reencode(encoded):
    """Encoded bytes -> the same bytes, or, of a CMYK JPEG or a 16-bit PNG, those of an 8-bit RGB PNG, upright.

    Raises ValueError if it is one of those and damaged; anything else is left for DALI to judge.
    """
    return image_pillow.png(encoded) if _inks(encoded) or _deep(encoded) else encoded


def _deep(encoded):
    """A PNG's bit depth is the 25th byte: 8 of signature, 8 of the IHDR chunk's head, 8 of width and height."""
    return len(encoded) > 24 and encoded[0] == 0x89 and encoded[24] == 16


def _inks(encoded):
    """Does a JPEG's frame header say four components? Damaged ones do not."""
    if bytes(encoded[:2]) != b"\xff\xd8":
        return False
    at = 2
    for _ in range(1000):  # segments: a real file has a handful, an attacker's any number
        if at + 9 >= len(encoded) or encoded[at] != 0xFF:
            return False
        marker = encoded[at + 1]
        if marker in FRAMES:
            return encoded[at + 9] == 4
        at += 1 if marker == 0xFF else 2 if marker in ALONE else 2 + (int(encoded[at + 2]) << 8 | int(encoded[at + 3]))
    return False
