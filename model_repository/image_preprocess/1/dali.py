"""The graph of `image_preprocess`, serialised when the model loads: for the GPU if CUDA works, else for the CPU.

The twin hides the GPUs from instances of kind CPU, by `CUDA_VISIBLE_DEVICES`.
"""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
from nvidia.dali import fn, pipeline_def, types
from nvidia.dali.plugin.triton import autoserialize

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # the stub ignores PYTHONPATH
from preprocess import image_file
from preprocess.image_dali import pixels
from preprocess.image_reencode import prepare
from preprocess.limits import MAX_PIXELS


def cuda_works():
    """Return whether this process can use a CUDA device, and may."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":  # CUDA reads it but once, which may be over
        return False
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


GPU = cuda_works()


@autoserialize
@pipeline_def(batch_size=32, num_threads=1, device_id=0 if GPU else None)
def image_preprocess():
    """Build the graph: encoded photographs -> pixels."""
    encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
    return pixels(encoded, device="mixed" if GPU else "cpu")


# What follows is for the twin; native DALI ignores it.
PREPARE = {"encoded": lambda sample: np.frombuffer(prepare(sample), np.uint8)}


def share(sample):
    """Return an image's share of the pixels that one may have at most, from its header."""
    width, height = image_file.size(sample.tobytes())
    return width * height / MAX_PIXELS


SHARE = {"encoded": share}


def samples():
    """Return a small file for each way that decoding goes: JPEG, progressive JPEG, PNG, WebP; all of one gradient."""
    return [np.fromfile(path, np.uint8) for path in sorted((Path(__file__).resolve().parents[1] / "warmup").iterdir())]


WARM_UP = {"encoded": samples}
