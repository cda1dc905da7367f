"""Where the time goes: an arm's mean latency, taken apart until nothing is left over.

The client's part comes from its samples, the server's from Triton's own statistics over the same blocks; both are means
over completed requests, so the parts add up. What no one measured is a part of its own and keeps its name.
"""

from collections.abc import Sequence

import numpy as np

from crossover.measurement.trial import Block
from loadgen.samples.sample import COMPLETED, STATUSES

CLIENT = {
    "dispatch lag": ("due", "fired"),
    "client waiting": ("fired", "began"),
    "client preprocessing": ("began", "prepared"),
    "client handing over": ("prepared", "sent"),
}
BETWEEN = "network and HTTP"
"""From just before the first byte is written to the whole answer, less what the server says it spent. It may say more,
as its clock runs on while the answer is with the client already: then 0."""
UNEXPLAINED = "unexplained in server"
"""What the server says it spent on the request in all, less the queue and compute of every step."""
OUTPUT = "compute_output"


def stages(blocks: Sequence[Block], model: str, steps: Sequence[str]) -> dict[str, float]:
    """Stage -> mean ms per completed request, over one arm's blocks; the sum is its mean latency.

    `model` is what the client asks, `steps` the models a request passes. Empty where nothing completed; without the
    server's part (a single stage, "server and network") where it told nothing of some block.
    """
    records = np.concatenate([block.records[block.records["status"] == STATUSES.index(COMPLETED)] for block in blocks])
    if not len(records):
        return {}
    parts = {name: float((records[end] - records[begin]).mean()) / 1e6 for name, (begin, end) in CLIENT.items()}
    answer = float((records["done"] - records["sent"]).mean()) / 1e6
    if not all(model in block.steps for block in blocks if block.completed):
        return {**parts, "server and network": answer}
    told = pooled(blocks)
    passed = [step for step in steps if step in told]
    whole = told[model]["total"]
    spent = once([told[step]["ms"] for step in passed], whole, len(passed) - 1)
    if answer < whole:
        whole, spent = answer, once(spent, answer, len(passed))
    parts[BETWEEN] = answer - whole
    for step, ms in zip(passed, spent, strict=True):
        parts[f"{step} queue"] = ms["queue"]
        parts[f"{step} compute"] = sum(ms.values()) - ms["queue"]
    parts[UNEXPLAINED] = whole - sum(sum(ms.values()) for ms in spent)
    return parts


def once(steps: Sequence[dict[str, float]], whole: float, handed_on: int) -> list[dict[str, float]]:
    """ms by stage of each step, without what is counted twice; `whole` is what they all took.

    A step's `compute_output` ends when it has sent the responses of its whole batch. The first of them is in the next
    step by then (after the last step, with the client), where another clock runs as well, and where they share a core
    that is what really goes on. So what the steps claim beyond the whole is taken off the outputs of the first
    `handed_on` of them, whose next one's clock is among the others; anything beyond these stays, and shows.
    """
    outputs = sum(ms[OUTPUT] for ms in steps[:handed_on])
    twice = min(max(0.0, sum(sum(ms.values()) for ms in steps) - whole), outputs)
    kept = 1 - twice / outputs if outputs else 1.0
    return [*({**ms, OUTPUT: ms[OUTPUT] * kept} for ms in steps[:handed_on]), *steps[handed_on:]]


def pooled(blocks: Sequence[Block]) -> dict[str, dict]:
    """Model -> its statistics over several blocks, each block weighted by the model's requests in it."""
    result = {}
    for model in dict.fromkeys(name for block in blocks for name in block.steps):
        told = [block.steps[model] for block in blocks if model in block.steps]
        requests = [each["requests"] for each in told]
        result[model] = {
            "requests": sum(requests),
            "mean_batch": sum(requests) / sum(each["requests"] / each["mean_batch"] for each in told),
            "ms": {
                stage: float(np.average([each["ms"][stage] for each in told], weights=requests))
                for stage in told[0]["ms"]
            },
            "total": float(np.average([each["total"] for each in told], weights=requests)),
        }
    return result
