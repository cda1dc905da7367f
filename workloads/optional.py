"""Placements beyond a workload's own: they are measured where --arms names them, and nowhere else.

    client:uint8    a variant that the workload's placement `client` declares (`Placement.variants`)
    client:opencv   the same placement with one of its libraries: `--library` says it of all arms
    local           a placement that the workload declares beside those that are compared (`Workload.optional`)
    ready           the first placement that prepares, with tensors prepared before the run: made here
    gateway         files to a process that prepares them as the client does, and asks the server: made here
    mixed:0.6       that share of the arrivals by the first placement that prepares, the others as files: made here
    mixed:auto      each arrival where less work waits
    mixed:best      several shares, of which `crossover capacity` finds the best one

`docs/placements.md` says what each of the built-in ones is good for.
"""

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from workloads.placement import Gateway, Placement, Preprocessor, Split, per_thread
from workloads.target import Elsewhere
from workloads.tensors import Prepared, freeze

READY, GATEWAY, MIXED, AUTO = "ready", "gateway", "mixed", "auto"
BEST = f"{MIXED}:best"
EVEN = 0.5


def list_names(bases: Mapping[str, Placement]) -> list[str]:
    """Return the names of all placements that --arms can name: those without a variant first."""
    lossy = {name: () if each.network else tuple(each.losses) for name, each in bases.items()}
    variants = (f"{name}:{each}" for name, base in bases.items() for each in (*base.variants, *lossy[name]))
    made = [READY] if any(each.prepares for each in bases.values()) else []
    made += [GATEWAY, f"{MIXED}:0.5", f"{MIXED}:{AUTO}"] if find_halves(bases) else []
    return list(dict.fromkeys((*bases, *made, *variants)))


def list_at_hand(bases: Mapping[str, Placement]) -> list[str]:
    """Return the names of those placements that need nothing to be loaded or started beside what `bases` ask."""
    return [name for name, placement in list_possible(bases).items() if is_at_hand(placement, bases)]


def is_at_hand(placement: Placement, bases: Mapping[str, Placement]) -> bool:
    """Tell whether a placement needs nothing to be loaded or started beside what `bases` ask."""
    known = placement.model in {each.model for each in bases.values()}
    return known and not (placement.steps or placement.network or placement.gateway or placement.derived)


def list_possible(bases: Mapping[str, Placement]) -> dict[str, Placement]:
    """Return name -> placement of what `list_names` lists, without what a placement says too little for."""
    found = {}
    for name in list_names(bases):
        with suppress(ValueError):
            found[name] = find(bases, name, "")
    return found


def find(bases: Mapping[str, Placement], name: str, workload: str, arm: str = "") -> Placement:
    """Return the placement of that name, with words of its own.

    `bases` are the placements without a variant. Raises ValueError that names the workload, the `arm` that was asked
    for, if it is more than the name, and the good ones.
    """
    if name in bases:
        return bases[name]
    if name == READY and (preparing := [each for each in bases.values() if each.prepares]):
        return make_ready(preparing[0])
    if name == GATEWAY and (halves := find_halves(bases)):
        return make_gateway(*halves)
    base, _, variant = name.partition(":")
    if base == MIXED and (halves := find_halves(bases)):
        return make_mixed(*halves, EVEN if name == BEST else parse_share(name, variant))
    if base in bases and (found := find_variant(bases[base], variant)):
        words = bases[base].words or f"the {base} placement"
        return replace(found, words=f"{words} ({variant})")
    good = ", ".join(list_names(bases))
    raise ValueError(f"unknown placement {(arm or name)!r} of {workload}; try some of {good}, with commas")


def find_variant(placement: Placement, name: str) -> Placement | None:
    """Return the variant of that name, or the placement with the library of that name; None if there is neither."""
    if name in placement.variants:
        return placement.variants[name]
    return replace(placement.by_library(name), variants={}) if name and name in placement.libraries else None


