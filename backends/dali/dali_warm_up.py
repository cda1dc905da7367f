"""Runs a graph on its author's samples before the first request.

The first runs on a card load kernels, set decoders up and make room for pixels: no request should wait for that.
"""

import time

from cuda_errors import is_lost
from dali_graph import reason
from messages import one_line


def make_samples(makers, inputs, say):
    """Return the author's samples, each as input name -> array; none if there is no function for an input, or it fails.

    `makers`: input name -> function that returns them. `say()` gets the line about what fails.
    """
    try:
        columns = [makers[name]() for name in inputs] if makers else []
        return [dict(zip(inputs, values, strict=True)) for values in zip(*columns, strict=True)]
    except Exception as error:
        say(f"no warm-up: WARM_UP gives no samples: {type(error).__name__}: {one_line(error)}")
        return []


def warm_up(run, samples, most, say):
    """Run each sample alone, then a batch of `most` of them (0 or 1: none); return the ms of each run.

    `run()` takes a list of samples, and raises what DALI raises. What fails is said by `say()`, in one line for all,
    and keeps no model from being served. Raises RuntimeError if no sample runs, or if this process has lost its GPU.
    """
    ms, good, failures = [], [], []
    for number, sample in enumerate(samples, 1):
        if try_run(run, [sample], f"sample {number} of {len(samples)}", ms, failures):
            good.append(sample)
    if samples and not good:
        raise RuntimeError(f"none of the samples of WARM_UP runs; {failures[0]}")
    if good and most > 1:
        try_run(run, [good[number % len(good)] for number in range(most)], f"a batch of {most}", ms, failures)
    if failures:
        say(f"no warm-up with {'; '.join(failures)}")
    return ms


def try_run(run, samples, name, ms, failures):
    """Run these samples; add how long it took to `ms`, or `name` and the error to `failures`; return whether it ran.

    Raises RuntimeError if the GPU is lost.
    """
    began = time.monotonic()
    try:
        run(samples)
    except Exception as error:
        failures.append(f"{name}: {one_line(reason(error))}")
        if is_lost(error):
            raise RuntimeError(failures[-1]) from None
        return False
    ms.append(1e3 * (time.monotonic() - began))
    return True
