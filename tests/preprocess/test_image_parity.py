"""Every library against the rule, which is computed here with Pillow in the plainest way.

`python -m tests.preprocess.test_image_parity` prints how far each of them is.
"""

import io
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import nvidia.dali.fn as fn
import nvidia.dali.types as types
import pytest
from nvidia.dali import Pipeline, pipeline_def
from PIL import Image, ImageChops, ImageOps

from preprocess import image, image_dali, image_file, limits
from tests.drawings import DRAWN, SIZES
from tests.images import CASES, REFUSED, encoded, exif, photograph, with_black_ink
from workloads import image_uint8, image_variants

MEAN_LIMIT, MAX_LIMIT = 0.0088, 0.0176
"""Half a grey level and one, of the colour that is scaled up most."""
USUAL = 0.004
REENCODED = [case for case in CASES if any(kind in case for kind in ("CMYK", "16-bit", "corner", "without its end"))]

SOUND = encoded(photograph(320, 240))


pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's, in the reference


VARIANTS = {name: make for each in image_variants.CLIENT.values() for name, make in each.libraries.items()}
VARIANTS |= image.APPROXIMATE
"""What clients of other placements prepare with: their tensors are not the rule's, their refusals are."""


@lru_cache
def _library(name):
    return {**image.LIBRARIES, **VARIANTS}[name]()


@pytest.fixture(params=image.LIBRARIES)
def preprocess(request):
    return _library(request.param)


@lru_cache(maxsize=1)
def _case(name):
    """The file's bytes, and what the rule makes of them."""
    file = CASES[name]()
    return file, reference(file)


