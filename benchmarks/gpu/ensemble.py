"""Stage c: does the ensemble answer as many requests as its slowest step alone, with batching and many in flight?"""

from collections.abc import Sequence

import numpy as np

from benchmarks.gpu.arms import Ask, AskRaw, find_arm
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.load import Load
from benchmarks.gpu.placements import SMALL
from crossover.experiments.efficiency.result import StageFigures, find_doubts, summarise
from workloads.image import photographs
from workloads.payloads import Payload

Stages = dict[str, tuple[Ask | AskRaw, Sequence[Payload]]]
"""The ensemble, which comes first, and its steps -> what they are asked."""


def measure_ensemble(bench: Bench) -> None:
    """Stage c: the ensemble beside each of its steps alone, in turns, with as many in flight as a batch may hold."""
    stages = list_stages()
    cost = len(stages) * (bench.pace.repetitions + 0.5) * bench.pace.saturation
    bench.attempt("c", "ensemble efficiency", cost, lambda: measure_stages(bench, stages))


def list_stages() -> Stages:
    """Return the stages; the network is sent what the client's placement prepares."""
    sent = photographs((640,))
    client = find_arm(Ask("image", "client"))
    prepare = client.preprocessor()
    tensors = [Payload(f"{each.name}.tensor", np.ascontiguousarray(prepare(each.encoded)).tobytes()) for each in sent]
    network = client.target
    return {
        "image": (Ask("image", "server"), sent),
        "image_preprocess": (AskRaw("image_preprocess", "encoded", ("pixels",), "uint8", (-1,)), sent),
        network.model: (AskRaw(network.model, "pixels", network.outputs, "float32", (3, 224, 224)), tensors),
    }


def measure_stages(bench: Bench, stages: Stages) -> None:
    """Measure every stage in turns, and write the efficiency with the range of its repetitions."""
    users = bench.pace.users
    for ask, sent in stages.values():
        bench.offer(ask, sent, bench.pace.closed / 3, users=users)
    loads: dict[str, list[Load]] = {name: [] for name in stages}
    for _ in range(bench.pace.repetitions):
        for name, (ask, sent) in stages.items():
            loads[name].append(bench.offer(ask, sent, bench.pace.closed, users=users))
    cores = len(bench.site.cores)
    found = summarise({name: [fold(load, cores) for load in each] for name, each in loads.items()}, cores)
    for name, each in loads.items():
        rates = sorted(load.rate for load in each)
        limits = {"low": rates[0], "high": rates[-1], "repetitions": len(rates), "in_flight": users}
        middle = each[len(each) // 2]
        bench.write_load("c", SMALL, name, "rate", float(np.median(rates)), "/s", middle, **limits)
    low, high = found["range"]
    bench.record.figure(
        "c", SMALL, "image", "efficiency", found["efficiency"], "", low, high,
        bound=found["bound"], bound_by=found["bound_by"], doubts=find_doubts(found), in_flight=users,
        busiest_client=max(load.offered.busiest for each in loads.values() for load in each),
    )  # fmt: skip


def fold(load: Load, cores: int) -> StageFigures:
    """Return a load's figures as the efficiency experiment takes them; what other programs used is not known."""
    answered = max(1, len(load.answered))
    cpu = (load.server_cpu or 0.0) / answered
    # Little's law: as many wait on average as come in the time that one waits.
    waiting = load.rate * sum(step["ms"]["queue"] for step in load.steps.values()) / 1e3
    batches = {model: step["mean_batch"] for model, step in load.steps.items()}
    return StageFigures(load.rate, cpu, cpu * load.rate / cores, 0.0, batches, waiting)
