"""ONNX Runtime and its CUDA provider, and the networks' logits on the GPU against those of the CPU."""

import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from common import messages
from crossover.gpu_check.finding import REPORT, Finding, judge, ok, problem, skipped
from models import artefacts, fp16, standin
from serving.model_loader import STEPS
from workloads.audio import AUDIO
from workloads.image import photograph_files

SUFFIX = "ExecutionProvider"
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
NETWORKS = {"resnet50": (artefacts.RESNET, "pixels"), "wav2vec2": (artefacts.WAV2VEC2, "waveform")}
"""Network -> its file within the model repository, its input."""
LIMITS = {"TF32": 0.05, "FP32": 0.01, "FP16": 0.05}
"""Precision on the GPU -> largest difference from the CPU's logits, as a share of their standard deviation."""
LIBRARIES = ("libcudart", "libcublas", "libcudnn", "libcufft", "libcurand", "libnvrtc")
PRECISIONS = {
    "TF32": f"serve with --no-gpu, and {REPORT}",
    "FP32": f"serve with --no-gpu, and {REPORT}",
    "FP16": "serve with --weights real",
}
"""Precision -> what to do where the card does not run it."""
FAILURE = re.compile(r"\b(?:CUDA|CUDNN|CUBLAS|CUFFT|CURAND)\w* failure \d+: [^;\n]*[^;\s]")
NODE = re.compile(r"running (\w+) node\. Name:'([^']*)'")
MISSING = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object")
WARM_UP, RUNS = 3, 10


def examine(gpu: bool, weights: str, short: bool) -> Iterator[Finding]:
    """Look at the providers, make a CUDA session and compare the networks; `weights`: "real" or "tiny".

    Without `gpu`, or if ONNX Runtime cannot use it, the networks run on the CPU only, and what compares is skipped.
    `short` compares TF32 alone.
    """
    providers = [name.removesuffix(SUFFIX) for name in ort.get_available_providers()]
    text = f"{ort.__version__}, providers {', '.join(providers)}"
    lacks = "it has no CUDA provider, although the GPU could be used"
    if gpu and CUDA not in ort.get_available_providers():
        yield problem("onnx runtime", f"{text}: {lacks}", "run `make env GPU=1`")
        gpu = False
    else:
        yield ok("onnx runtime", text, providers=providers)
    with tempfile.TemporaryDirectory() as folder:
        tiny = standin.build(folder)
        if gpu and weights == "tiny" and not short:
            fp16.complete(tiny)
        if gpu:
            finding = examine_session(tiny / artefacts.RESNET)
            yield finding
            gpu = finding.state != "problem"
        else:
            yield skipped("cuda session", "no GPU is used")
        repository = STEPS if weights == "real" else tiny
        for name, read in (("resnet50", read_pixels), ("wav2vec2", read_waveform)):
            path, input_name = NETWORKS[name]
            yield from compare(f"{name} ({weights})", repository / path, {input_name: read()}, gpu, short)


def read_pixels() -> np.ndarray:
    """Return both built-in photographs as tensors: float32 (2, 3, 224, 224)."""
    from preprocess.image_pillow import preprocess

    return np.stack([preprocess(path.read_bytes()) for path in photograph_files()])


def read_waveform() -> np.ndarray:
    """Return the built-in example clip: float32 (1, samples) at 16 kHz."""
    from preprocess.audio import waveform

    assert AUDIO.example
    return waveform(AUDIO.example.read_bytes())[None]


