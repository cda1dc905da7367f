"""A trial is measured whatever happens to the server: what is not known then is left out, and nothing is made up."""

import http.server
import multiprocessing
import os
import threading
import time
from dataclasses import asdict
from types import SimpleNamespace

import gevent
import numpy as np
import pytest

from arrivals import parse
from crossover.analysis.latency_breakdown import break_down_latency
from crossover.experiments.compare.arms import summarise_gpu
from crossover.measurement.measure import measure
from crossover.measurement.server_statistics import STAGES, difference
from crossover.measurement.trial import Trial, read_trials
from loadgen.arm import Arm, Mode
from loadgen.metrics import exporter
from loadgen.samples.sample import STATUSES
from serving import nvml
from serving.server import Server, Unavailable
from tests import cards
from tests.client.test_openloop import PAYLOAD, WORKLOAD, good, server
from tests.test_unreachable import Website, served
from workloads.payloads import Payload, digest


def told(requests: int, ms: float = 5) -> dict:
    """What Triton says of a model that has answered so many, each stage of each taking so long."""
    ns = {stage: {"count": requests, "ns": int(requests * ms * 1e6)} for stage in STAGES}
    spent = {"success": {"count": requests, "ns": int(4 * requests * ms * 1e6)}, **ns}
    return {"inference_stats": spent, "execution_count": requests, "inference_count": requests}


def test_a_difference_is_what_a_step_did_meanwhile():
    found = difference({"m": told(10)}, {"m": told(30)}, ("m",))["m"]
    assert (found["requests"], found["mean_batch"], found["total"]) == (20, 1, 20)
    assert found["ms"] == dict.fromkeys(STAGES, 5)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"m": told(3)}),
        ({"m": told(3)}, {}),
        ({"m": told(100)}, {"m": told(3)}),
        ({"m": told(5, ms=100)}, {"m": told(6, ms=1)}),
        ({"m": told(3)}, {"m": told(3)}),
    ],
    ids=["not there before", "gone", "began anew", "began anew and was quick", "idle"],
)
def test_a_step_whose_counters_are_missing_or_went_back_is_left_out(before, after):
    assert difference({**before, "other": told(1)}, {**after, "other": told(2)}, ("m", "other")).keys() == {"other"}


class Restarting(Server):
    """A server elsewhere, whose statistics, CPU seconds and joules come from lists, one reading after the other."""

    def __init__(self, url: str, statistics=(), cpu=(1.0, 2.0), joules=(None, None)):
        super().__init__(url, {})
        vars(self).update(_statistics=iter(statistics), _cpu=iter(cpu), _joules=iter(joules))

    def statistics(self):
        if (found := next(self._statistics)) is None:
            raise Unavailable("gone")
        return found

    def cpu_seconds(self):
        return next(self._cpu)

    def get(self, path):
        return {}

    def gpu(self):
        joules = next(self._joules)
        return joules if joules is None else {"energy_joules": joules, "utilisation": 0.5}


def trial(tmp_path, **readings) -> Trial:
    arm, schedule = Arm(WORKLOAD, "client", Mode("async")), parse("constant:rate=40").schedule(0.2, 1)
    with server(good) as url:
        path = tmp_path / "a" / "b" / "round-01"
        return measure(Restarting(url, **readings), arm, schedule, [PAYLOAD], path, 1, sleep=gevent.sleep)


@pytest.mark.parametrize("after", [{}, None, {"m": told(3)}], ids=["without the model", "gone", "began anew"])
def test_what_a_restarted_server_does_not_know_enters_no_sum(tmp_path, after):
    restarted = trial(tmp_path, statistics=[{"m": told(1000)}, after], cpu=(50.0, 2.0), joules=(900.0, 3.0))
    assert (restarted.steps, restarted.server_cpu, restarted.gpu) == ({}, None, None)
    assert restarted.completed and restarted == read_trials(tmp_path)[0]
    [kept] = read_trials(tmp_path)
    parts = break_down_latency([kept], "m", ("m",))
    assert "server and network" in parts and sum(parts.values()) == pytest.approx(np.mean(kept.latency))


