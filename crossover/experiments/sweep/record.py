"""A sweep's part of run.json: what was swept, on which server; and whether another server is like it."""

from crossover.experiments.sweep.grid import Sweep
from crossover.experiments.sweep.site import Site
from crossover.measurement import compatibility, resume

PHRASES = {
    "tiny": "an accelerator that is never the bottleneck (tiny stand-in)",
    "real": "the real network",
    "fp16": "the real network in FP16",
}
"""What each kind of weights stands for."""
OWN = "the server's own models"
"""What is said where it is not known what a server computes with."""


def describe_sweep(site: Site, sweep: Sweep, client_cores: list[int]) -> dict:
    """Return the sweep's part of run.json, without points yet. Raises Unavailable."""
    workload = sweep.workload
    models = tuple(dict.fromkeys((workload.placements[sweep.arms[0]].model, *workload.steps)))
    facts = site.server.facts(models)
    origins = [facts["models"][model].get("provenance", {}).get("weights") for model in models]
    origin = next(filter(None, origins), None)
    return {
        "workload": workload.name,
        "sweep": sweep.title,
        "unit": sweep.unit,
        # What a server that is not the launcher's computes with is not known.
        "network": f"{site.weights} ({origin} weights)" if origin else OWN,
        "regime": PHRASES[site.weights] if origin else OWN,
        "forms": list(sweep.baselines),
        **workload.describe(sweep.arms),
        "server": {**facts, "engine": site.server.state.get("engine"), "cores": site.server.cores},
        "client_cores": client_cores,
        "planned": len(sweep.points),
        "points": [],
    }


def list_server_differences(known: dict, about: dict) -> list[str]:
    """List how a sweep's server differs from the one that it began on.

    Cores do not count, as they may be what is swept.
    """
    common = {**resume.NO_SERVER, "machine": {}, "seed": None, "workloads": {}}
    differing = compatibility.list_differences(*({**common, "server": sweep["server"]} for sweep in (known, about)))
    engines = [sweep["server"]["engine"] for sweep in (known, about)]
    return differing + ([f"engine: {engines[0]} against {engines[1]}"] if engines[0] != engines[1] else [])
