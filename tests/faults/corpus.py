"""Hostile input, generated: from small good files by seeded damage, and by hand the headers that claim too much.

`python -m tests.faults.corpus` prints what it holds.
"""

import io
import struct
import zlib
from functools import lru_cache

import numpy as np
import soundfile
from PIL import Image

from serving.smoke_test import chirp
from tests import sounds
from tests.image_containers import animated_webp_in_a_corner, png, with_chunks
from tests.images import encoded, exif, photograph

TRUNCATIONS = 100
"""Of each file: after every whole percent of its bytes, from 0 to 99."""


@lru_cache(maxsize=1)
def good():
    """Ensemble -> format -> bytes of a good file, small, so that damage often meets its headers."""
    picture = photograph(96, 72)
    tone, rate = soundfile.read(io.BytesIO(chirp(0.3)))
    return {
        "image": {
            "JPEG": encoded(picture),
            "progressive JPEG": encoded(picture, progressive=True),
            "PNG": encoded(photograph(48, 36), "PNG"),
            "WebP": encoded(picture, "WEBP"),
        },
        "audio": {
            "WAV": sound(tone, rate, "WAV", "PCM_16"),
            "FLAC": sound(tone, rate, "FLAC", "PCM_16"),
            "MP3": sound(tone, rate, "MP3", "MPEG_LAYER_III"),
            "OGG": sound(tone, rate, "OGG", "VORBIS"),
            "FLAC of 12 bits": sounds.flac(tone[:, None], 12),
            "FLAC in Ogg": sounds.flac_in_ogg(tone[:, None]),
            "WAV of GSM 6.10": sound(tone, rate, "WAV", "GSM610"),
        },
    }


@lru_cache
def hour_of(container, subtype):
    return sound(np.zeros(3600 * 8_000, np.int16), 8_000, container, subtype)


