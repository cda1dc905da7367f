"""The rule of `preprocess.exif`: Pillow's, whatever the bytes."""

import random
import struct
import warnings

import pytest
from PIL import Image

from preprocess import exif
from tests.faults import metadata
from tests.image_containers import tiff


def by_pillow(data):
    tags = Image.Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags.load(data)
            orientation = tags.get(exif.ORIENTATION, 1)
    except (ArithmeticError, KeyError, SyntaxError, TypeError, ValueError, struct.error):
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_written_is_read(orientation):
    data = exif.write(orientation)
    assert (len(data), exif.read(data), by_pillow(data)) == (26, orientation, orientation)


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\0" * 2])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "code"), [("H", 3), ("L", 4), ("b", 6), ("h", 8), ("l", 9), ("f", 11)])
def test_every_type_of_number_counts(prefix, order, kind, code):
    assert exif.read(prefix + tiff(6, order, kind, code)) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        tiff(0),
        tiff(9),
        tiff(6, kind="B", code=1),
        tiff(6)[:-1],
        tiff(6, entries=0),
        b"Exif\0\0" * 3 + tiff(6),
        b"XX*\0" + tiff(6)[4:],
    ],
    ids=["nothing", "head alone", "0", "9", "BYTE", "cut", "no entries", "three prefixes", "not TIFF"],
)
def test_what_says_no_orientation_counts_as_upright(data):
    assert exif.read(data) == by_pillow(data) == 1


def test_it_reads_what_pillow_reads():
    draws = (random.Random(seed) for seed in range(20_000))
    files = [metadata.tiff(draw) for draw in draws]
    assert [exif.read(file) for file in files] == [by_pillow(file) for file in files]
    assert sum(exif.read(file) != 1 for file in files) > 5_000
