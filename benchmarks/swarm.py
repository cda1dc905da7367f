"""Measures how many times what one replica of the server carries several do, on a Docker Swarm of this machine.

    python -m benchmarks.swarm --replicas 2 3                # needs a swarm and two images: docs/swarm.md

Each number of replicas is a stack of deploy/swarm of its own, with tiny networks, and each replica is held to a share
of a core. They take turns in random order: in each a closed loop of Locust's asks one stack through its proxy, from
within its network, and counts the requests of every replica. A round's ratios are of turns beside each other; a round
with an INVALID turn is left out. The interval is Student's t of the logarithms of the ratios.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arrivals.checks import check_positive
from common.machine import read_cpu_model
from crossover.analysis.estimate import Estimate
from loadgen import command
from serving import ROOT, Failure
from serving.ports import free_ports

STACK = ROOT / "deploy" / "swarm" / "stack.yml"
IMAGE = os.environ.get("CROSSOVER_IMAGE", "crossover-kubernetes:0.1.0")
PROXY_IMAGE = os.environ.get("CROSSOVER_PROXY_IMAGE", "haproxy:3.0.5-alpine")
PATIENCE = 900.0
"""Seconds for replicas to get ready: on a quarter of a core the libraries alone take a minute to import."""
USERS = 8
"""Requests in flight per replica: enough that none of them waits for work."""


def docker(*arguments: str, timeout: float = 300, variables: Mapping[str, str] | None = None) -> str:
    """Run docker with arguments and environment variables; return what it prints. Raises Failure with its last line."""
    try:
        done = subprocess.run(
            ["docker", *arguments],
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"docker {arguments[0]}: {error}") from None
    if done.returncode:
        raise Failure(f"docker {arguments[0]}: {(done.stderr.strip() or 'it failed').splitlines()[-1]}")
    return done.stdout.strip()


def find_obstacle() -> str:
    """Return in one line why no stack can run here; empty if one can."""
    try:
        if docker("info", "--format", "{{.Swarm.ControlAvailable}}", timeout=10) != "true":
            return "this Docker engine manages no swarm: docker swarm init"
        for image in (IMAGE, PROXY_IMAGE):
            docker("image", "inspect", "--format", "{{.Id}}", image, timeout=10)
    except Failure as failure:
        return f"{failure} (docs/swarm.md says what it takes)"
    return ""


@dataclass(frozen=True)
class Stack:
    """A stack that runs: its name, how many replicas it has, and the ports of its proxy on this machine."""

    name: str
    replicas: int
    http_port: int
    metrics_port: int

    def find_tasks(self) -> list[str]:
        """Return the ids of the containers of its replicas that run."""
        label = f"label=com.docker.swarm.service.name={self.name}_triton"
        return docker("ps", "-q", "--filter", label).split()

    def count_ready(self) -> int:
        """Return how many replicas the proxy sends requests to by HTTP."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return sum(
            line.startswith('haproxy_server_status{proxy="http"') and 'state="UP"' in line and line.endswith(" 1")
            for line in lines
        )

    def wait_until_ready(self) -> None:
        """Wait until the proxy sends requests to every replica. Raises Failure after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError):
                if self.count_ready() == self.replicas:
                    return
            time.sleep(1)
        raise Failure(f"{self.name}: {self.replicas} replicas were not ready within {PATIENCE:.0f} s: docker stack ps")

    def send(self, reports: Path, *flags: str) -> dict:
        """Send a load through the proxy from within the stack's network; return the run's summary.json.

        Raises Failure if the run leaves none.
        """
        folder = Path(tempfile.mkdtemp(dir=reports))
        folder.chmod(0o777)  # the image's user is nobody of this machine's
        there = f"--network={self.name}_inside", f"--volume={folder}:/reports", "--env=HOME=/tmp", "--entrypoint=locust"
        load = "-f", "loadgen/image.py", "--headless", "--only-summary", "--host", "http://proxy:8000"
        counted = "--replicas", "tasks.triton:8000", "--reports", "/reports"
        with suppress(Failure):  # by its exit code it says that it is INVALID; so does its summary
            docker("run", "--rm", *there, IMAGE, *load, *counted, *flags, timeout=600)
        for file in folder.glob("*/summary.json"):
            return json.loads(file.read_text())
        raise Failure(f"a load on {self.name} has left no summary in {folder}")


@contextmanager
def deploy(name: str, replicas: int, cpus: float) -> Iterator[Stack]:
    """Run a stack whose replicas have so much of a core each, for a `with` block. Raises Failure."""
    http, grpc, metrics = free_ports(3)
    variables = {
        "CROSSOVER_REPLICAS": str(replicas),
        "CROSSOVER_CPUS": f"{cpus:g}",
        "CROSSOVER_WEIGHTS": "tiny",
        "CROSSOVER_HTTP_PORT": str(http),
        "CROSSOVER_GRPC_PORT": str(grpc),
        "CROSSOVER_PROXY_PORT": str(metrics),
        "CROSSOVER_IMAGE": IMAGE,
        "CROSSOVER_PROXY_IMAGE": PROXY_IMAGE,
    }
    try:
        docker("stack", "deploy", "--resolve-image=never", f"--compose-file={STACK}", name, variables=variables)
        yield Stack(name, replicas, http, metrics)
    finally:
        docker("stack", "rm", name)
        deadline = time.monotonic() + 120
        while docker("ps", "-aq", "--filter", f"name=^{name}_") and time.monotonic() < deadline:
            time.sleep(1)


def carry(stack: Stack, reports: Path, seconds: float, seed: int) -> tuple[float, str]:
    """Return the answers per second of a closed loop, and why the turn is INVALID; empty if it is VALID."""
    users = f"closed:users={USERS * stack.replicas}"
    run = stack.send(reports, "--arrivals", users, "--seconds", f"{seconds:g}", "--seed", str(seed), "--percentile=50")
    counts = ", ".join(f"{'?' if count is None else count}" for count in run["replicas"].values())
    rules = ", ".join(found["rule"] for found in run["findings"])
    print(
        f"  {stack.replicas} replicas: {run['achieved']:6.1f}/s  each: {counts}  {rules and f'INVALID: {rules}'}",
        flush=True,
    )
    return run["achieved"], rules


def estimate_ratio(ones: Sequence[float], several: Sequence[float]) -> Estimate:
    """Return the mean logarithm of several / one over rounds, with its standard error; infinite below two rounds."""
    logarithms = np.log(several) - np.log(ones)
    count = len(logarithms)
    error = float(logarithms.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return Estimate(float(logarithms.mean()), error, max(1, count - 1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every turn and the ratios; returns 3 where no round was VALID, 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swarm", description=__doc__.partition("\n")[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[3], help="beside one, each in a stack of its own")
    parser.add_argument("--cpus", type=float, default=0.25, help="cores of each replica")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=10, help="of a turn")
    options = parser.parse_args(arguments)
    try:
        check_positive(seconds=options.seconds, rounds=options.rounds, cpus=options.cpus)
        if any(each < 2 for each in options.replicas):
            raise ValueError(f"--replicas must be 2 or more, beside the one that there is, not {min(options.replicas)}")
    except ValueError as error:
        parser.exit(2, f"{error}\n")
    if obstacle := find_obstacle():
        parser.exit(2, f"{obstacle}\n")
    try:
        return measure(sorted({1, *options.replicas}), options)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1


def measure(numbers: Sequence[int], options: argparse.Namespace) -> int:
    """Start a stack of each number of replicas, take turns, and print what comes of it. Raises Failure."""
    print(f"{read_cpu_model()}; {os.cpu_count()} cores; {options.cpus:g} of a core per replica, tiny networks")
    rounds: list[dict[int, float]] = []
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="crossover-swarm-") as folder:
        stacks = [running.enter_context(deploy(f"crossover{n}", n, options.cpus)) for n in numbers]
        for stack in stacks:
            stack.wait_until_ready()
            carry(stack, Path(folder), 3, 0)  # warm-up
        for number in range(1, options.rounds + 1):
            print(f"round {number} of {options.rounds}", flush=True)
            turns = {}
            for stack in random.Random(number).sample(stacks, len(stacks)):
                turns[stack.replicas] = carry(stack, Path(folder), options.seconds, number)
            if not any(rules for _, rules in turns.values()):
                rounds.append({replicas: rate for replicas, (rate, _) in turns.items()})
    print(f"{len(rounds)} of {options.rounds} rounds are VALID")
    for several in numbers[1:] if rounds else ():
        found = estimate_ratio([each[1] for each in rounds], [each[several] for each in rounds])
        low, high = found.ratios()
        print(f"{several} replicas carry {found.ratio:.2f} [{low:.2f}, {high:.2f}] times what one does")
    return 0 if rounds else 3


if __name__ == "__main__":
    sys.exit(command.run(main))
