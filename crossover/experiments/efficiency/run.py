"""Does an ensemble answer as many requests as its steps allow, or does putting them together cost something?

    python -m loadgen.efficiency image audio --seconds 60

The bound is min(slowest step alone, cores / sum of the steps' CPU seconds per request). A step alone is asked over
HTTP for what it does in the ensemble: with its true inputs, for all its outputs. So the CPU bound charges the steps
for carrying over HTTP what the ensemble hands on within the server, and an ensemble that loses nothing may exceed 1.
Everything lies in reports/<time>-efficiency/: report.html and efficiency.json.
"""

import argparse
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput
from tritonclient.utils import np_to_triton_dtype

from crossover.experiments.efficiency.result import Turn, result
from crossover.experiments.experiment import Experiment, checked, conducted, flags
from crossover.measurement.server_statistics import difference
from loadgen.arm import Arm, Mode
from loadgen.client.loop import pause_gc
from loadgen.samples.sample import COMPLETED
from loadgen.transport.http import Connection
from loadgen.transport.message import Request
from serving.server import Server, Unavailable
from workloads import payloads
from workloads.workload import WORKLOADS

CLIENTS = 8  # at work at the same time; each sends its next request when the last is answered
REPETITIONS = 5  # each: the ensemble, then every step alone
TIMEOUT = 60.0  # seconds for one answer


class Efficiency(Experiment):
    continues = False

    def __init__(self, options):
        super().__init__(options, "efficiency")

    def run(self) -> None:
        self.begin()
        found = {}
        for name in self.options.workloads:
            workload, sent, seconds = WORKLOADS[name], self.sent[name], self.options.seconds
            arm = Arm(workload, "client", Mode("sequential"), self.library(workload))
            print(f"\n{name}: the ensemble, then each step alone, {REPETITIONS} times; about {seconds:g} s", flush=True)
            named = [payload.name for payload in sent]
            self.described["workloads"][name] = {"library": arm.chosen, "payloads": named}
            found[name] = efficiency(self.server, arm, sent, seconds, self.options.seed)
            self.write(found)
        self.described["complete"] = True
        self.write(found)


@dataclass(frozen=True)
class Stage:
    """An ensemble or a step, and what it is asked: one request per payload, ready to be sent."""

    name: str
    requests: list[Request]
    steps: tuple[str, ...]  # that work on them


def stages(server: Server, client: Arm, sent: Sequence[payloads.Payload]) -> list[Stage]:
    """The ensemble, then its steps in order. The network is fed what the client makes of the payloads, a step after it
    with what the server answers. Raises Unavailable if it refuses one."""
    encoded = [np.frombuffer(payload.encoded, np.uint8) for payload in sent]
    workload, preprocess = client.workload, client.preprocessor()
    connection = InferenceServerClient(server.url.partition("//")[2])
    target, tensors = workload.server, encoded
    found = [stage(target.model, target.input, encoded, target.outputs, workload.steps)]
    configs = [server.get(f"/v2/models/{step}/config") for step in workload.steps]
    for before, config in zip([None, *configs[:-1]], configs, strict=True):
        step = config["name"]
        if step == workload.client.model:
            tensors = [preprocess(payload.encoded) for payload in sent]
        elif before:
            tensors = [answer(connection, before["name"], input_of(before), tensor) for tensor in tensors]
        outputs = tuple(output["name"] for output in config["output"])
        found.append(stage(step, input_of(config), tensors, outputs, (step,)))
    return found


def input_of(config: dict) -> str:
    return config["input"][0]["name"]


def stage(model: str, name: str, tensors: list[np.ndarray], outputs: tuple[str, ...], steps: tuple[str, ...]) -> Stage:
    return Stage(model, [Request(model, name, np.ascontiguousarray(tensor), outputs) for tensor in tensors], steps)


def answer(client: InferenceServerClient, model: str, name: str, tensor: np.ndarray) -> np.ndarray:
    """The model's first output for one tensor."""
    batch = InferInput(name, [1, *tensor.shape], np_to_triton_dtype(tensor.dtype)).set_data_from_numpy(tensor[None])
    try:
        answered = client.infer(model, [batch])
    except InferenceServerException as error:
        raise Unavailable(f"{model}: {error.message()}") from None
    return answered.as_numpy(answered.get_response()["outputs"][0]["name"])[0]


def turn(server: Server, stage: Stage, order: Sequence[int]) -> Turn:
    """Send the requests in this order, as fast as CLIENTS can. Raises Unavailable if one is not answered."""
    before = server.statistics()
    with pause_gc():
        idle, cpu, began = idle_seconds(server.cores), server.cpu_seconds(), time.monotonic()
        if cpu is None:
            raise Unavailable("no server of this machine's launcher: its CPU time is unknown; give --state and --url")
        closed_loop(server.url, stage, order)
        wall = time.monotonic() - began
        idle, cpu = idle_seconds(server.cores) - idle, server.cpu_seconds() - cpu
    available = wall * len(server.cores)
    done = difference(before, server.statistics(), stage.steps)
    if lacking := [step for step in stage.steps if step not in done]:
        raise Unavailable(f"{stage.name}: no statistics of {', '.join(lacking)}: was it reloaded meanwhile?")
    batches = {model: figures["mean_batch"] for model, figures in done.items()}
    others = max(0, available - idle - cpu) / available
    return Turn(len(order) / wall, cpu / len(order), cpu / available, others, batches)


def idle_seconds(cores: Sequence[int]) -> float:
    times = psutil.cpu_times(percpu=True)
    return sum(times[core].idle + times[core].iowait for core in cores)


def closed_loop(url: str, stage: Stage, order: Sequence[int]) -> None:
    pending, failed = iter([stage.requests[number] for number in order]), []

    def client() -> None:
        connection = Connection(url, TIMEOUT)
        for request in pending:
            outcome = connection.post(request)
            if outcome.status != COMPLETED:
                failed.append(f"{stage.name}: {outcome.status}: {outcome.reason}")
            if failed:
                break
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise Unavailable(failed[0])


def efficiency(server: Server, client: Arm, sent: Sequence[payloads.Payload], seconds: float, seed: int = 1) -> dict:
    """The ensemble and its steps, `seconds` in all: in turns, REPETITIONS times, on whole rounds of the payloads.

    Raises Unavailable if the server does not answer, refuses a request, or is not one of this machine's launcher.
    """
    asked = stages(server, client, sent)
    share = seconds / REPETITIONS / len(asked)
    sizes = [enough(server, each, len(sent), share) for each in asked]
    turns = {each.name: [] for each in asked}
    for repetition in range(REPETITIONS):
        for each, size in zip(asked, sizes, strict=True):
            turns[each.name].append(turn(server, each, payloads.order(len(sent), size, seed + repetition)))
    return result(turns, len(server.cores))


def enough(server: Server, stage: Stage, kinds: int, seconds: float) -> int:
    """How many requests take about so many seconds, in whole rounds of the payloads; it warms up as well."""
    n = kinds * -(-CLIENTS // kinds)
    for part in (seconds / 10, seconds / 5, seconds):
        rate = turn(server, stage, payloads.order(kinds, n, seed=0)).rate
        n = kinds * max(1, round(rate * part / kinds))
    return n


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.efficiency", description=__doc__.partition("\n")[0])
    flags(parser, 60, "for each workload (default: %(default)s)")
    options = parser.parse_args()
    try:
        checked(options)
        experiment = Efficiency(options)
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    return conducted(experiment)
