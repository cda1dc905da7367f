"""Does an ensemble answer as many requests as its steps allow, or does putting them together cost something?

    crossover efficiency image audio --seconds 60

The bound is min(slowest step alone, cores / sum of the steps' CPU seconds per request). A step alone is asked over
HTTP for what it does in the ensemble: with its true inputs, for all its outputs. So the CPU bound charges the steps
for carrying over HTTP what the ensemble hands on within the server, and an ensemble that loses nothing may exceed 1.
Everything lies in reports/<time>-efficiency/: report.html and efficiency.json.
"""

import threading
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from common import atomic_write
from crossover.experiments.efficiency.result import KIND, StageFigures, summarise
from crossover.experiments.options import check_run_options, check_server_options
from crossover.experiments.server_experiment import ServerExperiment
from crossover.measurement.ensemble_steps import list_steps
from crossover.measurement.server_statistics import difference
from loadgen.arm import Arm, Mode
from loadgen.client.loop import pause_gc
from loadgen.samples.sample import COMPLETED
from serving.server import Server, Unavailable
from transport.http import Connection
from transport.message import Request, make_request
from workloads import payloads
from workloads.flags import add_arms, choose_arms, refuse_gateways, refuse_transports
from workloads.workload import Workload

CLIENTS = 8  # at work at the same time; each sends its next request when the last is answered
REPETITIONS = 5  # each: the ensemble, then every step alone
LEAST = 3  # seconds of a workload: a few requests of each step in every repetition
TIMEOUT = 60.0  # seconds for one answer


class Efficiency(ServerExperiment):
    """Measures every ensemble beside its steps.

    It cannot be resumed: its figures are of one machine state, and come from no trials.
    """

    kind = KIND
    resumable = False
    tried = None  # it prepares every payload before it sends one, and none may fail
    identity = ("workloads", "seconds", "arms", "library")

    def __init__(self, options):
        super().__init__(options)
        self.result: dict[str, dict] = {}

    def measure(self) -> None:
        """Measure the ensemble of each workload and each of its steps alone."""
        self.begin()
        for name, workload in self.options.workloads.items():
            sent, seconds = self.inputs[name], self.options.seconds / len(self.options.workloads)
            [placement] = self.arms(workload)
            arm = Arm(workload, placement, Mode("sequential"), self.library(workload))
            print(f"\n{name}: the ensemble, then each step alone, {REPETITIONS} times; about {seconds:g} s", flush=True)
            named = [payload.name for payload in sent]
            library = self.library(workload) or next(iter(workload.libraries), "")  # that its steps are fed with
            about = workload.describe([placement])
            self.described["workloads"][name] = {**about, "library": library, "payloads": named}
            figures = measure_efficiency(self.server, arm, sent, seconds, self.options.seed)
            self.result[name] = {"subject": about["subject"], **find_losses(arm, list(figures["steps"])), **figures}
            self.write()
        self.complete()

    def prepared(self, workload: Workload) -> list[str]:
        """Return those that prepare, too: a step is fed with what another placement prepares for it."""
        preparing = [name for name, each in workload.placements.items() if each.prepares]
        return list(dict.fromkeys([*self.arms(workload), *preparing]))

    def write(self) -> None:
        """Write run.json, and the result so far: it has no trials to be made from."""
        super().write()
        atomic_write.write_json(self.directory / KIND.file, self.result)


@dataclass(frozen=True)
class Stage:
    """An ensemble, or a step alone, and what it is asked: one request per payload, ready to be sent."""

    name: str
    requests: list[Request]
    steps: tuple[str, ...]  # that work on them


def find_feeders(workload: Workload) -> dict[str, str]:
    """Return model -> the placement that prepares what it is fed with, of the models that a placement asks directly."""
    return {each.model: name for name, each in workload.placements.items() if each.prepares}


def find_losses(arm: Arm, steps: Sequence[str]) -> dict[str, dict]:
    """Return what is lost on the way: `losses` of the arm, and `fed` of what the placements feed its steps with."""
    placements, feeders = arm.workload.placements, find_feeders(arm.workload)
    fed = {model: feeders[model] for model in steps[1:] if model in feeders and placements[feeders[model]].lossy}
    return {
        "losses": {arm.placement: arm.placed.lossy} if arm.placed.lossy else {},
        "fed": {model: {"placement": name, "lossy": placements[name].lossy} for model, name in fed.items()},
    }


