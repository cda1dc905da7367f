"""Laws of Locust's own numbers, on the real Locust: its page, its CSV files, its report and its console."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from serving.ports import free_ports
from tests.conftest import ROOT

SCALES = 0.0123, 0.147, 1.68, 12.3, 147, 1670  # ms
SHARES = 60, 36, 4  # of a hundred requests this many take once, twice and three times the scale
LOCUSTFILE = f"""
import gevent
from locust import User, events, task
from loadgen.locust_plugin import precise_stats
from loadgen.locust_plugin import web_ui as web

@events.init.add_listener
def init(environment, web_ui, **_):
    precise_stats.install()
    if web_ui:
        web.extend(web_ui, environment, lambda options: None)

class Feed(User):
    @task
    def known_times(self):
        for scale in {SCALES}:
            for times, share in enumerate({SHARES}, 1):
                for _ in range(share):
                    self.environment.events.request.fire(
                        request_type="fake", name=str(scale), response_time=scale * times, response_length=0,
                        exception=None, context={{}},
                    )
        gevent.sleep(3600)
"""


def python(program: str) -> subprocess.CompletedProcess:
    """In a process of its own, because importing Locust patches the standard library."""
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)


def fetch(url: str, body: str | None = None) -> str:
    return urllib.request.urlopen(url, body and body.encode(), timeout=10).read().decode()


def within(seconds: float, ask):
    """The first answer that is not empty."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except urllib.error.URLError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"no answer within {seconds} s")


