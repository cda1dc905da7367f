"""Does an ensemble answer as many requests as its steps allow, or does putting them together cost something?

    python -m loadgen.efficiency image audio --seconds 60

The bound is min(slowest step alone, cores / sum of the steps' CPU seconds per request). A step alone is asked over
HTTP for what it does in the ensemble: with its true inputs, for all its outputs. So the CPU bound charges the steps
for carrying over HTTP what the ensemble hands on within the server, and an ensemble that loses nothing may exceed 1.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput
from tritonclient.utils import np_to_triton_dtype

from loadgen import machine, payloads, wire
from loadgen.openloop import undisturbed
from loadgen.samples import COMPLETED
from loadgen.schedule import positive
from loadgen.serverside import Server, Unavailable, difference
from loadgen.workloads import WORKLOADS, Workload

CLIENTS = 8  # at work at the same time; each sends its next request when the last is answered
REPETITIONS = 5  # each: the ensemble, then every step alone
TIMEOUT = 60.0  # seconds for one answer

LEGEND = """\
rate       answers per second to 8 clients that never pause
cpu        CPU ms per request of the server with its backends, HTTP included
busy       share of the server's cores that this CPU time is
others     share of them that went elsewhere meanwhile: to other programs, and to the kernel's own work for this server,
           as for its packets, which no process is charged with. Where it is not small, rate and efficiency mean little
batch      mean batch of the step alone -> in the ensemble
bound      min(slowest step's rate, cores / sum of the steps' cpu); efficiency is the ensemble's rate divided by it,
           from medians; in brackets the range of the repetitions
