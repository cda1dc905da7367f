"""Images as people have them: real photographs with film grain, in odd sizes, formats and colour modes."""

import io
import struct
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image

from tests.image_containers import (
    animated_png,
    animated_webp_in_a_corner,
    png,
    raw_profile,
    riff,
    tiff,
    webp_with,
    with_chunks,
    with_segment,
    without_colours,
)

PHOTOGRAPHS = Path(sklearn.datasets.__file__).parent / "images"
TEMPLE, FLOWER = "china.jpg", "flower.jpg"
SIZES = (
    (32, 32),
    (33, 47),
    (223, 225),
    (256, 256),
    (257, 257),
    (257, 1031),
    (1031, 257),
    (300, 601),
    (333, 500),
    (501, 375),
    (640, 427),
    (427, 640),
    (100, 3000),
    (2000, 3),
    (1, 50),
    (1920, 1080),
    (1080, 2400),
    (4032, 3024),
    (3024, 4032),
)


@lru_cache(maxsize=4)
def photograph(width=500, height=333, name=TEMPLE):
    """A photograph of that size, with grain: smooth images hide a resize that is off by half a pixel."""
    with Image.open(PHOTOGRAPHS / name) as image:
        image = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).integers(-24, 25, (height, width, 3), dtype=np.int16)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def encoded(image, format="JPEG", **options):
    """The image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def with_alpha(image):
    """The image under a mask as busy as itself, so that blending or premultiplying would show."""
    image = image.copy()
    image.putalpha(image.getchannel("G"))
    return image


def with_black_ink(image):
    """CMYK as printers separate it; Pillow's own conversion never uses black."""
    ink = 255 - np.asarray(image)
    black = ink.min(axis=2, keepdims=True)
    return Image.frombytes("CMYK", image.size, np.concatenate([ink - black, black], axis=2).tobytes())


def png16(image):
    """A 16-bit PNG, grey or RGB, with noise in the low bytes. Pillow cannot write RGB ones."""
    high = np.atleast_3d(np.asarray(image)).astype(np.uint16)
    samples = (high << 8) + np.random.default_rng(0).integers(0, 256, high.shape, dtype=np.uint16)
    colour = {1: 0, 3: 2}[high.shape[2]]
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2"))
    return png(header, zlib.compress(rows))


def _grey(*size):
    return photograph(*size).convert("L")


CASES = {
    **{f"JPEG {w}x{h}": lambda w=w, h=h: encoded(photograph(w, h)) for w, h in SIZES},
    **{
        f"JPEG {w}x{h} with EXIF orientation {o}": lambda w=w, h=h, o=o: encoded(photograph(w, h, FLOWER), exif=exif(o))
        for w, h in ((641, 428), (428, 641))
        for o in range(1, 9)
    },
    "JPEG with 4:4:4 chroma": lambda: encoded(photograph(), subsampling="4:4:4"),
    "JPEG with 4:2:2 chroma": lambda: encoded(photograph(), subsampling="4:2:2"),
    "JPEG with 4:2:0 chroma": lambda: encoded(photograph(), subsampling="4:2:0"),
    "JPEG of low quality": lambda: encoded(photograph(), quality=20),
    "JPEG, progressive": lambda: encoded(photograph(), progressive=True),
    "JPEG, grayscale": lambda: encoded(_grey()),
    "JPEG, CMYK": lambda: encoded(photograph().convert("CMYK")),
    "JPEG, CMYK with black ink": lambda: encoded(with_black_ink(photograph())),
    "JPEG, CMYK with black ink and EXIF orientation 6": lambda: encoded(with_black_ink(photograph()), exif=exif(6)),
    "JPEG tower with EXIF orientation 6": lambda: encoded(photograph(1031, 300), exif=exif(6)),
    "PNG": lambda: encoded(photograph(333, 500), "PNG"),
    "PNG, grayscale": lambda: encoded(_grey(), "PNG"),
    "PNG, black and white": lambda: encoded(photograph().convert("1"), "PNG"),
    "PNG with alpha": lambda: encoded(with_alpha(photograph()), "PNG"),
    "PNG, grayscale with alpha": lambda: encoded(with_alpha(photograph()).convert("LA"), "PNG"),
    "PNG with a palette": lambda: encoded(photograph().quantize(256), "PNG"),
    "PNG with a palette of 16": lambda: encoded(photograph().quantize(16), "PNG", bits=4),
    "PNG with a palette and transparency": lambda: encoded(photograph().quantize(64), "PNG", transparency=5),
    "PNG with EXIF orientation 6": lambda: encoded(photograph(), "PNG", exif=exif(6)),
    "PNG, 16-bit": lambda: png16(photograph()),
    "PNG, 16-bit grayscale": lambda: png16(_grey()),
    "WebP, lossy": lambda: encoded(photograph(), "WEBP"),
    "WebP, lossless": lambda: encoded(photograph(), "WEBP", lossless=True),
    "WebP with alpha": lambda: encoded(with_alpha(photograph()), "WEBP"),
    "WebP, lossless with alpha": lambda: encoded(with_alpha(photograph()), "WEBP", lossless=True),
    "WebP with EXIF orientation 6": lambda: encoded(photograph(), "WEBP", exif=exif(6)),
    "WebP, animated": lambda: encoded(photograph(), "WEBP", save_all=True, append_images=[_grey()]),
    "WebP, animated, in a corner of its canvas": lambda: animated_webp_in_a_corner(_webp()),
    "WebP, lossless, of one pixel": lambda: encoded(photograph(1, 1), "WEBP", lossless=True),
    "WebP with EXIF that begins with its prefix": lambda: webp_with(_webp(), exif=b"Exif\0\0" + tiff(6)),
    "WebP with EXIF behind a chunk of odd length": lambda: webp_with(_webp(), (b"ICCP", b"odd"), exif=tiff(6)),
    "JPEG with two EXIF segments": lambda: with_segment(
        with_segment(encoded(photograph()), b"Exif\0\0" + tiff(3)), b"Exif\0\0" + tiff(6)
    ),
    "JPEG with EXIF in a directory that was cut": lambda: with_segment(
        encoded(photograph()), b"Exif\0\0" + tiff(6, entries=3)
    ),
    "JPEG with EXIF orientation as a big-endian LONG": lambda: with_segment(
        encoded(photograph()), b"Exif\0\0" + tiff(6, ">", "L", 4)
    ),
    "JPEG with stray bytes between segments": lambda: encoded(photograph()).replace(b"\xff\xdb", b"\0\0\xff\xdb", 1),
    "JPEG with another behind it": lambda: encoded(photograph()) + encoded(photograph(90, 900)),
    "JPEG without its end": lambda: encoded(photograph())[:-2],
    "JPEG with restart markers": lambda: encoded(photograph(), restart_marker_blocks=4),
    "PNG with EXIF in a text": lambda: with_chunks(encoded(photograph(), "PNG"), (b"tEXt", raw_profile(6))),
    "PNG with EXIF that was cut": lambda: with_chunks(encoded(photograph(), "PNG"), (b"eXIf", tiff(6, entries=3))),
    "PNG with EXIF that begins with its prefix": lambda: with_chunks(
        encoded(photograph(), "PNG"), (b"eXIf", b"Exif\0\0" + tiff(6))
    ),
    "PNG, animated, whose still picture is no frame": lambda: animated_png(
        encoded(photograph(), "PNG"), photograph(name=FLOWER)
    ),
    "PNG with a palette too short for its picture": lambda: without_colours(encoded(photograph().quantize(64), "PNG")),
}
"""Name -> function that makes the file's bytes."""