def test_of_counters_that_rose_a_trial_has_the_difference(tmp_path):
    found = trial(tmp_path, statistics=[{"m": told(10)}, {"m": told(18)}], joules=(10.0, 25.0))
    assert (found.steps["m"]["requests"], found.server_cpu) == (8, 1.0)
    assert found.gpu == {"energy_joules": 15.0, "utilisation": 0.5}
    assert (found.step_cpu, found.others) == ({}, None) and found.began > 1e9


def test_the_trials_of_an_arm_add_up_in_the_metrics(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "current", None)
    page = exporter.start(exporter.LOOPBACK, 0)
    trials = [trial(tmp_path / str(number), statistics=[{}, {}]) for number in range(2)]
    page.close()
    [(labels, arm)] = page.metrics.arms.items()
    assert labels == (WORKLOAD.name, "client async:1")
    books = [each.summary["books"] for each in trials]
    assert arm.finished == {status: sum(each[status] for each in books) for status in STATUSES}
    assert arm.due == arm.fired == sum(each["scheduled"] for each in books) and arm.in_flight == 0
    assert arm.runs == {"VALID": sum(each.valid for each in trials), "INVALID": sum(not each.valid for each in trials)}
    assert exporter.current is None


def burn(core: int) -> None:
    os.sched_setaffinity(0, [core])
    end = time.monotonic() + 60
    while time.monotonic() < end:
        pass


def until_burning(pid: int, core: int) -> None:
    """Until it has started an interpreter: it then keeps to its core."""
    while os.sched_getaffinity(pid) != {core}:
        time.sleep(0.05)


def test_a_neighbour_on_the_clients_core_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "is_here", False)
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    neighbour = multiprocessing.get_context("spawn").Process(target=burn, args=(core,))
    neighbour.start()
    try:
        until_burning(neighbour.pid, core)
        os.sched_setaffinity(0, {core})
        found = trial(tmp_path, statistics=[{"m": told(10)}, {"m": told(18)}])
    finally:
        os.sched_setaffinity(0, allowed)
        neighbour.kill()
        neighbour.join()
    # The server is elsewhere, and uses none of the client's cores.
    assert found.others is None and 0.2 < found.client_others <= 1
    assert read_trials(tmp_path) == [found]


def test_a_gpu_that_is_not_told_of_afterwards_is_not_told_of(tmp_path):
    assert trial(tmp_path, statistics=[{}, {}], joules=(10.0, None)).gpu is None


def test_a_server_that_is_gone_before_a_trial_leaves_no_file(tmp_path):
    with pytest.raises(Unavailable):
        trial(tmp_path, statistics=[None])
    assert list(tmp_path.rglob("*")) == []


def test_a_server_that_dies_while_it_answers_is_unavailable():
    class Cut(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        log_message = SimpleNamespace

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cut) as cut:
        threading.Thread(target=cut.serve_forever, daemon=True).start()
        with pytest.raises(Unavailable, match="no Triton server answers"):
            Server(f"http://127.0.0.1:{cut.server_port}", {}).statistics()
        cut.shutdown()


def test_a_digest_tells_names_and_contents_apart_and_takes_any_name():
    made = [digest([Payload(*each)]) for each in (("a", b"bc"), ("ab", b"c"), ("a", b"bd"), ("\udcff.jpg", b"c"))]
    assert len(set(made)) == 4


def test_joules_that_nvml_counts_reach_the_tables(monkeypatch, tmp_path):
    cards.install(monkeypatch, joules=(100.0, 116.0))
    record = {"card": asdict(nvml.read_cards()[0]), "pid": os.getpid()}
    arm, schedule = Arm(WORKLOAD, "client", Mode("async")), parse("constant:rate=40").schedule(0.2, 1)
    with served(Website) as url:  # in a thread of its own: `measure` keeps this one, whatever it answers is enough
        spent = measure(WithStatistics(url, record), arm, schedule, [PAYLOAD], tmp_path / "round-01", 1)
    assert spent.gpu == {"energy_joules": 16.0, "utilisation": 0.37, "memory_mb": 5000}
    summary = {"gpu_joules": 16.0 / spent.scheduled, "gpu_utilisation": 0.37, "gpu_memory_mb": 5000}
    assert summarise_gpu([spent]) == summary


class WithStatistics(Server):
    """A server that is no Triton, and has empty statistics."""

    def statistics(self):
        return {}

    def get(self, path):
        return {}
