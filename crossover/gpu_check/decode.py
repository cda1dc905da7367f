"""Decoding photographs on the GPU: against the CPU's result and Pillow's, by which decoder, and how fast."""

import contextlib
import ctypes
import importlib.util
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from nvidia.dali import Pipeline, fn, pipeline_def, types

from crossover.gpu_check.files import make_photographs
from crossover.gpu_check.finding import REPORT, Finding, judge, ok, skipped
from preprocess import image_dali, image_pillow
from preprocess.image_decoder import decoders
from preprocess.image_reencode import prepare
from serving.nvml import ask, nvml, used_card
from workloads.image import photograph_files

MEAN, MAX = 0.004, 0.05
"""Bounds of the difference from the references, in normalised units; a grey level is 0.0175."""
EDGES = 0.001  # the share of values that may lie above MAX, at sharp edges
BATCHES = (1, 32)
REMEDY = f"serve with `--on-cpu image_preprocess`, and {REPORT}"
HARDWARE = 3  # nvJPEG's NVJPEG_BACKEND_HARDWARE


def examine(gpu: bool, short: bool) -> Iterator[Finding]:
    """Compare the decoders on scikit-learn's photographs, then measure them.

    Pixels on the CPU are held to Pillow's, those on the GPU to both. `short` measures half a second per batch size on
    the CPU, not two. Without `gpu` the findings about it are skipped.
    """
    files = [path.read_bytes() for path in photograph_files()]
    pillow = np.stack([image_pillow.preprocess(file) for file in files])
    encoded = [np.frombuffer(prepare(file), np.uint8) for file in files]
    cpu = run_once(make_pipeline("cpu", len(files)), encoded)
    seconds = 0.5 if short else 2.0
    yield judge_pixels("decode on CPU", cpu, {"Pillow": pillow})
    yield measure("cpu rate", "cpu", encoded, seconds)
    yield examine_formats(make_photographs(), gpu)
    if not gpu:
        yield from (skipped(name, "no GPU is used") for name in ("decode on GPU", "gpu rate", "jpeg hardware"))
        return
    began = time.perf_counter()
    pipeline = make_pipeline("mixed", len(files))
    pixels = run_once(pipeline, encoded)
    took = time.perf_counter() - began
    yield judge_pixels("decode on GPU", pixels, {"CPU": cpu, "Pillow": pillow}, f"; up and run once after {took:.1f} s")
    with watch_jpeg_engine() as read_use:
        yield measure("gpu rate", "mixed", encoded, max(seconds, 1.5))
    yield examine_hardware(read_use())


def make_pipeline(device: str, batch: int) -> Pipeline:
    """Build the server's graph on the CPU ("cpu") or the GPU ("mixed"), with a thread per core.

    It takes `batch` encoded files as its input `encoded`: uint8, one dimension each.
    """

    @pipeline_def(
        batch_size=batch,
        num_threads=len(os.sched_getaffinity(0)),
        device_id=0 if device == "mixed" else None,
        **image_dali.ONE_BY_ONE,
    )
    def graph():
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        return image_dali.pixels(encoded, device=device)

    return image_dali.built(graph)


def run_once(pipeline: Pipeline, encoded: list[np.ndarray]) -> np.ndarray:
    """Return the pixels of a batch of encoded photographs, in the host's memory: float32 (batch, 3, 224, 224)."""
    pipeline.feed_input("encoded", encoded)
    (output,) = pipeline.run()
    output = output.as_cpu()
    return np.stack([np.array(output[index]) for index in range(len(encoded))])


def judge_pixels(name: str, pixels: np.ndarray, references: dict[str, np.ndarray], more: str = "") -> Finding:
    """Return the differences from the references as a finding; `more` is added to its line.

    `pixels` and each reference (name -> array) are float32 (batch, 3, 224, 224) in normalised units. They agree if the
    mean difference is MEAN at most, and a share of EDGES at most of the values is further apart than MAX.
    """
    texts, figures, good = [], {}, True
    for reference, expected in references.items():
        difference = np.abs(pixels - expected)
        mean, most, above = float(difference.mean()), float(difference.max()), float((difference > MAX).mean())
        good &= bool(np.isfinite(pixels).all()) and mean <= MEAN and above <= EDGES
        edges = f", above it in {above:.3%} of the values (edges)" if above else ""
        texts.append(f"from {reference} mean {mean:.5f} (limit {MEAN}), max {most:.3f} (limit {MAX}{edges})")
        figures[reference] = {"mean": mean, "max": most, "above": above}
    text = f"difference {'; '.join(texts)}{more}"
    return judge(name, good, text, REMEDY, **figures)


