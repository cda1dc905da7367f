"""Which models have requests and answer none: their stubs live, but hang.

Triton tells of the requests that wait for a model, not of those that are in it, so a hang shows by the next request.
(A stub that is stopped as a process, by a signal, does not hang anyone: Triton fails each request to it within 1 s.)
"""

import re
import time

from serving.triton_api import Rest

HUNG = 300.0  # seconds without an answer: eight merged clips of a minute each take one slow core three minutes
WAITING = "nv_inference_pending_request_count", "crossover_kept_requests"
ANSWERED = "nv_inference_request_success", "nv_inference_request_failure"


class Hangs:
    """Told by the server's metrics, read now and then."""

    def __init__(self, address: str):
        self.rest = Rest(address)
        self.seen: dict[str, tuple[float, float]] = {}  # model -> answers so far, since when

    def found(self, models: list[str]) -> list[str]:
        """Those for which requests have waited for HUNG seconds, in which they answered none. Raises Failure."""
        page, now = self.rest.call("/metrics", timeout=5)[0].decode(), time.monotonic()
        for model in models:
            answered = total(page, ANSWERED, model)
            if not total(page, WAITING, model) or self.seen.get(model, (-1,))[0] != answered:
                self.seen[model] = answered, now
        return [model for model in models if now - self.seen[model][1] > HUNG]


def total(page: str, names: tuple[str, ...], model: str) -> float:
    """The sum of these metrics of a model, over its versions and their other labels."""
    found = re.findall(rf'^(?:{"|".join(names)})\{{[^}}]*model="{model}"[^}}]*\}} (\S+)$', page, re.M)
    return sum(map(float, found))
