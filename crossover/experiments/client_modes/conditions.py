"""The conditions: which clients, and which arrivals of one mean rate they are offered."""

from collections.abc import Callable, Sequence

from arrivals import Arrivals, Poisson, Uniform, Video, parse
from crossover.experiments.burst_shapes import CAMERAS
from crossover.measurement.trial import Trial
from loadgen.arm import Mode

LAWS: dict[str, Callable[[float], Arrivals]] = {
    "uniform": lambda rate: Uniform(0.5 / rate, 1.5 / rate),
    "Poisson": Poisson,
    "random phase": lambda rate: Video(CAMERAS, rate / CAMERAS, "random"),
    "synchronised": lambda rate: Video(CAMERAS, rate / CAMERAS, "synchronised"),
}
VIDEO = tuple(LAWS)[2:]


def clients(cores: int) -> list[Mode]:
    """Return the client modes with 1, 2, 4, ... workers up to the number of cores, but at least 2.

    One thread is the sequential client.
    """
    counts = [2**power for power in range(max(2, cores).bit_length())]
    return [
        Mode("sequential"),
        *(Mode("threads", count) for count in counts[1:]),
        *(Mode("async", count) for count in counts),
    ]


def reference(cores: int) -> Mode:
    """Return the client mode that others are compared with, and that is sent video: async, with a worker per core."""
    return Mode("async", 2 ** (cores.bit_length() - 1))


def law(trial: Trial) -> str:
    """Return the name in LAWS of a trial's arrivals."""
    process = parse(trial.arrivals)
    if isinstance(process, Video):
        return "random phase" if process.phase == "random" else "synchronised"
    return type(process).__name__.replace("Uniform", "uniform")


Key = tuple[str, str, str]
"""A condition: (placement, client, arrivals)."""


def conditions(measured: Sequence[Trial]) -> dict[Key, dict[int, Trial]]:
    """Return condition -> round -> its trial, in the order of the tables.

    Only trials that were measured to their end count; rounds ascend.
    """
    found: dict[Key, dict[int, Trial]] = {}
    for trial in measured:
        if trial.facts["complete"]:
            found.setdefault((trial.placement, trial.mode, law(trial)), {})[trial.round] = trial
    kinds, laws = ("sequential", "threads", "async"), tuple(LAWS)

    def order(key: Key) -> tuple:
        kind, _, workers = key[1].partition(":")
        return key[0], laws.index(key[2]) // 2, kinds.index(kind), int(workers or 1), laws.index(key[2])

    return {key: dict(sorted(found[key].items())) for key in sorted(found, key=order)}
