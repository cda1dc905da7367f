"""The page of the real Locust: its form, a run that it starts, and one that it stops."""

import json
import re
import time
import urllib.parse

import pytest

from tests.conftest import ports
from tests.locust_plugin.locust_runs import anew, fetch, live_rows, locust, post

BOTH = pytest.mark.parametrize("workload", ["image", "audio"])


@BOTH
def test_the_web_form_starts_a_run_and_refuses_a_bad_one_with_the_reason(server, tmp_path, workload):
    port = int(ports()[0].partition("=")[2])
    web = ["--web-host", "127.0.0.1", "--web-port", port]
    process = locust(workload, "--host", server.url, *web, "--reports", tmp_path)
    base = f"http://127.0.0.1:{port}"
    try:
        page = fetch(base, process)
        for field in ("placement", "mode", "arrivals", "seed", "workers", "payloads", "seconds"):
            assert f'"{field}"' in page
        assert not json.loads(post(f"{base}/swarm", "arrivals=gama:3"))["success"]
        assert "try one of" in json.loads(post(f"{base}/swarm", "arrivals=gama:3"))["message"]
        for host, says in (("ftp://triton", "ftp is not supported"), ("http://me:hunter2@triton", "before an @")):
            answer = post(f"{base}/swarm", f"arrivals=constant:rate=10&host={urllib.parse.quote(host)}")
            assert says in json.loads(answer)["message"] and "hunter2" not in answer
        nowhere = json.loads(post(f"{base}/swarm", "arrivals=constant:rate=10&host=http://127.0.0.1:9"))
        assert "no Triton server answers at http://127.0.0.1:9" in nowhere["message"] and not nowhere["success"]
        assert f"<title>Crossover: {'photographs' if workload == 'image' else 'speech'}</title>" in page
        for _ in range(2):  # and again: nothing of the first run is left in the second
            gateway = json.loads(post(f"{base}/swarm", "arrivals=constant:rate=10&seconds=1&placement=gateway"))
            assert not gateway["success"] and "gateway is for the commands of `crossover`" in gateway["message"]
            assert json.loads(post(f"{base}/swarm", "arrivals=constant:rate=10&seconds=1&placement=client"))["success"]
            while json.loads(fetch(f"{base}/stats/requests", process))["state"] != "stopped":
                time.sleep(0.2)
            [stats] = [s for s in json.loads(fetch(f"{base}/stats/requests", process))["stats"] if s["method"]]
            assert (stats["num_requests"], stats["num_failures"]) == (10, 0)
        assert len(list(tmp_path.iterdir())) == 2
        form = json.loads(re.search(r"window\.templateArgs = (\{.*\})", fetch(base, process))[1])["extra_options"]
        shown = {name: form[name]["default_value"] for name in ("arrivals", "seconds", "placement")}
        assert shown == {"arrivals": "constant:rate=10", "seconds": "1", "placement": "client"}
        while (latest := live_rows(base, process)[0])["verdict"] == "running":
            time.sleep(0.2)
        assert (latest["arrivals"], latest["seed"]) == ("constant:rate=10", 1)
        assert latest["verdict"] == "VALID up to p50" or latest["verdict"].startswith("INVALID: ")
        assert bool(latest["findings"]) == latest["verdict"].startswith("INVALID")
    finally:
        process.terminate()
        process.communicate(timeout=300)


def test_a_run_stopped_on_the_page_counts_the_same_there_in_the_live_view_and_in_the_books(server, tmp_path):
    """Requests that take a second are in flight when it is stopped; what was to come later is in none of the three."""
    port = int(ports()[0].partition("=")[2])
    web = ["--web-host", "127.0.0.1", "--web-port", port]
    process = anew("audio", "--host", server.url, *web, "--reports", tmp_path)
    base = f"http://127.0.0.1:{port}"
    try:
        fetch(base, process)
        assert json.loads(post(f"{base}/swarm", "arrivals=constant:rate=60&seconds=40&placement=client"))["success"]
        while not (files := list(tmp_path.glob("*/samples.journal"))) or files[0].stat().st_size < 5000:
            time.sleep(0.1)
        post(f"{base}/stop", "")
        while not (summaries := list(tmp_path.glob("*/summary.json"))):
            time.sleep(0.1)
        shown = json.loads(fetch(f"{base}/stats/requests", process))
        while not (live := live_rows(base, process)[0])["findings"]:
            time.sleep(0.1)
        chart = json.loads(fetch(f"{base}/crossover/runs/1/chart", process))["recent"]
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=300)
    summary = json.loads(summaries[0].read_text())
    books = summary["books"]
    [page] = [stats for stats in shown["stats"] if stats["method"]]
    assert (page["num_requests"], page["num_failures"]) == (books["scheduled"], books["unfinished"])
    assert live["in_flight"] == chart["in_flight"][-1] == books["unfinished"]
    assert live["phase"] == "stopped" and live["state"].endswith(", stopped, of 40")
    assert [found["rule"] for found in live["findings"]] == ["interrupted"]
    assert books["scheduled"] == books["completed"] + books["unfinished"] < 40 * 60
    assert [finding["rule"] for finding in summary["findings"]] == ["interrupted"]
    assert re.search(r"INVALID: interrupted: stopped after \d+ of 40 s", output) and output.count("INVALID") == 1
    assert summary["offered"] == pytest.approx(60, rel=0.05)
