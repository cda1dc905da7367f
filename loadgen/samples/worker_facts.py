"""What several processes that share one run say of themselves, as facts of the run."""

from collections.abc import Iterable, Sequence

from loadgen.samples.verdict import Facts


def combine(workers: Sequence[Facts], dead: Sequence[int], closed: bool) -> Facts:
    """Return the facts of a run from those of its workers; `dead` are the indices of workers that sent none."""
    cut = [facts for facts in workers if not facts.complete]
    numbers = f"worker{'s' * (len(dead) > 1)} {', '.join(map(str, dead))}"
    cause = f"{numbers} died or was cut off" if dead else next((facts.cause for facts in cut if facts.cause), "")
    if not cause and 0 < len(cut) < len(workers):
        cause = "a worker ended before the others"
    stall, ended = (max((getattr(each, name) for each in workers), default=0.0) for name in ("hub_stall", "ended"))
    return Facts(busiest_share(workers), stall, not dead and not cut, cause, ended, closed=closed)


def busiest_share(workers: Iterable[Facts]) -> float | None:
    """Return the CPU share of the busiest set of cores, where workers on the same cores add up; None if unknown."""
    return add_shares((facts.cores, facts.cpu_share) for facts in workers if facts.cpu_share is not None)


def add_shares(readings: Iterable[tuple[str, float]]) -> float | None:
    """Return the CPU share of the busiest set of cores, of (cores, share) of each process; None without any."""
    shares: dict[str, float] = {}
    for cores, share in readings:
        shares[cores] = shares.get(cores, 0.0) + share
    return max(shares.values(), default=None)
