"""The conditions of the study: which clients, and which arrivals of one mean rate they are offered."""

from collections.abc import Callable, Sequence

from crossover.experiments.burst_shapes import CAMERAS
from crossover.measurement.trial import Block
from loadgen.arm import Mode
from loadgen.arrivals import Arrivals, Poisson, Uniform, Video, parse

LAWS: dict[str, Callable[[float], Arrivals]] = {
    "uniform": lambda rate: Uniform(0.5 / rate, 1.5 / rate),
    "Poisson": Poisson,
    "random phase": lambda rate: Video(CAMERAS, rate / CAMERAS, "random"),
    "synchronised": lambda rate: Video(CAMERAS, rate / CAMERAS, "synchronised"),
}
VIDEO = tuple(LAWS)[2:]


def clients(cores: int) -> list[Mode]:
    """1, 2, 4, ... workers up to the cores, but at least 2. One thread is the sequential client."""
    counts = [2**power for power in range(max(2, cores).bit_length())]
    return [
        Mode("sequential"),
        *(Mode("threads", count) for count in counts[1:]),
        *(Mode("async", count) for count in counts),
    ]


def reference(cores: int) -> Mode:
    """The client that others are compared with, and that is sent video: asynchronous, with a worker per core."""
    return Mode("async", 2 ** (cores.bit_length() - 1))


def law(block: Block) -> str:
    """Under which name its arrivals are shown."""
    process = parse(block.arrivals)
    if isinstance(process, Video):
        return "random phase" if process.phase == "random" else "synchronised"
    return type(process).__name__.replace("Uniform", "uniform")


Key = tuple[str, str, str]
"""A condition: (placement, client, arrivals)."""


def conditions(measured: Sequence[Block]) -> dict[Key, dict[int, Block]]:
    """The whole blocks of each condition, by round; in the order of the tables."""
    found: dict[Key, dict[int, Block]] = {}
    for block in measured:
        if block.facts["complete"]:
            found.setdefault((block.placement, block.mode, law(block)), {})[block.round] = block
    kinds, laws = ("sequential", "threads", "async"), tuple(LAWS)

    def place(key: Key) -> tuple:
        kind, _, workers = key[1].partition(":")
        return key[0], laws.index(key[2]) // 2, kinds.index(kind), int(workers or 1), laws.index(key[2])

    return {key: dict(sorted(found[key].items())) for key in sorted(found, key=place)}
