"""Finds models that have requests and answer none: their Python stubs live, but hang.

Triton counts the requests that wait for a model, not those that it works on, so a hang shows once another request
comes. (A stub that is stopped by a signal hangs nobody: Triton fails each request to it within a second.)
"""

import time

from serving.triton_api import Metric, TritonAPI

HUNG = 300.0  # seconds without an answer: eight merged clips of a minute each take one slow core three minutes
WAITING = {"nv_inference_pending_request_count", "crossover_kept_requests"}
ANSWERED = {"nv_inference_request_success", "nv_inference_request_failure"}


class HangDetector:
    """Compares readings of a server's metrics: call `find_hung` every few seconds."""

    def __init__(self, metrics_address: str):
        self.api = TritonAPI(metrics_address)
        self.progress: dict[str, tuple[float, float]] = {}  # model -> answers so far, and when that was first read

    def find_hung(self, models: list[str]) -> list[str]:
        """Return those models for which requests have waited for HUNG seconds without one answer.

        Raises Failure if the metrics cannot be read.
        """
        metrics, now = self.api.metrics(), time.monotonic()
        for model in models:
            answered = total(metrics, ANSWERED, model)
            if not total(metrics, WAITING, model) or self.progress.get(model, (-1,))[0] != answered:
                self.progress[model] = answered, now
        return [model for model in models if now - self.progress[model][1] > HUNG]


def total(metrics: list[Metric], names: set[str], model: str) -> float:
    """Sum these metrics of one model over its versions, its instances and all other labels."""
    return sum(metric.value for metric in metrics if metric.name in names and metric.labels.get("model") == model)
