"""Measures what it costs that batches change in size, on a GPU (or a CPU: there it costs nothing).

    python -m benchmarks.batch_sizes model_repository/resnet50/1/model.onnx [--cpu] [--sizes 5,7,6,8] [--runs 20]

Each line has the median of a run's milliseconds, with numpy arrays in and out as in the server. "one session, in turn"
against "one session, repeated" is what planning anew costs; "a session each" is what the twin's `pad_batches` buys.
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

BACKENDS = Path(__file__).parents[1] / "backends"
sys.path[:0] = [str(BACKENDS / "onnxruntime"), str(BACKENDS)]
batches, cuda, signature = (importlib.import_module(f"onnx_{name}") for name in ("batches", "cuda", "signature"))


def main() -> None:
    """Print a line per way of running the sizes."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_sizes", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", type=Path, help="an ONNX file whose inputs have one free size, the batch's")
    parser.add_argument("--cpu", action="store_true", help="on the CPU")
    parser.add_argument("--sizes", default="5,7,6,8", help="of the batches, in turn (5,7,6,8)")
    parser.add_argument("--runs", type=int, default=20, help="per line (20)")
    given = parser.parse_args()
    if not given.model.is_file():
        parser.error(f"no such file: {given.model}")
    sizes = [int(size) for size in given.sizes.split(",")]
    options = cuda.cuda_options({"parameters": {}, "optimization": {}})

    def session() -> Any:
        return cuda.open_session(str(given.model), ort.SessionOptions(), None if given.cpu else 0, options)

    try:
        one = session()
    except RuntimeError as error:
        parser.error(str(error))
    for size in sorted(set(sizes)):
        show(f"one session, size {size} repeated", one, [size], given.runs)
    show(f"one session, {given.sizes} in turn", one, sizes, given.runs)
    each = batches.SizedSessions({size: session() for size in sorted(set(sizes))})
    each.get_inputs = one.get_inputs
    show(f"a session each, {given.sizes} in turn", each, sizes, given.runs)


def show(what: str, session: Any, sizes: Sequence[int], runs: int) -> None:
    """Print the median and the largest time of so many runs, after one of each size."""
    feeds = [feed(session.get_inputs(), size) for size in sizes]
    seconds = []
    for batch in islice(cycle(feeds), runs + len(feeds)):
        began = time.perf_counter()
        session.run(None, batch)
        seconds.append(time.perf_counter() - began)
    timed = [1e3 * each for each in seconds[len(feeds) :]]
    print(f"{what:<40} median {statistics.median(timed):8.2f} ms, most {max(timed):8.2f} ms", flush=True)


def feed(inputs: Sequence[Any], size: int) -> dict[str, np.ndarray]:
    """Return noise for these inputs of a session, in a batch of this size."""
    arrays = {}
    for tensor in inputs:
        shape = [size if not isinstance(n, int) else n for n in tensor.shape]
        arrays[tensor.name] = (
            np.random.default_rng(0).random(shape).astype(batches.NUMPY_TYPES[signature.TRITON_TYPES[tensor.type]])
        )
    return arrays


if __name__ == "__main__":
    main()
