"""Runs of the real Locust that do not go well: killed, stopped, on a full disk, on a server that dies or refuses."""

import csv
import json
import os
import re
import resource
import signal
import time

import psutil
import pytest

from crossover.cli.main import main as crossover
from loadgen.samples import journal
from tests.conftest import ROOT, launch, ports
from tests.locust_plugin.locust_runs import flat, headless, locust, rows
from tests.test_unreachable import Website, served


def test_crossover_report_reads_a_run_with_the_defaults_that_was_killed(server, tmp_path, capsys):
    process = locust(
        "audio", "--headless", "--host", server.url, "--reports", tmp_path,
        "--arrivals", "constant:rate=20", "--seconds", 3600,
    )  # fmt: skip
    while not (files := list(tmp_path.glob("*/samples.journal"))) or files[0].stat().st_size < 500:
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=300)
    assert crossover(["report", str(files[0].parent), "-o", str(tmp_path / "page")]) == 1, capsys.readouterr()
    assert "INVALID: interrupted: its process ended before it had written a verdict" in capsys.readouterr().out
    assert json.loads((tmp_path / "page" / "summary.json").read_text())["percentile"] > 0


def test_ctrl_c_in_the_middle_leaves_a_sample_for_all_that_was_due_until_then(server, tmp_path):
    process = locust(
        "image", "--headless", "--host", server.url, "--reports", tmp_path,
        "--arrivals", "constant:rate=20", "--seconds", 3600,
    )  # fmt: skip
    while not (files := list(tmp_path.glob("*/samples.journal"))) or files[0].stat().st_size < 500:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    scheduled, balance = re.search(r"books: scheduled (\d+) = (.*)", output).groups()
    counts = dict(re.findall(r"(completed|unfinished) (\d+)", balance))
    assert int(counts["completed"]) > 0
    assert int(counts["completed"]) + int(counts["unfinished"]) == int(scheduled) < 3000
    assert [row["index"] for row in rows(tmp_path)] == list(range(int(scheduled)))
    assert process.returncode == 1
    assert re.search(r"INVALID: interrupted: stopped after \d+ of 3600 s \(must run to its end\)", output)
    assert output.count("INVALID") == 1 and "rate" not in output.partition("INVALID")[2].splitlines()[0]
    assert "Traceback" not in output


def test_a_full_disk_ends_the_run_in_one_line_and_leaves_readable_samples(server, tmp_path):
    """The disk is a limit on the size of files: Python ignores SIGXFSZ and sees the error."""
    process = locust(
        "image", "--headless", "--host", server.url, "--reports", tmp_path,
        "--arrivals", "constant:rate=50", "--seconds", 60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},  # whose file is larger
    )  # fmt: skip
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    fault = "samples: File too large"  # the limit comes within a record
    assert re.search(f"{fault}; the run ends here", output.partition("books:")[0])
    assert re.search(rf"INVALID: interrupted: {fault} \(must run to its end\)", output) and output.count("INVALID") == 1
    assert "lost or doubled" not in output
    assert "Traceback" not in output
    [file] = tmp_path.glob("*/samples.journal")
    records, _ = journal.read(file)
    assert len(records) == 5000 // journal.RECORD.itemsize
    assert (records["done"] > 0).all()


