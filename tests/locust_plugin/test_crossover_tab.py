"""The Crossover tab: what it is made of, and what the real Locust serves of a run that two workers send."""

import hashlib
import io
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pyarrow.parquet
import pytest

from loadgen.locust_plugin.time_series import RECENT
from tests.conftest import ROOT, ports
from tests.locust_plugin.locust_runs import fetch, live_rows, locust, post

SCRIPT = "<svg onload=alert(document.domain)>"
QUOTED = urllib.parse.quote(SCRIPT, safe="")
TAB = ROOT / "loadgen" / "locust_plugin" / "tab"


def test_the_chart_library_is_the_one_whose_sums_stand_beside_it():
    sums = dict(re.findall(r"^\| sha256 of `(\S+)` \| `(\w{64})` \|$", (TAB / "uplot" / "README.md").read_text(), re.M))
    assert set(sums) == {"uPlot.iife.min.js", "uPlot.min.css"}
    for name, expected in sums.items():
        assert hashlib.sha256((TAB / "uplot" / name).read_bytes()).hexdigest() == expected
    assert "MIT License" in (TAB / "uplot" / "LICENSE").read_text()


def test_the_page_loads_nothing_from_elsewhere():
    for path in TAB.glob("*.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", text), path.name
    page = (TAB / "index.html").read_text()
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sorted(linked) == ["charts.js", "tab.css", "tab.js", "uPlot.iife.min.js", "uPlot.min.css"]
    assert "<style" not in page and "onclick" not in page  # the policy of the page lets none through


def test_the_scripts_ask_for_columns_and_fields_that_there_are(shown):
    charts, tab = (TAB / "charts.js").read_text(), (TAB / "tab.js").read_text()
    columns = re.findall(r"\['([a-z_0-9]+)', '[^']+', [A-Z]+\]", charts.partition("const element")[0])
    assert len(columns) > 10 and set(columns) <= set(shown["chart"]["recent"])
    fields = set(re.findall(r"\brun\.([a-z_0-9]+)", charts + tab))
    assert len(fields) > 15 and fields <= set(shown["row"])
    assert f"RECENT = {RECENT};" in charts


