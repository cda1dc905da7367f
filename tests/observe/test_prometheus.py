"""A real Prometheus fetches from the real server and from a run of Locust: its answers are the books of the run."""

import json
import re
import shutil
import time
from types import SimpleNamespace

import pytest

from benchmarks import prometheus
from serving.ports import free_ports
from serving.triton_api import TritonAPI
from tests.conftest import ROOT
from tests.locust_plugin.locust_runs import headless
from tests.observe.test_files import DASHBOARD

pytestmark = pytest.mark.skipif(not prometheus.is_here(), reason="no prometheus (Debian: apt install prometheus)")


@pytest.fixture(scope="module")
def observed(server, tmp_path_factory):
    """A run with some damaged photographs, which Prometheus has seen from before its start until after its end."""
    folder = tmp_path_factory.mktemp("observed")
    (folder / "sent").mkdir()
    photograph = (ROOT / "workloads" / "photographs" / "cat.jpg").read_bytes()
    for name, content in (("good", photograph), ("bad", photograph[:300])):
        (folder / "sent" / f"{name}.jpg").write_bytes(content)
    [port] = free_ports(1)
    targets = {"triton": [f"127.0.0.1:{server.metrics_port}"], "loadgen": [f"127.0.0.1:{port}"]}
    with prometheus.run_prometheus(targets, "500ms") as running:
        running.wait_for('up{job="triton"} == 1')
        before, began = TritonAPI(server.address).statistics(), time.time()
        code, output = headless(
            "image", server.url, folder / "reports", f"--payloads={folder}/sent", f"--metrics-port={port}",
            "--arrivals=poisson:rate=15", "--seconds=6", "--seed=3",
        )  # fmt: skip
        assert code == 1, output  # arrivals without a good answer
        time.sleep(1.5)  # until the server's counters are fetched, and the rules are evaluated
        [run] = (folder / "reports").iterdir()
        summary = json.loads((run / "summary.json").read_text())
        after = TritonAPI(server.address).statistics()
        facts = {"summary": summary, "output": output, "before": before, "after": after}
        yield SimpleNamespace(prometheus=running, began=began, ended=time.time(), **facts)


def last(observed, metric: str, **labels: str) -> dict[tuple, float]:
    """(values of these labels) -> the last value of a metric before its process ended."""
    found = observed.prometheus.query(f"last_over_time({metric}[5m])")
    return {tuple(each.labels[name] for name in labels or ("job",)): each.last for each in found}


def test_the_run_waits_until_its_end_is_fetched(observed):
    assert "waiting for Prometheus to fetch the final metrics" in observed.output


def test_prometheus_has_the_books_of_the_run(observed):
    books = observed.summary["books"]
    counts = last(observed, "crossover_arrivals_finished_total", status="")
    assert books["completed"] and books["failed"]
    assert counts == {(s.replace(" ", "_"),): n for s, n in books.items() if s != "scheduled"}
    assert last(observed, "crossover_arrivals_due_total") == {("loadgen",): books["scheduled"]}
    assert last(observed, "crossover_arrivals_fired_total") == {("loadgen",): books["scheduled"]}
    assert last(observed, "crossover_dispatch_lag_seconds_count") == {("loadgen",): books["scheduled"]}
    assert last(observed, "crossover_latency_seconds_count") == {("loadgen",): books["completed"]}
    assert last(observed, "crossover_arrivals_in_flight") == {("loadgen",): 0}


def test_the_sum_of_latencies_is_that_of_the_report(observed):
    mean = observed.summary["latency"]["mean"] / 1e3
    [total] = last(observed, "crossover_latency_seconds_sum").values()
    assert total / observed.summary["books"]["completed"] == pytest.approx(mean)


@pytest.mark.parametrize("percentile", ["p50", "p95"])
def test_a_quantile_from_buckets_is_off_by_half_at_most(observed, percentile):
    share, exact = int(percentile[1:]) / 100, observed.summary["latency"][percentile] / 1e3
    buckets = "last_over_time(crossover_latency_seconds_bucket[5m])"
    [found] = observed.prometheus.query(f"histogram_quantile({share}, sum by (le) ({buckets}))")
    assert exact / 1.5 <= found.last <= exact * 1.5


