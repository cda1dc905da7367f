"""Stage f: what it costs that tensors pass from step to step through the host's memory, instead of on the card.

    python -m benchmarks.gpu.movement decoder [--gpu 0]                 # the probes: one JSON object per batch
    python -m benchmarks.gpu.movement network model.onnx [--gpu 0]

Between DALI's output and the network's input a tensor is copied to the host, within it (COPIES), and to the card again.
DLPack between the steps could save that much at most, as what it costs itself is not counted.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np

from benchmarks.gpu.bench import Bench
from models import artefacts
from serving import ROOT
from serving.server import Unavailable

BATCHES = (1, 8, 16)
SHAPE = (3, 224, 224)
COPIES = 2, 1
"""Copies within the host, by the step that decodes and by the network's, as the Python backend's sources have them: the
first stub copies its array into its shared memory (PbTensor::SaveToSharedMemory), tritonserver from there into the
ensemble's tensor (InferResponse::Send), and from that into the second stub's shared memory (GetInputTensor). The
ensemble hands a tensor on without a copy, and the second stub's array is a view."""
MERGE = 1
"""More in the second step, where requests go together: into one batch."""
PARTS = ("device to host", "copy within the host", "host to device")
WARM_UP, RUNS = 5, 40
LIMITS = (10, 90)
"""Percentiles of the runs that are a part's range."""
COST = 12.0
"""Seconds of a probe: libraries, pipeline, a session per batch."""


def measure_movement(bench: Bench) -> None:
    """Stage f: copies between the steps, beside the network alone with its input on the card."""
    network = bench.site.networks() / artefacts.RESNET
    gpu = ["--gpu", "0"] if bench.site.on_gpu else []
    decoder = bench.attempt("f", "copies after DALI", COST, lambda: run_probe(bench, ["decoder", *gpu]))
    given = ["network", str(network), *gpu]
    after = bench.attempt("f", "copies before the network", COST, lambda: run_probe(bench, given))
    write_movement(bench, decoder or {}, after or {})


Range = tuple[float, float, float]
"""Median, and the percentiles LIMITS, in ms."""
Found = dict[int, dict[str, Range]]
"""Batch -> part -> its Range."""


def run_probe(bench: Bench, arguments: list[str]) -> Found:
    """Run a probe on the server's cores, in a process of its own. Raises Unavailable with its last words."""
    command = [sys.executable, "-m", "benchmarks.gpu.movement", *arguments, "--cores", *map(str, bench.site.cores)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable((done.stderr.strip().splitlines() or ["the probe ended without a word"])[-1])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["batch"]: line["parts"] for line in lines}


def write_movement(bench: Bench, *probes: Found) -> None:
    """Write what the probes found, and what could be won at most where they found all parts of it."""
    for batch in dict.fromkeys(batch for probe in probes for batch in probe):
        parts = {name: part for probe in probes for name, part in probe.get(batch, {}).items()}
        size = f"batch {batch}"
        for name, (value, low, high) in parts.items():
            bench.record.figure("f", size, "movement", name, value, "ms", low, high, n=RUNS)
        missing = [name for name in PARTS if name not in parts]
        if missing:
            why = "a probe failed" if bench.site.on_gpu else "there is no GPU"
            bench.record.note(f"{size}: nothing of {', '.join(missing)}, as {why}", "f")
        if not missing or not bench.site.on_gpu:
            value, low, high = most_to_win(parts, batch)
            copies = sum(host_copies(batch))
            bench.record.figure("f", size, "movement", "most to win", value, "ms", low, high, copies=copies)


def host_copies(batch: int) -> tuple[int, int]:
    """Return how often a batch is copied within the host, by the step that decodes and by the network's."""
    before, after = COPIES
    return before, after + (MERGE if batch > 1 else 0)


def most_to_win(parts: dict[str, Range], batch: int) -> Range:
    """Return the sum of all copies between two steps; the limits are the sums of the parts' limits."""
    times = 1, sum(host_copies(batch)), 1
    return add([(number, parts.get(name)) for number, name in zip(times, PARTS, strict=True)])


def most_of_one_step(parts: dict[str, Range], batch: int) -> Range:
    """Return the copies of the step that copies longer. Steps work side by side, and the slowest bounds the rate."""
    before, after = host_copies(batch)
    within = parts.get("copy within the host")
    steps = [(before, within), (1, parts.get("device to host"))], [(after, within), (1, parts.get("host to device"))]
    return max(map(add, steps))


def add(parts: list[tuple[int, Range | None]]) -> Range:
    """Return the sum of parts, each so many times; those that were not measured count nothing."""
    value, low, high = (sum(times * part[at] for times, part in parts if part) for at in range(3))
    return value, low, high


# The probes -------------------------------------------------------------------------------------------------------


