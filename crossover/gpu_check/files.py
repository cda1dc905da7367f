"""The files that are sent: good ones that differ, in the formats that people send, and damaged ones."""

import io
import wave

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Transpose

from serving.smoke_test import chirp
from workloads.image import photograph_files

ORIENTATION = 0x0112  # the EXIF tag; 6 means that the photograph is to be turned by 90 degrees


def make_photographs() -> dict[str, bytes]:
    """Return eight photographs that differ, in eight forms: name -> the file's bytes."""
    temple, flower = photograph_files()
    first, second = (Image.open(path).convert("RGB") for path in (temple, flower))
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    return {
        "JPEG": temple.read_bytes(),
        "another JPEG": flower.read_bytes(),
        "progressive JPEG": encode(ImageOps.mirror(first), "JPEG", progressive=True),
        "grey JPEG": encode(ImageOps.flip(second).convert("L"), "JPEG"),
        "JPEG 4:4:4": encode(first.transpose(Transpose.ROTATE_180), "JPEG", subsampling="4:4:4"),
        "JPEG with an EXIF orientation": encode(second, "JPEG", exif=turned),
        "PNG": encode(ImageOps.flip(first), "PNG", compress_level=1),
        "WebP": encode(ImageOps.mirror(second), "WEBP"),
    }


def encode(image: Image.Image, format: str, **options) -> bytes:
    """Return an image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def make_sounds() -> dict[str, bytes]:
    """Return eight WAV files of one length that differ, so that the server may run them together."""
    with wave.open(io.BytesIO(chirp())) as sound:
        parameters, frames = sound.getparams(), sound.readframes(sound.getnframes())
    samples = np.frombuffer(frames, np.int16)
    files = {}
    for number in range(8):
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams(parameters)
            sound.writeframes(np.roll(samples, number * len(samples) // 8).tobytes())
        files[f"tone {number + 1}"] = file.getvalue()
    return files


def damage_photograph(good: bytes) -> dict[str, bytes]:
    """Return damaged JPEGs, made of a good one: what is wrong -> bytes."""
    middle = (good.index(b"\xff\xda") + len(good)) // 2
    return {
        "a JPEG cut in half": good[: len(good) // 2],
        "a JPEG with a foreign marker in its data": good[:middle] + b"\xff\x37" + good[middle + 2 :],
    }


def scramble_photograph(good: bytes) -> bytes:
    """Return a JPEG whole in its form, with noise for data in the middle, as a failing disk leaves it."""
    middle = (good.index(b"\xff\xda") + len(good)) // 2
    noise = np.random.default_rng(0).integers(0, 255, 4000, dtype=np.uint8).tobytes()  # 255 would begin a marker
    return good[:middle] + noise + good[middle + len(noise) :]


def damage_sound(good: bytes) -> dict[str, bytes]:
    """Return a damaged WAV, made of a good one: what is wrong -> bytes."""
    return {"a WAV cut in its header": good[:30]}