def examine_session(path: Path) -> Finding:
    """Make a session on the GPU and say which libraries it loaded, and where its nodes ran."""
    began = time.perf_counter()
    ran: Counter[str] = Counter()
    with catch_errors() as read_errors, tempfile.TemporaryDirectory() as folder:
        if preload := getattr(ort, "preload_dlls", None):
            preload()
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "nodes"))
        session = open_session(path, "TF32", options)
        session.run(None, {"pixels": read_pixels()})
        profile = json.loads(Path(session.end_profiling()).read_text())
        used = session.get_providers()
    seconds = time.perf_counter() - began
    for event in profile:
        if provider := event.get("args", {}).get("provider"):
            ran[provider.removesuffix(SUFFIX)] += 1
    libraries = sorted({str(path) for path in loaded_libraries()})
    figures: dict[str, Any] = {"seconds": seconds, "providers": used, "nodes": dict(ran), "libraries": libraries}
    if used[0] != CUDA or not ran[CUDA.removesuffix(SUFFIX)]:
        errors = read_errors()
        return problem("cuda session", f"it runs on the CPU: {shorten(errors)}", advise(errors), **figures)
    nodes = ", ".join(f"{count} on {provider}" for provider, count in ran.items())
    folders = ", ".join(sorted({str(Path(each).parent) for each in libraries}))
    text = f"{used[0]}, up and run once after {seconds:.1f} s, nodes: {nodes}; CUDA libraries of {folders}"
    return ok("cuda session", text, **figures)


def compare(name: str, path: Path, feed: dict[str, np.ndarray], gpu: bool, short: bool) -> Iterator[Finding]:
    """Compare a network's logits on the GPU, in TF32 and unless `short` in FP32 and FP16, with those of the CPU.

    `path` is the network's ONNX file, `feed` its inputs by name; FP16 is of the file beside it, and skipped without
    one. Yields a finding per precision; a run that fails is a problem, and the next precision goes on.
    """
    began = time.perf_counter()
    session = ort.InferenceSession(str(path), providers=[CPU])
    [reference] = session.run(["logits"], feed)
    cpu_ms = measure_ms(lambda: session.run(["logits"], feed), 1, 1)
    rows = f"batch of {len(reference)}"
    if not gpu:
        shape = "x".join(map(str, reference.shape))
        yield skipped(name, f"no GPU is used; {rows} on the CPU: logits {shape}, {cpu_ms:.1f} ms", cpu_ms=cpu_ms)
        return
    half = path.with_name("model.fp16.onnx")
    for precision in ("TF32",) if short else PRECISIONS:
        if precision == "FP16" and not half.is_file():
            yield skipped(name, "FP16: not converted; `crossover models --fp16` does it")
            continue
        try:
            with catch_errors() as read_errors:
                session = open_session(half if precision == "FP16" else path, precision)
                [logits] = session.run(["logits"], feed)
                gpu_ms = measure_ms(lambda: session.run(["logits"], feed), WARM_UP, RUNS)  # noqa: B023
        except Exception as error:  # ONNX Runtime has many, and none of them is to end the check
            text = f"{precision}: the card does not run it: {explain_failure(error)}"
            yield problem(name, text, PRECISIONS[precision], precision=precision, error=str(error))
            continue
        if session.get_providers()[0] != CUDA:
            errors = read_errors()
            yield problem(name, f"{precision}: it runs on the CPU: {shorten(errors)}", advise(errors))
            continue
        yield judge_logits(name, precision, reference, logits, gpu_ms, cpu_ms, time.perf_counter() - began)


def judge_logits(
    name: str, precision: str, reference: np.ndarray, logits: np.ndarray, gpu_ms: float, cpu_ms: float, seconds: float
) -> Finding:
    """Return the difference of two arrays of logits, whose last axis is the classes, as a finding.

    They agree if all are finite and no two are further apart than the precision's share (LIMITS) of the reference's
    standard deviation. The times are of one batch in ms; `seconds` is what the comparison has taken so far.
    """
    difference = np.abs(logits - reference)
    spread = float(reference.std())
    share = float(difference.max()) / spread if spread else float("inf")
    same = np.mean(logits.argmax(-1) == reference.argmax(-1))
    good = bool(np.isfinite(logits).all()) and share <= LIMITS[precision]
    text = (
        f"{precision}: logits differ from the CPU's by {difference.max():.2g} at most, {difference.mean():.2g} in the "
        f"mean ({share:.2%} of their deviation, limit {LIMITS[precision]:.0%}); top-1 the same in {same:.1%}; "
        f"{gpu_ms:.2f} ms for a batch of {len(logits)}, CPU {cpu_ms:.1f} ms"
    )
    return judge(
        name, good, text, f"try --no-gpu, and {REPORT}", precision=precision, share=share, same_top1=float(same),
        max=float(difference.max()), mean=float(difference.mean()), gpu_ms=gpu_ms, cpu_ms=cpu_ms, seconds=seconds,
    )  # fmt: skip


