"""Runs a network on a GPU in batches of few sizes, each in a session of its own, and once before the first request.

Since ONNX Runtime 1.20 a convolution on CUDA keeps cuDNN's plan for its last shape only, and makes a new one whenever
the size of the batch changes (microsoft/onnxruntime issue 23006: five shapes in turn take 500 ms instead of 30). A
session that sees one size only keeps its plans. So a batch is filled up with zeros to the next size.
"""

import re
import time

import numpy as np
from cuda_errors import is_lost, is_out_of_memory, shorten
from messages import one_line

SIZES = 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128  # and the largest that the config allows
WARM_UP_SECONDS = 30  # no further size is tried after that
FAULTY = re.compile(r"CUDA failure|CUDNN|cuDNN|CUBLAS|CUFFT|libcu\w+\.so")  # in errors that no input causes
TOLERANCE = 0.02  # of an output's largest value: what the size of a batch may change, in TF32 too


class SizedSessions:
    """Sessions of one network, by the size of the batch that each of them sees."""

    def __init__(self, sessions):
        self.sessions, self.most = sessions, max(sessions)

    def run(self, names, feed, options=None):
        """Return the outputs of these names; a batch larger than all sizes goes in several runs."""
        rows = len(next(iter(feed.values())))
        if rows > self.most:
            starts = range(0, rows, self.most)
            parts = [self.run(names, {n: a[at : at + self.most] for n, a in feed.items()}, options) for at in starts]
            return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        size = min(size for size in self.sessions if size >= rows)
        outputs = self.sessions[size].run(names, {n: filled_up(array, size) for n, array in feed.items()}, options)
        return [output[:rows] for output in outputs]


def filled_up(array, rows):
    """Return an array with rows of zeros behind its own, or itself if it has as many."""
    if len(array) == rows:
        return array
    filled = np.zeros((rows, *array.shape[1:]), array.dtype)
    filled[: len(array)] = array
    return filled


def warm_up(config, session, open_another, least=0, pad=True):
    """Run the network once per size of a batch; return (the session or SizedSessions to use, the sizes that ran).

    CUDA loads a kernel when it first runs, and cuDNN plans each shape: seconds that no request should wait for.
    `open_another()` returns one more session; `least`: how many elements a sample needs, for inputs of one free size,
    of which only one sample is tried. Inputs of text or of several free sizes are not tried. There is one session if
    sizes are free, if not `pad`, or if a row's result depends on the others. Raises RuntimeError where the GPU cannot
    run the network at all: cuDNN is missing, which nothing asks for until then, or memory is short for the first size.
    """
    names = [output.name for output in session.get_outputs()]
    pad = pad and config["max_batch_size"] > 1 and not free_sizes(config)
    sessions, results, began = {}, {}, time.monotonic()
    for rows, feed in feeds(config, least):
        if time.monotonic() - began > WARM_UP_SECONDS:
            break
        try:
            used = open_another() if pad and sessions else session
            results[rows] = used.run(names, feed)
        except Exception as error:
            text = one_line(shorten(error))
            if is_lost(error) or (not sessions and (is_out_of_memory(error) or FAULTY.search(text))):
                raise RuntimeError(f"the GPU does not run the network: {text}") from None
            print(f"{config['name']}: no warm-up with {rows} rows: {text}", flush=True)
            if is_out_of_memory(error):
                break
            continue
        sessions[rows] = used
    if pad and sessions and are_independent(results):
        return SizedSessions(sessions), list(sessions)
    return session, list(sessions)


def are_independent(results):
    """Return whether the first row's result is the same with any number of zeros behind; `results`: size -> outputs."""
    if any(np.shape(output)[:1] != (rows,) for rows, outputs in results.items() for output in outputs):
        return False
    first, *others = ([output[:1] for output in outputs] for outputs in results.values())
    return all(
        np.array_equal(a, b)
        if a.dtype.kind not in "fc"
        else np.abs(a - b).max() <= TOLERANCE * max(np.abs(a).max(), 1e-6)
        for other in others
        for a, b in zip(first, other, strict=True)
    )


def feeds(config, least):
    """Yield (rows or None, input name -> array) per size of a batch: a row of noise, or of ones if whole, then zeros.

    The first row differs from those that fill up, or a network that mixes rows would not show it.
    """
    free, most = free_sizes(config), config["max_batch_size"]
    types = {tensor["name"]: NUMPY_TYPES.get(tensor["data_type"]) for tensor in config["input"]}
    if None in types.values() or len(free) > 1 or (free and not least):
        return
    sizes = [1] if free else [*(size for size in SIZES if size < most), most]
    for rows in sizes if most else [None]:
        feed = {}
        for name, dims in dimensions(config).items():
            shape = ([] if rows is None else [rows]) + with_elements(dims, least)
            feed[name] = np.zeros(shape, types[name])
            first = feed[name][:1] if shape else feed[name]
            first[...] = np.random.default_rng(0).standard_normal(first.shape) if first.dtype.kind == "f" else 1
        yield rows, feed


def free_sizes(config):
    """Return the sizes that the config leaves free, of all inputs."""
    return [size for dims in dimensions(config).values() for size in dims if size < 0]


def dimensions(config):
    """Return input name -> dims of a sample, as the network has them."""
    return {t["name"]: [int(n) for n in t.get("reshape", {}).get("shape", t["dims"])] for t in config["input"]}


def with_elements(dims, least):
    """Return dims with their one free size set to what gives `least` elements."""
    fixed = int(np.prod([size for size in dims if size >= 0]))
    return [size if size >= 0 else -(-least // max(fixed, 1)) for size in dims]


NUMPY_TYPES = {
    "TYPE_BOOL": np.bool_,
    "TYPE_UINT8": np.uint8,
    "TYPE_UINT16": np.uint16,
    "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
}
