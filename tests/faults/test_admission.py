"""The bound of a queue (backends/admission.py, backends/queue_bounds.py) and how a hang shows
(serving/hang_detector.py), on a real server, by a model that sleeps as long as it is told, answers nobody if that is
below 0, and ends its thread if it is no number."""

import http.server
import importlib
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from serving import ROOT, Failure, hang_detector
from serving.triton_api import Metric, TritonAPI
from tests import twins
from tests.twin_modules import forget_module

SLO = 1.0  # seconds
HEAD = f"import sys, time; sys.path.insert(0, {str(ROOT / 'backends')!r})"
MODEL = f"""
{HEAD}
import triton_python_backend_utils as pb
from admission import admitting

@admitting
class TritonPythonModel:
    def execute(self, requests):
        given = [request.inputs()[0] for request in requests]
        seconds = sum(float(tensor.as_numpy().sum()) for tensor in given)
        if seconds != seconds:
            sys.exit("no number")
        if seconds < 0:
            return []
        time.sleep(seconds)
        return [pb.InferenceResponse([pb.Tensor("slept", tensor.as_numpy())]) for tensor in given]
"""
CONFIG = """
backend: "python" max_batch_size: 1
input { name: "seconds" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "slept" data_type: TYPE_FP32 dims: [ -1 ] }
instance_group { kind: KIND_CPU }
"""
BOUNDED = """
parameters {{ key: "slo_ms" value {{ string_value: "{slo:g}" }} }}
parameters {{ key: "metrics" value {{ string_value: "{metrics}" }} }}
"""


NAMES = [b"sleeper-%d" % n for n in range(20)]


class Crowded(http.server.BaseHTTPRequestHandler):
    """Metrics of a server that always has a thousand requests waiting, so that the model takes over at once."""

    def do_GET(self):
        page = b"".join(b'nv_inference_pending_request_count{model="%s",version="1"} 1000\n' % name for name in NAMES)
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with twins.running(tmp_path_factory.mktemp("admission")) as running:
        yield running


@pytest.fixture(scope="module")
def crowded():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Crowded) as metrics:
        threading.Thread(target=metrics.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{metrics.server_address[1]}"
        metrics.shutdown()


@pytest.fixture
def ask(server, crowded):
    """Sends numbers to a fresh model, which sleeps for their sum in seconds."""
    return asker(server, crowded)


def asker(server, metrics, slo=SLO, patch=""):
    """`patch`: assignments to names of the module of bounds."""
    name = next(name for name in map(bytes.decode, NAMES) if not (server.repository / name).exists())
    server.load(
        name,
        CONFIG + BOUNDED.format(slo=slo * 1e3, metrics=metrics),
        model_py=f"{HEAD}; import queue_bounds; queue_bounds.{patch}\n{MODEL}" if patch else MODEL,
    )
    api = TritonAPI(server.address)

    def ask(*seconds: float) -> str:
        """200, or the refusal."""
        given = np.array(seconds, np.float32).tobytes()
        try:
            assert api.infer(name, given)["slept"] == ([1, len(seconds)], given)
        except Failure as refusal:
            return str(refusal).replace(name, "sleeper")
        return "200"

    ask.model = name
    return ask


def test_who_waited_longer_than_the_slo_is_refused_without_any_work(ask):
    """Requests of a millisecond promise that a hundred can be kept; then comes one of three SLOs."""
    assert [ask(0.001) for _ in range(3)] == ["200"] * 3
    with ThreadPoolExecutor(6) as pool:
        long = pool.submit(ask, 3 * SLO)
        threading.Event().wait(SLO / 2)
        behind = list(pool.map(ask, [0.001] * 4))
    assert long.result() == "200"
    reason = f"sleeper is overloaded: a request has waited longer than {SLO:g} s behind others"
    assert behind == [f"/v2/models/sleeper/infer answered 503: {reason}"] * 4
    assert ask(0.001) == "200"


def test_who_finds_the_model_idle_is_answered_however_long_that_takes(ask):
    assert [ask(2 * SLO), ask(2 * SLO)] == ["200", "200"]


def test_a_fast_model_answers_a_burst_that_it_can_answer_in_time(server, crowded):
    """Three hundred requests of a millisecond behind one of five seconds, and a minute for them: more than an instance
    queues unmeasured."""
    ask = asker(server, crowded, slo=60)
    assert ask(0.001) == "200"
    with ThreadPoolExecutor(301) as pool:
        first = pool.submit(ask, 5)
        threading.Event().wait(0.5)
        assert Counter(pool.map(ask, [0.001] * 300)) == {"200": 300}
    assert first.result() == "200"


def test_before_anything_is_measured_few_may_wait_and_the_refusal_says_so(server, crowded):
    ask = asker(server, crowded, slo=60, patch="UNMEASURED = 3")
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask, 2)
        threading.Event().wait(0.5)
        told = Counter(pool.map(ask, [0.001] * 8))
    reason = "sleeper is overloaded: 3 requests wait before the first has shown how long one takes"
    assert first.result() == "200"
    assert told == {"200": 2, f"/v2/models/sleeper/infer answered 503: {reason}": 6}


