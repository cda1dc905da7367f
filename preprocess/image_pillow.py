"""The rule of ``preprocess.image`` with Pillow, resampling no more than the crop needs."""

import io

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from preprocess import image_file, png_header
from preprocess.image import CROPPED, FORMATS, MEAN, RESIZED, STD, refusal, span

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
ENDS = b"\xff\xd9", b"\x5a\xa5" * 64 + b"\xff\xd9"  # the end of a JPEG, at once or behind other data
SCALE = np.float32(1) / np.array(STD, np.float32).reshape(3, 1, 1)
OFFSET = np.array(MEAN, np.float32).reshape(3, 1, 1) * SCALE


def preprocessor():
    """Return `preprocess`: Pillow needs nothing made beforehand."""
    return preprocess


def preprocess(encoded, least=0):
    """Return float32 (3, 224, 224) of an encoded photograph. Raises ValueError, in one line, if that fails.

    With `least` a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where so many pixels are left of its shorter side.
    """
    image, header = decode(encoded, least)
    crop = np.asarray(_crop(image, header).convert("RGB")).transpose(2, 0, 1)
    pixels = np.multiply(crop, SCALE, order="C")
    pixels -= OFFSET
    return pixels


def decode(encoded, least=0):
    """Return a photograph as it is stored, RGB or grey, and its header; `least` is as in `preprocess`.

    Raises ValueError, in one line, for what is refused or cannot be decoded.
    """
    try:
        header = image_file.read(encoded)
        return _decode(header, least), header
    except Exception as error:  # hostile bytes reach every class of them in Pillow's plugins
        raise refusal(encoded, _reason(error)) from None


def png(header):
    """Return what `image_file.read` returned as bytes of an 8-bit RGB PNG, upright, hardly compressed.

    Raises ValueError, in one line, for what cannot be decoded.
    """
    try:
        image = _decode(header)
    except Exception as error:
        raise ValueError(_reason(error)) from None
    upright = image.transpose(UPRIGHT[header.orientation]) if header.orientation in UPRIGHT else image
    file = io.BytesIO()
    upright.convert("RGB").save(file, "PNG", compress_level=0)
    return file.getvalue()


def _decode(header, least=0):
    """Decode the rebuilt file as it is stored: RGB or grey.

    Of a JPEG without its end the data are complete if it does not matter what follows them.
    """
    file = header.rebuilt()
    if header.complete:
        return _decode_file(file, least)
    image, other = (_decode_file(file + end) for end in ENDS)
    if image.tobytes() != other.tobytes():
        raise ValueError("a JPEG without its end (EOI), whose data are not complete")
    return image


def _decode_file(file, least=0):
    image = Image.open(io.BytesIO(file), formats=FORMATS)
    if least and (scale := min(8, min(image.size) // least)) > 1:
        # Of a JPEG libjpeg-turbo leaves out the high frequencies; other formats ignore it.
        image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    if image.format == "PNG" and _lacks_rows(image, file):
        raise ValueError("a PNG that lacks rows of its picture")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "CMYK" and "adobe" not in image.info:
        return ImageChops.invert(image).convert("RGB")  # Pillow takes every CMYK JPEG for one of Adobe's inverted ones
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def _lacks_rows(image, file):
    """Pillow leaves the rows that a PNG lacks black. They are counted if the last one is, or in another order."""
    interlaced = bool(image.info.get("interlace"))
    return (interlaced or not np.asarray(image)[-1].any()) and not png_header.has_all_rows(file)


def _reason(error):
    """Pillow's own words name objects of this process, or bytes that nobody sees."""
    if isinstance(error, UnidentifiedImageError):
        return "its header is damaged"
    if isinstance(error, ValueError):
        return error
    return "its data are damaged or end too early"


def _crop(image, header):
    """Return the central 224 x 224 of the upright image.

    Pillow resizes the width, rounds to 8 bits, then resizes the height, and so do we. In between, the image is
    narrow enough to be turned at little cost; of one stored sideways, the upright width is the stored height.
    Pillow 13 takes the height of a tall image first, older ones do not: such images are left to it whole.

    An image that was decoded at a fraction of its size is cropped by the size in its header: its last row and column
    may stand for less than the others.
    """
    orientation = header.orientation
    sideways = orientation >= 5
    width, height = (header.height, header.width) if sideways else (header.width, header.height)
    columns, rows = image.size[::-1] if sideways else image.size
    scale = max(1, round(width / columns))
    shorter = min(width, height)
    (left, right), (top, bottom) = span(width, shorter), span(height, shorter)
    # Upside down, what the last row lacks lies above.
    above = rows - height / scale if orientation in (3, 4, 7, 8) else 0

    if width > RESIZED and height > 2 * width:
        upright = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
        before = columns - width / scale if orientation in (2, 3, 6, 7) else 0
        box = before, above, before + width / scale, above + height / scale
        resized = upright.resize((RESIZED, RESIZED * height // width), Resampling.BILINEAR, box)
        x, y = round(left * RESIZED / width), round(top * RESIZED / width)
        return resized.crop((x, y, x + CROPPED, y + CROPPED))

    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    left, right, top, bottom = (side / scale for side in (left, right, top, bottom))
    if sideways:
        narrow = image.resize((image.width, CROPPED), Resampling.BILINEAR, (0, left, image.width, right))
    else:
        narrow = image.resize((CROPPED, image.height), Resampling.BILINEAR, (left, 0, right, image.height))
    if orientation in UPRIGHT:
        narrow = narrow.transpose(UPRIGHT[orientation])
    return narrow.resize((CROPPED, CROPPED), Resampling.BILINEAR, (0, above + top, CROPPED, above + bottom))
