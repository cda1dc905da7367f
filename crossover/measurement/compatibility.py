"""May two reports be compared? Only if nothing but what was changed on purpose is different."""

from collections.abc import Iterator

WEIGHTS = ("weights", "source", "revision", "seed")
MACHINE = ("cpu", "cores", "system")
OFFERED = {"arrivals": "arrivals", "seconds": "seconds per block", "payloads": "payloads"}
OFFERED |= {"digest": "payloads' contents", "slo_ms": "limit of good answers, ms"}


def incompatible(first: dict, second: dict) -> list[str]:
    """What differs between two run.json (or what is to become one), in words; empty if they can be compared.

    Settings that one might try out are no obstacle: the code's revision, packages, the number of instances, the
    library that the clients decode with, the number of rounds.
    """
    return [f"{what}: {said(a)} against {said(b)}" for what, a, b in facts(first, second) if a != b]


def facts(first: dict, second: dict) -> Iterator[tuple[str, object, object]]:
    both = first, second
    for key in MACHINE:
        yield f"machine's {key}", *(run["machine"].get(key) for run in both)
    for side in ("client", "server"):
        yield f"{side}'s cores", *(run["cores"][side] for run in both)
    yield "server's version", *(run["server"]["version"] for run in both)
    models = [run["server"]["models"] for run in both]
    for model in sorted(set(models[0]) & set(models[1])):
        yield f"weights of {model}", *(weights(each[model]) for each in models)
    yield "seed of the schedules", *(run["seed"] for run in both)
    workloads = [run["workloads"] for run in both]
    common = sorted(set(workloads[0]) & set(workloads[1]))
    if all(workloads) and not common:
        yield "workloads", *(list(each) for each in workloads)
    for name in common:
        for key in OFFERED:
            yield f"{name}'s {OFFERED[key]}", *(each[name].get(key) for each in workloads)


def weights(model: dict) -> list[str]:
    origin = model.get("provenance", {})
    return [str(origin[key]) for key in WEIGHTS if origin.get(key) is not None]


def said(value: object) -> str:
    told = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "none" if value is None else told or "none"
