"""One way to ask a question: who prepares the input, with which library, and which served model answers."""

import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from workloads.target import Elsewhere, Target
from workloads.tensors import Array, Input, Prepared, encode, freeze
from workloads.transport_choice import HTTP, WORDS, Transport

Preprocessor = Callable[[Any], Any]
"""A payload, mostly a file's bytes -> what is sent, without a batch dimension: `Prepared`, or `Elsewhere`."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of workloads and placements: they become folders, flags and columns."""
VARIANT = re.compile(rf"{NAME.pattern}(:{NAME.pattern})?")
"""Of placements with their variants, as --arms names them."""


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
class Derived:
    """A model that no repository holds: it is made from another one's ONNX network where a server is started."""

    source: str
    """The served model whose network and configuration it is made from."""
    transform: Callable[[Any], Any]
    """onnx.ModelProto -> onnx.ModelProto"""
    input: Mapping[str, Any]
    """The one input, as Triton's model configuration describes it: name, data_type, dims."""


@dataclass(frozen=True)
class Split:
    """Two placements that share the arrivals: one prepares on the client, the other sends files."""

    client: "Placement"
    server: "Placement"
    share: float | None
    """Of the arrivals, 0 to 1, that the client prepares; None: each goes where less work waits."""

    def is_prepared_here(self, number: int) -> bool:
        """Tell whether the client prepares the arrival of that number, from 0: in even turns, in that share of all."""
        share = 0.5 if self.share is None else self.share
        return int((number + 1) * share) > int(number * share)

    def send_file(self, encoded: Any) -> Elsewhere:
        """Return a payload as it goes to the placement that sends files."""
        return Elsewhere(self.server.target, self.server.preprocessor()(encoded))


@dataclass(frozen=True)
class Gateway:
    """A process between clients and server, which takes files, prepares them and asks the server."""

    url: str = ""
    """Where it listens, by HTTP; empty before it is started."""


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
    """Other ways of the same placement, which --arms names as `client:uint8`. Sweeps of the network compare the forms
    of those that lose nothing."""
    steps: tuple[str, ...] = ()
    """Models that its requests pass and that are not among the workload's steps."""
    lossy: str = ""
    """What is lost on the way, in words: "re-encoded as JPEG". Its answers may then differ from the others'."""
    losses: Mapping[str, str] = field(default_factory=dict)
    """Library -> the same, of those in `prepare` that lose something: --arms names them as `client:opencv`, too."""
    network: str = ""
    """An ONNX file that the client computes itself, in place of asking a server; a relative path is one in the model
    repository of the server that the launcher started."""
    split: "Split | None" = None
    """Which arrivals are prepared here, where others go as files to another placement; None: all of them."""
    gateway: Gateway | None = None
    """Whom its clients ask in place of the server; None: the server itself."""
    derived: Derived | None = None
    """How to make the model where the server lacks it."""
    transport: Transport = HTTP
    """How its requests cross to the server; an arm that names another has a placement of its own (`over`)."""

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
            frozen = freeze(self.extra)
            extra = tuple(encode(known.get(name, Input(name)), given, batched) for name, given in frozen.items())
        except ValueError as error:
            raise ValueError(f"extra of the placement of {self.model} gives {error}") from None
        inputs = tuple(each for each in known.values() if each.name not in self.extra) if known else None
        return Target(self.model, inputs, tuple(self.outputs), batched, extra)

    def over(self, transport: str, name: str) -> "Placement":
        """Return the same placement with another transport; `name` is what it is called with this one.

        Raises ValueError where no server is asked.
        """
        if self.network:
            raise ValueError(f"{name} computes in the client's process, and takes no transport; leave out +{transport}")
        if self.gateway and transport != HTTP.name:
            raise ValueError(f"{name} is asked over HTTP only; leave out +{transport}")
        words = f"{self.words or f'the {name} placement'} over {WORDS[transport]}"
        return replace(self, transport=Transport(transport), words=words)

    def by_library(self, library: str) -> "Placement":
        """Return the same placement with this library alone, and with what it loses; itself where it has no such one.

        A gateway's clients send files: the gateway has the library, and the placement its loss.
        """
        if library not in self.libraries and not (self.gateway and library in self.losses):
            return self
        lossy = "; ".join(dict.fromkeys(filter(None, (self.losses.get(library, ""), self.lossy))))
        prepare = {library: PerThread(self.libraries[library])} if self.prepares else None
        return replace(self, prepare=prepare, lossy=lossy, losses={})

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
