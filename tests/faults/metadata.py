"""Pictures whose metadata can be understood in more than one way: seeded, of every format, and what is made of each.

`python -m tests.faults.metadata FIRST COUNT` judges the cases of these seeds in its own process, so that a crash is
seen. It prints each seed before it is tried, and at last the counts as JSON. Exit code 1 if a law is broken.
"""

import collections
import io
import json
import random
import re
import struct
import sys
import warnings
import zlib
from functools import lru_cache

import numpy as np
from PIL import Image

from preprocess import exif, image, image_file
from preprocess.image_pillow import UPRIGHT
from preprocess.png_header import SIGNATURE, chunk
from tests.images import encoded, photograph

WIDTH, HEIGHT = 60, 36
XMP = b'<x:xmpmeta><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></x:xmpmeta>'
TYPES = (1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 99)
TOLERANCE = 0.0176
"""In normalised units, as in `tests.preprocess.test_image_parity`."""


def case(seed):
    """seed -> (kind, bytes)"""
    draw = random.Random(seed)
    kind = draw.choice([*MAKERS, "JPEG", "JPEG"])
    file = MAKERS[kind](draw)
    if draw.random() < 0.25:
        return f"{kind}, damaged", damage(draw, file)
    return kind, file


def tiff(draw):
    """A TIFF file of a few entries, an orientation most often among them, now and then cut or damaged."""
    if draw.random() < 0.4:
        return exif.PREFIX * draw.choice((0, 0, 0, 1, 2)) + exif.write(draw.randrange(1, 9))
    order = draw.choice("<>")
    entries = b"".join(_entry(draw, order) for _ in range(draw.choice((0, 1, 1, 1, 2, 3))))
    count = len(entries) // 12 + draw.choice((0, 0, 0, 0, 1, 2))
    start = draw.choice((8, 8, 8, 8, 8, 8, 10, 200))
    file = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", start, count) + entries
    file += draw.choice((b"\0\0\0\0", b"", b"\0\6\0\6\0\6\0\6"))
    if draw.random() < 0.2:
        file = file[: draw.randrange(len(file))]
    return exif.PREFIX * draw.choice((0, 0, 0, 1, 2)) + file


def _entry(draw, order):
    tag = draw.choice((exif.ORIENTATION,) * 4 + (0x010E, 0x011A, 0x8769))
    kind, values = draw.choice(TYPES), draw.choice((1, 1, 1, 1, 0, 2, 5))
    value = draw.choice((1, 2, 3, 4, 5, 6, 6, 6, 7, 8, 8, 9, 0))
    body = {
        1: bytes([value]),
        4: struct.pack(f"{order}L", value),
        9: struct.pack(f"{order}l", value),
        11: struct.pack(f"{order}f", value),
    }.get(kind, struct.pack(f"{order}H", value))
    return struct.pack(f"{order}HHL", tag, kind, values) + body.ljust(4, b"\0")


@lru_cache(maxsize=32)
def base(format, mode="RGB", **options):
    """A small photograph, higher than wide or not, in which every orientation looks different."""
    return encoded(photograph(WIDTH, HEIGHT).convert(mode), format, **options)


def segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(draw):
    kind = draw.choice(({}, {}, {"progressive": True}, {"mode": "L"}, {"subsampling": "4:4:4"}, {"mode": "CMYK"}))
    file = base("JPEG", **kind)
    pieces, at = [], 2
    while file[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        pieces.append(file[at:end])
        at = end
    data = file[at:-2]
    for _ in range(draw.choice((1, 1, 2, 2, 3, 4))):
        pieces.insert(draw.randrange(len(pieces) + 1), _jpeg_metadata(draw))
    if draw.random() < 0.2:  # between the scans of a progressive one, or before the end
        at = draw.choice([each for each in range(len(data)) if data[each : each + 2] == b"\xff\xda"] + [len(data)])
        data = data[:at] + _jpeg_metadata(draw) + data[at:]
    tail = draw.choice((b"", b"", b"", b"\0" * 9, segment(0xE1, exif.PREFIX + tiff(draw)), file, b"\xff"))
    if draw.random() < 0.2:  # a segment within the data, between halves of another marker
        at = draw.randrange(len(data))
        hidden = bytes([draw.choice((0xC0, 0xC4, 0xD8, 0xD9, 0xDA, 0xE1))]) + struct.pack(">H", draw.randrange(2, 20))
        data = data[:at] + b"\xff" * draw.randrange(3) + _jpeg_metadata(draw) + hidden + data[at:]
    end = b"" if draw.random() < 0.05 else b"\xff\xd9"
    return b"\xff\xd8" + b"".join(pieces) + data + end + tail


def _jpeg_metadata(draw):
    number = draw.choice((1, 6))
    return draw.choice(
        (
            lambda: segment(0xE1, exif.PREFIX + tiff(draw)),
            lambda: segment(0xE1, exif.PREFIX + tiff(draw)),
            lambda: segment(0xE1, exif.PREFIX + tiff(draw)),
            lambda: segment(0xE1, tiff(draw)),
            lambda: segment(draw.choice((0xE0, 0xE2, 0xED, 0xFE)), exif.PREFIX + tiff(draw)),
            lambda: segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP % number),
            lambda: segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            lambda: segment(0xFE, draw.randbytes(draw.randrange(40))),
            lambda: segment(0xE2, b"MPF\0" + tiff(draw)),
            lambda: b"\0" * draw.randrange(1, 4),
            lambda: b"\xff" * draw.randrange(1, 4),
            lambda: b"\xff\xd0",
            lambda: struct.pack(">BBH", 0xFF, 0xE1, draw.choice((0, 1, 2, 3, 7, 60, 9999))),
        )
    )()


