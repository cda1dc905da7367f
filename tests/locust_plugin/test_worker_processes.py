"""Runs of the real Locust with worker processes: their schedule, their books, and one of them that is killed."""

import contextlib
import csv
import json
import re
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadgen.samples import journal
from loadgen.samples.sample import STATUSES
from serving.ports import free_ports
from tests.conftest import ROOT
from tests.locust_plugin.locust_runs import flat, headless, locust, opened, rows


def test_two_runs_with_workers_at_once_have_their_own(server, tmp_path):
    """Locust's default port for both made the workers of the second run serve the first."""
    arguments = ["--headless", "--host", server.url, "--processes", 2, "--arrivals", "constant:rate=20"]
    arguments += ["--seconds", 2, "--percentile", 50]
    folders = [tmp_path / "first", tmp_path / "second"]
    processes = [locust("audio", "--reports", folder, *arguments) for folder in folders]
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    for process, output, folder in zip(processes, outputs, folders, strict=True):
        assert process.returncode in (0, 3), output
        assert "books: scheduled 40 = completed 40" in output
        assert len(rows(folder)) == 40


def test_two_worker_processes_offer_exactly_the_one_process_schedule(server, tmp_path):
    arguments = ["--arrivals", "poisson:rate=40", "--seconds", 2, "--seed", 3, "--percentile", 50]
    headless("image", server.url, tmp_path / "one", *arguments)
    code, output = headless("image", server.url, tmp_path / "two", *arguments, "--processes", 2)
    assert code in (0, 3), output
    one, two = (sorted((r["index"], r["due"], r["payload"]) for r in rows(tmp_path / name)) for name in ("one", "two"))
    assert one == two
    assert "unfinished 0" in output


def find_worker(process: subprocess.Popen, reports: Path, bytes_written: int) -> tuple[psutil.Process | None, Path]:
    """Worker 1 of a run and its journal, once that has so many bytes; None if the run was over before we looked."""
    while not (files := list(reports.glob("*/worker-1.journal"))) or files[0].stat().st_size < bytes_written:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    children = psutil.Process(process.pid).children()
    return next((child for child in children if files[0] in opened(child)), None), files[0]


def test_workers_that_are_silent_for_some_seconds_are_not_given_up(server, tmp_path):
    """So long it may import libraries on a busy machine. Locust's own limit is three."""
    process = locust(
        "image", "--headless", "--host", server.url, "--reports", tmp_path, "--processes", 2,
        "--arrivals", "constant:rate=20", "--seconds", 8,
    )  # fmt: skip
    assert find_worker(process, tmp_path, 0)[0]
    workers = psutil.Process(process.pid).children()
    for each in workers:
        each.suspend()
    time.sleep(6)
    for each in workers:
        each.resume()
    output, _ = process.communicate(timeout=300)
    assert "fell silent" not in output and "its worker died" not in output
    assert re.search(r"books: scheduled 160 = .* \+ unfinished 0\b", flat(output)), output


def test_a_worker_that_is_killed_is_in_the_books_and_its_own_journal_has_what_it_finished(server, tmp_path):
    [port] = free_ports(1)
    # Where this process had no core until the run was over, another one is killed.
    for number in range(10):
        process = locust(
            "image", "--headless", "--host", server.url, "--reports", reports := tmp_path / str(number),
            "--processes", 2, "--arrivals", "constant:rate=40", "--seconds", 6, "--metrics-port", port,
        )  # fmt: skip
        pages: list[dict] = []
        threading.Thread(target=watch_metrics, args=(port, process, pages)).start()
        owner, file = find_worker(process, reports, 1500)
        if owner:
            break
        process.communicate(timeout=300)
    owner.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "worker 1 of 2 fell silent" in output
    assert "INVALID: interrupted" in output
    told = pyarrow.parquet.read_table(next(reports.glob("*/samples.parquet"))).to_pylist()
    assert sorted(row["index"] for row in told) == list(range(240))
    missing = [row for row in told if row["status"] == "unfinished"]
    assert missing and all(
        row["index"] % 2 == 1 and row["reason"] == "its worker died or was cut off" for row in missing
    )
    own, _ = journal.read(file)
    assert set(own["index"]) >= {row["index"] for row in told if row["index"] % 2 == 1 and row["status"] == "completed"}
    books_are_on_the_page(pages, {status: [row["status"] for row in told].count(status) for status in STATUSES})


