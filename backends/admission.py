"""Refuses at once (503) what a Python model could not answer in time, instead of letting it queue without bound.

Triton's own bound, a queue policy, costs too much: with one, the dynamic batcher is not woken when an instance becomes
free but by the next arrival that finds the queue not full, or after 500 ms (docs/server.md, "Batching"). So Triton's
queue has no policy, and the model bounds it. As long as few requests wait, `execute` returns a batch's answers, as in
any other model. While a batch runs, `execute` reads 20 times a second how many requests wait behind it (the gauge
nv_inference_pending_request_count). If these are too many, it leaves the batch to a thread and returns, so that Triton
hands over the others: `execute` queues those that can still be answered in time, by queue_bounds.py, and refuses the
rest. Once all are answered, `execute` returns answers again. A request that waited longer than the SLO after all,
behind work that took longer than before, is refused when its turn comes: its client has given up.

While requests are queued in the model, Triton's statistics count a request as computed when it was handed over, and if
the stub dies, its queued requests get no answer at all. If the thread fails for an unforeseen reason, it ends the stub:
a dead stub is noticed and reloaded at once, one that answers nobody only after minutes.
"""

import functools
import json
import os
import threading
import time
import traceback
from collections import deque

import triton_python_backend_utils as pb
from messages import one_line
from queue_bounds import Bounds

POLL_INTERVAL = 0.05  # seconds between two looks, and so how long a refusal may take
NICER_BY = 5  # niceness of the thread that computes: threads that receive, refuse and forward get the core at once


def admitting(model):
    """Decorate a TritonPythonModel, so that it refuses requests that it could not answer in time.

    The launcher sets the config's parameters: `slo_ms`, the time in which a request is to be answered (without it
    nothing changes); `metrics`, the host:port of the server's metrics; and `next`, the step after this one, which has
    to answer the same requests: those that it would refuse are refused here, before any work is done for them.
    """

    class Admitting(model):
        def initialize(self, args):
            if hasattr(model, "initialize"):
                super().initialize(args)
            config = json.loads(args["model_config"])
            parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
            self.admit = super().execute
            if "slo_ms" in parameters:
                self.admit = Admission(super().execute, config, args["model_instance_name"], parameters)

        def execute(self, requests):
            return self.admit(requests)

        def finalize(self):
            if isinstance(self.admit, Admission):
                self.admit.close()
            if hasattr(model, "finalize"):
                super().finalize()

    return functools.wraps(model, updated=())(Admitting)


