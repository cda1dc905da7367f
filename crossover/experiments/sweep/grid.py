"""What is swept: a quantity, its values, and what a comparison at each of them needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workloads.model_config import complete
from workloads.payloads import Payload
from workloads.workload import Size, Workload

WORKERS = (1, 2, 4)
LINKS = (10, 100, 1000)
NAMES = ("size", "network", "workers", "cores")


@dataclass(frozen=True)
class Place:
    """Where the server runs: on so many cores (0: half of them), and at the far end of a link or not."""

    cores: int = 0
    linked: bool = False


@dataclass(frozen=True)
class Point:
    """A point of a sweep: what is sent from how many workers and cores, and over which link."""

    x: float
    """Where it lies on the axis of its sweep, in the sweep's unit."""
    label: str
    """The name of its folder."""
    sent: Callable[[], list[Payload]]
    """Reads what is sent."""
    place: Place = Place()
    """Where the server is."""
    client_cores: int = 0
    """0: all that the server leaves."""
    workers: int = 0
    """0: as many as the client has cores."""
    mbit: float = 0.0
    """The link's rate in Mbit/s; 0 without a link."""


@dataclass(frozen=True)
class Sweep:
    """A quantity that is varied, and the two placements that are compared at each of its values."""

    title: str
    """The quantity, in words."""
    workload: Workload
    arms: tuple[str, str]
    """The placements compared: baseline and candidate."""
    unit: str
    """The unit of every point's `x`."""
    points: tuple[Point, ...]
    forms: dict[str, Workload] = field(default_factory=dict)
    """What the baseline may send, by its name in titles: the workload with that variant of it. The candidate is the
    same for all."""
    between: Callable[[float], Point] | None = None
    """Makes the point nearest to any x between the others, to look closer; its own x gives the same point again. None:
    there are no others."""

    @property
    def baselines(self) -> dict[str, Workload]:
        """Form -> the workload with the baseline of that form; one without a name where there are no forms."""
        return self.forms or {"": self.workload}

    def complete(self, url: str) -> "Sweep":
        """Return the sweep with what its workload leaves to the server at `url`. Raises ConnectionError."""
        known = {form: complete(workload, url, self.arms) for form, workload in self.forms.items()}
        return replace(self, workload=complete(self.workload, url, self.arms), forms=known)

    def at(self, place: Place) -> list[Point]:
        """Return the points that are measured at this place."""
        return [point for point in self.points if point.place == place]

    def find_closer(self, crossing: dict, known: Sequence[float]) -> Point | None:
        """Return a point near a crossing of crossover.json; None if there is none, or one of `known` is as near."""
        if not self.between:
            return None
        point = self.between(crossing["x"])
        inside = min(known) < point.x < max(known)
        return point if inside and all(abs(point.x / x - 1) > CLOSE for x in known) else None

    @property
    def slug(self) -> str:
        """The name of its folder: `image-link-rate`."""
        return f"{self.workload.name}-{self.title.replace(' ', '-')}"


CLOSE = 0.05
"""Points whose x differ by no more than that share are as good as one."""


def planned(
    names: Sequence[str], workloads: Mapping[str, Workload], arms: Mapping[str, Sequence[str]], cores: int
) -> tuple[list[Sweep], list[str]]:
    """Return (the sweeps, in the order of the names, and why others are left out) on a machine with that many cores."""
    chosen, left_out = [], []
    for name in names:
        if name == "cores" and cores < 3:
            left_out.append(f"client and server cores are not swept: that takes 3 cores or more, here are {cores}")
            continue
        makers = SWEEPS[name](cores)
        for make in makers:
            for each, workload in workloads.items():
                baseline, candidate = arms[each]
                chosen += make(workload, (baseline, candidate))
        if name == "size":
            lacking = [each for each, workload in workloads.items() if not workload.sizes]
            left_out += [f"size: {each} has no sizes to sweep" for each in lacking]
    return chosen, left_out


Maker = Callable[[Workload, tuple[str, str]], list[Sweep]]


def typical(workload: Workload) -> Callable[[], list[Payload]]:
    """Return the source of payloads for sweeps of anything but their size."""
    return workload.typical or workload.payloads