def test_what_waits_is_bounded_in_bytes_and_the_refusal_says_so(server, crowded):
    ask = asker(server, crowded, slo=600, patch="MAX_QUEUED_BYTES = 2**20")
    large = [0.0] * 2**16  # 256 KiB each
    assert ask(*large) == "200"
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(ask, 2)
        threading.Event().wait(0.5)
        told = Counter(pool.map(lambda _: ask(*large), range(8)))
    reason = "sleeper is overloaded: the requests that wait fill the 1 MiB that they may have"
    assert first.result() == "200"
    assert told == {"200": 3, f"/v2/models/sleeper/infer answered 503: {reason}": 5}


def test_small_tensors_are_not_taken_for_large_ones_that_came_before(ask):
    """After three that took a whole SLO each, there is room for six of a twentieth behind one of a third."""
    assert [ask(*[SLO / 100] * 100) for _ in range(3)] == ["200"] * 3
    with ThreadPoolExecutor(7) as pool:
        first = pool.submit(ask, *[SLO / 100] * 33)
        threading.Event().wait(SLO / 10)
        assert list(pool.map(lambda _: ask(*[SLO / 100] * 5), range(6))) == ["200"] * 6
    assert first.result() == "200"


def test_large_tensors_are_not_taken_for_small_ones_that_came_before(server, crowded):
    """Of one that takes half of the SLO and four of a quarter, the first and one behind it can be answered in time.

    The SLO is long against what a busy machine adds to each of the requests from which the model learns.
    """
    slo = 4 * SLO
    ask = asker(server, crowded, slo=slo)
    assert [ask(*[slo / 100] * 5) for _ in range(10)] == ["200"] * 10
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(ask, *[slo / 100] * 50)
        threading.Event().wait(slo / 5)
        told = list(pool.map(lambda _: ask(*[slo / 100] * 25), range(4)))
    assert first.result() == "200"
    reason = f"sleeper is overloaded: a request would not be answered within {slo:g} s"
    assert Counter(told) == {"200": 1, f"/v2/models/sleeper/infer answered 503: {reason}": 3}


def test_one_that_took_very_long_does_not_refuse_those_that_follow(ask):
    """Its three SLOs, counted in full, would make a mean by which a second one could not be answered in time."""
    assert [ask(0.001) for _ in range(20)] == ["200"] * 20
    assert ask(3 * SLO) == "200"
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(ask, SLO / 2)
        threading.Event().wait(SLO / 10)
        assert Counter(pool.map(ask, [0.001] * 20)) == {"200": 20}
    assert first.result() == "200"


@pytest.fixture
def bounds(monkeypatch):
    """The module outside of a stub, where there are no gauges to be seen."""
    nothing = SimpleNamespace(Metric=lambda labels: SimpleNamespace(set=lambda value: None))
    family = type("MetricFamily", (), {"GAUGE": 0, "__new__": lambda *_: nothing})
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", SimpleNamespace(MetricFamily=family))
    monkeypatch.syspath_prepend(ROOT / "backends")
    for name in ("queue_bounds", "triton_metrics"):
        forget_module(name, monkeypatch)
    return importlib.import_module("queue_bounds")


