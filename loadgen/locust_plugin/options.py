"""The settings of one run, from Locust's command line or its web form, where every value is text.

The flags keep their names whatever the workload: it only decides which files are sent and which libraries there are.
"""

from argparse import Namespace
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

import arrivals
from arrivals.checks import check_positive
from common import access, address
from loadgen.arm import Arm, Mode
from loadgen.client.plan import Plan
from loadgen.locust_plugin.replicas import Replicas, list_models, parse_places
from loadgen.samples.sample import FORMAT
from transport.reach import reach
from workloads import optional, payloads
from workloads.model_config import check_answers, complete
from workloads.prepare_check import check_workload
from workloads.transport_choice import HTTP, Transport
from workloads.workload import Workload

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Settings:
    """One run: the arm, what arrives when, which files are sent, and how the run is judged.

    Master and workers derive equal settings from the same options: the schedule follows from its specification, length
    and seed, the order of the payloads from the seed.
    """

    arm: Arm
    process: arrivals.Arrivals
    seconds: float
    """The length of the schedule; a closed loop sends no request after it."""
    seed: int
    schedule: arrivals.Schedule | None
    """None for a closed loop, whose arrivals depend on the answers."""
    payloads: list[payloads.Payload]
    """The files to send, one or more."""
    timeout: float
    """The deadline of one request, in seconds."""
    percentile: float | None
    """The latency percentile (0 to 100) that the verdict must vouch for; None: the highest that arrivals allow."""
    unprotected: tuple[str, ...] = ()
    """What the way to the server leaves open (`access.warnings`)."""
    replicas: str = ""
    """Where the replicas behind a proxy are asked for their requests (`replicas.parse_places`); empty: nowhere."""

    @classmethod
    def from_options(cls, workload: Workload, options: Namespace) -> "Settings":
        """Check the options and load payloads and schedule.

        Raises ValueError with one line that says which option is wrong and what it takes.
        """
        if host := getattr(options, "host", ""):  # from Locust's flag or form; the default in the locustfile is good
            address.parse(host)
        workers = 1 if options.mode == "sequential" else parse_number("workers", options.workers, int)
        mode = Mode(options.mode, workers, parse_number("in-flight-cap", options.in_flight_cap, int))
        seconds = parse_number("seconds", options.seconds, float)
        timeout = parse_number("timeout", options.timeout, float)
        seed = parse_number("seed", options.seed, int)
        if getattr(options, "grpc_port", ""):
            parse_number("grpc-port", options.grpc_port, int)
        asked = options.percentile not in ("", None)
        percentile = parse_number("percentile", options.percentile, float) if asked else None
        check_positive(seconds=seconds, timeout=timeout)
        if replicas := getattr(options, "replicas", ""):
            parse_places(replicas)
        if percentile is not None and not 0 < percentile < 100:
            raise ValueError(f"percentile must lie between 0 and 100, not {percentile:g}")
        process = arrivals.parse(options.arrivals)
        schedule = None if isinstance(process, arrivals.Closed) else process.schedule(seconds, seed)
        if schedule is not None and not len(schedule):
            why = schedule.note or "run longer"
            raise ValueError(f"arrivals {options.arrivals!r}: none within {seconds:g} s; {why}")
        placement, own = options.placement, workload.bases
        if options.transport != "http":
            placement += f"+{Transport(options.transport).name}"
        if placement not in workload.placements:
            workload = workload.with_arms([placement])
        if options.placement not in own and not optional.is_at_hand(workload.placements[placement], own):
            good = ", ".join(optional.list_at_hand(own))
            raise ValueError(f"placement must be one of {good}; {options.placement} is for the commands of `crossover`")
        library = getattr(options, "library", "")
        return cls(
            Arm(workload.with_library(library), placement, mode, library),
            process,
            seconds,
            seed,
            schedule,
            workload.load(options.payloads),
            timeout,
            percentile,
            tuple(access.warnings(host) if host else ()),
            replicas,
        )

    @property
    def dues(self) -> np.ndarray | None:
        """Due times in seconds from the start, float64 of shape (n,); None for a closed loop."""
        return None if self.schedule is None else self.schedule.times

    def order(self) -> np.ndarray:
        """Return the index of the payload that each request sends; a closed loop repeats it from the start."""
        n = 100_000 if self.schedule is None else len(self.schedule)
        return payloads.order(len(self.payloads), n, self.seed)

    def plan(self) -> Plan:
        """Return the plan of all that this run sends."""
        return Plan(np.empty(0) if self.dues is None else self.dues, self.order(), self.payloads)

    def find_replicas(self) -> Replicas | None:
        """Return the replicas that are to be counted, with what they count now; None: none. Raises ConnectionError."""
        return Replicas(self.replicas, list_models(self.arm.placed)) if self.replicas else None

    def describe(self) -> dict:
        """Return the settings as run.json holds them."""
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
            **({"loses": self.arm.placed.lossy} if self.arm.placed.lossy else {}),
            **({"unprotected": list(self.unprotected)} if self.unprotected else {}),
        }


def check_options(workload: Workload, default: str, options: Namespace, answers: bool = True) -> None:
    """Check the options, and prepare a payload once, if the workload is a user's own.

    The server is the one that the options name, or `default`; with `answers`, one must answer there. Raises ValueError
    with one line for bad options or a bad workload, ConnectionError if no server answers.
    """
    url = getattr(options, "host", "") or default
    access.grant_without_login(url, options.cacert, options.insecure)  # the web form's may be another's server
    settings = Settings.from_options(workload, options)
    arm, first = settings.arm, settings.payloads[:1]
    check_workload(arm.workload, [arm.placement], first, arm.library)
    if answers:
        check_answers(url)
        settings.find_replicas()
    if not workload.file and arm.placed.transport == HTTP:
        return
    try:
        check_workload(find_out(arm, url, options).workload, [arm.placement], first, arm.library)
    except ConnectionError:  # the server may come up later, and another may be asked by the web form
        if answers:
            raise


def find_out(arm: Arm, url: str, options: Namespace) -> Arm:
    """Return the arm with what only the server at `url` knows: its tensors, and how its transport reaches it.

    Raises ConnectionError with one line if no server answers, and ValueError if this one cannot be measured.
    """
    port = parse_number("grpc-port", options.grpc_port, int) if options.grpc_port else None
    workload = complete(arm.workload, url, [arm.placement])
    return replace(arm, workload=reach(workload, url, [arm.placement], address.read_record(url), port))


def parse_number(name: str, text: str | float, kind: type[Number]) -> Number:
    """Return the option's value as an int or a float. Raises ValueError if it is none, or negative."""
    try:
        value = kind(text)
        if value < 0:
            raise ValueError
        return value
    except (TypeError, ValueError):
        what = "whole number" if kind is int else "number"
        raise ValueError(f"{name} must be a {what} that is not negative, not {text!r}") from None
