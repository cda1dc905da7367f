"""What is asked: a pipeline as a client sees it, as data.

A workload holds everything that is particular to one pipeline: where requests may be prepared (its placements), what
is sent, and the words in which results are told. Nothing outside this folder decides by a workload's or a placement's
name. `docs/own-pipeline.md` shows how to write one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common.messages import one_line, shorten
from workloads import optional, payloads
from workloads.array_payloads import Arrays, Made
from workloads.payloads import Payload
from workloads.placement import NAME, VARIANT, Derived, Placement, Preprocessor, UnsoundWorkload, per_thread
from workloads.target import Target
from workloads.transport_choice import split_name

__all__ = [  # all that a file of a workload needs is imported from here
    "Answer",
    "Derived",
    "Placement",
    "Preprocessor",
    "Size",
    "Sizes",
    "Target",
    "UnsoundWorkload",
    "Workload",
    "per_thread",
]

Source = Callable[[], list[Payload]]
WRITTEN = (".json", ".html", ".png", ".parquet")
"""Suffixes of the files that a run leaves; a workload's folder lies beside them."""


@dataclass(frozen=True)
class Size:
    """A point on the axis of a sweep over sizes."""

    x: float
    label: str
    payloads: Source


@dataclass(frozen=True)
class Sizes:
    """An axis along which payloads vary: photographs in megapixels, clips in seconds."""

    title: str
    unit: str
    values: tuple[Size, ...]
    between: Callable[[float], Size] | None = None
    """Makes the size nearest to any x between the values, where a sweep wants to look closer; its own x gives the same
    size again. None: there are no others."""


