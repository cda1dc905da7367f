"""Every photograph is rebuilt so that it can be read in one way only, or refused.

`python -m tests.preprocess.test_image_file` prints what that costs.
"""

import io
import timeit

import pytest
from PIL import Image

from preprocess import exif, image_file
from preprocess.image_reencode import prepare
from tests.image_containers import riff, tiff, with_chunks, with_segment
from tests.images import CASES, encoded, photograph
from tests.images import exif as exif_of

PLAIN = [case for case in CASES if not any(kind in case for kind in ("CMYK", "16-bit", "corner", "without its end"))]


@pytest.mark.parametrize("case", CASES)
def test_a_rebuilt_file_says_the_same_and_rebuilding_it_changes_nothing(case):
    file = CASES[case]()
    header, prepared = image_file.read(file), prepare(file)
    again = image_file.read(prepared)
    assert prepare(prepared) == prepared
    assert image_file.size(prepared) == (again.width, again.height)
    if case in PLAIN:
        assert again[:3] == header[:3]
    else:
        assert again.orientation == exif.UPRIGHT  # Pillow turned it


@pytest.mark.parametrize("case", PLAIN)
def test_a_rebuilt_file_has_one_orientation_or_none_and_no_other_metadata(case):
    prepared = prepare(CASES[case]())
    orientation = image_file.read(prepared).orientation
    assert prepared.count(exif.write(orientation)) == (orientation != exif.UPRIGHT)
    with Image.open(io.BytesIO(prepared)) as picture:
        kept = {"exif", "jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi", "adobe", "adobe_transform"}
        kept |= {"progressive", "progression", "loop", "background", "timestamp", "duration"}
        assert set(picture.info) <= kept
        assert dict(picture.getexif()) == ({} if orientation == exif.UPRIGHT else {exif.ORIENTATION: orientation})


def test_the_data_of_a_jpeg_are_copied_byte_for_byte():
    file = encoded(photograph(), exif=exif_of(6))
    assert prepare(file)[-10_000:] == file[-10_000:]


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["one scan", "progressive"])
def test_metadata_behind_a_scan_are_left_out(options):
    file = encoded(photograph(), **options)
    last = file.rindex(b"\xff\xda") if options else len(file) - 2
    assert prepare(with_segment(file, exif.PREFIX + tiff(6), at=last)) == prepare(file)
    assert prepare(file + exif.PREFIX + tiff(6)) == prepare(file)


def test_colours_are_as_the_last_of_several_adobe_markers_says():
    file = encoded(photograph().convert("CMYK"))
    at = file.index(b"\xff\xee")
    contradicted = with_segment(file, b"Adobe\0d\0\0\0\0\1", 0xEE, at)
    assert prepare(contradicted) == prepare(file)


def test_bytes_that_no_segment_has_and_fill_bytes_are_skipped():
    file = encoded(photograph())
    at = file.index(b"\xff\xdb")
    for stray in (b"\0\0", b"\xff\xff\xff", b"\xff\0", b"\xff\xd0", b"a" * 300):
        assert prepare(file[:at] + stray + file[at:]) == prepare(file)


def test_the_still_picture_of_an_animated_png_is_what_remains():
    file = CASES["PNG, animated, whose still picture is no frame"]()
    assert prepare(file) == prepare(encoded(photograph(), "PNG"))


def test_the_last_of_several_exif_chunks_counts_in_a_png_and_the_first_in_a_webp():
    png = with_chunks(encoded(photograph(), "PNG"), (b"eXIf", tiff(3)), (b"eXIf", tiff(6)))
    picture = (b"VP8 ", encoded(photograph(), "WEBP")[20:])
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in photograph().size)
    webp = riff((b"VP8X", b"\x08\0\0\0" + canvas), picture, (b"EXIF", tiff(3)), (b"EXIF", tiff(6)))
    assert (image_file.read(png).orientation, image_file.read(webp).orientation) == (6, 3)
    unflagged = riff((b"VP8X", b"\0\0\0\0" + canvas), picture, (b"EXIF", tiff(3)))
    assert image_file.read(unflagged).orientation == 1  # as libwebp


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP"])
def test_a_file_of_a_hundred_thousand_pieces_is_refused(format):
    png = encoded(photograph(), "PNG")
    many = {
        "JPEG": b"\xff\xd8" + b"\xff\xfe\0\2" * 100_000,
        "PNG": with_chunks(png, *[(b"tIME", b"")] * 100_000),
        "WebP": riff((b"VP8X", b"\x08" + bytes(9)), *[(b"junk", b"")] * 100_000),
    }
    with pytest.raises(ValueError, match=f"a {format} with more than"):
        image_file.read(many[format])


if __name__ == "__main__":
    for width, height, quality in ((640, 427, 95), (4032, 3024, 80)):
        file = encoded(photograph(width, height), exif=exif_of(6), quality=quality)
        seconds = min(timeit.repeat(lambda file=file: prepare(file), number=20, repeat=7)) / 20
        print(f"JPEG {width} x {height}, orientation 6, {len(file) / 1e3:.0f} KB: rebuilt in {seconds * 1e3:.2f} ms")
