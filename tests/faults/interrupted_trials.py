"""A program that sends itself SIGINT at random instants of short measurements, and counts those that it never felt.

python -m tests.faults.interrupted_trials trials|pairs URL STATE COUNT [SEED]
"""

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from crossover.experiments.burst_shapes import exactly
from crossover.experiments.client_modes.conditions import LAWS
from crossover.measurement.pairs import measure_pairs
from crossover.measurement.retry import Retries
from loadgen import interrupts
from loadgen.arm import Arm, Mode
from serving.server import Server
from workloads import catalogue

MODES = (Mode("sequential"), Mode("threads", 2), Mode("async", 1))


def prepare_trials(server: Server, folder: Path) -> Callable[[int], None]:
    """Warm every arm up; return what measures three short trials of a random one in a folder of that number."""
    workload = catalogue.find("audio")
    retries, sent = Retries(lambda: server, print), workload.load("")
    arms = [Arm(workload, placement, mode) for placement in workload.placements for mode in MODES]

    def measure(number: int) -> None:
        measure_arm(random.Random(number).choice(arms), number)

    def measure_arm(arm: Arm, number: int) -> None:
        schedule = exactly(LAWS["Poisson"], 128, 12, number)
        for trial in range(1, 4):
            retries.measure(arm, schedule, sent, folder / str(number) / f"round-{trial:02}", 1, trial)

    # What is interrupted while it is imported cannot be imported again; a command ends, but this program goes on.
    for arm in arms:
        measure_arm(arm, 0)
    return measure


def prepare_pairs(server: Server, folder: Path) -> Callable[[int], None]:
    """Warm up; return what measures half a second of pairs in a folder of that number."""
    workload = catalogue.find("audio")
    arms, sent = tuple(Arm(workload, placement, Mode("async")) for placement in workload.placements), workload.load("")

    def measure(number: int) -> None:
        (folder / str(number)).mkdir()
        measure_pairs(server, arms, sent, folder / str(number), 0.6, number)

    measure(0)
    return measure


def is_lost(measure: Callable[[int], None], number: int, delay: float) -> bool:
    """Measure, with SIGINT after `delay` seconds. Return whether no KeyboardInterrupt came of it."""
    interrupts._received, interrupts._last, interrupts._waiting, interrupts._lost = 0, float("-inf"), False, False
    sent = threading.Event()

    def shoot() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)
        sent.set()

    try:
        # On a busy machine the signal may come before the thread's start has returned.
        threading.Thread(target=shoot, daemon=True).start()
        measure(number)
        sent.wait()
        time.sleep(0.5)
    except KeyboardInterrupt:
        return False
    return True


def main() -> None:
    kind, url, state, count, *seed = sys.argv[1:]
    rng, server, lost = random.Random(*map(int, seed or ["1"])), Server.at(url, Path(state)), 0
    with tempfile.TemporaryDirectory() as folder:
        measure = {"trials": prepare_trials, "pairs": prepare_pairs}[kind](server, Path(folder))
        interrupts.install()
        for number in range(1, int(count) + 1):
            lost += is_lost(measure, number, rng.random() * 0.4)
    print(f"lost {lost} of {count}")


if __name__ == "__main__":
    main()