def test_a_first_step_counts_what_the_next_has_and_what_it_was_given_since_that_was_seen(bounds, monkeypatch):
    """Of an SLO of 1 s a first step fills 0.7: seven requests of 0.07 s there and 0.02 s here."""
    clock = SimpleNamespace(now=10.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(bounds, "time", clock)
    config = {"name": "first", "max_batch_size": 1, "input": [{"data_type": "TYPE_UINT8"}]}
    config["instance_group"] = [{"count": 1}]
    parameters = {"slo_ms": "1000", "metrics": "127.0.0.1:9", "next": "network"}
    step = bounds.Bounds(config, "first_0", parameters)
    step.seconds_per_unit, step.mean_units = 0.02, 1.0
    page = Counter({(bounds.COST, "network"): 0.07})
    step.metrics = SimpleNamespace(read=lambda *_: (10.0, page), read_newer=lambda age: (10.0, page))
    assert step.max_requests() == 7
    page[bounds.PENDING, "network"] += 1
    page[bounds.SECONDS, "network"] += 0.16
    assert step.max_requests() == 5
    step.forwarded_at.extend([9.9, 10.1, 10.1])
    assert step.max_requests() == 3
    step.forwarded_at.extend([10.2] * 9)
    assert step.max_requests() == 0
    clock.now = 10.0 + 0.9  # by when the next has done all but a tenth of a second of its 1.0
    assert step.max_requests() == 6
    step.instances = 2  # which has handed on as much, and has half of what is left: 0.7 is less than 1.77 - 0.9
    assert step.max_requests() == 0
    step.forwarded_at.clear()
    clock.now = 10.0
    assert step.max_requests() == 2
    step.close()


def test_what_clients_ask_of_a_first_step_for_themselves_does_not_fill_the_next(bounds, monkeypatch):
    """Ten a second of 1 s each would; but a page that is young enough to show them shows none. Then come others."""
    clock = SimpleNamespace(now=10.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(bounds, "time", clock)
    config = {"name": "first", "max_batch_size": 1, "input": [{"data_type": "TYPE_UINT8"}]}
    config["instance_group"] = [{"count": 1}]
    step = bounds.Bounds(config, "first_0", {"slo_ms": "10000", "metrics": "127.0.0.1:9", "next": "network"})
    step.seconds_per_unit, step.page_time = 0.001, 9.9
    pages = [(10.0, Counter({(bounds.COST, "network"): 1.0}))]
    step.metrics = SimpleNamespace(read=lambda *_: pages[-1], read_newer=lambda age: pages[-1])
    assert step.max_requests() == 6
    step.forwarded_at.extend([10.01] * 10)
    clock.now = 10.02
    assert step.max_requests() == 0, "the page is young: they are on their way"
    clock.now = 10.1
    now, old = (10.1, pages[0][1]), pages[0]
    step.metrics = SimpleNamespace(read=lambda *_: old, read_newer=lambda age: now)
    assert step.max_requests() == 6, "before it refuses it looks again, and they did not come there"
    step.forwarded_at.extend([10.11] * 10)
    step.metrics = SimpleNamespace(read=lambda *_: now)
    assert step.max_requests() == 6
    clock.now = 10.2
    there = (10.2, Counter({(bounds.COST, "network"): 1.0, (bounds.SECONDS, "network"): 3.0}))
    step.metrics = SimpleNamespace(read=lambda *_: there)
    assert step.max_requests() == 3
    step.forwarded_at.extend([10.21] * 2)
    assert step.max_requests() == 1, "now they do come there"
    step.close()


def test_a_model_that_gives_too_few_responses_fails_its_requests_and_goes_on(ask):
    assert "500: sleeper gave 0 responses to 1 requests" in ask(-1)
    assert ask(0.001) == "200"


def test_a_model_whose_thread_ends_takes_its_stub_with_it(ask):
    """Whoever asks is told within Triton's second for a dead stub, instead of waiting for good."""
    assert "is not healthy" in ask(float("nan"))
    assert "is not healthy" in ask(0.001)


def test_an_instance_that_died_leaves_no_debts(server):
    """Its gauges outlive it: by them the step before would go on refusing what this one could answer. Nothing waits
    here, so that Triton itself answers for the stub that dies."""
    ask = asker(server, server.metrics)
    assert ask(0.01) == "200"
    gauges = "crossover_kept_seconds", "crossover_kept_requests"
    name = ask.model
    processes = [each for each in psutil.Process(server.process.pid).children() if each.status() != "zombie"]
    [stub] = [process for process in processes if f"{name}_0" in " ".join(process.cmdline())]
    with ThreadPoolExecutor(1) as pool:
        dying = pool.submit(ask, 60)
        while not hang_detector.total(page(server), gauges, name):
            time.sleep(0.05)
        stub.kill()
        assert "is not healthy" in dying.result() or "refused" in dying.result()
    server.http.unload_model(name)
    server.http.load_model(name)
    assert hang_detector.total(page(server), gauges, name) == 0
    assert ask(0.01) == "200"


def page(server) -> list[Metric]:
    return TritonAPI(server.metrics).metrics()


def test_a_model_hangs_that_lets_requests_wait_and_answers_none(server, monkeypatch):
    monkeypatch.setattr(hang_detector, "HUNG", 1.0)
    for name in ("stuck", "busy"):
        server.load(name, CONFIG, model_py=MODEL)
    api, detector = TritonAPI(server.address), hang_detector.HangDetector(server.metrics)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(api.infer, "stuck", np.float32(4).tobytes()) for _ in range(2)]
        asked += [pool.submit(api.infer, "busy", np.float32(0.1).tobytes()) for _ in range(60)]
        found = []
        while not all(each.done() for each in asked):
            found += detector.find_hung(["stuck", "busy", "no such model"])
            time.sleep(0.1)
    assert set(found) == {"stuck"}
    assert detector.find_hung(["stuck", "busy"]) == []