def examine_formats(photographs: dict[str, bytes], gpu: bool) -> Finding:
    """Compare a batch of files in several forms: the GPU's with the CPU's, or without a GPU the CPU's with Pillow's.

    `photographs`: what a form is called -> a file of it. For none may the mean difference be above MEAN.
    """
    encoded = [np.frombuffer(prepare(file), np.uint8) for file in photographs.values()]
    pixels = run_once(make_pipeline("cpu", len(encoded)), encoded)
    if gpu:
        reference, expected = "the CPU", pixels
        pixels = run_once(make_pipeline("mixed", len(encoded)), encoded)
    else:
        reference, expected = "Pillow", np.stack([image_pillow.preprocess(file) for file in photographs.values()])
    means = dict(zip(photographs, np.abs(pixels - expected).mean((1, 2, 3)).tolist(), strict=True))
    listed = ", ".join(f"{name} {mean:.4f}" for name, mean in means.items())
    text = f"mean difference of the {'GPU' if gpu else 'CPU'} from {reference} (limit {MEAN}): {listed}"
    return judge("formats", all(mean <= MEAN for mean in means.values()), text, REMEDY, means=means)


def examine_decoders(gpu: bool, short: bool) -> Iterator[Finding]:
    """Say which decoder the log below DALI names last for each form of file; `short`: for two forms of JPEG only."""
    photographs = make_photographs()
    names = ("JPEG", "progressive JPEG") if short else tuple(photographs)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(number)) for number in range(len(names))]
        for path, name in zip(paths, names, strict=True):
            path.write_bytes(photographs[name])
        taken = dict(zip(names, decoders(paths, "mixed" if gpu else "cpu"), strict=True))
    listed = ", ".join(f"{name} {decoder or 'unknown'}" for name, decoder in taken.items())
    yield ok("decoders", f"the last that the log names {'for the GPU' if gpu else 'on the CPU'}: {listed}", **taken)


def measure(name: str, device: str, encoded: list[np.ndarray], seconds: float) -> Finding:
    """Measure the graph alone, one batch after the other, for so many seconds at each of BATCHES.

    A batch is done when its pixels are in the host's memory. Three batches of each size come first and do not count.
    The figures are photographs per second.
    """
    rates = {}
    for batch in BATCHES:
        pipeline = make_pipeline(device, batch)
        files = [encoded[index % len(encoded)] for index in range(batch)]
        for _ in range(3):
            run_once(pipeline, files)
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            pipeline.feed_input("encoded", files)
            for output in pipeline.run():
                output.as_cpu()
            count += batch
        rates[batch] = count / spent
    listed = ", ".join(f"{rate:.0f} at batch {batch}" for batch, rate in rates.items())
    text = f"photographs of 640x427 per second, from JPEG to the tensor in the host's memory: {listed}"
    if device == "cpu":
        text += f", on {len(os.sched_getaffinity(0))} cores"
    return ok(name, text, **{f"batch_{batch}": rate for batch, rate in rates.items()})


def examine_hardware(most_use: int | None) -> Finding:
    """Say whether the card has a hardware JPEG decoder, and whether it worked; `most_use` is its use in percent."""
    engines, why = count_engines()
    there = why or f"nvJPEG finds {engines} engines"
    figures = {"engines": engines, "use_percent": most_use}
    if most_use is None:
        return ok("jpeg hardware", f"{there}; whether it was used, NVML does not say", **figures)
    if most_use:
        return ok("jpeg hardware", f"{there}, up to {most_use} % busy while decoding", **figures)
    return ok("jpeg hardware", f"{there}; idle while decoding: CUDA kernels decoded", **figures)


def count_engines() -> tuple[int | None, str]:
    """Return how many JPEG engines nvJPEG finds on the card, and why not if that cannot be told."""
    package = importlib.util.find_spec("nvidia")
    roots = package.submodule_search_locations or [] if package else []
    paths = [path for root in roots for path in Path(root).glob("*/lib/libnvjpeg.so.*")]
    try:
        library = ctypes.CDLL(str(paths[0]) if paths else "libnvjpeg.so.13")
    except OSError as error:
        return None, f"nvJPEG does not load ({error})"
    handle, engines, cores = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    if status := library.nvjpegCreateEx(HARDWARE, None, None, 0, ctypes.byref(handle)):
        return 0, f"nvJPEG has no hardware decoder for this card (status {status})"
    status = library.nvjpegGetHardwareDecoderInfo(handle, ctypes.byref(engines), ctypes.byref(cores))
    library.nvjpegDestroy(handle)
    return (None, f"nvJPEG does not count engines (status {status})") if status else (engines.value, "")


@contextlib.contextmanager
def watch_jpeg_engine() -> Iterator[Callable[[], int | None]]:
    """Watch how busy the card's JPEG engine is while the block runs; yields a reader of the most so far, in percent.

    The reader returns None where NVML does not say.
    """
    ended = threading.Event()
    samples: list[int] = []

    def watch() -> None:
        with nvml() as library:
            card = used_card()
            if library is None or card is None:
                return
            handle = ask(library, "nvmlDeviceGetHandleByIndex", card.index)
            while not ended.wait(0.1):
                if use := ask(library, "nvmlDeviceGetJpgUtilization", handle):
                    samples.append(use[0])

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(samples, default=None)
    finally:
        ended.set()
        thread.join(5)
