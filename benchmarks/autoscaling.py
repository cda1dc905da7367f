"""Measures what two autoscaling metrics read of a server with five models, of which one is busy.

    python -m benchmarks.autoscaling                # three minutes; needs a prometheus (Debian: apt install prometheus)

A real Triton serves five equal models that take 20 ms per request, one at a time. One of them gets Poisson arrivals,
the others nothing, and a real Prometheus fetches from the server. At the end of each load it is asked what NVIDIA's
rule reads (server repository, deploy/k8s-onprem/values.yaml: the mean over loaded models, see its issue 8979) and what
ours does (deploy/observe/rules.yml: the wait at the busiest model).
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

import arrivals
from benchmarks.null_server import SINKS, floats
from benchmarks.prometheus import FOLDER, Prometheus, conduct, run_prometheus, share_cores
from common.machine import read_cpu_model
from crossover.measurement.server_statistics import difference
from loadgen import command
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import COMPLETED, Sample
from serving import Failure
from serving.server import Server, Unavailable
from serving.temporary_server import temporary_triton
from workloads.payloads import Payload
from workloads.workload import Placement, Workload

MODELS = tuple(f"model_{number}" for number in range(1, 6))
BUSY = MODELS[0]
PAUSE = 0.02
"""Seconds that a request takes in a model."""
LOADS = (0.5, 0.8, 0.9)
"""Shares of the rate at which the busy model has no rest."""
NVIDIAS = """avg by (instance) (delta(nv_inference_queue_duration_us[30s])
    / (1 + delta(nv_inference_request_success[30s]))) / 1e6"""
OURS = "instance:triton_queue_seconds:max_rate30s"
"""A recorded rule; what it is worked out from is asked for, so that both rules look at the same instant."""
TOLERANCE = 0.1


def ask_replicas(reading: float, target: float) -> int:
    """Return how many replicas Kubernetes asks for in place of one: the ceiling of reading / target.

    Within 10 % of the target it leaves them alone. Source: "Algorithm details" of
    https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
    """
    ratio = reading / target
    return 1 if ratio <= 1 + TOLERANCE else math.ceil(ratio)


def find_enough(load: float, target: float) -> int:
    """Return the fewest replicas whose mean wait keeps to the target, if each gets its share of the arrivals.

    The mean wait is Pollaczek and Khinchine's for constant services, load / (2 (1 - load)) * PAUSE.
    """
    replicas = math.floor(load) + 1
    while load / replicas / (2 * (1 - load / replicas)) * PAUSE > target:
        replicas += 1
    return replicas


@contextmanager
def serve_models(cores: list[int]) -> Iterator[Server]:
    """Start a Triton with all of MODELS on these cores, for a `with` block. Raises Failure."""
    with TemporaryDirectory(prefix="crossover-") as folder:
        sink, configs = (SINKS / "small.pbtxt").read_text(), {name: Path(folder) / f"{name}.pbtxt" for name in MODELS}
        pause = f'parameters {{ key: "pause"  value: {{ string_value: "{PAUSE}" }} }}\n'
        for name, config in configs.items():
            config.write_text(sink.replace('name: "small"', f'name: "{name}"') + pause)
        models = {name: (config, SINKS / "model.py") for name, config in configs.items()}
        with temporary_triton(models, cores) as server:
            yield server


def make_workload(model: str) -> Workload:
    """Return the workload whose only placement sends 64 bytes to that model."""
    placement = Placement(
        model, lambda encoded: np.frombuffer(encoded, "float32"), inputs=("bytes",), outputs=("done",)
    )
    sent = [Payload(model, floats(16))]
    return Workload(name=model, placements={"client": placement}, payloads=lambda: sent, steps=(model,))


def offer(server: Server, rate: float, seconds: float, seed: int) -> int:
    """Offer Poisson arrivals to the busy model, and return how many were answered. Raises Unavailable if none was."""
    schedule = arrivals.parse(f"poisson:rate={rate:g}").schedule(seconds, seed)
    workload, samples = make_workload(BUSY), list[Sample]()
    loop = OpenLoop(Arm(workload, "client", Mode("async")), server.url, samples.append)
    loop.run(Plan(schedule.times, np.zeros(len(schedule), int), workload.load()))
    if not (answered := sum(sample.status == COMPLETED for sample in samples)):
        raise Unavailable(f"no request of {len(samples)} was answered: {samples[0].reason}")
    return answered


def read_rule(prometheus: Prometheus, rule: str, at: float) -> float:
    """Return what a rule reads at that second since 1970, in seconds. Raises Failure if it reads nothing."""
    if not (found := prometheus.query(rule, at)):
        raise Failure(f"Prometheus has no value of {' '.join(rule.split())}")
    return found[0].last


def expand_rule(name: str) -> str:
    """Return the expression of a recorded rule of deploy/observe, with those that it builds upon in place."""
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    rules = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}
    expression = rules[name]
    for other, inner in rules.items():
        expression = expression.replace(other, f"({inner})")
    return expression


def measure(server: Server, prometheus: Prometheus, load: float, seconds: float, target: float) -> str:
    """Offer one load, and return its row of the table. Raises Unavailable and Failure."""
    before = server.statistics()
    answered = offer(server, load / PAUSE, seconds, seed=round(load * 100))
    at = time.time()
    waited = difference(before, server.statistics(), (BUSY,))[BUSY]["ms"]["queue"]
    theirs, ours = (read_rule(prometheus, rule, at) for rule in (NVIDIAS, expand_rule(OURS)))
    return (
        f"{load:>5.2f} {answered:>9} {waited:>9.1f} {theirs * 1e3:>11.1f} {ask_replicas(theirs, target):>9}"
        f" {ours * 1e3:>9.1f} {ask_replicas(ours, target):>9} {find_enough(load, target):>9}"
    )


def print_table(options: argparse.Namespace) -> None:
    """Print a row for each load. Raises Unavailable and Failure."""
    client, servers = share_cores()
    print(f"{read_cpu_model()}; client cores {client}, server cores {servers}; ms, target {options.target:g} ms")
    print(
        f"{'load':>5} {'answered':>9} {'waited':>9} {'NVIDIA: ms':>11} {'replicas':>9} {'ours: ms':>9}"
        f" {'replicas':>9} {'enough':>9}"
    )
    with serve_models(servers) as server:
        targets = {"triton": [f"127.0.0.1:{server.state['metrics_port']}"], "loadgen": []}
        with run_prometheus(targets) as prometheus:
            prometheus.wait_for('up{job="triton"} == 1')
            for load in options.loads:
                row = measure(server, prometheus, load, options.seconds, options.target / 1e3)
                print(row, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Check the options and print the table; returns 2 without a Prometheus, 1 if a server fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscaling", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each load; the rules look at the last 30")
    parser.add_argument(
        "--target", type=float, default=20, help="ms that a request may wait, as an autoscaler's target"
    )
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS, help="shares of the busy model's capacity")
    return conduct(parser, arguments, ("seconds", "target", "loads"), print_table)


if __name__ == "__main__":
    sys.exit(command.run(main))