def list_sources(workload: Workload) -> list[Callable[[], list[Payload]]]:
    """Return the sources of all payloads that sweeps may send, each once."""
    sizes = [size.payloads for axis in workload.sizes for size in axis.values]
    return list(dict.fromkeys((workload.payloads, typical(workload), *sizes)))


def size(cores: int) -> list[Maker]:
    """Return what makes the sweeps over the sizes of a workload: one per axis that it has."""

    def at_size(size: Size) -> Point:
        return Point(size.x, size.label, size.payloads)

    def at_sizes(between: Callable[[float], Size]) -> Callable[[float], Point]:
        return lambda x: at_size(between(x))

    def make(workload: Workload, arms: tuple[str, str]) -> list[Sweep]:
        found = []
        for axis in workload.sizes:
            closer = at_sizes(axis.between) if axis.between else None
            points = tuple(map(at_size, axis.values))
            found.append(Sweep(axis.title, workload, arms, axis.unit, points, between=closer))
        return found

    return [make]


def workers(cores: int) -> list[Maker]:
    """Return what makes the sweep over the number of client workers."""

    def make(workload: Workload, arms: tuple[str, str]) -> list[Sweep]:
        def with_workers(x: float) -> Point:
            n = round(x)
            return Point(n, f"workers-{n}", typical(workload), workers=n)

        points = tuple(map(with_workers, WORKERS))
        return [Sweep("client workers", workload, arms, "threads", points, between=with_workers)]

    return [make]


def network(cores: int) -> list[Maker]:
    """Return what makes the sweep over the rates of a link, with each form that the baseline may send."""

    def make(workload: Workload, arms: tuple[str, str]) -> list[Sweep]:
        def at_rate(x: float) -> Point:
            mbit = float(f"{x:.2g}")
            return Point(mbit, f"{mbit:g}mbit", typical(workload), Place(linked=True), mbit=mbit)

        points = tuple(map(at_rate, LINKS))
        return [Sweep("link rate", workload, arms, "Mbit/s", points, forms(workload, arms[0]), at_rate)]

    return [make]


def forms(workload: Workload, name: str) -> dict[str, Workload]:
    """Return what that placement may send -> the workload with that variant of it, of those that lose nothing."""
    placement = workload.placements[name]
    variants = [placement, *(each for each in placement.variants.values() if each.form and not each.lossy)]
    return {each.form: replace(workload, placements={**workload.placements, name: each}) for each in variants}


def cores(available: int) -> list[Maker]:
    """Return what makes the sweeps of one side on 1, 2, 4, ... cores, the other on one."""
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n < available]

    def client(workload: Workload, arms: tuple[str, str]) -> list[Sweep]:
        def with_cores(x: float) -> Point:
            n = round(x)
            return Point(n, f"client-{n}", typical(workload), Place(1), client_cores=n)

        points = tuple(map(with_cores, counts))
        return [Sweep("client cores", workload, arms, "cores", points, between=with_cores)]

    # A point between would need a server of its own, on other cores.
    def server(workload: Workload, arms: tuple[str, str]) -> list[Sweep]:
        points = tuple(Point(n, f"server-{n}", typical(workload), Place(n), client_cores=1) for n in counts)
        return [Sweep("server cores", workload, arms, "cores", points)]

    return [client, server]


SWEEPS = {"size": size, "network": network, "workers": workers, "cores": cores}


def lengths(rates: Sequence[float], arms: int, rounds: int, seconds: float, least: int, most: int) -> list[float]:
    """Return the seconds of a trial at each point, so that all have as many arrivals in the time there is; 0: left out.

    The slowest points are left out until trials of the others hold at least that many arrivals.
    """
    result = [0.0] * len(rates)
    kept = sorted(range(len(rates)), key=lambda i: rates[i])
    while kept:
        each = arms * rounds * sum(1 / rates[i] for i in kept)  # seconds per arrival in every trial
        arrivals = (seconds - arms * rounds * len(kept) * OVERHEAD) / each
        if arrivals >= least:
            for i in kept:
                result[i] = max(SHORTEST, round(min(arrivals, most) / rates[i], 2))
            break
        kept.pop(0)
    return result


OVERHEAD = 0.5  # seconds that a trial takes beside its schedule
SHORTEST = 1.0  # seconds of a trial