def png(draw):
    file = draw.choice((base("PNG"), base("PNG", "L"), base("PNG", "P"), base("PNG", "RGBA")))
    chunks, at = [], 8
    while at < len(file):
        end = at + 12 + int.from_bytes(file[at : at + 4], "big")
        chunks.append(file[at:end])
        at = end
    if draw.random() < 0.2:  # an animation, of which the still picture is, or is not, the first frame
        control = struct.pack(">LLLLLHHBB", 0, WIDTH, HEIGHT, 0, 0, 1, 10, 0, 0)
        frame = struct.pack(">L", 1) + zlib.compress((b"\0" + b"\xff\0\0" * WIDTH) * HEIGHT)
        chunks[1:1] = [chunk(b"acTL", struct.pack(">LL", 1 + draw.randrange(2), 0))]
        chunks[-1:-1] = [chunk(b"fcTL", control), chunk(b"fdAT", frame)]
    for _ in range(draw.choice((1, 1, 2, 2, 3))):
        chunks.insert(draw.randrange(1, len(chunks)), _png_metadata(draw))
    return SIGNATURE + b"".join(chunks) + draw.choice((b"", b"", b"", chunk(b"eXIf", tiff(draw))))


def _png_metadata(draw):
    keyword = draw.choice((b"Raw profile type exif",) * 3 + (b"Raw profile type APP1", b"Comment"))
    digits = tiff(draw).hex().encode()
    lines = (digits[at : at + 72] for at in range(0, len(digits), 72))
    profile = b"\nexif\n%8d\n" % (len(digits) // 2) + b"\n".join(lines)
    profile = draw.choice((profile, profile, profile[:-3], digits))
    return draw.choice(
        (
            lambda: chunk(b"eXIf", tiff(draw)),
            lambda: chunk(b"eXIf", tiff(draw)),
            lambda: chunk(b"tEXt", keyword + b"\0" + profile),
            lambda: chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(profile)),
            lambda: chunk(b"iTXt", keyword + b"\0\1\0\0\0" + zlib.compress(profile)),
            lambda: chunk(b"iTXt", keyword + b"\0\0\0\0\0" + profile),
            lambda: chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % 6),
            lambda: chunk(b"tIME", bytes(7)),
            lambda: chunk(b"prVt", draw.randbytes(9)),
        )
    )()


def webp(draw):
    file = draw.choice((base("WEBP"), base("WEBP", lossless=True), base("WEBP", "RGBA")))
    chunks, at = [], 12
    while at < len(file):
        size = int.from_bytes(file[at + 4 : at + 8], "little")
        chunks.append((file[at : at + 4], file[at + 8 : at + 8 + size]))
        at += 8 + size + (size & 1)
    extended = [body for kind, body in chunks if kind == b"VP8X"]
    chunks = [each for each in chunks if each[0] != b"VP8X"]
    flags = (extended[0][0] if extended else 0) | draw.choice((8, 8, 8, 0))
    canvas = [side - 1 + (draw.random() < 0.03) for side in (WIDTH, HEIGHT)]
    for _ in range(draw.choice((1, 1, 2, 3))):
        kind = draw.choice((b"EXIF", b"EXIF", b"EXIF", b"XMP ", b"ICCP", b"junk"))
        body = tiff(draw) if kind == b"EXIF" else XMP % 6 if kind == b"XMP " else draw.randbytes(draw.randrange(9))
        chunks.insert(draw.randrange(len(chunks) + 1), (kind, body + b"\0" * draw.randrange(2)))
    if draw.random() < 0.9:
        sides = b"".join(side.to_bytes(3, "little") for side in canvas)
        chunks.insert(0, (b"VP8X", bytes([flags, 0, 0, 0]) + sides))
    body = b"WEBP"
    for kind, content in chunks:
        body += kind + struct.pack("<L", len(content)) + content + b"\0" * (len(content) & 1)
    return b"RIFF" + struct.pack("<L", len(body)) + body + draw.choice((b"", b"", b"", b"EXIF\x04\0\0\0II*\0"))


MAKERS = {"JPEG": jpeg, "PNG": png, "WebP": webp}


def damage(draw, file):
    """Some bytes changed or lost; the checksums of a PNG, which would give it away, are right again."""
    damaged = bytearray(file)
    for _ in range(draw.choice((1, 1, 2, 4))):
        at = draw.randrange(len(damaged))
        if draw.random() < 0.8:
            damaged[at] = draw.choice((0, 0xFF, draw.randrange(256)))
        else:
            del damaged[at : at + draw.choice((1, 2, 9))]
    return _with_checksums(bytes(damaged)) if damaged.startswith(SIGNATURE) else bytes(damaged)