def test_validity_and_its_reasons_are_those_of_the_summary(observed):
    rules = {(finding["rule"],): 1 for finding in observed.summary["findings"]}
    assert ("errors",) in rules and not observed.summary["valid"]
    assert last(observed, "crossover_rules_broken_total", rule="") == rules
    assert last(observed, "crossover_run_valid") == {("loadgen",): 0}
    assert last(observed, "crossover_runs_total", validity="") == {("VALID",): 0, ("INVALID",): 1}


def test_the_server_counted_the_same_requests(observed):
    """As its statistics tell and as Prometheus fetched them; Triton 2.51 counts an ensemble's failure twice."""
    books, counted, fetched = observed.summary["books"], {}, {}
    for outcome, metric in (("success", "success"), ("fail", "failure")):
        before, after = (
            each["image"]["inference_stats"][outcome]["count"] for each in (observed.before, observed.after)
        )
        counted[outcome] = after - before
        expression = f'sum(nv_inference_request_{metric}{{model="image"}})'
        now, then = (observed.prometheus.query(expression, at)[0].last for at in (observed.ended, observed.began))
        fetched[outcome] = now - then
    assert counted == fetched
    assert counted["success"] == books["completed"] and counted["fail"] in (books["failed"], 2 * books["failed"])


def queries() -> dict[str, str]:
    """Panel and query, as the dashboard asks it with a rate interval of ten seconds."""
    panels = [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]
    asked = {f"{panel['title']} {each['refId']}": each["expr"] for panel in panels for each in panel["targets"]}
    return {name: expression.replace("$__rate_interval", "10s") for name, expression in asked.items()}


def test_the_dashboard_has_its_queries():
    assert len(queries()) > 20 and not any("$" in each for each in queries().values())


@pytest.mark.parametrize("panel", queries())
def test_every_query_of_the_dashboard_has_an_answer(observed, panel):
    found = observed.prometheus.query_range(queries()[panel], observed.began, observed.ended, 0.5)
    assert found, queries()[panel]
    assert all(value >= 0 for each in found for _, value in each.points if value == value)


def test_a_legend_names_labels_that_its_series_have(observed):
    panels = [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]
    for target in (target for panel in panels for target in panel["targets"]):
        expression = target["expr"].replace("$__rate_interval", "10s")
        labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for series in observed.prometheus.query_range(expression, observed.began, observed.ended, 1):
            assert labels <= set(series.labels), target


def test_the_autoscaling_metric_is_the_wait_at_the_busiest_step(observed):
    asked = observed.began, observed.ended, 0.5
    steps = observed.prometheus.query_range("model:triton_queue_seconds:rate30s", *asked)
    assert {"image_preprocess", "resnet50"} <= {each.labels["model"] for each in steps}
    [busiest] = observed.prometheus.query_range("instance:triton_queue_seconds:max_rate30s", *asked)
    by_time: dict[float, float] = {}
    for each in steps:
        for at, value in each.points:
            by_time[at] = max(value, by_time.get(at, 0.0))
    assert [value for _, value in busiest.points[1:-1]] == pytest.approx(
        [by_time[at] for at, _ in busiest.points[1:-1]]
    )


def test_an_alert_says_that_arrivals_had_no_good_answer(observed):
    alerts = observed.prometheus.query_range("ALERTS", observed.began, observed.ended, 0.5)
    assert {"LoadUnanswered", "LoadInvalid"} <= {each.labels["alertname"] for each in alerts}


def test_a_query_that_prometheus_refuses_is_one_line(observed):
    with pytest.raises(prometheus.Failure, match="parse error") as error:
        observed.prometheus.query("sum by (")
    assert "\n" not in str(error.value)


def test_a_configuration_that_it_refuses_is_one_line(tmp_path, monkeypatch):
    shutil.copytree(prometheus.FOLDER, tmp_path / "observe")
    (tmp_path / "observe" / "rules.yml").write_text("groups: 3\n")
    monkeypatch.setattr(prometheus, "FOLDER", tmp_path / "observe")
    with pytest.raises(prometheus.Failure, match="prometheus ended"), prometheus.run_prometheus({}):
        pass