def test_samples_that_fit_into_no_parquet_file_stay_where_the_last_line_says(server, tmp_path):
    """The journal fits, and the columns with their descriptions do not."""
    limit = 4500
    process = locust(
        "image", "--headless", "--host", server.url, "--reports", tmp_path,
        "--arrivals", "constant:rate=20", "--seconds", 1,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
    )  # fmt: skip
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "Traceback" not in output
    [file] = tmp_path.glob("*/samples.journal")
    assert f"samples: File too large, so that they stay in {file}; `crossover report` reads them" in flat(output)
    assert len(journal.read(file)[0]) == 20 and list(tmp_path.glob("*/*.parquet*")) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_on_a_full_disk_the_books_have_every_request_that_a_server_saw(tmp_path, processes):
    """It holds each for two seconds: those in flight when the disk was full are unfinished, and none is missing."""
    seen = []

    class Slow(Website):
        def do_POST(self):
            seen.append(time.monotonic())
            time.sleep(2)
            super().do_POST()

    with served(Slow) as url:
        workers = ("--processes", processes) if processes > 1 else ()
        process = locust(
            "image", "--headless", "--host", url, "--reports", tmp_path, *workers,
            "--arrivals", "constant:rate=40", "--seconds", 200,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)),
            env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        )  # fmt: skip
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "Traceback" not in output, output
    books = re.search(r"books: scheduled (\d+) = .*failed (\d+).*unfinished (\d+)", flat(output))
    scheduled, failed, unfinished = map(int, books.groups())
    assert scheduled == failed + unfinished and unfinished >= 40
    assert len(seen) <= scheduled < 200 * 40
    assert output.count("INVALID: interrupted: samples: ") == 1 and "lost or doubled" not in output


def test_a_server_that_dies_half_way_is_in_the_books(tmp_path):
    state = tmp_path / "state"
    assert launch("up", "--engine=local", "--weights=tiny", f"--state={state}", *ports()).returncode == 0
    record = json.loads((state / "server.json").read_text())
    process = locust(
        "audio", "--headless", "--host", f"http://{record['address']}", "--reports", tmp_path / "reports",
        "--arrivals", "constant:rate=20", "--seconds", 6, "--timeout", 2,
    )  # fmt: skip
    try:
        while not (files := list(tmp_path.glob("reports/*/samples.journal"))) or files[0].stat().st_size < 3000:
            assert process.poll() is None
            time.sleep(0.1)
    finally:
        tritonserver = psutil.Process(record["pid"])
        for each in (*tritonserver.children(recursive=True), tritonserver):
            each.kill()
        launch("down", f"--state={state}")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Traceback" not in output
    told = rows(tmp_path / "reports")
    assert sorted(row["index"] for row in told) == list(range(120))
    assert {"completed", "failed"} <= {row["status"] for row in told} <= {"completed", "failed", "timed out"}
    assert all(row["reason"] for row in told if row["status"] != "completed")


def test_where_nothing_good_was_answered_every_arrival_failed_and_locust_has_no_response_times(tmp_path):
    with served(Website) as url:
        code, output = headless(
            "image", url, tmp_path, "--arrivals", "constant:rate=20", "--seconds", 3, "--csv", tmp_path / "run",
        )  # fmt: skip
    assert code == 1
    assert [row["status"] for row in rows(tmp_path)] == ["failed"] * 60
    [row, _] = csv.DictReader((tmp_path / "run_stats.csv").open())
    assert (row["Request Count"], row["Failure Count"]) == ("60", "60")
    assert {float(row[name] or 0) for name in ("50%", "99%", "Average Response Time", "Max Response Time")} == {0}
    assert "latency from the due time" not in output
    assert "Aggregated" not in output.partition("Shutting down")[2] and "Error report" in output
    assert "Response time percentiles" not in output


def test_corrupt_payloads_become_failed_samples_that_say_why(server, tmp_path):
    folder = tmp_path / "payloads"
    folder.mkdir()
    (folder / "cut.jpg").write_bytes((ROOT / "serving" / "smoke_test.jpg").read_bytes()[:300])
    for placement in ("client", "server"):
        reports = tmp_path / placement
        code, output = headless(
            "image", server.url, reports, "--placement", placement, "--payloads", folder,
            "--arrivals", "constant:rate=5", "--seconds", 1,
        )  # fmt: skip
        assert code == 1
        why = "HTTP 400" if placement == "server" else "client preprocessing"
        assert all(row["status"] == "failed" and why in row["reason"] for row in rows(reports))
        assert "Traceback" not in output
