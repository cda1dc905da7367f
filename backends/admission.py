"""Refuses at once (503) what a Python model could not answer in time, instead of letting it queue without bound.

Triton's own bound, a queue policy, cannot be had at a reasonable price: with one, the dynamic batcher is not woken when
an instance becomes free but by the next arrival that finds the queue not full, or after 500 ms (README, "Batching").
So its queue has no policy, and the model bounds it. As long as little waits, `execute` is what it always was: it
returns a batch's answers. While a batch runs, it looks 20 times a second at how many requests wait behind it (the
gauge nv_inference_pending_request_count). Are they too many, it leaves the batch to a thread and returns, so that
Triton hands it the others: it keeps what can still be answered in time, and refuses the rest. Once all is answered it
is as before. How long a request will take is told by its tensor's size and what such have cost lately; a file's size
tells nothing, so files are only counted. What waited too long after all, behind work that took longer than it used to,
is refused when its turn comes: nobody waits for it any more.

In that second state Triton's statistics count a request as computed when it was handed over, and if the stub dies,
the few requests that it kept get no answer at all. Should the thread fail for a reason that nobody foresaw, it takes
the stub with it: a dead stub is noticed and brought back, one that answers nobody is not for minutes.
"""

import functools
import json
import os
import threading
import time
import traceback
from collections import deque

import triton_python_backend_utils as pb
from gauges import Metrics

POLL = 0.05  # seconds between two looks, and so how long a refusal may take
FRESH, CALM = 0.1, 0.25  # seconds until the next look at a following step, and at one that had nothing to do
SURE = 0.03  # seconds: nobody is refused for what the next step must have by now, but that an older page does not show
AHEAD = 0.7  # of the SLO: the work, its own and the next step's, that a first step lets wait
KEPT_WORK = 0.875  # of the SLO: the work of its own that any step keeps; more, so that little of a first step's is lost
YIELDING = 5  # by so much is the thread that computes nicer: what receives, refuses and hands on gets the core at once
MOST = 128  # requests that an instance keeps, however fast it is: 77 MB of pixels
MOST_BYTES = 2**28  # of them, beyond a first one: a server takes bodies of any size
PENDING = "nv_inference_pending_request_count"
KEPT, OWED, COST = "crossover_kept_requests", "crossover_kept_seconds", "crossover_seconds_per_request"
GAUGES = {
    KEPT: "Requests that a model has not answered yet",
    OWED: "Seconds that these will take",
    COST: "Running mean of a request's share of a batch",
}
WEIGHT = 0.25  # of the newest batch in running means


def admitting(model):
    """A class decorator for a TritonPythonModel.

    The launcher says what it needs in the config's parameters: `slo_ms`, in which a request is to be answered
    (without it nothing changes), `metrics`, host:port of the server's, and `next`, the step after it that will have to
    answer the same requests: what that one would refuse is refused before any work goes into it.
    """

    class Admitting(model):
        def initialize(self, args):
            if hasattr(model, "initialize"):
                super().initialize(args)
            config = json.loads(args["model_config"])
            told = {name: value["string_value"] for name, value in config["parameters"].items()}
            self.admit = super().execute
            if "slo_ms" in told:
                self.admit = Admission(super().execute, config, args["model_instance_name"], told)

        def execute(self, requests):
            return self.admit(requests)

        def finalize(self):
            if isinstance(self.admit, Admission):
                self.admit.close()
            if hasattr(model, "finalize"):
                super().finalize()

    return functools.wraps(model, updated=())(Admitting)


