"""Encoded photograph -> the tensor that ResNet-50 was trained on, the same from every library.

The rule is torchvision's evaluation transform on Pillow images:

1. decode to 8-bit RGB, and turn upright by the EXIF orientation, as a viewer shows it (``exif`` has the rule). Alpha
   is dropped, not blended; 16-bit samples keep their high byte; colour profiles and orientations in XMP are ignored;
   CMYK is inverted where Adobe's marker says so; of an animation the still picture counts, or the first frame;
2. resize the shorter side to 256, bilinear with antialias, the longer one to ``int(256 * longer / shorter)``;
3. crop the central 224 x 224, starting at ``int(round((side - 224) / 2))``: Python's round, half to even;
4. subtract the ImageNet mean, divide by its standard deviation, channels first.

Every library stays within one grey level of it in every pixel, and within half a level in the mean: 0.0175 and 0.0088
in these normalised units. DALI alone would not, on 16-bit PNG and on CMYK with black ink: ``image_reencode`` hands it
those in another form. No library gets a file as it came: ``image_file`` rebuilds it, or refuses it.
"""

from importlib import import_module

from preprocess.limits import one_line

RESIZED, CROPPED = 256, 224
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of RGB in 0..255
FORMATS = ("JPEG", "PNG", "WEBP")


def span(side, shorter):
    """Return the stretch of one side, in source pixels, that ends up in the crop: steps 2 and 3 for one axis.

    Resampling this stretch straight to 224 pixels equals resizing all of it to 256 and cropping, without
    computing what the crop would drop. Only operators are used, so Python's integers and DALI's graph nodes both
    fit; the floor divisions give exactly the ``int`` and the half-to-even ``round`` of the rule.
    """
    resized = RESIZED * side // shorter
    half = (resized - CROPPED) // 2
    start = half + ((resized - CROPPED) & half & 1)
    return start * side / resized, (start + CROPPED) * side / resized


def refusal(encoded, reason):
    """Make the ValueError that names how many bytes were refused, and why, in one line."""
    return ValueError(f"cannot decode {len(encoded)} bytes as JPEG, PNG or WebP: {one_line(reason)}")


def _factory(library):
    def make():
        return import_module(f"preprocess.image_{library}").preprocessor()

    # A workload that takes it alone, without a mapping, calls its library so.
    make.__name__ = library
    return make


LIBRARIES = {name: _factory(name) for name in ("dali", "pillow")}
"""Library -> factory of a callable ``encoded bytes -> float32 (3, 224, 224)``, for the use of one thread.

The callable raises ValueError, in one line, for what it cannot decode. A library is imported when its factory
is called, so that a server without Pillow can import this module.
"""

APPROXIMATE = {name: _factory(name) for name in ("scaled", "opencv")}
"""The same of libraries that keep to the rule less closely: their modules say how far they are from it.

Placements that use one declare it as a loss.
"""
