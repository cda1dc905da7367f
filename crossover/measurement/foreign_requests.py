"""Requests of other clients during a trial, by Triton's statistics: they take the server's time, unseen otherwise.

Their CPU seconds are the server's own, so that its cores seem to be used by nobody else, and the steps' mean times are
of their requests, too. Only models that the trial's requests pass are looked at; what another model is asked meanwhile
shows in the server's CPU seconds alone.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from serving.server import Server, Unavailable


@dataclass(frozen=True)
class Route:
    """The models that a request to one of them passes."""

    passes: Mapping[str, int]
    """How often it passes each: once, and a step of an ensemble as often as its configuration names it."""
    ensembles: frozenset[str] = frozenset()
    """Those of them that are ensembles."""


def find_route(server: Server, model: str) -> Route:
    """Return what requests to a model pass; a step of an ensemble may be an ensemble, too."""
    passes: Counter[str] = Counter({model: 1})
    ensembles = set()
    with contextlib.suppress(Unavailable):  # then the trial cannot be measured either, and says so
        scheduling = server.get(f"/v2/models/{model}/config").get("ensemble_scheduling", {})
        for each in scheduling.get("step", ()):
            ensembles.add(model)
            inner = find_route(server, each["model_name"])
            passes.update(inner.passes)
            ensembles |= inner.ensembles
    return Route(dict(passes), frozenset(ensembles))


def find_most_asked(
    before: Mapping[str, dict], after: Mapping[str, dict], route: Route, sent: int
) -> tuple[str, int, int] | None:
    """Return (model, requests that it ended, those of them that a trial can account for) where most are beyond these.

    Args:
        before: A reading of `Server.statistics()` before the trial.
        after: Another one after it.
        route: What the trial's requests pass.
        sent: How many requests the trial has sent.

    Returns None where nothing is known: every model is missing from a reading, or its counters went back.
    """
    found = None
    for model, times in route.passes.items():
        if model not in before or model not in after:
            continue
        first, last = (count_ended(read[model], model in route.ensembles) for read in (before, after))
        if (ended := last - first) >= 0 and (found is None or ended - times * sent > found[1] - found[2]):
            found = model, ended, times * sent
    return found


def count_ended(model: dict, is_ensemble: bool) -> int:
    """Return how many requests a model has ended since it was loaded, with an answer or an error.

    Errors of an ensemble are left out: Triton 2.51 counts each of them twice. They are its steps' requests, too.
    """
    statistics = model["inference_stats"]
    failed = 0 if is_ensemble else statistics.get("fail", {}).get("count", 0)
    return statistics["success"]["count"] + failed