def _with_checksums(file):
    pieces, at = [file[:8]], 8
    while at + 12 <= len(file):
        end = at + 8 + int.from_bytes(file[at : at + 4], "big")
        if end + 4 > len(file):
            break
        pieces.append(chunk(file[at + 4 : at + 8], file[at + 8 : end]))
        at = end + 4
    return b"".join([*pieces, file[at:]])


def reference(file):
    """(orientation, tensor by the rule), both of the file as it came and by Pillow alone; None where Pillow refuses.

    Orientations in XMP do not count, so this is `ImageOps.exif_transpose` without them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(file), formats=image.FORMATS)
            picture.load()
            orientation = _orientation(picture)
    except Exception:  # Pillow's plugins raise every class of them
        return None
    if picture.mode == "CMYK" and "adobe" not in picture.info:
        return None  # by the rule it is not inverted, as Pillow alone would
    if picture.mode.startswith("I"):  # Pillow would clamp 16 bits, not shift them
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    upright = picture.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else picture
    size = tuple(int(256 * side / min(upright.size)) for side in upright.size)
    resized = np.asarray(upright.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    left, top = (round((side - 224) / 2) for side in size)
    crop = resized[top : top + 224, left : left + 224].astype(np.float64)
    return orientation, ((crop - image.MEAN) / image.STD).transpose(2, 0, 1)


def depends_on_what_follows(file, tensor):
    """Whether Pillow decodes a JPEG otherwise when it ends at its first EOI.

    Of damaged data libjpeg-turbo makes one picture as long as two kilobytes are left, and another one behind that.
    """
    end = file.find(b"\xff\xd9", max(0, file.find(b"\xff\xda"))) + 2
    alone = reference(file[:end]) if file.startswith(b"\xff\xd8") and 2 < end < len(file) else None
    return alone is not None and np.abs(alone[1] - tensor).max() > TOLERANCE


def _orientation(picture):
    tags = Image.Exif()
    try:
        if "exif" in picture.info:
            tags.load(picture.info["exif"])
        elif "Raw profile type exif" in picture.info:
            tags.load(bytes.fromhex("".join(picture.info["Raw profile type exif"].split("\n")[3:])))
        orientation = tags.get(exif.ORIENTATION, 1)
        return int(orientation) if orientation in range(1, 9) else 1
    except (ArithmeticError, KeyError, SyntaxError, TypeError, ValueError, struct.error):
        return 1


class Judge:
    """Tries files with every library, with pictures of one colour before each of them."""

    def __init__(self):
        self.libraries = {name: make() for name, make in image.LIBRARIES.items()}
        self.colours = [encoded(Image.new("RGB", (240, 180), colour), "PNG") for colour in ("red", "lime")]
        self.counts, self.reasons = collections.Counter(), collections.Counter()

    def answer(self, name, file):
        """The tensor, or the refusal's text."""
        try:
            return self.libraries[name](file)
        except ValueError as refusal:
            return str(refusal)

    def broken(self, file):
        """The laws that the answers to this file break, in words."""
        answers = {}
        for name in self.libraries:
            twice = []
            for colour in self.colours:
                self.answer(name, colour)
                twice.append(self.answer(name, file))
            answers[name] = twice[0]
            if not np.array_equal(*twice):
                yield f"{name} answers otherwise after another picture"
            if isinstance(twice[0], str) and (re.search(r"\n|#|0x[0-9a-f]{6}", twice[0])):
                yield f"{name} says {twice[0]!r}"
            if isinstance(twice[0], str):
                self.reasons[re.sub(r"\d+", "N", twice[0].partition("WebP: ")[2])] += 1
        refused = [isinstance(answer, str) for answer in answers.values()]
        self.counts["refused" if all(refused) else "refused by one" if any(refused) else "answered"] += 1
        if any(refused):
            return
        header, expected = image_file.read(file), reference(file)
        if header.complete and image_file.read(header.rebuilt()).rebuilt() != header.rebuilt():
            yield "the rebuilt file is read in another way"
        self.counts["turned"] += header.orientation != 1
        if expected is None:
            self.counts["answered, refused by Pillow alone"] += 1
        elif header.orientation != expected[0]:
            yield f"orientation {header.orientation}, by Pillow {expected[0]}"
        elif depends_on_what_follows(file, expected[1]):
            self.counts["damaged: Pillow's picture depends on the bytes behind it"] += 1
        else:
            for name, answer in answers.items():
                if (distance := np.abs(answer - expected[1]).max()) > TOLERANCE:
                    yield f"{name} is {distance:.3f} from the rule"


def main(first, count):
    judge, broken = Judge(), 0
    for seed in range(first, first + count):
        print(seed, flush=True)
        kind, file = case(seed)
        for law in judge.broken(file):
            broken += 1
            print(f"seed {seed}, {kind}, {len(file)} bytes: {law}", file=sys.stderr)
        judge.counts[kind] += 1
    print(json.dumps({**judge.counts, "reasons": judge.reasons}))
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
