"""Measures what settings of Triton's dynamic batcher cost: latency of the async client arm, for each variant.

    make up && python -m benchmarks.batching        # two minutes; the server is left with its own settings

Each variant of one network is loaded over the running model, so this needs the launcher's local server. The table
begins with a sequential client, whose requests are never batched. How queue policies delay the batcher is in
docs/server.md, "Batching".
"""

import argparse
import json
import sys

import numpy as np

import arrivals
from common import address
from crossover.measurement import host
from crossover.measurement.server_statistics import difference
from loadgen import command, interrupts
from loadgen.arm import Arm, Mode
from loadgen.client.open_loop import OpenLoop
from loadgen.client.plan import Plan
from loadgen.samples.sample import Sample, tabulate
from loadgen.samples.summary import summarise
from serving import Failure
from serving.server import Server, Unavailable
from workloads import payloads
from workloads.audio import AUDIO
from workloads.image import IMAGE

POLICY = {"max_queue_size": 256, "default_timeout_microseconds": 10_000_000, "timeout_action": "REJECT"}
EVERY_SIZE = list(range(1, 9))
VARIANTS = {
    "queue policy": {"default_queue_policy": POLICY},
    "no queue policy": {},
    "no policy, every size preferred": {"preferred_batch_size": EVERY_SIZE},
    "no dynamic batching": None,
}


def load(server: Server, model: str, config: dict) -> None:
    """Load `model` again with this configuration, as the server's HTTP interface gives it.

    Raises Failure if the server refuses it.
    """
    server.admin_api.load(model, json.dumps(config))


def offer(server: Server, arm: Arm, rate: float, seconds: float = 25) -> str:
    """Offer an arm Poisson arrivals at `rate`/s, and return the columns: latency, batch size, queue, compute (ms).

    Raises Unavailable if a request was not answered.
    """
    schedule = arrivals.parse(f"poisson:rate={rate}").schedule(seconds, seed=3)
    sent = arm.workload.load()
    order = payloads.order(len(sent), len(schedule), seed=3)
    OpenLoop(arm, server.url, lambda sample: None).run(Plan(np.zeros(3), order[:3], sent))  # warm-up
    samples: list[Sample] = []
    before = server.statistics()
    OpenLoop(arm, server.url, samples.append).run(Plan(schedule.times, order, sent))
    records, reasons = tabulate(samples)
    result = summarise(records, seconds, reasons)
    if result["errors"]:
        reason = next(iter(result["reasons"]), "no reason given")
        raise Unavailable(f"{arm}: {result['errors']} of {len(records)} requests were not answered: {reason}")
    step, latency = difference(before, server.statistics(), (arm.target.model,))[arm.target.model], result["latency"]
    return (
        f"{latency['p50']:>7.0f} {latency['mean']:>7.0f} {latency['p95']:>7.0f} {step['mean_batch']:>6.2f}"
        f" {step['ms']['queue']:>7.0f} {step['ms']['compute_infer']:>8.0f}"
    )


def main() -> int:
    """Print the tables of both networks; returns 2 without a server of the launcher's, 1 if one fails."""
    argparse.ArgumentParser(prog="python -m benchmarks.batching", description=__doc__.splitlines()[0]).parse_args()
    server = Server.at("localhost:8000", address.STATE)
    try:
        server.require((*IMAGE.models, *AUDIO.models))
        if not server.state:
            raise Unavailable(f"{server.url} was not started from .run, so its models cannot be reloaded")
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2
    try:
        tables(server)
    except (Failure, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def tables(server: Server) -> None:
    """Print a table for each network, and give the server its own settings back, whatever happens.

    Raises Failure, Unavailable.
    """
    host.pin(host.free_cores(server.cores))
    for workload, rate in ((IMAGE, 7.3), (AUDIO, 2.2)):
        model = workload.placements["client"].model
        original = server.get(f"/v2/models/{model}/config")
        head = f"{model}, poisson:rate={rate}, ms"
        print(f"\n{head:<40} {'p50':>7} {'mean':>7} {'p95':>7} {'batch':>6} {'queue':>7} {'compute':>8}")
        naive = Arm(workload, "client", Mode("sequential"))
        print(f"{'sequential client':<40}", offer(server, naive, rate), flush=True)
        try:
            for name, batching in VARIANTS.items():
                config = {key: value for key, value in original.items() if key != "dynamic_batching"}
                if batching is not None:
                    config["dynamic_batching"] = batching
                load(server, model, config)
                print(f"{name:<40}", offer(server, Arm(workload, "client", Mode("async")), rate), flush=True)
        finally:
            with interrupts.defer_interrupts():
                load(server, model, original)


if __name__ == "__main__":
    sys.exit(command.run(main))
