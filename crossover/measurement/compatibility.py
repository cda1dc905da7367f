"""Decide whether two reports can be compared: nothing may differ but what was changed on purpose.

Machine, cores, server version, weights and offered load must be equal, or a difference in latency has several causes.
"""

from collections.abc import Iterator

WEIGHTS = ("weights", "source", "revision", "seed", "precision")
MACHINE = ("cpu", "cores", "system")
LOAD = {
    "arrivals": "arrivals",
    "seconds": "seconds per trial",
    "payloads": "payloads",
    "digest": "payloads' contents",
    "slo_ms": "latency objective, ms",
}
"""Key of a workload in run.json -> its name in a message."""


def list_differences(first: dict, second: dict) -> list[str]:
    """Return what differs between two run.json, one message each; empty if their results can be compared.

    Settings that one may want to compare are no obstacle: the code's revision, packages, the number of model
    instances, the client's preprocessing library, the number of rounds.
    """
    return [
        f"{what}: {format_setting(a)} against {format_setting(b)}"
        for what, a, b in pair_settings(first, second)
        if a != b
    ]


def pair_settings(first: dict, second: dict) -> Iterator[tuple[str, object, object]]:
    """Yield (name, the first's value, the second's value) of every setting that must be equal.

    Workloads and models that only one of them has are not compared.
    """
    a, b = first, second
    for key in MACHINE:
        yield f"machine's {key}", a["machine"].get(key), b["machine"].get(key)
    for side in ("client", "server"):
        yield f"{side}'s cores", a["cores"][side], b["cores"][side]
    yield "server's version", a["server"]["version"], b["server"]["version"]
    # Reports of different workloads have different models.
    models = [run["server"]["models"] for run in (a, b)]
    for model in sorted(set(models[0]) & set(models[1])):
        yield f"weights of {model}", identify_weights(models[0][model]), identify_weights(models[1][model])
    yield "seed of the schedules", a["seed"], b["seed"]
    workloads = [run["workloads"] for run in (a, b)]
    common = sorted(set(workloads[0]) & set(workloads[1]))
    if all(workloads) and not common:
        yield "workloads", list(workloads[0]), list(workloads[1])
    for name in common:
        for key, label in LOAD.items():
            yield f"{name}'s {label}", workloads[0][name].get(key), workloads[1][name].get(key)


def identify_weights(model: dict) -> list[str]:
    """Return what identifies a model's weights: kind, source, revision and seed, as far as they are known."""
    origin = model.get("provenance", {})
    return [str(origin[key]) for key in WEIGHTS if origin.get(key) is not None]


def format_setting(value: object) -> str:
    """Return a setting for a message: lists with commas, "none" for nothing."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "none" if value is None else text or "none"
