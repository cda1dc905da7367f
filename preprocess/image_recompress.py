"""A photograph as a small JPEG: resized on the client, decoded on the server, as upload SDKs do."""

import io

from PIL import Image

from preprocess import image_pillow
from preprocess.image import RESIZED

QUALITY = 90


def recompress(encoded):
    """Return an encoded photograph as bytes of a JPEG, upright, whose shorter side has 256 pixels at most.

    It is resized by the rule of `preprocess.image`, so that the server only crops; then it loses what a JPEG of quality
    90 does. Raises ValueError, in one line, for what is refused or cannot be decoded.
    """
    image, header = image_pillow.decode(encoded)
    if header.orientation in image_pillow.UPRIGHT:
        image = image.transpose(image_pillow.UPRIGHT[header.orientation])
    shorter = min(image.size)
    if shorter > RESIZED:
        size = RESIZED * image.width // shorter, RESIZED * image.height // shorter
        image = image.resize(size, Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