class Admission:
    """Around `work`, which gives a response per request; for an instance that Triton calls from one thread."""

    def __init__(self, work, config, instance, told):
        self.work, self.name, self.slo = work, config["name"], float(told["slo_ms"]) / 1e3
        self.most_rows = max(1, config["max_batch_size"])
        self.ragged = all(tensor.get("allow_ragged_batch") for tensor in config["input"])
        self.instances = sum(group["count"] for group in config["instance_group"])
        self.following = told.get("next")
        self.metrics = Metrics(told["metrics"], [PENDING, *GAUGES])
        self.families = [pb.MetricFamily(name, words, pb.MetricFamily.GAUGE) for name, words in GAUGES.items()]
        self.gauges = [family.Metric(labels={"model": self.name, "instance": instance}) for family in self.families]
        self.files = all(tensor["data_type"] == "TYPE_UINT8" for tensor in config["input"])
        self.pace, self.usual = 0.0, 1.0  # running means: seconds per unit of work, units per request
        self.calm, self.passed = True, deque()  # whether the next step was; when it was given what it does not show yet
        self.passing, self.seen = True, 0.0  # whether what we answer goes there, by the page of that time
        self.waiting, self.closed = deque(), False
        self.open, self.owed, self.held = 0, 0, 0  # requests that are kept, their units of work, their bytes
        self._tell()  # an instance that died left its own
        self.changed = threading.Condition()
        self.worker = threading.Thread(target=self._work, daemon=True)
        self.worker.start()

    def limit_of_next(self, wanted=1):
        """How many, of so many, may be here so that we and then the next step, after what it has, answer them in time.

        The other instances of our model, which do as we do, have their share of it.
        """
        if not self.following:
            return MOST
        at, seen = self.metrics.look(CALM if self.calm else FRESH, self.calm)
        most = self._limit(at, seen)
        if most < wanted and time.monotonic() - at > SURE and self._limit(at, seen, passed=0) > most:
            most = self._limit(*self.metrics.now(SURE))  # by what we believe to be there: first see whether it is
        return most

    def _limit(self, at, seen, passed=None):
        """By what was seen then, and what was passed on since."""
        cost, gone = seen[COST, self.following], 0
        while self.passed and self.passed[0] < at:
            gone += self.passed.popleft() < at - SURE
        has = seen[OWED, self.following] + cost * seen[PENDING, self.following]
        if gone and at > self.seen:  # answers of ours that clients asked for themselves do not go there
            self.passing = has > 0 or gone * cost <= 2 * (at - self.seen)
        self.seen = at
        if passed is None:
            passed = len(self.passed) * self.instances * self.passing
        has = max(0.0, has + cost * passed - (time.monotonic() - at))  # it works meanwhile
        self.calm = has <= 2 * cost
        most, both = AHEAD * self.slo, cost + self.usual * self.pace
        return max(1 if has < most / 2 else 0, int((most - has) / both / self.instances)) if cost else MOST

    def __call__(self, requests):
        most = min(MOST, self.limit_of_next(self.open + len(requests)))
        with self.changed:
            busy = self.open > 0
            kept, refused = [], []
            for request in requests:
                if self.open < most and self._room(units := self._units(request), size := self._bytes(request)):
                    kept.append(request)
                    self._count(1, units, size)
                else:
                    refused.append(request)
            batch = Batch(kept, busy, left=busy or bool(refused))
            if kept:
                self._tell()
                self.waiting.append(batch)
                self.changed.notify_all()
        for request in refused:
            send(request, self.refusal())
        if batch.left:
            return None
        while not batch.done.wait(POLL):
            if self._crowded() and batch.leave():
                return None
        return batch.responses

    def _room(self, units, size):
        """For one more request; there always is for a first one, which may be larger than all that is allowed."""
        late = (self.owed + units) * self.pace > KEPT_WORK * self.slo
        return not self.open or not (late or self.held + size > MOST_BYTES)

    def _crowded(self):
        """Whether not all that is here and waits for us, if it is of the usual size, can be answered in time."""
        pending = self.metrics.look(0.9 * POLL)[1][PENDING, self.name] / self.instances
        late = pending and (self.owed + pending * self.usual) * self.pace > KEPT_WORK * self.slo
        wanted = self.open + pending
        return late or wanted > min(MOST, self.limit_of_next(wanted))

    def refusal(self):
        said = f"{self.name} is overloaded: a request would not be answered within {self.slo:g} s"
        return pb.InferenceResponse(error=pb.TritonError(said, pb.TritonError.UNAVAILABLE))

    def close(self):
        """Answer what is kept, then end."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.worker.join()

    def _work(self):
        try:
            nice = os.getpriority(os.PRIO_PROCESS, 0) + YIELDING
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, nice))
            while not (self.closed and not self.waiting):
                self._step()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _step(self):
        batches, late = self._next()
        for batch in late:
            self._settle([batch])
            batch.answer([self.refusal() for _ in batch.requests])
        if not batches:
            return
        requests = [request for batch in batches for request in batch.requests]
        began = time.monotonic()
        try:
            responses = self.work(requests)
            if len(responses) != len(requests):
                raise ValueError(f"{self.name} gave {len(responses)} responses to {len(requests)} requests")
        except Exception as error:
            said = " ".join(str(error).split())
            responses = [pb.InferenceResponse(error=pb.TritonError(said)) for _ in requests]
        self._settle(batches, time.monotonic() - began)
        answers = iter(responses)
        for batch in batches:
            batch.answer([next(answers) for _ in batch.requests])

    def _settle(self, batches, seconds=None):
        """These are about to be answered, after so many seconds of work for all, or without any."""
        requests = [request for batch in batches for request in batch.requests]
        units = sum(map(self._units, requests))
        with self.changed:
            self._count(-len(requests), -units, -sum(map(self._bytes, requests)))
            if seconds is not None:
                weight = WEIGHT if self.pace else 1
                self.pace += (seconds / units - self.pace) * weight
                self.usual += (units / len(requests) - self.usual) * weight
                if self.following:
                    self.passed.extend([time.monotonic()] * len(requests))
            self._tell()

    def _count(self, requests, units, size):
        self.open += requests
        self.owed += units
        self.held += size

    def _tell(self):
        for gauge, value in zip(self.gauges, (self.open, self.owed * self.pace, self.usual * self.pace), strict=True):
            gauge.set(value)

    def _next(self):
        """(the oldest batch, with those that wait and can be merged with it; those that waited too long before it)."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            late, before = [], time.monotonic() - self.slo
            while self.waiting and self.waiting[0].behind and self.waiting[0].came < before:
                late.append(self.waiting.popleft())
            taken = [self.waiting.popleft()] if self.waiting else []
            rows = sum(map(self._rows, taken))
            for batch in list(self.waiting) if taken else []:
                if self._kind(batch) == self._kind(taken[0]) and rows + self._rows(batch) <= self.most_rows:
                    self.waiting.remove(batch)
                    taken.append(batch)
                    rows += self._rows(batch)
            return taken, late

    def _rows(self, batch):
        return sum(len(request.inputs()[0].as_numpy()) for request in batch.requests)

    def _units(self, request):
        """Of work: elements of a tensor, or files."""
        tensor = request.inputs()[0].as_numpy()
        return max(1, len(tensor) if self.files else tensor.size)

    def _bytes(self, request):
        return sum(tensor.as_numpy().nbytes for tensor in request.inputs())

    def _kind(self, batch):
        """What Triton's batcher looks at: inputs that may not be ragged are merged if they are of one shape."""
        if self.ragged:
            return None
        return {(tensor.name(), tensor.as_numpy().shape[1:]) for r in batch.requests for tensor in r.inputs()}


class Batch:
    """Requests that came together, `behind` others or not. Their responses go the way they came, unless `execute` has
    left before.
    """

    def __init__(self, requests, behind, left):
        self.requests, self.responses, self.behind, self.left = requests, None, behind, left
        self.came = time.monotonic()
        self.done, self.lock = threading.Event(), threading.Lock()

    def leave(self):
        """From now on responses are sent one by one. False if they are there already: then return them."""
        with self.lock:
            if self.responses is None:
                self.left = True
            return self.left

    def answer(self, responses):
        with self.lock:
            self.responses = responses
        if self.left:
            for request, response in zip(self.requests, responses, strict=True):
                send(request, response)
        self.done.set()


def send(request, response):
    request.get_response_sender().send(response, flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