def make_ready(placement: Placement) -> Placement:
    """Return the placement with tensors that are prepared once, and kept: no placement can be quicker.

    Every payload is sent before a run begins, to see whether it has an answer, and is prepared then. All of them stay
    in memory.
    """
    makers = {name: per_thread(remember(make)) for name, make in placement.libraries.items()}
    return replace(placement, prepare=makers, variants={}, words="the client, with tensors prepared before the run")


def remember(make: Callable[[], Preprocessor]) -> Callable[[], Preprocessor]:
    """Return a maker of preprocessors that all hand out what any of them has prepared of the same payload.

    Nobody can write to it (see `tensors.freeze`), so that shared memory may keep what lies there.
    """
    kept: dict[int, tuple[Any, Prepared | Elsewhere]] = {}

    def make_remembering() -> Preprocessor:
        preprocess = make()

        def prepare_once(encoded: Any) -> Prepared | Elsewhere:
            # By identity, as arrays have no hash; the payload is kept, so that no other can have its number.
            if id(encoded) not in kept:
                kept[id(encoded)] = encoded, freeze(preprocess(encoded))
            return kept[id(encoded)][1]

        return prepare_once

    return make_remembering


def find_halves(bases: Mapping[str, Placement]) -> tuple[Placement, Placement] | None:
    """Return the first placement that prepares and asks a server, and the first that sends files; None without both."""
    preparing = [each for each in bases.values() if each.prepares and not each.network]
    sending = [each for each in bases.values() if not each.prepares]
    return (preparing[0], sending[0]) if preparing and sending else None


def make_gateway(client: Placement, server: Placement) -> Placement:
    """Return the placement whose files go to a gateway, which prepares them as `client` does.

    It has the model of `server`, so that the same requests go to another address.
    """
    lossy = "; ".join(dict.fromkeys(filter(None, (client.lossy, server.lossy))))
    made = replace(server, variants={}, words="a gateway before the server", lossy=lossy, gateway=Gateway())
    return replace(made, losses=client.losses)


def parse_share(name: str, text: str) -> float | None:
    """Return the share of `mixed:0.6`, None for `mixed:auto`. Raises ValueError that says what is good."""
    if text == AUTO:
        return None
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        good = f"{MIXED}:0.6, or {MIXED}:{AUTO}"
        raise ValueError(f"{name!r} mixes nothing; give the client's share, above 0 and below 1, as {good}")
    return share


def make_mixed(client: Placement, server: Placement, share: float | None) -> Placement:
    """Return a placement of which that share of the arrivals is prepared by the client, the others sent as files.

    Raises ValueError where the placement that sends files leaves its tensors to the server to say.
    """
    if not server.inputs or not server.outputs:
        raise ValueError(f"{MIXED} needs the names of inputs and outputs in the placement of {server.model}")
    split = Split(client, server, share)
    how = "each where less work waits" if share is None else f"{share:g} of them by the client"
    return replace(
        client,
        prepare={name: per_thread(take_turns(split, make)) for name, make in client.libraries.items()},
        variants={},
        words=f"both, {how}",
        lossy="; ".join(dict.fromkeys(filter(None, (client.lossy, server.lossy)))),
        split=split,
    )


def change_share(mixed: Placement, share: float) -> Placement:
    """Return a mixed placement, over the same transport, of which the client prepares another share."""
    assert mixed.split, "only a placement that splits its arrivals has shares"
    return replace(make_mixed(mixed.split.client, mixed.split.server, share), transport=mixed.transport)


def take_turns(split: Split, make: Callable[[], Preprocessor]) -> Callable[[], Preprocessor]:
    """Return a maker of preprocessors that prepare their share of the payloads, and send the others as they are.

    They are for clients that do one request at a time; those that do more at once choose by `Router`.
    """

    def make_choosing() -> Preprocessor:
        preprocess, numbers = make(), itertools.count()
        return lambda encoded: (preprocess if split.is_prepared_here(next(numbers)) else split.send_file)(encoded)

    return make_choosing