carrying   sum of the steps' cpu divided by the ensemble's: above 1 where HTTP between steps would cost more than it.
           It equals the efficiency only where CPU is the bound and busy and others make up 100 %: then nothing waits"""


@dataclass(frozen=True)
class Stage:
    """An ensemble or a step, and what it is asked: one request per payload, ready to be sent."""

    name: str
    requests: list[wire.Request]
    outputs: tuple[str, ...]
    steps: tuple[str, ...]  # that work on them


@dataclass(frozen=True)
class Turn:
    """One stage, measured once."""

    rate: float
    cpu: float  # seconds of the server per request
    busy: float
    others: float
    batches: dict[str, float]  # mean batch of each of the stage's steps


def stages(server: Server, workload: Workload, sent: Sequence[payloads.Payload]) -> list[Stage]:
    """The ensemble, then its steps in order. The network is fed what the client's library makes of the payloads, a
    step after it with what the server answers. Raises Unavailable if it refuses one."""
    encoded = [np.frombuffer(payload.encoded, np.uint8) for payload in sent]
    preprocess = next(iter(workload.libraries.values()))()
    client = InferenceServerClient(server.url.partition("//")[2])
    target, tensors = workload.server, encoded
    found = [stage(target.model, target.input, encoded, target.outputs, workload.steps)]
    configs = [server.get(f"/v2/models/{step}/config") for step in workload.steps]
    for before, config in zip([None, *configs[:-1]], configs, strict=True):
        step = config["name"]
        if step == workload.client.model:
            tensors = [preprocess(payload.encoded) for payload in sent]
        elif before:
            tensors = [answer(client, before["name"], input_of(before), tensor) for tensor in tensors]
        outputs = tuple(output["name"] for output in config["output"])
        found.append(stage(step, input_of(config), tensors, outputs, (step,)))
    return found


def input_of(config: dict) -> str:
    return config["input"][0]["name"]


def stage(model: str, name: str, tensors: list[np.ndarray], outputs: tuple[str, ...], steps: tuple[str, ...]) -> Stage:
    return Stage(model, [wire.request(model, name, tensor, outputs) for tensor in tensors], outputs, steps)


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
    with undisturbed():
        idle, cpu, began = idle_seconds(server.cores), server.cpu_seconds(), time.monotonic()
        if cpu is None:
            raise Unavailable("no server of this machine's launcher: its CPU time is unknown; give --state and --url")
        closed_loop(server.url, stage, order)
        wall = time.monotonic() - began
        idle, cpu = idle_seconds(server.cores) - idle, server.cpu_seconds() - cpu
    available = wall * len(server.cores)
    done = difference(before, server.statistics(), stage.steps)
    batches = {model: figures["mean_batch"] for model, figures in done.items()}
    others = max(0, available - idle - cpu) / available
    return Turn(len(order) / wall, cpu / len(order), cpu / available, others, batches)


def idle_seconds(cores: Sequence[int]) -> float:
    times = psutil.cpu_times(percpu=True)
    return sum(times[core].idle + times[core].iowait for core in cores)


def closed_loop(url: str, stage: Stage, order: Sequence[int]) -> None:
    pending, failed = iter([stage.requests[number] for number in order]), []

    def client() -> None:
        connection = wire.Connection(url, TIMEOUT)
        for request in pending:
            outcome = connection.post(request, stage.outputs)
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


def efficiency(server: Server, workload: Workload, sent: Sequence[payloads.Payload], seconds: float) -> dict:
    """The ensemble and its steps, `seconds` in all: in turns, REPETITIONS times, on whole rounds of the payloads.

    Raises Unavailable if the server does not answer, refuses a request, or is not one of this machine's launcher.
    """
    asked = stages(server, workload, sent)
    share = seconds / REPETITIONS / len(asked)
    sizes = [enough(server, each, len(sent), share) for each in asked]
    turns = {each.name: [] for each in asked}
    for seed in range(1, REPETITIONS + 1):
        for each, size in zip(asked, sizes, strict=True):
            turns[each.name].append(turn(server, each, payloads.order(len(sent), size, seed)))
    return result(turns, len(server.cores))


def enough(server: Server, stage: Stage, kinds: int, seconds: float) -> int:
    """How many requests take about so many seconds, in whole rounds of the payloads; it warms up as well."""
    n = kinds * -(-CLIENTS // kinds)
    for part in (seconds / 10, seconds / 5, seconds):
        rate = turn(server, stage, payloads.order(kinds, n, seed=0)).rate
        n = kinds * max(1, round(rate * part / kinds))
    return n


def result(turns: dict[str, list[Turn]], cores: int) -> dict:
    """What the turns of the ensemble (the first) and of its steps come to."""
    (name, whole), *steps = turns.items()
    rounds = [dict(zip(turns, each, strict=True)) for each in zip(*turns.values(), strict=True)]
    single = [compare(each, cores)["efficiency"] for each in rounds]
    return {
        "ensemble": name,
        **compare({stage: middle(each) for stage, each in turns.items()}, cores),
        "range": [min(single), max(single)],
        "mean_batch": {step: middle(whole).batches[step] for step, _ in steps},
    }


def compare(turns: dict[str, Turn], cores: int) -> dict:
    (_, whole), *steps = turns.items()
    slowest, alone = min(steps, key=lambda step: step[1].rate)
    cpu = sum(step.cpu for _, step in steps)
    bound, by = min((alone.rate, slowest), (cores / cpu, "cpu"))
    return {
        "ensemble_rate": whole.rate,
        "ensemble_cpu_seconds_per_request": whole.cpu,
        "busy": whole.busy,
        "others": whole.others,
        "steps": {
            name: {
                "rate": step.rate,
                "cpu_seconds_per_request": step.cpu,
                "busy": step.busy,
                "others": step.others,
                "mean_batch": step.batches[name],
            }
            for name, step in steps
        },
        "bound": bound,
        "bound_by": by,
        "efficiency": whole.rate / bound,
        "carrying": cpu / whole.cpu,
    }


def middle(turns: Sequence[Turn]) -> Turn:
    """The median of each figure."""
    batches = {model: median(each.batches[model] for each in turns) for model in turns[0].batches}
    figures = {name: median(getattr(each, name) for each in turns) for name in ("rate", "cpu", "busy", "others")}
    return Turn(**figures, batches=batches)


def table(found: dict) -> str:
    lines = [f"{'':<20} {'rate/s':>8} {'cpu ms':>8} {'busy':>6} {'others':>6} {'batch':>14}"]

    def row(name: str, rate: float, cpu: float, busy: float, others: float, batch: str = "") -> None:
        lines.append(f"{name:<20} {rate:>8.4g} {cpu * 1e3:>8.2f} {busy:>6.0%} {others:>6.0%} {batch:>14}".rstrip())

    whole = found["ensemble_rate"], found["ensemble_cpu_seconds_per_request"], found["busy"], found["others"]
    row(f"{found['ensemble']} (ensemble)", *whole)
    for name, step in found["steps"].items():
        batch = f"{step['mean_batch']:.2f} -> {found['mean_batch'][name]:.2f}"
        row(name, step["rate"], step["cpu_seconds_per_request"], step["busy"], step["others"], batch)
    low, high = found["range"]
    lines.append(
        f"bound {found['bound']:.4g}/s by {found['bound_by']}; efficiency {found['efficiency']:.2f}"
        f" ({low:.2f} to {high:.2f}); carrying {found['carrying']:.2f}"
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.efficiency", description=__doc__.partition("\n")[0])
    parser.add_argument("workloads", nargs="*", default=[], metavar="image|audio", help="default: both")
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--state", default=".run", help="the launcher's state directory")
    parser.add_argument("--seconds", type=float, default=60, help="for each workload (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    found = {}
    try:
        if unknown := [name for name in options.workloads if name not in WORKLOADS]:
            raise ValueError(f"unknown workload {unknown[0]!r}; try one of {', '.join(WORKLOADS)}")
        positive(seconds=options.seconds)
        server = Server.at(options.url, Path(options.state))
        client = machine.others(server.cores)
        machine.pin(client)
        print(f"{machine.cpu_model()}; client cores {client}, server cores {server.cores}")
        for name in dict.fromkeys(options.workloads or WORKLOADS):
            workload = WORKLOADS[name]
            found[name] = efficiency(server, workload, payloads.load(workload), options.seconds)
            print(f"\n{table(found[name])}", flush=True)
        if options.json:
            Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
        print(f"\n{LEGEND}", flush=True)
    except BrokenPipeError:  # of `| head`, which has read enough; the wire's own are outcomes of requests
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    except (OSError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