def reference(file):
    """Decode, turn upright, resize all of it, crop, normalise. Pillow asks for a JPEG's end, so it gets one."""
    if file.startswith(b"\xff\xd8") and b"\xff\xd9" not in file:
        file += b"\xff\xd9"
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    if upright.mode == "I;16":
        upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
    size = tuple(int(256 * side / min(upright.size)) for side in upright.size)
    resized = np.asarray(upright.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    left, top = (round((side - 224) / 2) for side in size)
    crop = resized[top : top + 224, left : left + 224].astype(np.float64)
    return ((crop - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]).transpose(2, 0, 1)


def distance(pixels, expected):
    """Mean and maximum |difference| in normalised units."""
    difference = np.abs(pixels - expected)
    return difference.mean(), difference.max()


@pytest.mark.parametrize("name", image.LIBRARIES)
@pytest.mark.parametrize("case", CASES)
def test_every_library_gives_the_pixels_of_the_reference(case, name):
    file, expected = _case(case)
    pixels = _library(name)(file)
    mean, maximum = distance(pixels, expected)
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((3, 224, 224), np.float32, True)
    assert maximum <= MAX_LIMIT
    assert mean <= MEAN_LIMIT


@pytest.mark.parametrize("case", ["JPEG, CMYK with black ink", "PNG, 16-bit", "PNG, 16-bit grayscale"])
def test_the_graph_alone_would_miss_what_is_reencoded(monkeypatch, case):
    monkeypatch.setattr(image_dali, "prepare", lambda encoded: encoded)
    file, expected = _case(case)
    mean, _ = distance(_library("dali")(file), expected)
    assert mean > USUAL


@pytest.mark.parametrize("case", CASES)
def test_only_what_dali_decodes_otherwise_is_reencoded(case):
    header = image_file.read(_case(case)[0])
    assert (bool(header.reencoded) or not header.complete) == (case in REENCODED)


def test_the_plain_dali_recipe_is_not_the_rule():
    @pipeline_def(batch_size=1, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def plain():
        decoded = fn.decoders.image(fn.external_source(name="encoded", dtype=types.UINT8, ndim=1))
        resized = fn.resize(decoded, size=256, mode="not_smaller", antialias=True, subpixel_scale=False)
        return fn.crop_mirror_normalize(resized, crop=(224, 224), mean=image.MEAN, std=image.STD)

    pipeline = plain()
    pipeline.build()
    file, expected = _case("JPEG 640x427")
    (output,) = pipeline.run(encoded=[np.frombuffer(file, np.uint8)])
    mean, _ = distance(np.array(output[0]), expected)
    assert mean > USUAL


def test_the_stretch_of_a_side_is_the_crop_of_the_resized_image():
    random = np.random.default_rng(0)
    sides = [(a, b) for a in range(1, 400) for b in (a, a + 1, 2 * a + 1, 640, 1031)]
    for one, other in [*sides, *random.integers(1, 65_536, (2000, 2)).tolist()]:
        side, shorter = max(one, other), min(one, other)
        resized = int(256 * side / shorter)
        start = round((resized - 224) / 2)
        expected = start * side / resized, (start + 224) * side / resized
        assert image.span(side, shorter) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_is_refused_in_one_line_and_the_next_image_is_served(preprocess, case):
    with pytest.raises(ValueError, match=r"^cannot decode \d+ bytes as JPEG, PNG or WebP: [^\n]+$"):
        preprocess(REFUSED[case]())
    mean, _ = distance(preprocess(SOUND), reference(SOUND))
    assert mean <= MEAN_LIMIT


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("case", REFUSED)
def test_every_variant_of_the_client_refuses_the_same_and_prepares_the_next_image(case, name):
    preprocess = _library(name)
    with pytest.raises(ValueError, match=r"^cannot decode \d+ bytes as JPEG, PNG or WebP: [^\n]+$"):
        preprocess(REFUSED[case]())
    assert np.array_equal(preprocess(SOUND), VARIANTS[name]()(SOUND))


@pytest.mark.parametrize("case", CASES)
def test_the_bytes_of_a_client_are_the_pixels_that_the_server_normalises(case):
    file, _ = _case(case)
    normal = (_library("dali-uint8")(file) - np.float32(image.MEAN)) / np.float32(image.STD)
    assert np.allclose(normal.transpose(2, 0, 1), _library("dali")(file), atol=1e-5)


def test_one_pixel_too_many_is_refused(monkeypatch, preprocess):
    monkeypatch.setattr(limits, "MAX_PIXELS", 320 * 240)
    assert preprocess(SOUND).shape == (3, 224, 224)
    with pytest.raises(ValueError, match="the header says 321 x 240; 76800 pixels, 65535 along a side, are the most"):
        preprocess(encoded(photograph(321, 240)))


def test_the_graph_refuses_too_many_pixels_even_without_the_guard_before_it(monkeypatch):
    monkeypatch.setattr(image_dali, "MAX_PIXELS", 320 * 240)
    monkeypatch.setattr(image_dali, "prepare", lambda encoded: encoded)
    preprocess = image.LIBRARIES["dali"]()
    assert preprocess(SOUND).shape == (3, 224, 224)
    for file in (encoded(photograph(321, 240)), encoded(photograph(320, 240), "BMP")):
        with pytest.raises(ValueError, match="cannot decode"):
            preprocess(file)


@pytest.mark.parametrize(
    "metadata",
    [
        {"exif": b"Exif\0\0neither II nor MM"},
        {"exif": exif(9)},
        {"xmp": b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'},
    ],
    ids=["damaged EXIF", "unknown orientation", "XMP"],
)
def test_only_a_sound_exif_orientation_turns_an_image(preprocess, metadata):
    assert np.array_equal(preprocess(encoded(photograph(320, 240), **metadata)), preprocess(SOUND))


def test_cmyk_without_the_marker_of_adobe_is_not_inverted(preprocess):
    inks = with_black_ink(photograph(320, 240))
    adobe, plain = encoded(inks), encoded(ImageChops.invert(inks))
    start = plain.index(b"\xff\xee\x00\x0eAdobe")
    mean, _ = distance(preprocess(plain[:start] + plain[start + 16 :]), reference(adobe))
    assert mean < 0.1  # inverted, it would be 2.5


@pytest.mark.parametrize("name", image.LIBRARIES)
def test_threads_with_a_callable_each_agree(name):
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(lambda _: image.LIBRARIES[name]()(SOUND), range(3))
    assert all(np.array_equal(first, other) for other in others)


@pytest.fixture
def builds(monkeypatch):
    """The pipelines that were built; DALI asks for it again before every run, for nothing."""
    counted, build = {}, Pipeline.build

    def counting(pipeline):
        counted[id(pipeline)] = pipeline
        build(pipeline)

    monkeypatch.setattr(Pipeline, "build", counting)
    return counted


@pytest.mark.parametrize("make", [image.LIBRARIES["dali"], image_uint8.make_pixels], ids=["FP32", "UINT8"])
def test_no_photograph_pays_for_a_pipeline(builds, make):
    preprocess = make()
    assert len(builds) == 1
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(preprocess, SOUND).result()
    assert len(builds) == 1


def test_only_the_photograph_on_which_a_pipeline_fails_pays_for_the_next(builds, monkeypatch):
    monkeypatch.setattr(image_dali, "prepare", lambda encoded: encoded)
    preprocess = image.LIBRARIES["dali"]()
    for refused in (1, 2):
        with pytest.raises(ValueError, match="cannot decode"):
            preprocess(b"no photograph at all")
        assert len(builds) == 1 + refused
        preprocess(SOUND)
        assert len(builds) == 1 + refused


def test_the_graph_survives_serialisation():
    pipeline = Pipeline.deserialize(image_dali._pipeline().serialize())
    (output,) = pipeline.run(encoded=[np.frombuffer(SOUND, np.uint8)])
    assert np.array_equal(np.array(output[0]), _library("dali")(SOUND))


def test_the_rule_can_be_imported_without_any_library():
    code = "import sys, preprocess.image; print({'PIL', 'nvidia.dali', 'librosa'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("name", image.LIBRARIES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_drawn_pictures_of_every_size_are_as_close_as_photographs(size, name):
    for draw in DRAWN.values():
        file = encoded(draw(*size), "PNG")
        mean, maximum = distance(_library(name)(file), reference(file))
        assert (mean <= MEAN_LIMIT, maximum <= MAX_LIMIT) == (True, True)


def drawn_distances(name):
    """(mean, maximum) of each drawn picture, and their worst."""
    files = [encoded(draw(*size), "PNG") for size in SIZES for draw in DRAWN.values()]
    return [distance(_library(name)(file), reference(file)) for file in files]


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF
    names = [*image.LIBRARIES, *image.APPROXIMATE]  # the latter declare their distance as a loss
    print(f"{'normalised units: mean, maximum':40}" + "".join(f"{name:>17}" for name in names))
    for case in CASES:
        file, expected = _case(case)
        cells = (distance(_library(name)(file), expected) for name in names)
        print(f"{case:40}" + "".join(f"{mean:9.4f}{maximum:8.4f}" for mean, maximum in cells))
    worst = [np.max(drawn_distances(name), axis=0) for name in names]
    print(f"{f'the worst of {len(SIZES) * len(DRAWN)} drawn pictures':40}", end="")
    print("".join(f"{mean:9.4f}{maximum:8.4f}" for mean, maximum in worst))
