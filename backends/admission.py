"""Refuses at once (503) what a Python model could not answer in time, instead of letting it queue without bound.

Triton's own bound, a queue policy, costs too much: with one, the dynamic batcher is not woken when an instance becomes
free but by the next arrival that finds the queue not full, or after 500 ms (docs/server.md, "Batching"). So Triton's
queue has no policy, and the model bounds it. As long as few requests wait, `execute` returns a batch's answers, as in
any other model. While a batch runs, `execute` reads 20 times a second how many requests wait behind it (the gauge
nv_inference_pending_request_count). If these are too many, it leaves the batch to a thread and returns, so that Triton
hands over the others: `execute` queues those that can still be answered in time, and refuses the rest. Once all are
answered, `execute` returns answers again. How long a request will take follows from its tensor's size and from what
such sizes have cost lately; the size of a file says nothing about its cost, so files are only counted. A request that
waited longer than the SLO after all, behind work that took longer than before, is refused when its turn comes: its
client has given up.

How many requests are queued follows from the SLO and the measured rate; their bytes are bounded, too. A refusal names
the bound that was reached.

While requests are queued in the model, Triton's statistics count a request as computed when it was handed over, and if
the stub dies, its queued requests get no answer at all. If the thread fails for an unforeseen reason, it ends the stub:
a dead stub is noticed and reloaded at once, one that answers nobody only after minutes.
"""

import functools
import json
import math
import os
import threading
import time
import traceback
from collections import deque

import triton_python_backend_utils as pb
from messages import one_line
from triton_metrics import Gauges, Metrics

