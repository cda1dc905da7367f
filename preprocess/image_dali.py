"""The rule of ``preprocess.image`` as a DALI graph, for the server and for a client's thread alike."""

import numpy as np
import nvidia.dali.fn as fn
import nvidia.dali.types as types
from nvidia.dali import math, pipeline_def

from preprocess.image import CROPPED, MEAN, STD, refusal, span
from preprocess.image_reencode import prepare
from preprocess.limits import MAX_PIXELS, one_line


def pixels(encoded, device="cpu"):
    """Graph node of encoded bytes (UINT8, 1-D) -> graph node of FP32 (3, 224, 224).

    ``device="mixed"`` decodes and resizes on the GPU; fancy upsampling keeps its chroma equal to the CPU's. The
    resize gives UINT8, as Pillow's does: left in floating point it would be further from the reference.
    """
    shape = fn.peek_image_shape(encoded)
    height, width = shape[0], shape[1]
    shorter = math.min(height, width)
    (top, bottom), (left, right) = span(height, shorter), span(width, shorter)
    image = fn.decoders.image(
        _accepted(encoded, height * width), device=device, output_type=types.RGB, jpeg_fancy_upsampling=True
    )
    crop = fn.resize(
        image,
        size=(CROPPED, CROPPED),
        roi_start=fn.stack(top, left),
        roi_end=fn.stack(bottom, right),
        interp_type=types.INTERP_LINEAR,
        antialias=True,
    )
    return fn.crop_mirror_normalize(crop, dtype=types.FLOAT, output_layout="CHW", mean=MEAN, std=STD)


def _accepted(encoded, count):
    """Return the same bytes, or an out-of-bounds error for another format or too many pixels.

    `image_file` refuses more, and says why, wherever Python comes before the graph; NVIDIA's backend has only this.
    A graph cannot raise. Asking for one byte more than there is comes closest, and survives serialisation.
    """
    first, second = encoded[0], encoded[1]
    jpeg, png, webp = (first == 0xFF) & (second == 0xD8), first == 0x89, first == 0x52
    refused = ((jpeg | png | webp) == 0) | (count > MAX_PIXELS)
    return fn.slice(encoded, start=0, end=encoded.shape(dtype=types.INT32)[0] + refused, axes=[0])


DAMAGED = ("Failed to decode sample", "nvImageCodec failure", "Assert on")
"""How DALI begins to say so: by the numbers of its batch, and of its libraries' codes."""
ONE_BY_ONE = {"prefetch_queue_depth": 1, "exec_async": False, "exec_pipelined": False}


@pipeline_def(batch_size=1, num_threads=1, device_id=None, **ONE_BY_ONE)
def _pipeline():
    return pixels(fn.external_source(name="encoded", dtype=types.UINT8, ndim=1))


def preprocessor(graph=_pipeline):
    """Make a single-threaded CPU pipeline of a graph that begins with the external source ``encoded``.

    It gets rebuilt files only. One on which it fails pays for a new pipeline, as DALI's do not recover.
    """
    pipeline = built(graph)

    def preprocess(encoded):
        nonlocal pipeline
        accepted = np.frombuffer(prepare(encoded), np.uint8)
        try:
            (output,) = pipeline.run(encoded=[accepted])
        except Exception as error:
            pipeline = built(graph)
            raise refusal(encoded, _reason(error)) from None
        return np.array(output[0])

    return preprocess


def built(graph):
    """Return a pipeline of the graph, ready to run: that takes as long as a few photographs."""
    pipeline = graph()
    pipeline.build()
    return pipeline


def _reason(error):
    """Return what DALI says it encountered, in one line and in the user's words, without its stack and its advice."""
    text = one_line(error).partition("encountered:")[2] or one_line(error)
    text = text.partition("C++ context")[0].partition("Current pipeline")[0].strip(" :")
    return "its data are damaged or end too early" if text.startswith(DAMAGED) else text