def probe_decoder(gpu: int | None) -> Iterator[tuple[int, dict[str, Range]]]:
    """Yield (batch, parts): copying DALI's output to the host, and from there into shared memory."""
    decode = make_decoder(gpu)
    for batch in BATCHES:
        pixels, to_host = decode(batch)
        runs: dict[str, Callable[[], object]] = {"device to host": to_host} if to_host else {}
        with in_shared_memory(pixels) as copy:
            yield batch, measure({**runs, "copy within the host": copy})


def probe_network(network: Path, gpu: int | None) -> Iterator[tuple[int, dict[str, Range]]]:
    """Yield (batch, parts): copying pixels to the card, and the network from either memory."""
    for batch in BATCHES:
        pixels = np.random.default_rng(batch).standard_normal((batch, *SHAPE)).astype(np.float32)
        yield batch, measure(network_runs(network, gpu, pixels))


@contextlib.contextmanager
def in_shared_memory(array: np.ndarray) -> Iterator[Callable[[], object]]:
    """Yield what copies the array into shared memory, which is removed afterwards."""
    shared = SharedMemory(create=True, size=array.nbytes)
    kept: list[np.ndarray] = [np.ndarray(array.shape, array.dtype, buffer=shared.buf)]
    try:
        yield lambda: np.copyto(kept[0], array)
    finally:
        kept.clear()
        shared.close()
        shared.unlink()


def make_decoder(gpu: int | None) -> Callable[[int], tuple[np.ndarray, Callable[[], object] | None]]:
    """Return a function: batch -> (pixels in host memory, what copies them there once more; None without a GPU)."""
    from crossover.gpu_check.decode import make_pipeline
    from preprocess.image_reencode import prepare
    from workloads.image import photograph_files

    pipeline = make_pipeline("cpu" if gpu is None else "mixed", max(BATCHES))
    files = [np.frombuffer(prepare(path.read_bytes()), np.uint8) for path in photograph_files()]

    def decode(batch: int) -> tuple[np.ndarray, Callable[[], object] | None]:
        pipeline.feed_input("encoded", [files[number % len(files)] for number in range(batch)])
        (output,) = pipeline.run()

        def to_host() -> np.ndarray:
            return np.asarray(output.as_cpu().as_tensor())  # as backends/dali/model.py does it

        return np.array(to_host()), None if gpu is None else to_host

    return decode


def network_runs(network: Path, gpu: int | None, pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return what runs the network: from host memory and, with a GPU, from the card, and what copies there."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1 if gpu is not None else 0
    if gpu is None:
        session = ort.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        return {"network, input in host memory": lambda: session.run(["logits"], {"pixels": pixels})}
    ort.preload_dlls()
    cuda = ("CUDAExecutionProvider", {"device_id": str(gpu), "cudnn_conv_algo_search": "HEURISTIC"})
    session = ort.InferenceSession(str(network), options, providers=[cuda, "CPUExecutionProvider"], enable_fallback=0)
    if session.get_providers()[0] != cuda[0]:
        raise SystemExit("ONNX Runtime runs the network on the CPU, although a GPU was meant: crossover gpu-check")
    there = ort.OrtValue.ortvalue_from_numpy(pixels, "cuda", gpu)
    binding = session.io_binding()
    binding.bind_ortvalue_input("pixels", there)
    binding.bind_output("logits", "cpu")

    def run_bound() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return {
        "host to device": lambda: there.update_inplace(pixels),
        "network, input in host memory": lambda: session.run(["logits"], {"pixels": pixels}),
        "network, input on the card": run_bound,
    }


def measure(runs: dict[str, Callable[[], object]]) -> dict[str, Range]:
    """Return the Range of each, measured in turns after WARM_UP runs each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(WARM_UP + RUNS):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - began) * 1e3)
    return {name: describe(each) for name, each in times.items()}


def describe(times: list[float]) -> Range:
    """Return the median of some times, and their percentiles LIMITS."""
    low, high = np.percentile(times, LIMITS)
    return float(np.median(times)), float(low), float(high)


def main(arguments: list[str] | None = None) -> None:
    """Print one JSON object per batch."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.movement")
    parser.add_argument("probe", choices=("decoder", "network"))
    parser.add_argument("network", type=Path, nargs="?", help="ResNet-50's model.onnx, for the probe of that name")
    parser.add_argument("--gpu", type=int, help="its number; default: the CPU, without what needs a GPU")
    parser.add_argument("--cores", type=int, nargs="+", help="that it keeps to")
    options = parser.parse_args(arguments)
    if (options.probe == "network") != bool(options.network):
        parser.error("a file is for the probe `network`, which needs one")
    if options.cores:
        os.sched_setaffinity(0, options.cores)
    found = probe_network(options.network, options.gpu) if options.network else probe_decoder(options.gpu)
    for batch, parts in found:
        print(json.dumps({"batch": batch, "parts": parts}), flush=True)


if __name__ == "__main__":
    main()