@contextmanager
def locust(folder, locustfile: str, *arguments):
    """The real Locust with its web page at `url`; `output` is what it printed, once it has ended."""
    port, master = free_ports(2)
    (folder / "locustfile.py").write_text(locustfile)
    command = [sys.executable, "-m", "locust", "-f", folder / "locustfile.py", "--web-host=127.0.0.1"]
    process = subprocess.Popen(
        [*command, f"--web-port={port}", f"--master-bind-port={master}", f"--master-port={master}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    run = SimpleNamespace(url=f"http://127.0.0.1:{port}", output="")
    try:
        yield run
    finally:
        time.sleep(0.5)  # the last answer may still be on its way out
        process.send_signal(signal.SIGINT)
        run.output, _ = process.communicate(timeout=300)
        print(run.output)


@pytest.fixture(scope="module", params=["one process", "two workers"])
def shown(request, tmp_path_factory):
    """Everything Locust shows of the known times, by name; a hundred requests per process and scale."""
    folder = tmp_path_factory.mktemp("stats")
    processes = 2 if request.param == "two workers" else 1
    users = ["--autostart", f"--users={processes}", f"--spawn-rate={processes}", "--csv=run", "--csv-full-history"]
    users += ["--print-stats"]
    fork = ["--processes=2"] if processes == 2 else []
    expected = 100 * processes * len(SCALES)
    with locust(folder, LOCUSTFILE, "--html=run.html", *users, *fork) as run:

        def stats():
            answer = json.loads(fetch(f"{run.url}/stats/requests"))
            current = answer.get("current_response_time_percentiles", {}).values()
            return answer if answer["stats"][-1]["num_requests"] == expected and all(current) else None

        run.stats = within(30, stats)
        script = re.search(r'src="\./(assets/.*?\.js\?precise)"', fetch(run.url))[1]
        run.script, run.report = fetch(f"{run.url}/{script}"), fetch(f"{run.url}/stats/report")
        time.sleep(6)  # Locust writes its history every second, and to the disk every five
    run.processes = processes
    run.files = {path.name: list(csv.DictReader(path.open())) for path in folder.glob("run_*.csv")}
    run.html = (folder / "run.html").read_text()
    assert "loadgen/" not in run.output  # no traceback of ours; Locust"s own CSV writer may lose a race at the end
    return run


def by_name(rows, name="name") -> dict[float, dict]:
    return {float(row[name]): row for row in rows if row[name] != "Aggregated"}


def test_every_key_is_within_half_a_percent_and_there_are_at_most_900_per_decade():
    program = """
import numpy as np
from loadgen.locust_plugin.precise_stats import bucket
ms = np.logspace(-2, 5, 200_000)
keys = np.array([bucket(each) for each in ms])
decades = np.floor(np.log10(keys) + 1e-9)
print(np.abs(keys / ms - 1).max(), max(len(np.unique(keys[decades == d])) for d in np.unique(decades)), bucket(0))
"""
    error, keys, zero = map(float, python(program).stdout.split())
    assert error < 0.005
    assert keys <= 900
    assert zero == 0


def test_the_page_shows_three_digits_from_microseconds_to_seconds(shown):
    rows = by_name(shown.stats["stats"])
    assert set(rows) == set(SCALES)
    for scale, row in rows.items():
        assert row["num_requests"] == 100 * shown.processes
        assert row["median_response_time"] == row["min_response_time"] == pytest.approx(scale)
        assert row["response_time_percentile_0.95"] == pytest.approx(2 * scale)
        assert row["response_time_percentile_0.99"] == row["max_response_time"] == pytest.approx(3 * scale, rel=5e-3)
        assert row["avg_response_time"] == pytest.approx(1.44 * scale)


def test_the_charts_show_three_digits(shown):
    current = shown.stats["current_response_time_percentiles"]
    assert current["response_time_percentile_0.5"] == pytest.approx(12.3)  # half of all times are shorter


def test_the_scripts_of_the_page_and_the_report_do_not_round_what_they_show(shown):
    for text, medians_and_averages in ((shown.script, 2), (shown.report, 3), (shown.html, 3)):
        assert not re.search(r"\(ms\).,round", text)
        assert len(re.findall(r"\(ms\).,formatter:e=>", text)) == medians_and_averages


def test_the_report_shows_three_digits(shown):
    for report in (shown.report, shown.html):
        arguments = json.loads(re.search(r"window\.templateArgs = (\{.*\})", report)[1])
        for scale, row in by_name(arguments["response_time_statistics"]).items():
            assert (row["0.5"], row["0.95"]) == (pytest.approx(scale), pytest.approx(2 * scale))
            assert row["0.99"] == row["1.0"] == pytest.approx(3 * scale, rel=5e-3)
        for scale, row in by_name(arguments["requests_statistics"]).items():
            assert row["median_response_time"] == row["min_response_time"] == pytest.approx(scale)


def test_the_csv_files_show_three_digits(shown):
    for file, median in (("run_stats.csv", "Median"), ("run_stats_history.csv", "Total Median")):
        rows = by_name((row for row in shown.files[file] if row["50%"] not in ("N/A", "0")), "Name")
        assert set(rows) == set(SCALES)
        for scale, row in rows.items():
            assert float(row["50%"]) == float(row[f"{median} Response Time"]) == pytest.approx(scale)
            assert float(row["95%"]) == pytest.approx(2 * scale)
            assert float(row["99%"]) == pytest.approx(3 * scale, rel=5e-3)


def test_the_console_shows_three_digits(shown):
    for scale in SCALES:
        [*_, line] = re.findall(rf"fake +{scale} +{100 * shown.processes} .*", shown.output)
        average, least, greatest, median = map(float, line.split("|")[1].split())
        assert least == median == pytest.approx(scale)
        assert (average, greatest) == (pytest.approx(1.44 * scale, rel=5e-3), pytest.approx(3 * scale, rel=5e-3))


def test_behind_the_end_of_a_run_no_table_of_locust_s_follows(shown):
    """What a run comes to has been said in a few lines."""
    assert "Response time percentiles" not in shown.output
    assert "Aggregated" not in shown.output.partition("Shutting down")[2]


def test_a_locust_without_what_is_replaced_is_an_error_that_names_it():
    program = "from locust import stats; del stats.StatsCSV._percentile_fields\n"
    done = python(program + "from loadgen.locust_plugin import precise_stats; precise_stats.install()")
    assert done.returncode == 1
    assert re.search(r"has no StatsCSV\._percentile_fields, which loadgen/locust_plugin/precise_stats", done.stderr)