class Admission:
    """Admits requests to `compute`, which returns a response per request; Triton calls an instance from one thread.

    `config` is the model's, `instance` its name in the metrics, `parameters` those of the config as texts.
    """

    def __init__(self, compute, config, instance, parameters):
        self.compute, self.name = compute, config["name"]
        self.bounds = Bounds(config, instance, parameters)
        self.slo = self.bounds.slo
        self.max_rows = max(1, config["max_batch_size"])
        self.ragged = all(tensor.get("allow_ragged_batch") for tensor in config["input"])
        self.waiting, self.closed = deque(), False
        self.changed = threading.Condition()
        self.worker = threading.Thread(target=self._run, daemon=True)
        self.worker.start()

    def __call__(self, requests):
        """Return the responses to these requests, or None if they are sent by the thread instead."""
        bounds = self.bounds
        limit = bounds.max_requests(bounds.queued_requests + len(requests))
        with self.changed:
            busy = bounds.queued_requests > 0
            admitted, refused = [], []
            for request in requests:
                if bound := bounds.exceeded(request, limit):
                    refused.append((request, bound))
                else:
                    admitted.append(request)
                    bounds.add(request)
            batch = Batch(admitted, busy, detached=busy or bool(refused))
            if admitted:
                bounds.publish()
                self.waiting.append(batch)
                self.changed.notify_all()
        for request, bound in refused:
            send(request, self.refusal(bound))
        if batch.detached:
            return None
        while not batch.done.wait(POLL_INTERVAL):
            if bounds.is_crowded(0.9 * POLL_INTERVAL) and batch.detach():
                return None
        return batch.responses

    def refusal(self, bound):
        """Return the response (503) that names the bound."""
        error = pb.TritonError(f"{self.name} is overloaded: {bound}", pb.TritonError.UNAVAILABLE)
        return pb.InferenceResponse(error=error)

    def close(self):
        """Answer the queued requests, then end the thread."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.worker.join()
        self.bounds.close()

    def _run(self):
        """Compute batch after batch, with lower priority; ends the process for an unforeseen error."""
        try:
            nice = os.getpriority(os.PRIO_PROCESS, 0) + NICER_BY
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, nice))
            while not (self.closed and not self.waiting):
                self._step()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _step(self):
        """Refuse the batches that waited too long, and compute the oldest ones that can be merged."""
        batches, late = self._next()
        for batch in late:
            self._remove([batch])
            refusal = self.refusal(f"a request has waited longer than {self.slo:g} s behind others")
            batch.answer([refusal for _ in batch.requests])
        if not batches:
            return
        requests = [request for batch in batches for request in batch.requests]
        began = time.monotonic()
        try:
            responses = self.compute(requests)
            if len(responses) != len(requests):
                raise ValueError(f"{self.name} gave {len(responses)} responses to {len(requests)} requests")
        except Exception as error:
            responses = [pb.InferenceResponse(error=pb.TritonError(one_line(error))) for _ in requests]
        self._remove(batches, time.monotonic() - began)
        answers = iter(responses)
        for batch in batches:
            batch.answer([next(answers) for _ in batch.requests])

    def _remove(self, batches, seconds=None):
        """Take batches out of the count; `seconds` of work for all of them are learnt from."""
        requests = [request for batch in batches for request in batch.requests]
        with self.changed:
            self.bounds.remove(requests)
            if seconds is not None:
                self.bounds.learn(requests, seconds)
            self.bounds.publish()

    def _next(self):
        """Wait for work; return (the oldest batch and those that can be merged with it, those that waited too long)."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            late, before = [], time.monotonic() - self.slo
            while self.waiting and self.waiting[0].queued_behind and self.waiting[0].arrived_at < before:
                late.append(self.waiting.popleft())
            taken = [self.waiting.popleft()] if self.waiting else []
            rows = sum(map(self._rows, taken))
            for batch in list(self.waiting) if rows < self.max_rows and taken else []:
                if self._kind(batch) == self._kind(taken[0]) and rows + self._rows(batch) <= self.max_rows:
                    self.waiting.remove(batch)
                    taken.append(batch)
                    rows += self._rows(batch)
                    if rows == self.max_rows:
                        break
            return taken, late

    def _rows(self, batch):
        """Return how many samples a batch has."""
        if batch.rows is None:
            batch.rows = sum(len(request.inputs()[0].as_numpy()) for request in batch.requests)
        return batch.rows

    def _kind(self, batch):
        """Return what must be equal in merged batches, as for Triton's batcher: shapes, unless they may be ragged."""
        if self.ragged:
            return None
        if batch.kind is None:
            batch.kind = {(tensor.name(), tensor.as_numpy().shape[1:]) for r in batch.requests for tensor in r.inputs()}
        return batch.kind


class Batch:
    """Requests that came together, `queued_behind` others or not.

    `execute` returns their responses, unless it returned before (`detached`): then they are sent one by one.
    """

    def __init__(self, requests, queued_behind, detached):
        self.requests, self.responses = requests, None
        self.queued_behind, self.detached = queued_behind, detached
        self.rows, self.kind = None, None  # of the merged tensors, once they are asked for
        self.arrived_at = time.monotonic()
        self.done, self.lock = threading.Event(), threading.Lock()

    def detach(self):
        """Have responses sent one by one from now on; False if they are there already, to be returned instead."""
        with self.lock:
            if self.responses is None:
                self.detached = True
            return self.detached

    def answer(self, responses):
        """Send the responses, or hand them to the waiting `execute`."""
        with self.lock:
            self.responses = responses
        if self.detached:
            for request, response in zip(self.requests, responses, strict=True):
                send(request, response)
        self.done.set()


def send(request, response):
    """Send one response on its own, as a decoupled model does."""
    request.get_response_sender().send(response, flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
