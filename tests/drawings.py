"""Pictures as programs draw them, from one pixel to more than the crop: gradients, patterns, noise."""

import numpy as np
from PIL import Image

SIZES = [
    (1, 1), (2, 2), (3, 2), (5, 7), (8, 8), (16, 9), (31, 17), (33, 64), (100, 100), (128, 257), (255, 255), (256, 256),
    (300, 200), (448, 448), (512, 384), (513, 511), (640, 480), (1000, 700),
]  # fmt: skip


def _drawing(colours):
    """A function of width and height that draws by one of x and y, arrays, which gives red, green and blue."""

    def draw(width, height):
        y, x = np.mgrid[:height, :width]
        planes = np.broadcast_arrays(*colours(x, y, width, height))
        return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))

    return draw


def _noise(x, y, width, height):
    return np.random.default_rng(0).integers(0, 256, (3, height, width))


DRAWN = {
    "gradient": _drawing(lambda x, y, w, h: (x * 255 // w, y * 255 // h, (x + y) * 255 // (w + h))),
    "slow gradient": _drawing(lambda x, y, w, h: (100 + x * 10 // w, 120 + y * 10 // h, 90 + (x + y) * 20 // (w + h))),
    "checks": _drawing(lambda x, y, w, h: [(x + y) % 2 * 255] * 3),
    "uneven checks": _drawing(lambda x, y, w, h: ((x + y) % 2 * 255, (x // 5 + y) % 2 * 99, (x // 3 + y) % 2 * 201)),
    "stripes": _drawing(lambda x, y, w, h: (x % 2 * 255, x % 3 * 100, y % 2 * 255)),
    "steps": _drawing(lambda x, y, w, h: (x * 7 % 256, y * 13 % 256, x * y % 256)),
    "noise": _drawing(_noise),
}
"""Name -> function of width and height that draws the picture."""