POLL_INTERVAL = 0.05  # seconds between two looks, and so how long a refusal may take
BUSY_AGE, IDLE_AGE = 0.1, 0.25  # seconds until the next look at a following step, and at one that had nothing to do
PAGE_LAG = 0.05  # seconds until a forwarded request shows in a page; before that, no request is refused for its lack
PIPELINE_SHARE = 0.7  # of the SLO: the work, its own and the next step's, that a first step queues
OWN_SHARE = 0.875  # of the SLO: its own work that any step queues; more, so that little of a first step's is lost
NICER_BY = 5  # niceness of the thread that computes: threads that receive, refuse and forward get the core at once
UNMEASURED = 128  # requests that an instance queues before its first batch has shown how long one takes
MAX_QUEUED_BYTES = 2**28  # beyond a first request: a server takes bodies of any size
REQUEST_BYTES = 2**14  # what Triton and the stub need for a request, beside its tensors
PENDING = "nv_inference_pending_request_count"
REQUESTS, SECONDS, COST = "crossover_kept_requests", "crossover_kept_seconds", "crossover_seconds_per_request"
GAUGES = {
    REQUESTS: "Requests that a model has not answered yet",
    SECONDS: "Seconds that these will take",
    COST: "Running mean of a request's share of a batch",
}
WEIGHT = 0.25  # of the newest batch in running means
OUTLIER = 4  # times a unit's mean cost: a higher cost counts as this, so that one slow file does not refuse all others


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
        self.compute, self.name, self.slo = compute, config["name"], float(parameters["slo_ms"]) / 1e3
        self.max_rows = max(1, config["max_batch_size"])
        self.ragged = all(tensor.get("allow_ragged_batch") for tensor in config["input"])
        self.instances = sum(group["count"] for group in config["instance_group"])
        self.following = parameters.get("next")
        self.metrics = Metrics(parameters["metrics"], [PENDING, *GAUGES])
        self.families = [pb.MetricFamily(name, words, pb.MetricFamily.GAUGE) for name, words in GAUGES.items()]
        labels = {"model": self.name, "instance": instance}
        self.gauges = Gauges([family.Metric(labels=labels) for family in self.families], (0, 0.0, 0.0))
        self.files = all(tensor["data_type"] == "TYPE_UINT8" for tensor in config["input"])
        self.seconds_per_unit, self.mean_units, self.mean_bytes = 0.0, 1.0, 0.0  # running means, the latter per request
        self.next_is_idle = True
        self.forwarded_at = deque()  # when requests were forwarded that the page does not show yet
        self.feeds_next, self.page_time = True, 0.0  # whether our answers go there, as the page of that time shows
        self.waiting, self.closed = deque(), False
        self.queued_requests, self.queued_units, self.queued_bytes = 0, 0, 0  # without an answer yet
        self.changed = threading.Condition()
        self.worker = threading.Thread(target=self._run, daemon=True)
        self.worker.start()

    def max_requests(self, wanted=1):
        """Return how many requests may be queued here so that the next step, after its own, answers them in time.

        `wanted`: how many there would be; the page is read again if it would refuse some of them. The other instances
        of this model have an equal share.
        """
        if not self.following:
            return math.inf
        at, page = self.metrics.read(IDLE_AGE if self.next_is_idle else BUSY_AGE, self.next_is_idle)
        limit = self._max_by_page(at, page)
        if limit < wanted and time.monotonic() - at > PAGE_LAG and self._max_by_page(at, page, forwarded=0) > limit:
            limit = self._max_by_page(*self.metrics.read_newer(PAGE_LAG))  # see whether what we forwarded is there
        return limit

    def _max_by_page(self, at, page, forwarded=None):
        """Return that number from the page read at time `at`, and from the requests forwarded since."""
        cost, arrived = page[COST, self.following], 0
        while self.forwarded_at and self.forwarded_at[0] < at:
            arrived += self.forwarded_at.popleft() < at - PAGE_LAG
        seconds = page[SECONDS, self.following] + cost * page[PENDING, self.following]
        if arrived and at > self.page_time:  # clients may ask for this step alone: their answers are not forwarded
            self.feeds_next = seconds > 0 or arrived * cost <= 2 * (at - self.page_time)
        self.page_time = at
        if forwarded is None:
            forwarded = len(self.forwarded_at) * self.instances * self.feeds_next
        seconds = max(0.0, seconds + cost * forwarded - (time.monotonic() - at))  # it works meanwhile
        self.next_is_idle = seconds <= 2 * cost
        allowed, both = PIPELINE_SHARE * self.slo, cost + self.mean_units * self.seconds_per_unit
        least = 1 if seconds < allowed / 2 else 0
        return max(least, int((allowed - seconds) / both / self.instances)) if cost else math.inf

    def __call__(self, requests):
        """Return the responses to these requests, or None if they are sent by the thread instead."""
        limit = self.max_requests(self.queued_requests + len(requests))
        with self.changed:
            busy = self.queued_requests > 0
            admitted, refused = [], []
            for request in requests:
                units, size = self._units(request), self._bytes(request)
                if bound := self.exceeded(units, size, limit):
                    refused.append((request, bound))
                else:
                    admitted.append(request)
                    self._add(1, units, size)
            batch = Batch(admitted, busy, detached=busy or bool(refused))
            if admitted:
                self._publish()
                self.waiting.append(batch)
                self.changed.notify_all()
        for request, bound in refused:
            send(request, self.refusal(bound))
        if batch.detached:
            return None
        while not batch.done.wait(POLL_INTERVAL):
            if self._is_crowded() and batch.detach():
                return None
        return batch.responses

    def exceeded(self, units, size, limit=math.inf):
        """Return in words the bound that one more request of so many units and bytes would exceed, or None.

        A first request may be larger than all bounds, unless the next step has too much to do.
        """
        if self.queued_requests >= limit:
            return f"with {self.following}, the next step, it would not answer a request within {self.slo:g} s"
        if not self.queued_requests:
            return None
        if not self.seconds_per_unit:
            few = self.queued_requests < UNMEASURED
            return None if few else f"{UNMEASURED} requests wait before the first has shown how long one takes"
        if (self.queued_units + units) * self.seconds_per_unit > OWN_SHARE * self.slo:
            return f"a request would not be answered within {self.slo:g} s"
        if self.queued_bytes + size > MAX_QUEUED_BYTES:
            return f"the requests that wait fill the {MAX_QUEUED_BYTES >> 20} MiB that they may have"
        return None

    def _is_crowded(self):
        """Return whether a bound would refuse some of the requests in Triton's queue, if these are of mean size."""
        pending = self.metrics.read(0.9 * POLL_INTERVAL)[1][PENDING, self.name] / self.instances
        if pending and not self.seconds_per_unit:
            return self.queued_requests + pending > UNMEASURED
        late = (self.queued_units + pending * self.mean_units) * self.seconds_per_unit > OWN_SHARE * self.slo
        large = self.queued_bytes + pending * self.mean_bytes > MAX_QUEUED_BYTES
        wanted = self.queued_requests + pending
        return (pending and (late or large)) or wanted > self.max_requests(wanted)

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
        self.gauges.close()

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
        """Take batches out of the count; `seconds` of work for all of them update the running means."""
        requests = [request for batch in batches for request in batch.requests]
        units, size = sum(map(self._units, requests)), sum(map(self._bytes, requests))
        with self.changed:
            self._add(-len(requests), -units, -size)
            if seconds is not None:
                weight = WEIGHT if self.seconds_per_unit else 1
                cost = min(seconds / units, OUTLIER * self.seconds_per_unit or math.inf)
                self.seconds_per_unit += (cost - self.seconds_per_unit) * weight
                self.mean_units += (units / len(requests) - self.mean_units) * weight
                self.mean_bytes += (size / len(requests) - self.mean_bytes) * weight
                if self.following:
                    self.forwarded_at.extend([time.monotonic()] * len(requests))
            self._publish()

    def _add(self, requests, units, size):
        """Count so many more requests, units and bytes as queued."""
        self.queued_requests += requests
        self.queued_units += units
        self.queued_bytes += size

    def _publish(self):
        """Set the gauges that the step before this one reads."""
        cost = self.mean_units * self.seconds_per_unit
        self.gauges.set(self.queued_requests, self.queued_units * self.seconds_per_unit, cost)

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

    def _units(self, request):
        """Return a request's units of work: elements of its tensor, or files."""
        tensor = request.inputs()[0].as_numpy()
        return max(1, len(tensor) if self.files else tensor.size)

    def _bytes(self, request):
        """Return the memory that a request takes."""
        return REQUEST_BYTES + sum(tensor.as_numpy().nbytes for tensor in request.inputs())

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