def watch_metrics(port: int, process: subprocess.Popen, pages: list[dict]) -> None:
    """Fetch a process's metrics until it ends: (name, values of the labels) -> value."""
    while process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            families = text_string_to_metric_families(page.read().decode())
            pages.append({(s.name, *s.labels.values()): s.value for each in families for s in each.samples})
        time.sleep(0.2)


def books_are_on_the_page(pages: list[dict], books: dict[str, int]) -> None:
    """Of a run with two workers of which one was killed: what the master's metrics come to; that no counter falls."""
    final = pages[-1]

    def read(metric: str, *labels: str) -> float:
        return final[(f"crossover_{metric}", *labels)]

    arm, workload = "server async:1", "image"
    assert {s: read("arrivals_finished_total", arm, s.replace(" ", "_"), workload) for s in books} == books
    assert read("arrivals_due_total", arm, workload) == sum(books.values())
    assert read("arrivals_fired_total", arm, workload) >= books["completed"]
    assert read("arrivals_in_flight", arm, workload) == 0
    assert max(page["crossover_workers_connected",] for page in pages) == 2
    assert read("workers_lost_total") == 1
    assert read("rules_broken_total", arm, "interrupted", workload) == 1
    for name in final:
        if name[0].endswith(("_total", "_count", "_bucket")):
            values = [page.get(name, 0) for page in pages]
            assert values == sorted(values), name


def test_a_master_that_cannot_write_ends_the_run_in_one_line(server, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ["--arrivals", "constant:rate=20", "--seconds", 1, "--processes", 2]
    code, output = headless("image", server.url, tmp_path / "file", *arguments)
    assert code == 1
    assert "Not a directory; nothing is sent" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("processes", [1, 2])
def test_only_good_answers_have_response_times_in_locust_s_table(server, tmp_path, processes):
    """A refusal is quick, and would make the server look so; it still counts as a request and as a failure."""
    folder = tmp_path / "payloads"
    folder.mkdir()
    photograph = (ROOT / "serving" / "smoke_test.jpg").read_bytes()
    for number in range(3):
        (folder / f"cut-{number}.jpg").write_bytes(photograph[:300])
    (folder / "whole.jpg").write_bytes(photograph)
    several = ["--processes", 2] if processes == 2 else []
    code, output = headless(
        "image", server.url, tmp_path / "reports", "--payloads", folder, "--arrivals", "constant:rate=40",
        "--seconds", 2, "--csv", tmp_path / "run", "--html", tmp_path / "run.html", *several,
    )  # fmt: skip
    assert code == 1
    told = rows(tmp_path / "reports")
    good = [(row["done"] - row["due"]) / 1e6 for row in told if row["status"] == "completed"]
    assert 0 < len(good) < len(told) / 2
    [line, total] = csv.DictReader((tmp_path / "run_stats.csv").open())
    for row in (line, total):
        assert (int(row["Request Count"]), int(row["Failure Count"])) == (len(told), len(told) - len(good))
        assert float(row["Average Response Time"]) == pytest.approx(sum(good) / len(good))
        assert float(row["Min Response Time"]) == pytest.approx(min(good))
        assert float(row["Max Response Time"]) == pytest.approx(max(good))
        assert float(row["100%"]) == pytest.approx(max(good), rel=0.05, abs=0.5)  # Locust rounds to two digits
        assert float(row["50%"]) >= min(good) * 0.95 - 0.5
    assert f"scheduled {len(told)} = completed {len(good)} + failed {len(told) - len(good)}" in output
    shown = json.loads(re.search(r"window\.templateArgs = (\{.*\})", (tmp_path / "run.html").read_text())[1])
    assert {each["num_failures"] for each in shown["requests_statistics"]} == {len(told) - len(good)}
    assert {each["1.0"] for each in shown["response_time_statistics"]} == {float(total["100%"])}
