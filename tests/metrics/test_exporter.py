"""The page of metrics: what it shows, who gets it, and what becomes of a port that cannot be had."""

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadgen.arm import Arm, Mode
from loadgen.metrics import exporter
from loadgen.metrics.arm_metrics import ArmMetrics
from loadgen.samples.sample import COMPLETED, Sample
from workloads.image import IMAGE

ARM = Arm(IMAGE, "server", Mode("async"))


@pytest.fixture
def page(monkeypatch):
    monkeypatch.setattr(exporter, "current", None)
    started = exporter.start("127.0.0.1", 0)
    yield started
    started.close()


def fetch(page, path="/metrics", method="GET") -> str:
    url = f"http://127.0.0.1:{page.port}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
        return answer.read().decode()


def read(page) -> dict:
    families = text_string_to_metric_families(fetch(page))
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_it_shows_what_an_arm_counted(page):
    exporter.find_arm(ARM).add(Sample(0, 0, 0, fired=1000, done=2_000_000, status=COMPLETED))
    found = read(page)
    assert found["crossover_arrivals_finished_total", "server async:1", "completed", "image"] == 1
    assert found["crossover_latency_seconds_count", "server async:1", "image"] == 1
    assert found["crossover_latency_seconds_sum", "server async:1", "image"] == 0.002
    assert found["crossover_workers_lost_total",] == 0
    assert found["process_cpu_seconds_total",] > 0


def test_every_status_has_a_line_before_anything_ends(page):
    """A counter that appears with its first value has no increase for Prometheus."""
    exporter.find_arm(ARM)
    assert len([name for name in read(page) if name[0] == "crossover_arrivals_finished_total"]) == 6


def test_without_a_page_a_run_counts_nothing(monkeypatch):
    monkeypatch.setattr(exporter, "current", None)
    arm = exporter.find_arm(ARM)
    arm.add(Sample(0, 0, 0, fired=1, done=2, status=COMPLETED))
    assert exporter.find_arm(ARM).finished == ArmMetrics().finished


def test_it_listens_on_loopback_alone(page):
    with socket.socket() as other:
        other.bind(("127.0.0.2", page.port))  # would be in use if it listened everywhere


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("127.0.0.1", None, "address already in use"),
        ("203.0.113.1", 0, "cannot assign requested address"),
        ("127.0.0.1", 70000, "a port is a number from 0 to 65535"),
    ],
)
def test_a_port_that_cannot_be_had_is_one_line(page, host, port, says):
    with pytest.raises(ValueError, match=r"^cannot serve metrics on .*$") as error:
        exporter.Exporter(host, page.port if port is None else port)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_nobody_can_change_anything(page):
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(page, method="POST")
    assert refused.value.code == 405


def test_one_who_says_nothing_keeps_no_other_waiting_and_is_hung_up_on(page, monkeypatch):
    monkeypatch.setattr(exporter.Handler, "timeout", 0.5)
    with socket.create_connection(("127.0.0.1", page.port), timeout=30) as silent:
        assert "crossover_workers_lost_total" in fetch(page)
        assert silent.recv(1) == b""


def test_the_end_waits_for_the_fetch_that_brings_the_final_figures(page):
    said = []
    page.wait_for_fetch(said.append)
    assert not said, "nobody fetches, so nobody is waited for"
    fetch(page)
    fetch(page)
    page.metrics.fetched = [time.monotonic() - 20, time.monotonic() - 10]
    threading.Timer(0.3, fetch, [page]).start()
    page.wait_for_fetch(said.append)
    assert len(said) == 1 and page.metrics.fetched[-1] > time.monotonic() - 5


def test_it_waits_no_longer_than_one_and_a_half_intervals(page):
    fetch(page)
    fetch(page)
    waited = []
    page.wait_for_fetch(lambda line: None, lambda seconds: (waited.append(seconds), time.sleep(seconds)))
    assert sum(waited) < 5