REFUSED = {
    "nothing": lambda: b"",
    "noise": lambda: np.random.default_rng(0).bytes(5000),
    "text": lambda: b"<html>404 not found</html>",
    "GIF": lambda: encoded(photograph(), "GIF"),
    "TIFF": lambda: encoded(photograph(), "TIFF"),
    "BMP": lambda: encoded(photograph(), "BMP"),
    "JPEG cut in its header": lambda: encoded(photograph())[:300],
    "JPEG cut in half": lambda: _half(encoded(photograph())),
    "progressive JPEG cut in half": lambda: _half(encoded(photograph(), progressive=True)),
    "JPEG cut before its last rows": lambda: encoded(photograph())[:-200],
    "progressive JPEG without its end": lambda: encoded(photograph(), progressive=True)[:-2],
    "JPEG with a damaged quantisation table": lambda: encoded(photograph()).replace(
        b"\xff\xdb\0\x43", b"\xff\xdb\0\x42", 1
    ),
    "JPEG that begins twice": lambda: b"\xff\xd8" + encoded(photograph()),
    "JPEG with an unknown marker within its data": lambda: _damaged_data(encoded(photograph())),
    "PNG that lacks its lower half": lambda: _of_half_its_rows(8),
    "PNG, 16-bit, that lacks its lower half": lambda: _of_half_its_rows(16),
    "JPEG cut in half, with zeros behind it": lambda: _half(encoded(photograph())) + bytes(20_000),
    "WebP that is shorter than it says, with zeros behind it": lambda: _longer(_webp()) + bytes(2_000),
    "PNG with two pictures": lambda: with_chunks(
        encoded(photograph(), "PNG"), (b"tEXt", b"a\0b"), (b"IDAT", b""), at=-12
    ),
    "PNG with an unknown critical chunk": lambda: with_chunks(encoded(photograph(), "PNG"), (b"ABcD", b"")),
    "WebP whose picture is not as large as it says": lambda: riff(
        (b"VP8X", bytes(10)), (b"VP8 ", encoded(photograph(), "WEBP")[20:])
    ),
    "CMYK JPEG cut in half": lambda: _half(encoded(photograph().convert("CMYK"))),
    "PNG without its last bytes": lambda: encoded(photograph(), "PNG")[:-100],
    "PNG with a damaged middle": lambda: _damaged(encoded(photograph(), "PNG")),
    "WebP cut in half": lambda: _half(encoded(photograph(), "WEBP")),
    "PNG that claims 50000x50000": lambda: png(struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0), b""),
}
"""Name -> function that makes bytes which no library may accept."""


def _webp():
    return encoded(photograph(), "WEBP")


def _half(file):
    return file[: len(file) // 2]


def _of_half_its_rows(depth):
    header = struct.pack(">IIBBBBB", 32, 32, depth, 0, 0, 0, 0)
    return png(header, zlib.compress((b"\0" + b"\xff" * (32 * depth // 8)) * 16))


def _longer(file):
    """A WebP whose header counts a thousand bytes that are not there."""
    return file[:4] + struct.pack("<I", len(file) - 8 + 1000) + file[8:]


def _damaged_data(file):
    middle = (file.index(b"\xff\xda") + len(file)) // 2
    return file[:middle] + b"\xff\x37" + file[middle + 2 :]


def _damaged(file):
    middle = len(file) // 2
    return file[:middle] + b"\xff" * 99 + file[middle + 99 :]
