"""Whoever sends another format reads its name in the reason; an accepted one is never named as another."""

import io

import pytest
import soundfile
from PIL import Image

from preprocess import image_file
from preprocess.audio_decode import decode
from preprocess.format_names import begins_like
from tests.images import encoded, photograph


def sound(format, subtype=None):
    file = io.BytesIO()
    soundfile.write(file, [0.0] * 8000, 16_000, format=format, subtype=subtype)
    return file.getvalue()


PICTURES = {
    "GIF": lambda: encoded(photograph(8, 8), "GIF"),
    "BMP": lambda: encoded(photograph(8, 8), "BMP"),
    "TIFF": lambda: encoded(photograph(8, 8), "TIFF"),
    "JPEG 2000": lambda: encoded(photograph(8, 8), "JPEG2000"),
    "PNM": lambda: encoded(photograph(8, 8), "PPM"),
    "an icon": lambda: encoded(photograph(16, 16), "ICO"),
    "AVIF": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1",
    "HEIC": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "JPEG XL": lambda: b"\xff\x0a" + bytes(40),
    "WAV": lambda: sound("WAV"),
    "Ogg": lambda: sound("OGG"),
    "a page in HTML": lambda: b"\n<!DOCTYPE html>\n<html>",
    "base64": lambda: b"/9j/4AAQSkZJRgABAQ",
    "a data URL": lambda: b"data:image/jpeg;base64,/9j/",
    "JSON": lambda: b'{"inputs": []}',
    "PDF": lambda: b"%PDF-1.7\n",
}
SOUNDS = {
    "AIFF": lambda: sound("AIFF"),
    "CAF": lambda: sound("CAF"),
    "AU": lambda: sound("AU"),
    "Wave64": lambda: sound("W64"),
    "VOC": lambda: sound("VOC"),
    "M4A": lambda: b"\0\0\0\x1cftypM4A \0\0\2\0isom",
    "MP4": lambda: b"\0\0\0\x20ftypisom\0\0\2\0isom",
    "AAC": lambda: b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(400),
    "AMR": lambda: b"#!AMR\n" + bytes(100),
    "WebM": lambda: b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + bytes(50),
    "WMA": lambda: b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9" + bytes(50),
    "JPEG": lambda: encoded(photograph(8, 8), "JPEG"),
    "a pointer of Git LFS": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_that_is_no_photograph_is_named(name):
    with pytest.raises(ValueError, match=f"accepted format.*, and it begins like {name}"):
        image_file.read(PICTURES[name]())


@pytest.mark.parametrize("name", SOUNDS)
def test_a_file_that_is_no_sound_is_named(name):
    with pytest.raises(ValueError, match=f"none of the accepted formats.*, and it begins like {name}"):
        decode(SOUNDS[name]())


def test_nothing_and_bytes_without_a_meaning_have_no_name():
    assert begins_like(b"") == begins_like(bytes(100)) == begins_like(b"\x07\x91" * 50) == ""


def test_jpeg_ls_is_named():
    with pytest.raises(ValueError, match=r"^a JPEG-LS$"):
        image_file.read(b"\xff\xd8\xff\xf7\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00" + bytes(20))


def test_an_animated_picture_is_no_format_of_its_own():
    file = io.BytesIO()
    photograph(8, 8).save(file, "PNG", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    assert begins_like(file.getvalue()) == ", and it begins like PNG"
