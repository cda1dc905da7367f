"""One run as asked for, from Locust's command line or its web form (where every value is text)."""

from dataclasses import dataclass

import numpy as np

from common import address
from loadgen import arrivals
from loadgen.arm import MODES, PLACEMENTS, Arm, Mode
from loadgen.arrivals.checks import check_positive
from loadgen.client.plan import Plan
from loadgen.samples.sample import FORMAT
from workloads import payloads
from workloads.workload import Workload


def declare(parser, workload: Workload) -> None:
    add, libraries = parser.add_argument, list(workload.libraries)
    examples = ", ".join(arrivals.EXAMPLES.values())
    add("--placement", choices=PLACEMENTS, default="server", help="where the input is decoded and preprocessed")
    add("--mode", choices=MODES, default="async", help="how the client works off its arrivals")
    add("--workers", type=int, default=1, help="client threads; in mode async they only preprocess")
    add("--arrivals", default="poisson:rate=5", help=f"e.g. {examples}")
    add("--seconds", type=float, default=30.0, help="length of the schedule")
    add("--seed", type=int, default=1, help="of the schedule and of the order of the payloads")
    add("--payloads", default="", help="a directory of files to send; empty: the built-in ones")
    add("--library", choices=libraries, default=libraries[0], help="that preprocesses in the client arm")
    add("--in-flight-cap", type=int, default=512, help="mode async: arrivals above it are dropped and counted")
    add("--timeout", type=float, default=30.0, help="deadline of one request, in seconds")
    add("--percentile", type=float, default=99.0, help="of the latency that the verdict must be able to vouch for")
    add("--reports", default="reports", include_in_web_ui=False, help="where samples are written")


@dataclass(frozen=True)
class Settings:
    arm: Arm
    process: arrivals.Arrivals
    seconds: float
    seed: int
    schedule: arrivals.Schedule | None
    """None for closed-loop arrivals, which have none."""
    payloads: list[payloads.Payload]
    timeout: float
    percentile: float

    @classmethod
    def of(cls, workload: Workload, options) -> "Settings":
        """Raises ValueError with one line that says which option is wrong and what it takes."""
        if getattr(options, "host", None):  # of Locust's flag or of its web form; a user's default is known to be good
            address.parse(options.host)
        workers = 1 if options.mode == "sequential" else number("workers", options.workers, int)
        mode = Mode(options.mode, workers, number("in-flight-cap", options.in_flight_cap, int))
        seconds, timeout = number("seconds", options.seconds), number("timeout", options.timeout)
        seed, percentile = number("seed", options.seed, int), number("percentile", options.percentile)
        check_positive(seconds=seconds, timeout=timeout)
        if not 0 < percentile < 100:
            raise ValueError(f"percentile must lie between 0 and 100, not {percentile:g}")
        process = arrivals.parse(options.arrivals)
        schedule = None if isinstance(process, arrivals.Closed) else process.schedule(seconds, seed)
        if schedule is not None and not len(schedule):
            why = schedule.note or "run longer"
            raise ValueError(f"arrivals {options.arrivals!r}: none within {seconds:g} s; {why}")
        return cls(
            Arm(workload, options.placement, mode, options.library),
            process,
            seconds,
            seed,
            schedule,
            payloads.load(workload, options.payloads),
            timeout,
            percentile,
        )

    @property
    def dues(self) -> np.ndarray | None:
        return None if self.schedule is None else self.schedule.times

    def order(self) -> np.ndarray:
        """Which payload each request sends; a closed loop goes round and round in it."""
        n = 100_000 if self.schedule is None else len(self.schedule)
        return payloads.order(len(self.payloads), n, self.seed)

    def plan(self) -> Plan:
        """What this run sends, all of it."""
        return Plan(np.empty(0) if self.dues is None else self.dues, self.order(), self.payloads)

    def described(self) -> dict:
        return {
            "format": FORMAT,
            "arm": str(self.arm),
            "arrivals": str(self.process),
            "seconds": self.seconds,
            "seed": self.seed,
            "schedule": self.schedule and self.schedule.digest,
            "timeout": self.timeout,
            "percentile": self.percentile,
            "payloads": [payload.name for payload in self.payloads],
            "trace": self.schedule.note if self.schedule else "",
        }


def number(name: str, text, kind=float):
    try:
        value = kind(text)
        if value < 0:
            raise ValueError
        return value
    except (TypeError, ValueError):
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{name} must be a {what} that is not negative, not {text!r}") from None