@dataclass(frozen=True)
class Answer:
    """How an answer is shown to a person: one output, and a function of it that gives one line."""

    output: str
    text: Callable[[np.ndarray], str]
    classes: bool = False
    """Whether the server is to name the highest classes, by Triton's classification extension."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One question asked in several ways: the same files, the same answer, different places to prepare the input."""

    name: str
    placements: Mapping[str, Placement]
    """By name. The first two are compared where no others are asked for; the first is the baseline."""
    payloads: Source
    """What is sent where no directory is given."""
    optional: Mapping[str, Placement] = field(default_factory=dict)
    """More placements by name, which are measured only where --arms names them."""
    subject: str = ""
    """What is sent, in words: "photographs"."""
    steps: tuple[str, ...] = ()
    """The models that a request may pass, in order; their statistics are reported. Empty: as the server says."""
    suffixes: tuple[str, ...] = ()
    """Of the files that it reads from a directory; empty: every file."""
    typical: Source | None = None
    """Payloads of one typical size, for sweeps of something else; None: `payloads`."""
    sizes: tuple[Sizes, ...] = ()
    """What a sweep over sizes varies."""
    answer: Answer | None = None
    """None: an answer is shown as the shapes and first values of its outputs."""
    example: Path | None = None
    """A file of this repository that `crossover infer` sends where none is given; None: the first of the payloads."""
    rate: float = 5.0
    """Requests per second in Locust where no arrivals are asked for: well below what one core of a laptop answers."""
    share: float = 0.5
    """Of an experiment's time, in proportion to the other workloads' shares."""
    sweep_shares: Mapping[str, float] = field(default_factory=dict)
    """Weights of the network -> the same for sweeps; 1 where it is not said."""
    file: str = ""
    """The path it was read from; empty for a built-in one."""
    digest: str = ""
    """SHA-256 of that file, shortened."""

    def __post_init__(self):
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise UnsoundWorkload(f"a workload's name has letters, digits, '.', '_' and '-', unlike {self.name!r}")
        if self.name.lower().endswith(WRITTEN):
            ends = ", ".join(WRITTEN)
            raise UnsoundWorkload(f"no workload may be called {self.name!r}, as reports are: ending in {ends}")
        if not isinstance(self.placements, Mapping) or not self.placements:
            given = quote(self.placements)
            raise UnsoundWorkload(f"placements of {self.name} must map names to placements, not {given}")
        for name, placement in self.placements.items():
            if not isinstance(name, str) or not VARIANT.fullmatch(cut_transport(name, placement)):
                raise UnsoundWorkload(f"a placement's name has letters, digits, '.', '_' and '-', unlike {name!r}")
            if not isinstance(placement, Placement):
                raise UnsoundWorkload(f"placement {name!r} of {self.name} is no Placement, but {quote(placement)}")
        if not callable(self.payloads):
            given = quote(self.payloads)
            raise UnsoundWorkload(f"payloads of {self.name} must be files('...') or a function, not {given}")
        if not self.rate > 0:
            raise UnsoundWorkload(f"rate of {self.name} must be positive, not {self.rate!r}")
        if not self.share > 0:
            raise UnsoundWorkload(f"share of {self.name} must be positive, not {self.share!r}")

    @property
    def models(self) -> tuple[str, ...]:
        """All that a server must have for it."""
        return tuple(dict.fromkeys((*self.steps, *(each.model for each in self.placements.values()))))

    @property
    def reference(self) -> str:
        """What messages call it: its file, or the name of a built-in one."""
        return Path(self.file).name if self.file else self.name

    def describe_placement(self, name: str) -> str:
        """Return what messages call a placement of it."""
        return f"placement {name!r} of {self.reference}"

    @property
    def compared(self) -> tuple[str, ...]:
        """The placements that are compared where no others are asked for, the baseline first."""
        return tuple(self.placements)[:2]

    @property
    def encoded(self) -> str:
        """The first placement that sends bytes as they are, or else the first of all."""
        return next((name for name, each in self.placements.items() if not each.prepares), next(iter(self.placements)))

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names of the libraries that any placement can prepare with, of those that have one."""
        return tuple(dict.fromkeys(name for each in self.placements.values() for name in each.libraries if name))

    @property
    def bases(self) -> dict[str, Placement]:
        """The placements that --arms can name without a variant: its own, and the optional ones."""
        return {**self.placements, **self.optional}

    def with_arms(self, arms: Sequence[str]) -> "Workload":
        """Return the workload with a placement for each of these arms, and with the steps that their requests pass.

        An arm is a placement with its variant, if any, and its transport: `client:uint8+grpc`. Raises ValueError for
        one that there is not.
        """
        chosen = {}
        for arm in arms:
            name, transport = split_name(arm)
            placement = optional.find(self.bases, name, self.name)
            chosen[arm] = placement.over(transport, name) if transport else placement
        steps = dict.fromkeys((*self.steps, *(step for each in chosen.values() for step in each.steps)))
        return replace(self, placements={**self.placements, **chosen}, steps=tuple(steps))

    def with_library(self, library: str) -> "Workload":
        """Return the workload whose placements prepare with this library, where they have it, and declare its loss."""
        changed = {name: each.by_library(library) for name, each in self.placements.items()} if library else {}
        return replace(self, placements={**self.placements, **changed})

    def load(self, directory: str = "") -> list[Payload]:
        """Read the files of a directory that it can read, or its own payloads.

        Raises ValueError with one line if there is nothing to send or it cannot be read.
        """
        if directory:
            return payloads.read(directory, self.suffixes)
        return self.read_source(self.payloads)

    def read_source(self, source: Source) -> list[Payload]:
        """Return what a source of this workload gives, checked: the function may be a user's.

        Raises ValueError with one line if it raises anything or gives no list of payloads.
        """
        where, good = f"payloads of {self.name}", "a list of Payload(name, encoded), and not empty"
        try:
            found = source()
        except (Exception, SystemExit) as error:
            # The messages of our own sources say which file, or which payload.
            if isinstance(source, payloads.Files | Arrays | Made) and isinstance(error, ValueError):
                raise
            raised = f"{type(error).__name__}: {error}"
            raise ValueError(one_line(f"{where} raised {raised}; the function returns {good}")) from None
        if not isinstance(found, list | tuple) or not found or not all(isinstance(each, Payload) for each in found):
            raise ValueError(f"the {where} must be {good}")
        for each in found:
            if not isinstance(each.name, str):
                raise ValueError(f"the {where} have names that are text, unlike {each.name!r}")
            for _, data in each.parts:
                if not isinstance(data, bytes | np.ndarray):
                    raise ValueError(f"{where}: {each.name!r} must hold bytes or arrays, not {type(data).__name__}")
            if not each.size:
                raise ValueError(f"{where}: {each.name!r} is empty")
        return list(found)

    def describe(self, arms: Sequence[str]) -> dict[str, Any]:
        """Return what a report needs to know of it, for run.json; `arms` are placements, the baseline first."""
        return {
            "subject": self.subject or self.name,
            "steps": list(self.steps),
            "placements": {
                name: {
                    "model": each.model,
                    "words": each.words or f"the {name} placement",
                    "library": next(iter(each.libraries), ""),
                    "lossy": each.lossy,
                }
                for name, each in ((name, self.placements[name]) for name in arms)
            },
        }


def quote(given: Any) -> str:
    """Return what a file gives in a wrong place, as messages show it: what a payload holds would fill the screen."""
    return shorten(repr(given), 80)


def cut_transport(name: str, placement: Any) -> str:
    """Return the name of a placement without the transport that it has: `client+grpc` is `client` over gRPC."""
    return name.removesuffix(f"+{placement.transport.name}") if isinstance(placement, Placement) else name
