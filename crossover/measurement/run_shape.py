"""The shape of run.json: which keys every reader needs, and of which types, by the kind of the experiment.

A shape is a type, a tuple of types, a list with the shape of its items, or a dict of key -> shape. In a dict `key?` may
be missing, `*` stands for every key that there is, and `+` for the same where there must be one at least.
"""

from typing import Any

NUMBER = (int, float)
TEXT_OR_NULL = (str, type(None))

MACHINE = {"cpu": TEXT_OR_NULL, "cores": int, "system": str, "revision": TEXT_OR_NULL}
EVERY = {
    "created": str,
    "kind": str,
    "complete": bool,
    "seed": int,
    "machine": {**MACHINE, "python": str, "versions": dict, "cards?": [dict]},
    "argv?": [str],
    "options?": dict,
    "rounds?": int,
    "modes?": [str],
    "asked?": {"payloads": dict},
}
"""The keys of all kinds."""

LOCUST = {
    "arm": str,
    "arrivals": str,
    "seconds": NUMBER,
    "seed": int,
    "schedule": TEXT_OR_NULL,
    "percentile": (*NUMBER, type(None)),
    "payloads": [str],
    "trace?": str,
    "machine?": MACHINE,
    "unprotected?": [str],
    "processes?": int,
}
"""The keys of a run of Locust's, which has no kind."""

MODEL = {"instances": object, "kinds?": [str], "parameters": dict, "provenance?": dict}
SERVER = {"url": str, "version": str, "models": {"*": MODEL}, "unprotected?": [str]}
CORES = ([int], type(None))
SENT = {
    "library": str,
    "payloads": [str],
    "slo_ms?": NUMBER,
    "percentile?": NUMBER,
    "back_to_back_seconds?": dict,
}
"""The keys of a workload in every experiment on one server."""


def of_server(**more: Any) -> dict:
    """Return the shape of an experiment on one server; `more` are the keys that its workloads have besides."""
    cores = {"client": CORES, "server": CORES}
    return {"server": SERVER, "engine": TEXT_OR_NULL, "cores": cores, "workloads": {"*": {**SENT, **more}}}


ABOUT = {"subject": str, "placements": {"+": {"words": str}}}
POINT = {"x": NUMBER, "label": str, "arrivals": str, "seconds": NUMBER}
NAMES = dict.fromkeys(("workload", "sweep", "unit", "network", "regime"), str)
PLACEMENTS = {"+": {"words": str, "model": str}}
OFFERED = {"arrivals": str, "seconds": NUMBER, "rounds?": int, "unloaded_seconds?": NUMBER, "share?": NUMBER}
KINDS: dict[str, dict] = {
    "bench": {
        **of_server(subject=str, placements=PLACEMENTS, steps=[str], digest=str, **OFFERED),
        "prices?": {"*": NUMBER},
        "looks?": {"*": [NUMBER]},
        "unloaded_looks?": {"*": [NUMBER]},
    },
    "load": of_server(**ABOUT, rates=[NUMBER], seconds=NUMBER),
    "capacity": of_server(**ABOUT),
    "study": of_server(**ABOUT, rate=NUMBER, requests=int, rounds=int),
    "efficiency": of_server(),
    "crossover": {
        "sweeps": {
            "*": {
                **NAMES,
                "placements": {"+": {"words": str}},
                "forms": [str],
                "planned?": int,
                "points": [POINT],
                "server": {**SERVER, "cores": CORES},
                "client_cores?": CORES,
            }
        }
    },
}
"""Kind -> the keys that it has besides."""

NAMES_OF_TYPES = {
    dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "an integer", float: "a number",
    type(None): "null",
}  # fmt: skip


def check(content: Any, shape: Any, where: str = "") -> None:
    """Check the content of a JSON file, or its part at `where`: the keys that lead to it, with dots.

    Raises ValueError for the first part that is missing or of another type: `it has no 'seed'`.
    """
    options = shape if isinstance(shape, tuple) else (shape,)
    types = tuple(type(each) if isinstance(each, dict | list) else each for each in options)
    # In Python true is an integer; in a JSON file it is none.
    if not isinstance(content, types) or (isinstance(content, bool) and not {bool, object} & set(types)):
        good = " or ".join(NAMES_OF_TYPES[each] for each in types)
        raise ValueError(f"'{where}' is not {good}" if where else f"it is not {good}")
    for inner in options:
        if isinstance(inner, list) and isinstance(content, list):
            for number, each in enumerate(content):
                check(each, inner[0], f"{where}.{number}")
        elif isinstance(inner, dict) and isinstance(content, dict):
            check_keys(content, inner, f"{where}." if where else "")


def check_keys(content: dict, shape: dict, before: str) -> None:
    """Check the keys of an object; `before` leads to them. Raises ValueError as `check` does."""
    for key, inner in shape.items():
        if key in ("*", "+"):
            if key == "+" and not content:
                raise ValueError(f"'{before[:-1]}' is empty")
            for each, value in content.items():
                check(value, inner, before + each)
            continue
        name, optional = key.removesuffix("?"), key.endswith("?")
        if name in content:
            check(content[name], inner, before + name)
        elif not optional:
            raise ValueError(f"it has no '{before}{name}'")
