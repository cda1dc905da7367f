"""What is asked: a pipeline as a client sees it, as data.

A workload holds everything that is particular to one pipeline: where requests may be prepared (its placements), what
is sent, and the words in which results are told. Nothing outside this folder decides by a workload's or a placement's
name. `docs/own-pipeline.md` shows how to write one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from common.messages import one_line
from workloads import payloads
from workloads.array_payloads import Arrays, Made
from workloads.payloads import Payload
from workloads.tensors import Array, Input, Misfit, Prepared, Tensor, encode

Preprocessor = Callable[[Any], Prepared]
"""A payload, mostly a file's bytes -> what is sent, without a batch dimension."""
Source = Callable[[], list[Payload]]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of workloads and placements: they become folders, flags and columns."""
WRITTEN = (".json", ".html", ".png", ".parquet")
"""Suffixes of the files that a run leaves; a workload's folder lies beside them."""


class UnsoundWorkload(ValueError):
    """A workload or a placement that cannot be used; the message is one line that says what is wrong."""


@dataclass(frozen=True)
class PerThread:
    """A maker of preprocessors, called once for each worker thread."""

    make: Callable[[], Preprocessor]
    """Returns a preprocessor that one thread at a time may use."""


def per_thread(make: Callable[[], Preprocessor]) -> PerThread:
    """Mark `make` as a maker of preprocessors, for objects that one thread at a time may use (a DALI pipeline).

    `Placement(..., prepare=per_thread(make))` calls `make()` once per worker, before the first request.
    """
    return PerThread(make)


Prepare = Preprocessor | PerThread


@dataclass(frozen=True)
class Target:
    """A served model as a client sees it: its inputs, and the outputs asked for."""

    model: str
    inputs: tuple[Input, ...] | None
    """Those that `prepare` gives; None where nothing is known of them."""
    outputs: tuple[str, ...] = ("logits",)
    batched: bool = True
    """Whether the model takes a batch dimension."""
    extra: tuple[Tensor, ...] = ()
    """What every request sends besides, ready to be sent."""

    def encode(self, prepared: Prepared) -> tuple[Tensor, ...]:
        """Return what `prepare` returned as the tensors of one request.

        Raises Misfit if the model does not take it.
        """
        if not isinstance(prepared, Mapping):
            return encode(self._find_only(), prepared, self.batched), *self.extra
        inputs = tuple(map(Input, prepared)) if self.inputs is None else self.inputs
        known = {each.name: each for each in inputs}
        if unknown := [name for name in prepared if name not in known]:
            raise Misfit(f"an input {unknown[0]!r}", f"{self.model} takes {', '.join(known) or 'none'}")
        if missing := [each.name for each in inputs if not each.optional and each.name not in prepared]:
            raise Misfit(f"no input {missing[0]!r}", f"{self.model} takes {', '.join(known)}")
        return *(encode(known[name], given, self.batched) for name, given in prepared.items()), *self.extra

    def _find_only(self) -> Input:
        """Return the one input that must be sent. Raises Misfit if there is not one."""
        if self.inputs is None or len(self.inputs) == 1:
            return self.inputs[0] if self.inputs else Input("")
        needed = [each for each in self.inputs if not each.optional]
        if len(needed) != 1:
            names = ", ".join(each.name for each in needed or self.inputs)
            raise Misfit("one array", f"{self.model} takes a dict of {names}")
        return needed[0]


@dataclass(frozen=True)
class Derived:
    """A model that no repository holds: it is made from another one's ONNX network where a server is started."""

    source: str
    """The served model whose network and configuration it is made from."""
    transform: Callable[[Any], Any]
    """onnx.ModelProto -> onnx.ModelProto"""
    input: Mapping[str, Any]
    """The one input, as Triton's model configuration describes it: name, data_type, dims."""