def list_stages(server: Server, arm: Arm, sent: Sequence[payloads.Payload]) -> list[Stage]:
    """List the ensemble that the arm asks, then its steps in order, with their requests.

    A step that a placement of the workload asks directly is fed what that placement prepares, another what the steps
    before it answer. Raises Unavailable if the arm asks no ensemble, or the server refuses a request.
    """
    workload, target, preprocess = arm.workload, arm.target, arm.preprocessor()
    steps = list_steps(server.url, target.model)
    models = tuple(step.target.model for step in steps)
    if not steps and server.get_extension(f"/v2/models/{target.model}/config") is None:
        raise Unavailable(f"{server.url} does not tell which steps {target.model} has: its efficiency is not measured")
    if not steps:
        good = [name for name, each in workload.placements.items() if list_steps(server.url, each.model)]
        remedy = f"give --arms {' or '.join(good)}" if good else "nor does any of its placements ask one"
        raise Unavailable(f"{arm.placement} of {workload.name} asks {target.model}, which is no ensemble; {remedy}")
    if twice := [model for model, times in Counter(models).items() if times > 1]:
        raise Unavailable(f"{target.model} passes {twice[0]} more than once: its steps cannot be told apart")
    asked = [make_request(target, preprocess(payload.encoded)) for payload in sent]
    wires = [{tensor.name: tensor for tensor in request.tensors} for request in asked]
    found = [Stage(target.model, asked, models)]
    direct = {model: workload.placements[name] for model, name in find_feeders(workload).items()}
    for number, step in enumerate(steps):
        model = step.target.model
        # The network is fed as by the client; what comes before it needs no other step's output.
        if number and model in direct:
            preprocess = direct[model].preprocessor(arm.library)
            prepared = [direct[model].target.encode(preprocess(payload.encoded)) for payload in sent]
            requests = [Request(model, tensors, step.target.outputs) for tensors in prepared]
        else:
            requests = [step.make_request(each) for each in wires]
        found.append(Stage(model, requests, (model,)))
        if number + 1 < len(steps):
            for each, request in zip(wires, requests, strict=True):
                each |= step.ask(server.url, request)
    return found


def measure_stage(server: Server, stage: Stage, order: Sequence[int] | np.ndarray) -> StageFigures:
    """Send a stage's requests in this order, as fast as CLIENTS can, and measure what the server spends on them.

    Of a server that the launcher did not start the CPU is not known. Raises Unavailable if a request is not answered,
    or the server has no statistics.
    """
    if not (before := server.statistics()):
        raise Unavailable(f"{server.url} has no statistics of its models: its efficiency is not measured")
    with pause_gc():
        idle, cpu, began = idle_seconds(server.cores), server.cpu_seconds(), time.monotonic()
        send_all(server.url, stage, order)
        wall = time.monotonic() - began
        idle, end = idle_seconds(server.cores) - idle, server.cpu_seconds()
    done = difference(before, server.statistics(), stage.steps)
    if lacking := [step for step in stage.steps if step not in done]:
        raise Unavailable(f"{stage.name}: no statistics of {', '.join(lacking)}: was it reloaded meanwhile?")
    batches = {model: figures["mean_batch"] for model, figures in done.items()}
    rate = len(order) / wall
    # Little's law: as many wait on average as come in the time that one waits.
    waiting = rate * sum(figures["ms"]["queue"] for figures in done.values()) / 1e3
    if cpu is None:
        return StageFigures(rate, None, None, None, batches, waiting)
    if end is None:
        raise Unavailable("the server is gone, and its CPU time with it")
    spent, available = end - cpu, wall * len(server.cores)
    others = max(0, available - idle - spent) / available
    return StageFigures(rate, spent / len(order), spent / available, others, batches, waiting)


def idle_seconds(cores: Sequence[int]) -> float:
    """Return the seconds that these cores together have been idle since the machine started."""
    times = psutil.cpu_times(percpu=True)
    return sum(times[core].idle + times[core].iowait for core in cores)


def send_all(url: str, stage: Stage, order: Sequence[int] | np.ndarray) -> None:
    """Send the requests by CLIENTS threads, each the next one as soon as it has its answer. Raises Unavailable."""
    pending, failed = iter([stage.requests[number] for number in order]), []

    def client() -> None:
        """Send requests until there are no more, or one has failed in any thread."""
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


def measure_efficiency(
    server: Server, arm: Arm, sent: Sequence[payloads.Payload], seconds: float, seed: int = 1
) -> dict:
    """Measure an ensemble and its steps, one after the other, REPETITIONS times: an entry of efficiency.json.

    Takes about `seconds` in all; every repetition asks all payloads equally often. Raises Unavailable if the server
    does not answer, refuses a request, or has no statistics.
    """
    stages = list_stages(server, arm, sent)
    share = seconds / REPETITIONS / len(stages)
    counts = [choose_count(server, stage, len(sent), share) for stage in stages]
    figures: dict[str, list[StageFigures]] = {stage.name: [] for stage in stages}
    for repetition in range(REPETITIONS):
        for stage, count in zip(stages, counts, strict=True):
            order = payloads.order(len(sent), count, seed + repetition)
            figures[stage.name].append(measure_stage(server, stage, order))
    return summarise(figures, len(server.cores))


def choose_count(server: Server, stage: Stage, kinds: int, seconds: float) -> int:
    """Return how many requests take about so many seconds: a multiple of `kinds`, the payloads. It warms up as well."""
    n = kinds * -(-CLIENTS // kinds)
    # Longer and longer: the first requests of a model are slow.
    for part in (seconds / 10, seconds / 5, seconds):
        rate = measure_stage(server, stage, payloads.order(kinds, n, seed=0)).rate
        n = kinds * max(1, round(rate * part / kinds))
    return n


def check(options: Namespace) -> None:
    """Check the options. Raises ValueError for a bad one."""
    given = options.arms
    check_server_options(options)
    check_run_options(options, LEAST * len(options.workloads), f"{LEAST} s of {', then '.join(options.workloads)}")
    ensembles = {name: [workload.encoded] for name, workload in options.workloads.items()}
    options.arms = choose_arms(given, options.workloads, 1) if given else ensembles
    refuse_transports(options.arms, "efficiency")
    options.workloads = add_arms(options.workloads, options.arms, options.library)
    refuse_gateways(options.arms, options.workloads, "efficiency")