def sound(samples, rate, container, subtype):
    """In pieces: libsndfile's Vorbis encoder overflows the stack with an hour at once."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, format=container, subtype=subtype) as encoder:
        for start in range(0, len(samples), 8192):
            encoder.write(samples[start : start + 8192])
    return file.getvalue()


def truncations(file):
    return [file[: len(file) * percent // TRUNCATIONS] for percent in range(TRUNCATIONS)]


def mutations(file, count, seed):
    """`count` damaged copies: one to eight bytes changed, a stretch zeroed, cut out, or repeated; half of it early."""
    random = np.random.default_rng(seed)
    return [mutation(file, random) for _ in range(count)]


def mutation(file, random):
    data = bytearray(file)
    for _ in range(random.integers(1, 9)):
        at = int(random.integers(min(len(data), 200) if random.random() < 0.5 else len(data)))
        length = int(random.integers(1, 17))
        kind = random.integers(8)
        if kind == 0:
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[at : at + length]
        elif kind == 3:
            data[at] ^= 1 << int(random.integers(8))
        else:
            data[at] = int(random.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, random.integers(256)]))
        if not data:
            return b""
    return bytes(data)


def jpeg_of(width, height, progressive=False):
    """A JPEG whose frame header says that size, over the data of a small one."""
    file = bytearray(encoded(photograph(96, 72), progressive=progressive))
    at = file.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    file[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(file)


def jpeg_of_scans(side, scans):
    """A grey progressive JPEG; all scans after its own are its last one, again."""
    file = encoded(Image.new("L", (side, side), 128), progressive=True)
    last = file[file.rindex(b"\xff\xda") : -2]
    return file[:-2] + last * scans + b"\xff\xd9"


def jpeg_with_hidden_scans(side, scans):
    """A grey progressive JPEG; each further scan is hidden: a comment stands between the two bytes of its marker."""

    def segment(marker, body):
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    file = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    file += segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0))
    file += segment(0xC4, b"\0\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10\0\2\1" + bytes(13) + b"\xe0\0\xf0")
    hidden = b"\xff" + segment(0xFE, b"") + segment(0xDA, b"\1\1\0\1\x3f\0")[1:]
    return file + segment(0xDA, b"\1\1\0\0\0\0") + hidden * scans + b"\xff\xd9"


def png_of_profiles(count, profile):
    """A PNG of one pixel with that many texts that are called EXIF, each of a megabyte once it is decompressed."""
    text = b"Raw profile type exif\0\0" + zlib.compress(profile * (2**20 // len(profile) - 5), 9)
    return with_chunks(png_of(1, 1), *[(b"zTXt", text)] * count)


def jpeg_with_two_frames():
    file, large = jpeg_of(96, 72), jpeg_of(8000, 8000)
    start, end = large.index(b"\xff\xc0"), large.index(b"\xff\xda")
    at = file.index(b"\xff\xda")
    return file[:at] + large[start:end] + file[at:]


def png_of(width, height, depth=8, colour=0):
    return png(struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0), zlib.compress(bytes(1000)))


@lru_cache
def png_with(kind, prefix):
    """A good PNG with a chunk of 512 MiB of zeros, compressed."""
    file = good()["image"]["PNG"]
    deflate = zlib.compressobj(9)
    body = prefix + b"".join(deflate.compress(bytes(1 << 20)) for _ in range(512)) + deflate.flush()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return file[:33] + chunk + file[33:]


def webp_of(width, height):
    """Lossless; the header's 28 bits of size are replaced."""
    file = bytearray(encoded(Image.new("RGB", (9, 9)), "WEBP", lossless=True))
    assert file[12:16] == b"VP8L"
    file[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(file)


def webp_canvas():
    """An animation whose canvas is as large as can be said, with a small picture in its corner."""
    return animated_webp_in_a_corner(encoded(photograph(), "WEBP"), canvas=(1 << 24, 1 << 24))


def wav(rate=16_000, channels=1, claimed=None, samples=16_000, bits=16):
    data = bytes(samples * channels * bits // 8)
    claimed = len(data) if claimed is None else claimed
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    riff = min(36 + claimed, 0xFFFFFFFF)
    head = struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16)
    return head + form + struct.pack("<4sI", b"data", claimed) + data


def flac_of(samples):
    """STREAMINFO says so; 36 bits at the end of its eighteenth byte."""
    file = bytearray(good()["audio"]["FLAC"])
    file[21] = file[21] & 0xF0 | samples >> 32
    file[22:26] = struct.pack(">I", samples & 0xFFFFFFFF)
    return bytes(file)


@lru_cache(maxsize=1)
def mp3_of_an_hour():
    """Frames of 8 kHz mono, as often as it takes; no header says how many."""
    ten_seconds = sound(np.zeros(80_000), 8_000, "MP3", "MPEG_LAYER_III")
    start = ten_seconds.index(b"\xff\xe3", 200) if b"\xff\xe3" in ten_seconds[200:] else 0
    return ten_seconds[start:] * 361


@lru_cache(maxsize=1)
def flac_joined_to_an_hour():
    return sound(np.zeros(80_000, np.int16), 8_000, "FLAC", "PCM_16") * 99 * 4


@lru_cache(maxsize=1)
def flac_of_unknown_length_of_an_hour():
    file = hour_of("FLAC", "PCM_16")
    return file[:21] + bytes([file[21] & 0xF0, 0, 0, 0, 0]) + file[26:]


@lru_cache(maxsize=1)
def mp3_that_says_a_moment():
    """Its first frame says how many follow; then comes an hour."""
    return sound(np.zeros(4000), 8_000, "MP3", "MPEG_LAYER_III") + mp3_of_an_hour()


def mp3_with_a_bad_count():
    file = bytearray(good()["audio"]["MP3"])
    at = next(file.index(tag) for tag in (b"Xing", b"Info") if tag in file)
    file[at + 8 : at + 12] = b"\xff\xff\xff\xff"
    return bytes(file)


SECOND = np.zeros(16_000, np.int16)
BOMBS = {
    "image": {
        "nothing": (lambda: b"", "accepted format"),
        "one byte": (lambda: b"\xff", "accepted format"),
        "text": (lambda: b"<html>404 not found</html>", "JPEG, PNG or WebP"),
        "zeros": (lambda: bytes(5000), "accepted format"),
        "33 MiB": (lambda: bytes(33 << 20), "more than 33554432 bytes"),
        "JPEG of 65500 x 65500": (lambda: jpeg_of(65500, 65500), "the header says 65500 x 65500"),
        "JPEG of no height": (lambda: jpeg_of(96, 0), "the header says 96 x 0"),
        "progressive JPEG of 65500 x 65500": (lambda: jpeg_of(65500, 65500, True), "the header says 65500 x 65500"),
        "JPEG of a thousand scans": (lambda: jpeg_of_scans(2000, 1000), "more than 1000 segments behind"),
        "JPEG of 90 scans, too large for so many": (lambda: jpeg_of_scans(4000, 80), "scans of 16000000 pixels"),
        "JPEG with 500 hidden scans": (lambda: jpeg_with_hidden_scans(8000, 500), None),
        "JPEG of 32 MiB of fill bytes": (lambda: b"\xff\xd8".ljust(32 << 20, b"\xff"), "ends before its first scan"),
        "JPEG of nothing but zeros": (lambda: b"\xff\xd8" + bytes(9), "ends before its first scan"),
        "JPEG with two frame headers": (jpeg_with_two_frames, "two frame headers"),
        "JPEG with a larger one behind it": (lambda: jpeg_of(96, 72) + jpeg_of(60000, 60000), None),
        "JPEG of no scan": (lambda: jpeg_of(96, 72).partition(b"\xff\xda")[0] + b"\xff\xd9" * 9, "without a scan"),
        "JPEG of 2,000 empty comments": (
            lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 2000 + encoded(photograph(96, 72))[2:],
            "more than 1000 segments",
        ),
        "JPEG with EXIF garbage": (lambda: encoded(photograph(96, 72), exif=b"Exif\0\0II*\0" + b"\xff" * 90), None),
        "JPEG with orientation 9": (lambda: encoded(photograph(96, 72), exif=exif(9)), None),
        "PNG of 50000 x 50000": (lambda: png_of(50_000, 50_000), "the header says 50000 x 50000"),
        "PNG of 2147483647 x 1": (lambda: png_of(2**31 - 1, 1), "65535 along a side"),
        "PNG, 16-bit, of 8000 x 8000": (lambda: png_of(8000, 8000, 16, 2), "16777216 pixels of a 16-bit PNG"),
        "PNG that lacks most of its rows": (lambda: png_of(1000, 1000), "decode"),
        "PNG with 1000 EXIF profiles": (lambda: png_of_profiles(1000, b"\n"), "more than 8 EXIF profiles"),
        "PNG with 8 EXIF profiles": (lambda: png_of_profiles(8, b"\n"), None),
        "PNG with an EXIF profile of 32 MB": (
            lambda: with_chunks(png_of(1, 1), (b"tEXt", b"Raw profile type exif\0".ljust(32_000_000, b"\n"))),
            "an EXIF profile of more than 1048576 bytes",
        ),
        "PNG with zTXt of 512 MiB": (lambda: png_with(b"zTXt", b"a\0\0"), None),
        "PNG with iTXt of 512 MiB": (lambda: png_with(b"iTXt", b"a\0\1\0\0\0"), None),
        "PNG with iCCP of 512 MiB": (lambda: png_with(b"iCCP", b"a\0\0"), None),
        "WebP of 16383 x 16383": (lambda: webp_of(16383, 16383), "the header says 16383 x 16383"),
        "WebP with a canvas of 2^24 a side": (webp_canvas, "the header says 16777216 x 16777216"),
        "GIF": (lambda: encoded(photograph(96, 72), "GIF"), "JPEG, PNG or WebP"),
        "TIFF": (lambda: encoded(photograph(96, 72), "TIFF"), "JPEG, PNG or WebP"),
        "BMP": (lambda: encoded(photograph(96, 72), "BMP"), "JPEG, PNG or WebP"),
        "JPEG 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(900), "JPEG, PNG or WebP"),
        "PPM of 65500 x 65500": (lambda: b"P6 65500 65500 255\n" + bytes(999), "JPEG, PNG or WebP"),
        "WAV": (wav, "WebP"),
    },
    "audio": {
        "nothing": (lambda: b"", "WAV, FLAC, OGG and MP3"),
        "one byte": (lambda: b"\xff", "WAV, FLAC, OGG and MP3"),
        "text": (lambda: b"<html>404 not found</html>", "WAV, FLAC, OGG and MP3"),
        "zeros": (lambda: bytes(5000), "WAV, FLAC, OGG and MP3"),
        "33 MiB": (lambda: bytes(33 << 20), "cannot decode 34603008 bytes"),
        "WAV that claims 4 GB": (lambda: wav(claimed=0xFFFFFFFF), None),
        "WAV of two minutes": (lambda: wav(samples=120 * 16_000), "longer than 60 s"),
        "WAV of 10 ms": (lambda: wav(samples=160), "too short: 160 samples"),
        "WAV of no samples": (lambda: wav(samples=0), "too short: 0 samples"),
        "WAV of 1000 channels": (lambda: wav(channels=1000, samples=50), "1000 channels"),
        "WAV of no channels": (lambda: wav(channels=0), "sound"),
        "WAV of 0 Hz": (lambda: wav(rate=0), "sound"),
        "WAV of 1 Hz": (lambda: wav(rate=1, samples=60), "1 Hz"),
        "WAV of 2 GHz": (lambda: wav(rate=2**31 - 1), "2147483647 Hz"),
        "FLAC that claims 2^36 samples": (lambda: flac_of(2**36 - 1), "longer than 60 s"),
        "FLAC that claims a minute and has a moment": (lambda: flac_of(60 * 16_000), None),
        "FLAC of an hour": (lambda: hour_of("FLAC", "PCM_16"), "longer than 60 s"),
        "OGG of an hour": (lambda: hour_of("OGG", "VORBIS"), "longer than 60 s"),
        "MP3 of an hour": (mp3_of_an_hour, "longer than 60 s"),
        "MP3 that claims 2^32 frames": (mp3_with_a_bad_count, None),
        "MP3 that says a moment and is an hour": (mp3_that_says_a_moment, "longer than 60 s"),
        "FLAC of an hour that does not say so": (flac_of_unknown_length_of_an_hour, "longer than 60 s"),
        "FLAC that says 100 samples and has an hour": (
            lambda: flac_of_unknown_length_of_an_hour()[:25] + b"\x64" + flac_of_unknown_length_of_an_hour()[26:],
            "longer than 60 s",
        ),
        "FLAC joined to an hour": (flac_joined_to_an_hour, "100 are the most"),
        "Ogg joined to an hour": (lambda: sound(np.zeros(320_000), 8_000, "OGG", "VORBIS") * 90, "longer than 60 s"),
        "MP3 behind a tag of 16 MB": (lambda: sounds.id3v2(16 << 20) + mp3_of_an_hour(), "longer than 60 s"),
        "MP3 behind a hundred thousand tags": (lambda: sounds.id3v2(0) * 100_000 + good()["audio"]["MP3"], None),
        "WAV of a million chunks": (lambda: sounds.riff(sounds.chunk(b"JUNK", b"") * 10**6), "more than 1000 chunks"),
        "WAV of 1e30 in float": (lambda: sounds.encoded(sounds.tone(9000) * 1e30, "WAV", "FLOAT"), None),
        "Ogg of a million pages": (
            lambda: good()["audio"]["OGG"] + (b"OggS" + bytes(2) + b"\xff" * 8 + bytes(13)) * 10**6,
            "more than 100000 pages",
        ),
        "AIFF": (lambda: sound(SECOND, 16_000, "AIFF", "PCM_16"), "WAV, FLAC, OGG and MP3"),
        "AU": (lambda: sound(SECOND, 16_000, "AU", "PCM_16"), "WAV, FLAC, OGG and MP3"),
        "CAF": (lambda: sound(SECOND, 16_000, "CAF", "PCM_16"), "WAV, FLAC, OGG and MP3"),
        "JPEG": (lambda: encoded(photograph(96, 72)), "WAV, FLAC, OGG and MP3"),
    },
}
"""Ensemble -> name -> (function that makes the file, what the refusal says; None where an answer is right, too)."""


if __name__ == "__main__":
    for ensemble, formats in good().items():
        for name, file in formats.items():
            print(f"{ensemble:6} {name:40} {len(file):>9} bytes, {TRUNCATIONS} truncations, any number of mutations")
        for name, (make, refusal) in BOMBS[ensemble].items():
            print(f"{ensemble:6} {name:40} {len(make()):>9} bytes, expected: {refusal or 'an answer, or a refusal'}")
