"""The server's answers: where its steps run, both placements of each pipeline, and a hostile file among good ones."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from common.messages import one_line, shorten
from crossover.gpu_check import files
from crossover.gpu_check.finding import REPORT, SEE_LOG, Finding, judge, ok, problem, skipped
from serving.server import Server
from serving.thread_plan import GPU_STEPS, plan_threads
from serving.triton_api import Refused, TritonAPI
from workloads.catalogue import BUILT_IN
from workloads.workload import Workload

SHARE = 0.1  # of the difference between two files' logits: what one file's may differ by, from place to place
TIMEOUT = 30.0  # seconds for an answer
BAD_REQUEST = 400
WORDS = 120  # characters of a server's reason that are shown
GOOD = {"image": files.make_photographs, "audio": files.make_sounds}
BAD = {"image": files.damage_photograph, "audio": files.damage_sound}


def examine_steps(url: str, state: str, gpu: bool) -> Iterator[Finding]:
    """Say which device each step runs on; `gpu`: whether the launcher was to use one.

    With `gpu` it is a problem if a step of GPU_STEPS runs on the CPU. `state` is the launcher's folder of the server.
    """
    server = Server.at(url, Path(state))
    kinds = {model: read_kind(server.api.config(model)) for model in plan_threads(1)}
    text = ", ".join(f"{model} {kind}" for model, kind in kinds.items())
    on_cpu = [model for model in GPU_STEPS if kinds[model] == "CPU"]
    if not gpu:
        yield skipped("server steps", f"no GPU is used: {text}", **kinds)
        return
    remedy = SEE_LOG
    yield judge("server steps", not on_cpu, text, remedy, **kinds)


def read_kind(config: dict) -> str:
    """Return "CPU" or "GPU" of a model's configuration. KIND_AUTO means the CPU in Triton's Python backend."""
    kinds = {group.get("kind", "KIND_AUTO") for group in config.get("instance_group", [])}
    return "GPU" if kinds == {"KIND_GPU"} else "CPU"


def examine_placements(url: str, state: str) -> Iterator[Finding]:
    """Send two files of each pipeline as both placements do, and compare the answers."""
    api = Server.at(url, Path(state)).api
    for workload in BUILT_IN.values():
        yield compare_placements(api, workload)


def compare_placements(api: TritonAPI, workload: Workload) -> Finding:
    """Return how far the logits of the client's and of the server's placement are apart, as a finding.

    The measure is how far the logits of two different files are apart.
    """
    good = list(GOOD[workload.name]().values())[:2]
    client = workload.placements["client"]
    prepare = client.preprocessor()
    server = [infer(api, workload.name, file) for file in good]
    clients = [infer(api, client.model, b"".join(client.target.encode(prepare(file))[0].pieces)) for file in good]
    apart = measure_distance(*server)
    most = max(measure_distance(*pair) for pair in zip(server, clients, strict=True))
    if not np.isfinite(most):
        text = "server and client answer logits of different shapes, or not finite ones"
        return problem(workload.name, text, REPORT)
    same = float(np.mean([a.argmax(-1) == b.argmax(-1) for a, b in zip(server, clients, strict=True)]))
    text = (
        f"server and client answer the same {workload.subject}: logits differ by {most:.2g} at most, those of two "
        f"files by {apart:.2g}; top-1 the same in {same:.1%}"
    )
    remedy = f"the two placements compute different things: {REPORT}"
    agree = most <= SHARE * apart
    return judge(workload.name, agree, text, remedy, difference=most, apart=apart, same_top1=same)


def infer(api: TritonAPI, model: str, content: bytes) -> np.ndarray:
    """Return a model's logits for the bytes of its one input: float32. Raises serving.Failure."""
    shape, raw = api.infer(model, content, TIMEOUT)["logits"]
    return np.frombuffer(raw, np.float32).reshape(shape)


def measure_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two answers; infinite where their shapes differ or a value is not finite."""
    if one.shape != other.shape:
        return float("inf")
    most = float(np.abs(one - other).max())
    return most if np.isfinite(most) else float("inf")


def examine_hostile(url: str, state: str) -> Iterator[Finding]:
    """Send a damaged file beside eight good ones, all at once, to each pipeline.

    Yields a finding for each way in which a file may be damaged.
    """
    api = Server.at(url, Path(state)).api
    for model, make in GOOD.items():
        good = list(make().values())
        alone = [infer(api, model, file) for file in good]
        for name, bad in BAD[model](good[0]).items():
            yield examine_mixture(api, model, good, alone, name, bad)
        if model == "image":
            # Its form is that of a good file, so decoders may guess what is missing: an answer and a 400 are both fair.
            scrambled = files.scramble_photograph(good[0])
            yield examine_mixture(api, model, good, alone, "a JPEG with noise for data", scrambled, refused=False)


def examine_mixture(
    api: TritonAPI, model: str, good: list[bytes], alone: list[np.ndarray], name: str, bad: bytes, refused: bool = True
) -> Finding:
    """Send one bad file and the good ones at once: each good one must get the answer that it got alone.

    The bad one must get its 400; where it need not be `refused`, it may be answered as well.
    """
    title, beside = f"hostile {model}", f"{name} beside {len(good)} good files"
    answers = send_together(lambda file: infer(api, model, file), [*good[:4], bad, *good[4:]])
    fate = answers.pop(4)
    remedy = f"serve with `--no-gpu`, and {REPORT}"
    if failed := [answer for answer in answers if isinstance(answer, Exception)]:
        return problem(title, f"{beside}: {len(failed)} of them failed: {shorten(one_line(failed[0]), WORDS)}", remedy)
    if wrong := [number for number in range(len(good)) if not is_own(number, answers, alone)]:
        return problem(title, f"{beside}: {len(wrong)} of them got another answer than alone", remedy)
    each = f"{beside}: each of them got its own answer"
    if isinstance(fate, Refused) and fate.code == BAD_REQUEST:
        return ok(title, f"{each}, and it its {BAD_REQUEST}: {shorten(fate.reason, WORDS)}")
    if isinstance(fate, Exception):
        return problem(title, f"{beside}: it got no {BAD_REQUEST}: {shorten(one_line(fate), WORDS)}", remedy)
    if refused:
        return problem(title, f"{beside}: it was answered, not refused", REPORT)
    return ok(title, f"{each}, and so did it: its decoder guessed what is missing")


def is_own(number: int, answers: list, alone: list[np.ndarray]) -> bool:
    """Return whether the answer to a file among others is the one that it got alone, and no other file's."""
    own = measure_distance(answers[number], alone[number])
    others = [measure_distance(answers[number], other) for at, other in enumerate(alone) if at != number]
    return own <= SHARE * min(others)


def send_together(send: Callable[[bytes], np.ndarray], files: list[bytes]) -> list:
    """Return the answer to each file, or the exception in its place; all are sent at the same moment."""
    ready = threading.Barrier(len(files))

    def send_one(file: bytes):
        ready.wait(TIMEOUT)
        try:
            return send(file)
        except Exception as error:  # whatever it is, it belongs to this file
            return error

    with ThreadPoolExecutor(len(files)) as pool:
        return list(pool.map(send_one, files))
