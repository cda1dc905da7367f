"""Bounds of a model's queue: how many more requests it can answer in time, by itself and with the step after it.

How long a request will take follows from its tensor's size and from what such sizes have cost lately; the size of a
file says nothing about its cost, so files are only counted. How many requests are queued follows from the SLO and the
measured rate; their bytes are bounded, too. A refusal names the bound that was reached.
"""

import math
import time
from collections import deque

import triton_python_backend_utils as pb
from triton_metrics import Gauges, Metrics

BUSY_AGE, IDLE_AGE = 0.1, 0.25  # seconds until the next look at a following step, and at one that had nothing to do
PAGE_LAG = 0.05  # seconds until a forwarded request shows in a page; before that, no request is refused for its lack
PIPELINE_SHARE = 0.7  # of the SLO: the work, its own and the next step's, that a first step queues
OWN_SHARE = 0.875  # of the SLO: its own work that any step queues; more, so that little of a first step's is lost
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


class Bounds:
    """Counts what an instance has queued, measures what that costs, and says which bound one more would exceed.

    `config` is the model's, `instance` its name in the metrics, `parameters` those of the config as texts. Whoever
    counts, measures or decides on one more request holds the lock of the queue.
    """

    def __init__(self, config, instance, parameters):
        self.name, self.slo = config["name"], float(parameters["slo_ms"]) / 1e3
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
        self.queued_requests, self.queued_units, self.queued_bytes = 0, 0, 0  # without an answer yet

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

    def exceeded(self, request, limit=math.inf):
        """Return in words the bound that one more request would exceed, or None.

        A first request may be larger than all bounds, unless the next step has too much to do.
        """
        if self.queued_requests >= limit:
            return f"with {self.following}, the next step, it would not answer a request within {self.slo:g} s"
        if not self.queued_requests:
            return None
        units, size = self.units(request), self.bytes(request)
        if not self.seconds_per_unit:
            few = self.queued_requests < UNMEASURED
            return None if few else f"{UNMEASURED} requests wait before the first has shown how long one takes"
        if (self.queued_units + units) * self.seconds_per_unit > OWN_SHARE * self.slo:
            return f"a request would not be answered within {self.slo:g} s"
        if self.queued_bytes + size > MAX_QUEUED_BYTES:
            return f"the requests that wait fill the {MAX_QUEUED_BYTES >> 20} MiB that they may have"
        return None

    def is_crowded(self, age):
        """Return whether a bound would refuse some of the requests in Triton's queue, if these are of mean size.

        Metrics may be `age` seconds old.
        """
        pending = self.metrics.read(age)[1][PENDING, self.name] / self.instances
        if pending and not self.seconds_per_unit:
            return self.queued_requests + pending > UNMEASURED
        late = (self.queued_units + pending * self.mean_units) * self.seconds_per_unit > OWN_SHARE * self.slo
        large = self.queued_bytes + pending * self.mean_bytes > MAX_QUEUED_BYTES
        wanted = self.queued_requests + pending
        return (pending and (late or large)) or wanted > self.max_requests(wanted)

    def add(self, request):
        """Count a request as queued."""
        self._add(1, self.units(request), self.bytes(request))

    def remove(self, requests):
        """Take requests out of the count."""
        self._add(-len(requests), -sum(map(self.units, requests)), -sum(map(self.bytes, requests)))

    def learn(self, requests, seconds):
        """Update the running means by requests that were computed together within so many seconds."""
        units, size = sum(map(self.units, requests)), sum(map(self.bytes, requests))
        weight = WEIGHT if self.seconds_per_unit else 1
        cost = min(seconds / units, OUTLIER * self.seconds_per_unit or math.inf)
        self.seconds_per_unit += (cost - self.seconds_per_unit) * weight
        self.mean_units += (units / len(requests) - self.mean_units) * weight
        self.mean_bytes += (size / len(requests) - self.mean_bytes) * weight
        if self.following:
            self.forwarded_at.extend([time.monotonic()] * len(requests))

    def _add(self, requests, units, size):
        """Count so many more requests, units and bytes as queued."""
        self.queued_requests += requests
        self.queued_units += units
        self.queued_bytes += size

    def publish(self):
        """Set the gauges that the step before this one reads."""
        cost = self.mean_units * self.seconds_per_unit
        self.gauges.set(self.queued_requests, self.queued_units * self.seconds_per_unit, cost)

    def units(self, request):
        """Return a request's units of work: elements of its tensor, or files."""
        tensor = request.inputs()[0].as_numpy()
        return max(1, len(tensor) if self.files else tensor.size)

    def bytes(self, request):
        """Return the memory that a request takes."""
        return REQUEST_BYTES + sum(tensor.as_numpy().nbytes for tensor in request.inputs())

    def close(self):
        """End the thread that publishes."""
        self.gauges.close()
