"""The rule of ``preprocess.image`` with Pillow, resampling no more than the crop needs."""

import io
import struct

import numpy as np
from PIL import Image, ImageChops
from PIL.Image import Resampling, Transpose

from preprocess import image_header
from preprocess.image import CROPPED, FORMATS, MEAN, RESIZED, STD, refusal, span

ORIENTATION = 0x0112
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
Image.core.set_blocks_max(16)  # PILLOW_BLOCKS_MAX: keep 256 MiB for the next image; unmapping costs 12 MP 25 ms
SCALE = np.float32(1) / np.float32(STD).reshape(3, 1, 1)
OFFSET = np.float32(MEAN).reshape(3, 1, 1) * SCALE


def preprocessor():
    return preprocess


def preprocess(encoded):
    """Encoded bytes -> float32 (3, 224, 224)."""
    image, orientation = _opened(encoded)
    crop = np.asarray(_crop(image, orientation).convert("RGB")).transpose(2, 0, 1)
    pixels = np.multiply(crop, SCALE, order="C")
    pixels -= OFFSET
    return pixels


def png(encoded):
    """Encoded bytes -> those of an 8-bit RGB PNG, upright, hardly compressed. Raises ValueError as `preprocess`."""
    image, orientation = _opened(encoded)
    upright = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    file = io.BytesIO()
    upright.convert("RGB").save(file, "PNG", compress_level=0)
    return file.getvalue()


def _opened(encoded):
    try:
        image_header.accepted(encoded)
        return _decode(encoded)
    except Exception as error:  # hostile bytes reach every class of them in Pillow's plugins
        raise refusal(encoded, error) from None


def _decode(encoded):
    """Encoded bytes -> (image as stored, RGB or grey, its EXIF orientation)."""
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    image.load()
    orientation = _orientation(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "CMYK" and "adobe" not in image.info:
        image = ImageChops.invert(image).convert("RGB")  # Pillow takes every CMYK JPEG for one of Adobe's inverted ones
    elif image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    return image, orientation


def _orientation(image):
    """By EXIF alone, like DALI: ``Image.getexif`` would also believe XMP. Damaged EXIF counts as none."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(ORIENTATION)
    except (SyntaxError, struct.error):
        return 1
    return orientation if orientation in UPRIGHT else 1


def _crop(image, orientation):
    """The central 224 x 224 of the upright image.

    Pillow resizes the width, rounds to 8 bits, then resizes the height, and so do we. In between, the image is
    narrow enough to be turned at little cost; of one stored sideways, the upright width is the stored height.
    Pillow 13 takes the height of a tall image first, older ones do not: such images are left to it whole.
    """
    sideways = orientation >= 5
    width, height = image.size[::-1] if sideways else image.size
    shorter = min(width, height)
    (left, right), (top, bottom) = span(width, shorter), span(height, shorter)

    if width > RESIZED and height > 2 * width:
        upright = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
        resized = upright.resize((RESIZED, RESIZED * height // width), Resampling.BILINEAR)
        x, y = round(left * RESIZED / width), round(top * RESIZED / width)
        return resized.crop((x, y, x + CROPPED, y + CROPPED))

    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if sideways:
        narrow = image.resize((image.width, CROPPED), Resampling.BILINEAR, (0, left, image.width, right))
    else:
        narrow = image.resize((CROPPED, image.height), Resampling.BILINEAR, (left, 0, right, image.height))
    if orientation in UPRIGHT:
        narrow = narrow.transpose(UPRIGHT[orientation])
    return narrow.resize((CROPPED, CROPPED), Resampling.BILINEAR, (0, top, CROPPED, bottom))
