"""The guard in front of DALI, and the pictures that DALI decodes otherwise than the rule, in another encoding.

DALI truncates the colours under a CMYK image's black ink where the rule rounds, and rounds 16-bit samples where the
rule truncates: half a grey level either way. A graph cannot tell such pictures apart. Their headers do, so these
few are decoded by Pillow and handed on as PNG.
"""

from preprocess import image_header
from preprocess.image import refusal


def reencode(encoded):
    """Encoded bytes (or an array of them) -> the same, or, of a CMYK JPEG or a 16-bit PNG, an 8-bit RGB PNG's, upright.

    ValueError for what its header shows to be beyond `limits` or of another format, or what was cut, before anything
    is decoded, and for one of those few if it is damaged. Other damage is left for DALI to find, which fails the whole
    run and costs a new pipeline.
    """
    data = bytes(encoded)
    try:
        special = image_header.whole(data).special
    except ValueError as error:
        raise refusal(data, error) from None
    if not special:
        return encoded
    from preprocess import image_pillow  # NVIDIA's server imports this file to serialise the graph, and has no Pillow

    return image_pillow.png(data)