def test_queues_are_mean_times_of_what_ended_between_two_readings():
    """In a process of its own, because importing Locust's plugin patches the standard library."""
    program = """
import json
from loadgen.locust_plugin.observers import compare_queues, read_queues
from loadgen.samples.worker_facts import add_shares
model = lambda name, count, ns: {"name": name, "inference_stats": {"queue": {"count": count, "ns": ns}}}
before = read_queues({"model_stats": [model("a", 10, 5), model("b", 3, 7), model("gone", 1, 1)]})
after = read_queues({"model_stats": [model("a", 14, 8_000_005), model("b", 3, 7), model("new", 5, 5)]})
restarted = read_queues({"model_stats": [model("a", 2, 3)]}, ["a"])
faults = []
for answer in ({}, {"model_stats": [{}]}, {"model_stats": None}, []):
    try:
        read_queues(answer)
    except (KeyError, TypeError) as error:
        faults.append(type(error).__name__)
many = {"model_stats": [model(str(n), 1, 1) for n in range(500)]}
print(json.dumps([compare_queues(before, after), compare_queues(after, restarted), len(faults), len(read_queues(many)),
                  add_shares([("here", 0.25), ("there", 0.3), ("here", 0.25)]), add_shares([])]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == [{"a": 2.0}, {}, 4, 12, 0.5, None], done.stderr


@pytest.fixture(scope="module")
def shown(server, tmp_path_factory):
    """What the page serves of a run that two workers send, while it goes on and after it."""
    reports, port = tmp_path_factory.mktemp("tab"), int(ports()[0].partition("=")[2])
    process = locust(
        "image", "--host", server.url, "--web-port", port, "--reports", reports, "--processes", 2,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    try:
        page = fetch(base, process)
        assert json.loads(post(f"{base}/swarm", "arrivals=constant:rate=20&seconds=5&seed=4"))["success"]
        refused = []
        while not live_rows(base, process):
            time.sleep(0.1)
        while (row := live_rows(base, process)[0])["phase"] == "running":
            if row["completed"] and not refused:
                refused = [status(f"{base}/crossover/runs/1/{name}") for name in ("report.html", "samples.parquet")]
            time.sleep(0.2)
        while len((row := live_rows(base, process)[0])["files"]) < 3:
            time.sleep(0.2)
        chart = json.loads(fetch(f"{base}/crossover/runs/1/chart", process))
        told = json.loads(fetch(f"{base}/crossover/runs", process))
        files = {name: get(f"{base}/crossover/runs/1/{name}") for name, _ in row["files"]}
        tab = get(f"{base}/crossover/")
        wrong = [refusal(f"{base}/crossover/runs/{number}/{QUOTED}") for number in (1, 7)]
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output, output
    return {"page": page, "row": row, "chart": chart, "told": told, "files": files, "tab": tab, "refused": refused,
            "wrong": wrong, "reports": reports}  # fmt: skip


def get(url: str) -> tuple[bytes, dict]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read(), dict(answer.headers)


def status(url: str) -> int:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(url, timeout=10)
    return refusal.value.code


def refusal(url: str) -> tuple[bytes, dict]:
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url, timeout=10)
    return error.value.read(), dict(error.value.headers)


def test_the_name_of_a_file_that_a_run_lacks_is_repeated_as_plain_text(shown):
    for _, headers in shown["wrong"]:
        assert headers["Content-Type"].startswith("text/plain")
        assert headers["X-Content-Type-Options"] == "nosniff" and "'none'" in headers["Content-Security-Policy"]
    assert shown["wrong"][0][0].decode() == f"run 1 has no {SCRIPT}"


def test_the_page_says_what_it_sends_where_and_has_the_tab(shown, server):
    assert shown["told"]["subject"] == "Crossover: photographs"
    assert shown["told"]["workload"] == f"workload image, server {server.url}"
    arguments = json.loads(re.search(r"window\.templateArgs = (\{.*\})", shown["page"])[1])
    assert arguments["extended_tabs"] == [{"key": "crossover", "title": "Crossover"}]
    text, headers = shown["tab"]
    assert b"charts.js" in text
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")


def test_the_master_s_chart_has_the_arrivals_of_all_workers_their_cpu_and_the_server_s_queues(shown):
    recent = shown["chart"]["recent"]
    assert recent["offered"][:5] == [20] * 5
    assert sum(each or 0 for each in recent["completed"]) == pytest.approx(100, rel=0.1)
    assert max(each or 0 for each in recent["cpu"]) > 0
    assert {name for name in recent if name.startswith("queue ")} <= {"queue image_preprocess", "queue resnet50"}
    assert any(each is not None and each > 0 for each in recent["queue resnet50"])


def test_a_run_s_files_are_to_be_had_once_it_has_ended(shown):
    assert shown["refused"] in ([404, 404], [])  # a machine may be so busy that nobody asked in time
    [directory] = shown["reports"].iterdir()
    page, headers = shown["files"]["report.html"]
    assert b"<html" in page and f"{directory.name}-report.html" in headers["Content-Disposition"]
    assert pyarrow.parquet.read_table(io.BytesIO(shown["files"]["samples.parquet"][0])).num_rows == 100
    summary = json.loads(shown["files"]["summary.json"][0])
    assert summary == json.loads((directory / "summary.json").read_text())
    assert [found["rule"] for found in shown["row"]["findings"]] == [found["rule"] for found in summary["findings"]]
    for name in ("p50", "p95", "p99"):
        assert shown["row"][f"latency_{name}"] == summary["latency"][name]
    assert shown["row"]["few"] == ["latency_p99"]  # 100 answers vouch for p95
    assert (shown["row"]["arrivals"], shown["row"]["seed"]) == ("constant:rate=20", 4)
    assert not list(directory.glob("report*"))  # nothing is written into a run
