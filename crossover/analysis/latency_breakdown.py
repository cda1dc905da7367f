"""Where the time goes: an arm's mean latency as a sum of stages, with nothing left over.

The client's stages come from its samples, the server's from Triton's own statistics over the same trials; both are
means over completed requests, so they add up. Time that neither side measured is a stage of its own with a name.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from crossover.measurement.trial import Trial
from loadgen.samples.sample import COMPLETED, STATUSES

CLIENT_STAGES = {
    "dispatch lag": ("due", "fired"),
    "client waiting": ("fired", "began"),
    "client preprocessing": ("began", "prepared"),
    "client sending": ("prepared", "sent"),
}
"""Stage -> the two instants of a sample between which it lies."""
NETWORK = "network and wire"
"""From just before the first byte is written until the whole answer is read, less what the server reports.

The server's clock runs on while the answer travels, so it may report more than that; the stage is then 0.
"""
UNEXPLAINED = "rest of the server"
"""What the server reports for the request in all, less the queue and compute of every step."""
OUTPUT = "compute_output"
KNOWN = 0.9
"""Share of a trial's answers that the statistics must have; the last ones may come after they were read."""


def break_down_latency(trials: Sequence[Trial], model: str, steps: Sequence[str]) -> dict[str, float]:
    """Return stage -> mean ms per completed request, over one arm's trials; the sum is the arm's mean latency.

    `model` is the one that the client asks, `steps` the models that a request may pass, in this order: it passes those
    that were asked in most trials, as in a single one it may have been another client or a health check. The result
    is empty where nothing completed. Where the server reported nothing for some trial, or nothing of many of its
    requests, its part is a single stage, "server and network".
    """
    records = np.concatenate([trial.records[trial.records["status"] == STATUSES.index(COMPLETED)] for trial in trials])
    if not len(records):
        return {}
    parts = {name: float((records[end] - records[begin]).mean()) / 1e6 for name, (begin, end) in CLIENT_STAGES.items()}
    answer = float((records["done"] - records["sent"]).mean()) / 1e6
    if not all(knows_all_requests(trial, model) for trial in trials):
        return {**parts, "server and network": answer}
    # Within the server: from one step to the next, of which the last hands over to the client.
    statistics = pool_steps(trials)
    passed = [step for step in steps if 2 * sum(step in trial.steps for trial in trials) > len(trials)]
    total = statistics[model]["total"]
    by_step = remove_double_counting([statistics[step]["ms"] for step in passed], total, len(passed) - 1)
    # The client had the answer before the server's clock stopped: the last step overlaps with it as well.
    if answer < total:
        total, by_step = answer, remove_double_counting(by_step, answer, len(passed))
    parts[NETWORK] = answer - total
    for step, ms in zip(passed, by_step, strict=True):
        parts[f"{step} queue"] = ms["queue"]
        parts[f"{step} compute"] = sum(ms.values()) - ms["queue"]
    parts[UNEXPLAINED] = total - sum(sum(ms.values()) for ms in by_step)
    return parts


def knows_all_requests(trial: Trial, model: str) -> bool:
    """Tell whether the server's statistics of a model have the requests of a trial that it has answered.

    A model that was loaded again on the way counts anew, and may have counted more since than before the trial.
    """
    told = trial.steps[model]["requests"] if model in trial.steps else 0
    return told >= KNOWN * trial.completed


def remove_double_counting(steps: Sequence[dict[str, float]], total: float, overlapping: int) -> list[dict[str, float]]:
    """Return each step's ms by stage without what two clocks counted at once; `total` is the ms of all together.

    A step's `compute_output` ends when it has sent the responses of its whole batch. The first of these is in the next
    step by then (after the last step, with the client), where another clock runs as well; where steps share a core
    this overlap is real. So what the steps report beyond the total is taken off the outputs of the first
    `overlapping` steps, those whose successor's clock is counted too. What exceeds these outputs stays visible.
    """
    outputs = sum(ms[OUTPUT] for ms in steps[:overlapping])
    excess = min(max(0.0, sum(sum(ms.values()) for ms in steps) - total), outputs)
    share = 1 - excess / outputs if outputs else 1.0
    return [*({**ms, OUTPUT: ms[OUTPUT] * share} for ms in steps[:overlapping]), *steps[overlapping:]]


def pool_steps(trials: Sequence[Trial]) -> dict[str, dict]:
    """Return model -> its statistics over several trials, each weighted by the model's requests in it.

    The values have the keys of `server_statistics.difference`: requests, mean_batch, ms by stage, total ms.
    """
    result = {}
    for model in dict.fromkeys(name for trial in trials for name in trial.steps):
        measured = [trial.steps[model] for trial in trials if model in trial.steps]
        requests = [each["requests"] for each in measured]
        result[model] = {
            "requests": sum(requests),
            "mean_batch": sum(requests) / sum(each["requests"] / each["mean_batch"] for each in measured),
            "ms": {
                stage: float(np.average([each["ms"][stage] for each in measured], weights=requests))
                for stage in measured[0]["ms"]
            },
            "total": float(np.average([each["total"] for each in measured], weights=requests)),
        }
    return result


def list_computing_steps(stages: Iterable[str]) -> list[str]:
    """Return the server's steps among stages: `resnet50` for `resnet50 compute`."""
    return [name.removesuffix(" compute") for name in stages if name.endswith(" compute")]