def open_session(path: Path, precision: str, options: ort.SessionOptions | None = None) -> ort.InferenceSession:
    """Return a session on the first card, in TF32, FP32 or, of a network that was converted, FP16.

    Without the libraries of CUDA it is on the CPU, as its providers say. What else goes wrong raises.
    """
    cuda = {"device_id": "0", "use_tf32": "1" if precision == "TF32" else "0", "cudnn_conv_algo_search": "HEURISTIC"}
    return ort.InferenceSession(str(path), options, providers=[(CUDA, cuda), CPU], enable_fallback=0)


def measure_ms(run: Callable[[], Any], warm_up: int, runs: int) -> float:
    """Return the median time of some runs in ms, after others that do not count."""
    times = []
    for _ in range(warm_up + runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return float(np.median(times[warm_up:]) * 1e3)


def loaded_libraries() -> Iterator[Path]:
    """Yield the CUDA libraries that this process has loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.partition("/")[2] and "/" + line.partition("/")[2])
        if path.name.startswith(LIBRARIES):
            yield path


@contextlib.contextmanager
def catch_errors() -> Iterator[Callable[[], str]]:
    """Collect what libraries write to this process's standard output and error; yields a reader of it.

    It is written to standard error as well when the block ends, where the check's output is kept.
    """
    kept = [os.dup(1), os.dup(2)]
    text = ""
    with tempfile.TemporaryFile("w+", errors="replace") as file:

        def read() -> str:
            sys.stdout.flush()
            sys.stderr.flush()
            if not file.closed:
                file.seek(0)
                return file.read()
            return text

        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield read
        finally:
            for number, descriptor in enumerate(kept, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            text = read()
            os.write(2, text.encode())


def shorten(errors: str) -> str:
    """Return what ONNX Runtime says of its CUDA provider, in one line without colours, times and places in its source.

    A library that is missing comes before errors, and errors before warnings.
    """
    lines = re.sub(r"\x1b\[[\d;]*m", "", errors).splitlines()
    signs = (MISSING, re.compile(r"\[E:|FAIL|[Ee]rror"), re.compile("CUDA"))
    found = (line for sign in signs for line in lines if sign.search(line))
    line = next(found, "it does not say why").rpartition("with error: ")[2]
    return messages.shorten(" ".join(re.sub(r"^.*\[[A-Z]:\w+:[^\]]*\] ", "", line).split()), 300)


def explain_failure(error: Exception) -> str:
    """Return what failed in a run, in one line: the library's own words and the node, where ONNX Runtime names them."""
    text = str(error)
    failure, node = FAILURE.search(text), NODE.search(text)
    if not failure:
        return messages.shorten(messages.one_line(error), 300)
    return f"{failure[0]} in {node[1]} {node[2]}" if node else failure[0]


def advise(errors: str) -> str:
    """Return what to do about what ONNX Runtime says of its CUDA provider."""
    if missing := MISSING.search(errors):
        return f"{missing[1]} is missing: run `make env GPU=1`, or name its folder in LD_LIBRARY_PATH"
    if "out of memory" in errors.lower():
        return "free memory of the card (`nvidia-smi` shows what uses it)"
    if "driver version is insufficient" in errors.lower():
        return "install a driver for CUDA 13 (580 or newer)"
    return "compare `nvidia-smi` with the versions above, and " + REPORT
