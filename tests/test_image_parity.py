"""Every library against the rule, computed here with Pillow in the plainest way. `python -m tests.test_image_parity`
prints how far each of them is."""

import io
import subprocess
import sys
import threading
from functools import lru_cache

import numpy as np
import nvidia.dali.fn as fn
import nvidia.dali.types as types
import pytest
from nvidia.dali import pipeline_def
from PIL import Image, ImageOps

from preprocess import image, image_dali, image_pillow
from tests.images import CASES, REFUSED, encoded, exif, photograph

MEAN_LIMIT, MAX_LIMIT = 0.004, 0.05
HALF_A_LEVEL = {("dali", "JPEG, CMYK with black ink"), ("dali", "PNG, 16-bit"), ("dali", "PNG, 16-bit grayscale")}
HALF_A_LEVEL_LIMIT = 0.010

library = pytest.fixture(params=image.LIBRARIES, scope="module")(lambda request: (request.param, _library(request.param)))


@lru_cache
def _library(name):
    return image.LIBRARIES[name]()


@lru_cache(maxsize=1)
def _case(name):
    """The file's bytes, and what the rule makes of them."""
    file = CASES[name]()
    return file, reference(file)


def reference(file):
    """Decode, turn upright, resize all of it, crop, normalise: in the order and with the rounding of the rule."""
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if upright.mode == "I;16":
        upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
    width, height = upright.size
    if width < height:
        size = (256, int(256 * height / width))
    else:
        size = (int(256 * width / height), 256)
    resized = np.asarray(upright.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    left, top = (int(round((side - 224) / 2)) for side in size)
    crop = resized[top : top + 224, left : left + 224].astype(np.float64)
    return ((crop - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]).transpose(2, 0, 1)


def distance(pixels, expected):
    """Mean and maximum |difference| in normalised units."""
    difference = np.abs(pixels - expected)
    return difference.mean(), difference.max()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", image.LIBRARIES)
def test_every_library_gives_the_pixels_of_the_reference(case, name):
    file, expected = _case(case)
    pixels = _library(name)(file)
    mean, maximum = distance(pixels, expected)
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((3, 224, 224), np.float32, True)
    assert mean <= (HALF_A_LEVEL_LIMIT if (name, case) in HALF_A_LEVEL else MEAN_LIMIT)
    assert maximum <= MAX_LIMIT


def test_the_plain_dali_recipe_is_not_the_rule():
    @pipeline_def(batch_size=1, num_threads=1, device_id=None)
    def plain():
        decoded = fn.decoders.image(fn.external_source(name="encoded", dtype=types.UINT8, ndim=1))
        resized = fn.resize(decoded, size=256, mode="not_smaller", antialias=True, subpixel_scale=False)
        return fn.crop_mirror_normalize(resized, crop=(224, 224), mean=image.MEAN, std=image.STD)

    pipeline = plain()
    pipeline.build()
    file, expected = _case("JPEG 640x427")
    (output,) = pipeline.run(encoded=[np.frombuffer(file, np.uint8)])
    mean, _ = distance(np.array(output[0]), expected)
    assert mean > MEAN_LIMIT


def test_the_stretch_of_a_side_is_the_crop_of_the_resized_image():
    random = np.random.default_rng(0)
    sides = [(a, b) for a in range(1, 400) for b in (a, a + 1, 2 * a + 1, 640, 1031)]
    for one, other in [*sides, *random.integers(1, 65_536, (2000, 2)).tolist()]:
        side, shorter = max(one, other), min(one, other)
        resized = int(256 * side / shorter)
        start = int(round((resized - 224) / 2))
        expected = start * side / resized, (start + 224) * side / resized
        assert image.span(side, shorter) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_is_refused_in_one_line_and_the_next_image_is_served(library, case):
    name, preprocess = library
    with pytest.raises(ValueError, match=r"^cannot decode \d+ bytes as JPEG, PNG or WebP: [^\n]+$"):
        preprocess(REFUSED[case]())
    mean, _ = distance(preprocess(_SOUND), _SOUND_REFERENCE)
    assert mean <= MEAN_LIMIT


_SOUND = encoded(photograph(320, 240))
_SOUND_REFERENCE = reference(_SOUND)


@pytest.mark.parametrize(("name", "module"), [("pillow", image_pillow), ("dali", image_dali)])
def test_one_pixel_too_many_is_refused(monkeypatch, name, module):
    monkeypatch.setattr(module, "MAX_PIXELS", 320 * 240)
    preprocess = image.LIBRARIES[name]()
    assert preprocess(_SOUND).shape == (3, 224, 224)
    with pytest.raises(ValueError, match="pixels"):
        preprocess(encoded(photograph(321, 240)))


@pytest.mark.parametrize(
    "metadata",
    [
        {"exif": b"Exif\0\0neither II nor MM"},
        {"exif": exif(9)},
        {"xmp": b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'},
    ],
    ids=["damaged EXIF", "unknown orientation", "XMP"],
)
def test_only_a_sound_exif_orientation_turns_an_image(library, metadata):
    _, preprocess = library
    assert np.array_equal(preprocess(encoded(photograph(320, 240), **metadata)), preprocess(_SOUND))


def test_threads_with_a_library_each_agree(library):
    name, preprocess = library
    results = []
    threads = [threading.Thread(target=lambda: results.append(image.LIBRARIES[name]()(_SOUND))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(np.array_equal(result, preprocess(_SOUND)) for result in results)


def test_the_served_graph_is_the_same_after_serialisation():
    from nvidia.dali import Pipeline

    serialised = image_dali._pipeline().serialize()
    pipeline = Pipeline.deserialize(serialised)
    (output,) = pipeline.run(encoded=[np.frombuffer(_SOUND, np.uint8)])
    assert np.array_equal(np.array(output[0]), _library("dali")(_SOUND))


def test_the_rule_can_be_imported_without_any_library():
    code = "import sys, preprocess.image; print({'PIL', 'nvidia.dali', 'librosa', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


if __name__ == "__main__":
    print(f"{'normalised units: mean, maximum':40}" + "".join(f"{name:>17}" for name in image.LIBRARIES))
    for case in CASES:
        file, expected = _case(case)
        cells = (distance(_library(name)(file), expected) for name in image.LIBRARIES)
        print(f"{case:40}" + "".join(f"{mean:9.4f}{maximum:8.4f}" for mean, maximum in cells))
