"""Requests of other clients during a trial, by Triton's statistics: they take the server's time, unseen otherwise.

Their CPU seconds are the server's own, so that its cores seem to be used by nobody else, and the steps' mean times are
of their requests, too. Only models that the trial's requests pass are looked at; what another model is asked meanwhile
shows in the server's CPU seconds alone.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping

from serving.server import Server, Unavailable


def count_passes(server: Server, model: str) -> dict[str, int]:
    """Return model -> how often a request to `model` passes it.

    That is once, and of an ensemble each step as often as its configuration names it; a step may be an ensemble, too.
    """
    passes: Counter[str] = Counter({model: 1})
    with contextlib.suppress(Unavailable):  # then the trial cannot be measured either, and says so
        scheduling = server.get(f"/v2/models/{model}/config").get("ensemble_scheduling", {})
        for each in scheduling.get("step", ()):
            passes.update(count_passes(server, each["model_name"]))
    return dict(passes)


def find_most_asked(
    before: Mapping[str, dict], after: Mapping[str, dict], passes: Mapping[str, int], sent: int
) -> tuple[str, int, int] | None:
    """Return (model, requests that it ended, those of them that a trial can account for) where most are beyond these.

    Args:
        before: A reading of `Server.statistics()` before the trial.
        after: Another one after it.
        passes: As `count_passes` returns it.
        sent: How many requests the trial has sent.

    Returns None where nothing is known: every model is missing from a reading, or its counters went back.
    """
    found = None
    for model, times in passes.items():
        if model not in before or model not in after:
            continue
        ended = count_ended(after[model]) - count_ended(before[model])
        if ended >= 0 and (found is None or ended - times * sent > found[1] - found[2]):
            found = model, ended, times * sent
    return found


def count_ended(model: dict) -> int:
    """Return how many requests a model has ended since it was loaded, with an answer or an error."""
    statistics = model["inference_stats"]
    return statistics["success"]["count"] + statistics.get("fail", {}).get("count", 0)
