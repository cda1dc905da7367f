"""How many answers per second each pipeline gives at 16 requests in flight, in which batches, at which GPU use."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crossover.gpu_check.finding import REPORT, SEE_LOG, Finding, judge, problem, skipped
from crossover.measurement import host
from crossover.measurement.server_statistics import difference
from serving.server import Server
from transport.http import Connection
from transport.message import COMPLETED, Request, make_request
from workloads.catalogue import BUILT_IN
from workloads.image import photograph_files
from workloads.workload import Workload

IN_FLIGHT = 16
WARM_UP = 1.0  # seconds in which kernels for the sizes of batches are made
TIMEOUT = 30.0  # seconds for an answer


def examine(url: str, state: str, seconds: float) -> Iterator[Finding]:
    """Measure each pipeline's ensemble for so many seconds, from the cores that the server does not use.

    `state` is the launcher's folder of the server at `url`. This process stays on those other cores.
    """
    server = Server.at(url, Path(state))
    host.pin(host.free_cores(server.cores))
    for workload in BUILT_IN.values():
        yield from measure(server, workload, seconds)


def measure(server: Server, workload: Workload, seconds: float) -> Iterator[Finding]:
    """Yield the rate of one ensemble, and what the GPU used meanwhile.

    The rate's finding has answers per second, the median latency in ms and each step's mean batch; it is a problem if a
    request failed. Where no request was answered, one problem is all there is.
    """
    placement = workload.placements["server"]
    contents = list_contents(workload)
    requests = [make_request(placement.target, content) for content in contents]
    keep_in_flight(server.url, requests, WARM_UP)
    before, energy = server.statistics(), server.gpu()
    with sample_utilisation(server) as utilisations:
        began = time.monotonic()
        outcomes, latencies = keep_in_flight(server.url, requests, seconds)
        spent = time.monotonic() - began
    after, energy_after = server.statistics(), server.gpu()
    name, completed = f"{workload.name} rate", outcomes[COMPLETED]
    if not completed:
        yield problem(name, f"no request was answered: {dict(outcomes)}", SEE_LOG)
        return
    steps = difference(before, after, workload.steps)
    batches = ", ".join(f"{step} {each['mean_batch']:.1f}" for step, each in steps.items())
    failed = sum(outcomes.values()) - completed
    text = (
        f"{completed / spent:.0f} answers per second at {IN_FLIGHT} in flight, p50 "
        f"{np.median(latencies) * 1e3:.1f} ms; mean batch of {batches}"
        f"{f'; {failed} failed: {dict(outcomes)}' if failed else ''}"
    )
    figures = {"rate": completed / spent, "p50_ms": float(np.median(latencies) * 1e3), "steps": steps}
    yield judge(name, not failed, text, f"{SEE_LOG}, and {REPORT}", **figures)
    yield describe_use(f"{workload.name} gpu", energy, energy_after, utilisations, completed, spent)


def list_contents(workload: Workload) -> list[bytes]:
    """Return what is sent: both photographs as they are, or the example clip."""
    if workload.name == "image":
        return [path.read_bytes() for path in photograph_files()]
    assert workload.example
    return [workload.example.read_bytes()]


def keep_in_flight(url: str, requests: list[Request], seconds: float) -> tuple[Counter[str], list[float]]:
    """Keep IN_FLIGHT requests at work for so long; return how many ended how, and the latencies in seconds.

    Each of the threads has a connection of its own and sends the same request again and again. Outcomes are counted as
    COMPLETED, or by the reason why not. What is in flight at the end is waited for, so it may take TIMEOUT longer.
    """
    outcomes: Counter[str] = Counter()
    latencies: list[float] = []
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        connection = Connection(url, TIMEOUT)
        while (began := time.monotonic()) < end:
            outcome = connection.post(requests[number % len(requests)])
            latencies.append(time.monotonic() - began)
            outcomes[outcome.status if outcome.status == COMPLETED else outcome.reason] += 1
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(IN_FLIGHT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes, latencies


@contextlib.contextmanager
def sample_utilisation(server: Server) -> Iterator[list[float]]:
    """Sample the GPU's utilisation while the block runs; yields the list of samples, each from 0 to 1."""
    ended = threading.Event()
    samples: list[float] = []

    def sample() -> None:
        while not ended.wait(0.25):
            reading = server.gpu()
            if reading is None:
                return
            samples.append(reading["utilisation"])

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join(5)


def describe_use(
    name: str, before: dict | None, after: dict | None, utilisations: list[float], completed: int, seconds: float
) -> Finding:
    """Return utilisation, power and joules per answer as a finding.

    `before` and `after` are readings of the GPU around the `seconds` in which so many requests were completed; None
    where it tells nothing. `utilisations` are samples from 0 to 1; without any, the last reading's stands for them.
    """
    if before is None or after is None:
        return skipped(name, "no GPU is used, or nothing counts its joules")
    joules = after["energy_joules"] - before["energy_joules"]
    used = sum(utilisations) / len(utilisations) if utilisations else after["utilisation"]
    text = f"utilisation {used:.0%}, {joules / seconds:.0f} W, {joules / completed:.3f} J per answer"
    figures = {"utilisation": used, "joules": joules, "watts": joules / seconds}
    return judge(name, joules > 0 or not used, text, "the card's counter of joules stands still", **figures)