@dataclass(frozen=True)
class Placement:
    """One way to answer the question: who prepares the input, and which model is asked."""

    model: str
    prepare: Prepare | Mapping[str, Prepare] | None = None
    """Turns a file's bytes into a tensor, on the client; None sends the bytes as they are. A mapping offers several
    libraries by name, of which the first is the default."""
    _: KW_ONLY
    inputs: tuple[str | Input, ...] = ()
    """Names of the inputs that are sent, or more of them; what is left out comes from the server's model configuration.
    So with `outputs` and `batched`."""
    outputs: tuple[str, ...] = ()
    batched: bool | None = None
    extra: Mapping[str, Array] = field(default_factory=dict)
    """Inputs that are alike in every request, without a batch dimension."""
    words: str = ""
    """What sentences call it, e.g. "the client"; empty: made from its name."""
    form: str = ""
    """What crosses the network, e.g. "FP32 tensor"."""
    variants: Mapping[str, "Placement"] = field(default_factory=dict)
    """Other forms in which the same placement could send its input; sweeps of the network compare them."""
    lossy: str = ""
    """What is lost on the way, in words: "re-encoded as JPEG". Its answers may then differ from the others'."""
    derived: Derived | None = None
    """How to make the model where the server lacks it."""

    def __post_init__(self):
        if not isinstance(self.model, str) or not self.model:
            raise UnsoundWorkload(f"a placement names a served model, not {self.model!r}")
        makers = self.prepare if isinstance(self.prepare, Mapping) else {"prepare": self.prepare or PerThread}
        if not makers:
            raise UnsoundWorkload(f"the placement of {self.model} has an empty mapping as prepare")
        for name, made in makers.items():
            if not callable(made.make if isinstance(made, PerThread) else made):
                raise UnsoundWorkload(f"{name} of the placement of {self.model} must be a function, not {made!r}")
        # A string is a sequence, too: each of its letters would be taken for a name.
        for field_name, names in (("inputs", self.inputs), ("outputs", self.outputs)):
            if not isinstance(names, tuple | list):
                raise UnsoundWorkload(f"{field_name} of the placement of {self.model} must be a tuple, not {names!r}")
        for each in self.inputs:
            if not isinstance(each, str | Input):
                raise UnsoundWorkload(f"inputs of the placement of {self.model} are names, or Input(...), not {each!r}")
        if not isinstance(self.extra, Mapping):
            raise UnsoundWorkload(f"extra of the placement of {self.model} must map names to arrays")
        if not isinstance(self.lossy, str):
            raise UnsoundWorkload(f"lossy of the placement of {self.model} says what is lost, unlike {self.lossy!r}")

    @cached_property
    def target(self) -> Target:
        """The model that is asked, its inputs and the outputs wanted of it.

        Raises ValueError if an extra input is none that the model takes.
        """
        known = {each.name: each for each in (Input(each) if isinstance(each, str) else each for each in self.inputs)}
        batched = self.batched is not False
        try:
            extra = tuple(encode(known.get(name, Input(name)), given, batched) for name, given in self.extra.items())
        except ValueError as error:
            raise ValueError(f"extra of the placement of {self.model} gives {error}") from None
        inputs = tuple(each for each in known.values() if each.name not in self.extra) if known else None
        return Target(self.model, inputs, tuple(self.outputs), batched, extra)

    @property
    def prepares(self) -> bool:
        """Whether the client has anything to do before it sends."""
        return self.prepare is not None

    @property
    def libraries(self) -> dict[str, Callable[[], Preprocessor]]:
        """Name -> maker of a preprocessor for one thread; empty where bytes are sent as they are.

        A function that is no mapping's is its own library, by its name; a lambda is one without a name, "".
        """
        if self.prepare is None:
            return {}
        if isinstance(self.prepare, Mapping):
            return {name: maker(each) for name, each in self.prepare.items()}
        function = self.prepare.make if isinstance(self.prepare, PerThread) else self.prepare
        # An object that is called has no name of its own: its class has.
        name = getattr(function, "__name__", type(function).__name__)
        return {"" if name == "<lambda>" else name: maker(self.prepare)}

    def preprocessor(self, library: str = "") -> Preprocessor:
        """Make a preprocessor for the use of one thread, of the library of that name if the placement has it."""
        makers = self.libraries
        if not makers:
            return send_as_it_is
        return makers.get(library, next(iter(makers.values())))()


def maker(prepare: Prepare) -> Callable[[], Preprocessor]:
    """Return what makes a preprocessor for one thread: a plain function is shared by all of them."""
    return prepare.make if isinstance(prepare, PerThread) else lambda: prepare


def send_as_it_is(encoded: Prepared) -> Prepared:
    """Return bytes themselves as an array, uint8 (length,), without a copy, and arrays as they are."""
    return np.frombuffer(encoded, np.uint8) if isinstance(encoded, bytes) else encoded


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
    """Requests per second of a load for which no arrivals are asked: well below what one core of a laptop answers."""
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
            raise UnsoundWorkload(f"placements of {self.name} must map names to placements, not {self.placements!r}")
        for name, placement in self.placements.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UnsoundWorkload(f"a placement's name has letters, digits, '.', '_' and '-', unlike {name!r}")
            if not isinstance(placement, Placement):
                raise UnsoundWorkload(f"placement {name!r} of {self.name} is no Placement, but {placement!r}")
        if not callable(self.payloads):
            raise UnsoundWorkload(f"payloads of {self.name} must be files('...') or a function, not {self.payloads!r}")
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
                name: {"model": each.model, "words": each.words or f"the {name} placement"}
                for name, each in ((name, self.placements[name]) for name in arms)
            },
        }
