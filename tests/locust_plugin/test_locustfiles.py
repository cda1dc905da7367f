"""Both locustfiles as a user runs them: the real Locust, the real server."""

import contextlib
import csv
import itertools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crossover.cli.main import main as crossover
from loadgen.samples import journal
from loadgen.samples.sample import FORMAT, STATUSES
from serving.ports import free_ports
from tests import forks
from tests.conftest import ROOT, launch, ports
from tests.test_unreachable import Website, served

LOCUST = ROOT / ".venv" / "bin" / "locust"
GRPC = "--transport", "grpc"
BOTH = pytest.mark.parametrize("workload", ["image", "audio"])


def locust(workload: str, *arguments, **popen) -> subprocess.Popen:
    return forks.start("locust", "-f", f"loadgen/{workload}.py", *arguments, **popen)


def anew(workload: str, *arguments) -> subprocess.Popen:
    """Locust as it is typed, in a process that has imported nothing yet."""
    command = [LOCUST, "-f", f"loadgen/{workload}.py", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def headless(workload: str, url: str, reports: Path, *arguments) -> tuple[int, str]:
    process = locust(workload, "--headless", "--host", url, "--reports", reports, *arguments)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def rows(reports: Path) -> list[dict]:
    """The samples of the one run there was."""
    [file] = reports.glob("*/samples.parquet")
    assert [other.name for other in file.parent.iterdir() if "worker" in other.name] == []
    return pyarrow.parquet.read_table(file).to_pylist()


@pytest.mark.parametrize("workload", ["audio", pytest.param("image", marks=pytest.mark.long)])
@pytest.mark.parametrize("placement", ["client", "server"])
@pytest.mark.parametrize("mode", ["sequential", "threads", "async"])
def test_every_arm_answers_every_due_time_and_exits_with_zero(server, tmp_path, workload, placement, mode):
    code, output = headless(
        workload, server.url, tmp_path, "--placement", placement, "--mode", mode,
        "--workers", 2, "--arrivals", "constant:rate=10", "--seconds", 1, "--percentile", 50,
    )  # fmt: skip
    assert code == (3 if "INVALID" in output else 0), output  # a busy machine may not keep the schedule
    assert ("VALID" in output) and ("INVALID: errors" not in output)
    assert "books: scheduled 10 = completed 10 + failed 0" in output
    assert sorted(row["index"] for row in rows(tmp_path)) == list(range(10))
    assert "Traceback" not in output


def test_another_transport_keeps_the_same_books(server, tmp_path):
    given = ["--placement", "server", "--arrivals", "constant:rate=10", "--seconds", 1, "--percentile", 50]
    code, output = headless("image", server.url, tmp_path, *given, "--grpc-port", server.grpc_port, *GRPC)
    assert code == (3 if "INVALID" in output else 0), output
    assert "books: scheduled 10 = completed 10 + failed 0" in output and "Traceback" not in output
    for row in rows(tmp_path):
        assert 0 < row["prepared"] <= row["sent"] < row["done"] and row["bytes_up"] and row["bytes_down"]
    [summary] = tmp_path.glob("*/summary.json")
    assert "server+grpc" in json.loads(summary.read_text())["arm"]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((*GRPC, "--grpc-port", 9), "server+grpc: no server answers gRPC at 127.0.0.1:9 ("),
        (("--transport", "base64"), "server+base64: base64 needs a model with a BYTES input that decodes it; image "),
    ],
)
def test_a_transport_that_does_not_reach_the_server_is_one_line_and_exit_code_two(server, tmp_path, flags, says):
    code, output = headless("image", server.url, tmp_path, "--placement", "server", *flags)
    lines = [line for line in output.splitlines() if not line.startswith("[")]  # Locust's log
    assert code == 2 and len(lines) == 1 and lines[0].startswith(says), output
    assert not list(tmp_path.iterdir())


def test_too_few_samples_for_the_percentile_are_a_result_that_is_not_valid_and_exit_code_three(server, tmp_path):
    once = ["--arrivals", "constant:rate=10", "--seconds", 1, "--percentile", 99]
    code, output = headless("audio", server.url, tmp_path, *once)
    assert code == 3
    assert "INVALID: too few samples: p99 of 10 completed requests (at least 459)" in output
    [summary] = tmp_path.glob("*/summary.json")
    content = json.loads(summary.read_text())
    assert (content["valid"], content["format"]) == (False, FORMAT)


def test_where_no_percentile_is_asked_for_the_verdict_vouches_for_what_the_arrivals_allow(server, tmp_path):
    code, output = headless("audio", server.url, tmp_path, "--arrivals", "constant:rate=10", "--seconds", 5)
    [summary] = tmp_path.glob("*/summary.json")
    content = json.loads(summary.read_text())
    assert content["percentile"] == 90
    assert "too few samples" not in [finding["rule"] for finding in content["findings"]]
    assert "p90 " in output and "p95 " not in output.partition("latency from")[2].splitlines()[0]
    if content["valid"]:  # a busy machine may not keep the schedule
        assert code == 0
        assert "VALID up to p90, the highest percentile that 50 arrivals allow (p95 takes 90)" in output.splitlines()


@pytest.mark.parametrize("arrivals", ["constant:rate=10", "closed:users=2"])
def test_crossover_report_reads_what_a_run_with_the_defaults_has_written(server, tmp_path, capsys, arrivals):
    headless("audio", server.url, tmp_path, "--arrivals", arrivals, "--seconds", 2)
    [run] = [path.parent for path in tmp_path.glob("*/run.json")]
    assert crossover(["report", str(run), "-o", str(tmp_path / "page")]) in (0, 3), capsys.readouterr()
    assert capsys.readouterr().out.startswith(f"audio server async:1: {arrivals}")


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


@pytest.mark.parametrize("processes", [[], ["--processes", 2]], ids=["one", "two"])
def test_where_nothing_answers_nothing_is_sent_and_one_line_says_so(tmp_path, processes):
    code, output = headless("image", "http://127.0.0.1:9", tmp_path, *processes)
    assert code == 1
    [line] = [line for line in output.splitlines() if not line.startswith("[")]  # Locust's own begin with the time
    refused = "no Triton server answers at http://127.0.0.1:9 (Connection refused)"
    assert line == f"{refused}; is the address right? `crossover status` has one"
    assert not list(tmp_path.iterdir())


def test_the_default_host_is_the_server_that_up_started(server, tmp_path):
    """Its record is that of the installation, wherever Locust is started; here another directory stands in for it."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; from common import address; "
    script += f"address.STATE = Path({str(server.state)!r}); from locust.main import main; main()"
    given = ["-f", ROOT / "loadgen" / "image.py", "--headless", "--arrivals", "constant:rate=10"]
    command = [sys.executable, "-c", script, *given]
    done = subprocess.run([*command, "--seconds", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert "completed 10" in done.stderr, done.stderr


@pytest.mark.parametrize("workload", ["image", "audio", "own"])
def test_flags_lists_what_locust_s_help_cannot(workload):
    given = ["--workload", "audio"] if workload == "own" else []
    output, _ = (process := anew(workload, *given, "--flags")).communicate(timeout=300)
    assert process.returncode == 0
    assert "--in-flight-cap" in output and f"(default: poisson:rate={4 if workload == 'image' else 1})" in flat(output)
    assert "docs/load-generator.md" in output and "Starting Locust" not in output


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-t", "20s"], "-t: a run lasts as long as its schedule: say --seconds 20"),
        (["-u", "5"], "-u: arrivals make the load, not users: say .*closed:users=5"),
        (["-r", "2"], "-r: arrivals make the load, not users"),
        (["--web-port", "99999"], "cannot listen on 127.0.0.1:99999: a port is a number from 0 to 65535; choose ano"),
        (["--web-host", "nosuch.invalid"], "Locust's page cannot listen on nosuch.invalid:8089"),
        (["--metrics-port", "99999"], "page of metrics cannot listen on 127.0.0.1:99999: a port is a number from 0 to"),
        (["--metrics-port", "8089"], "--metrics-port and --web-port must differ, not both be 8089"),
        (["--worker", "--metrics-port", "9646"], "--metrics-port is the master's: it counts what all of its"),
        (["--secondz", "3"], "Did you mean '--seconds'.* --flags, or docs/load-generator.md"),
        (["--placement", "moon"], "choose from 'client', 'server'.* --flags, or docs/load-generator.md"),
    ],
)
def test_what_locust_would_ignore_or_answer_with_a_traceback_is_one_line_and_exit_code_two(arguments, says):
    output, _ = (process := locust("image", *arguments)).communicate(timeout=300)
    assert process.returncode == 2
    assert re.fullmatch(f".*{says}.*\n", output), output


def test_two_locustfiles_are_one_line_and_exit_code_two():
    output, _ = (process := locust("image.py,loadgen/audio")).communicate(timeout=300)
    assert process.returncode == 2
    assert output == "two locustfiles (image and audio): a run sends one workload, so give -f one file\n"


@pytest.mark.parametrize(("page", "flag"), [("page", "--web-port"), ("page of metrics", "--metrics-port")])
def test_a_port_that_is_taken_is_one_line_and_exit_code_two(page, flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        output, _ = (process := locust("image", flag, port)).communicate(timeout=300)
    assert process.returncode == 2
    says = f"Locust's {page} cannot listen on 127.0.0.1:{port}: address already in use"
    assert output == f"{says}; choose another with {flag}\n"


@BOTH
def test_ctrl_c_while_the_locustfile_imports_its_libraries_is_one_line(tmp_path, workload):
    """numpy is waited for: it is the first of many, and nothing of ours could be asked before Locust is there."""
    process = anew(workload, "--headless", "--reports", tmp_path)
    while "numpy" not in (maps := Path(f"/proc/{process.pid}/maps").read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert (process.returncode, output) == (130, "interrupted before anything was sent\n"), maps.count("\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--arrivals", "gama:rate=3"], "try one of constant, uniform, poisson"),
        (["--arrivals", "poisson:rate=-1"], "rate must be a positive number"),
        (["--arrivals", "poisson:rate=0.001"], "none within 30 s"),
        (["--arrivals", "trace:file=no.csv"], "no.csv"),
        (["--grpc-port", "x"], "grpc-port must be a whole number"),
        (["--percentile", "100"], "percentile must lie between 0 and 100"),
        (["--placement", "moon"], "choose from 'client', 'server'"),
        (["--mode", "async", "--workers", "0"], "workers and in-flight cap must be at least 1"),
        (["--seconds", "-3"], "seconds must be"),
        (["--payloads", "/no/such/directory"], "cannot read payloads: No such file or directory"),
        (["--payloads", "tests"], "no payloads in tests"),
        (["--host", "ftp://triton"], "ftp is not supported"),
        (["--host", "https://triton/v2/health"], "leave out /v2 and what follows"),
        (["--host", "http://triton?v=1"], "the address has a query"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_two(tmp_path, arguments, says):
    code, output = headless("image", "http://127.0.0.1:9", tmp_path, *arguments)
    assert code == 2
    assert says in output
    assert "Traceback" not in output
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("given", [["--master"], ["--processes", 2, "--master-port"]], ids=["master", "workers"])
def test_a_master_that_cannot_listen_says_so_in_one_line(tmp_path, given):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = [*given, port] if given[-1] == "--master-port" else given
        code, output = headless("audio", "http://127.0.0.1:9", tmp_path, *given, "--master-bind-port", port)
    assert code == 2
    assert output.strip() == f"Locust's master cannot listen on 127.0.0.1:{port}: address already in use"


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
    # The limit may come within a record, which the journal takes for a full disk, or behind one.
    fault = "samples: (File too large|No space left on device)"
    assert re.search(f"{fault}; the run ends here", output.partition("books:")[0])
    assert re.search(rf"INVALID: interrupted: {fault} \(must run to its end\)", output) and output.count("INVALID") == 1
    assert "lost or doubled" not in output
    assert "Traceback" not in output
    [file] = tmp_path.glob("*/samples.journal")
    records, _ = journal.read(file)
    assert len(records) == 5000 // journal.RECORD.itemsize
    assert (records["done"] > 0).all()


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


def test_two_worker_processes_offer_exactly_the_one_process_schedule(server, tmp_path):
    arguments = ["--arrivals", "poisson:rate=40", "--seconds", 2, "--seed", 3, "--percentile", 50]
    headless("image", server.url, tmp_path / "one", *arguments)
    code, output = headless("image", server.url, tmp_path / "two", *arguments, "--processes", 2)
    assert code in (0, 3), output
    one, two = (sorted((r["index"], r["due"], r["payload"]) for r in rows(tmp_path / name)) for name in ("one", "two"))
    assert one == two
    assert "unfinished 0" in output


def test_a_worker_that_is_killed_is_in_the_books_and_its_own_journal_has_what_it_finished(server, tmp_path):
    [port] = free_ports(1)
    process = locust(
        "image", "--headless", "--host", server.url, "--reports", tmp_path, "--processes", 2,
        "--arrivals", "constant:rate=40", "--seconds", 6, "--metrics-port", port,
    )  # fmt: skip
    pages: list[dict] = []
    threading.Thread(target=watch_metrics, args=(port, process, pages)).start()
    while not (files := list(tmp_path.glob("*/worker-1.journal"))) or files[0].stat().st_size < 1500:
        assert process.poll() is None
        time.sleep(0.05)
    owner = next(child for child in psutil.Process(process.pid).children() if files[0] in opened(child))
    owner.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "worker 1 of 2 ended without a word" in output
    assert "INVALID: interrupted" in output
    told = pyarrow.parquet.read_table(next(tmp_path.glob("*/samples.parquet"))).to_pylist()
    assert sorted(row["index"] for row in told) == list(range(240))
    missing = [row for row in told if row["status"] == "unfinished"]
    assert missing and all(row["index"] % 2 == 1 and row["reason"] == "its worker died" for row in missing)
    own, _ = journal.read(files[0])
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


def opened(process: psutil.Process) -> list[Path]:
    return [Path(file.path) for file in process.open_files()]


def test_closed_loop_users_wait_think_and_are_counted(server, tmp_path):
    code, output = headless(
        "audio", server.url, tmp_path, "--arrivals", "closed:users=3,think=0.2", "--seconds", 2, "--percentile", 50,
    )  # fmt: skip
    assert code in (0, 3), output
    assert "None" not in output and " ms late" not in output
    told = sorted(rows(tmp_path), key=lambda row: row["index"])
    assert [row["index"] for row in told] == list(range(len(told)))
    assert 3 <= len(told) <= 3 * 10 + 3  # nobody comes back sooner than after 0.2 s
    busy = sorted([(row["due"], 1) for row in told] + [(row["done"], -1) for row in told])
    assert max(itertools.accumulate(change for _, change in busy)) <= 3


def test_every_column_of_the_samples_file_is_documented_and_its_instants_are_in_order(server, tmp_path):
    headless("audio", server.url, tmp_path, "--arrivals", "constant:rate=5", "--seconds", 1)
    [file] = tmp_path.glob("*/samples.parquet")
    stored = pyarrow.parquet.read_table(file)
    assert all(field.metadata[b"doc"] for field in stored.schema)
    assert json.loads(stored.schema.metadata[b"crossover"])["arrivals"] == "constant:rate=5"
    for row in stored.to_pylist():
        assert row["status"] in STATUSES
        assert row["due"] <= row["fired"] <= row["began"] <= row["prepared"] <= row["sent"] <= row["done"]


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


def live_rows(base: str, process: subprocess.Popen) -> list[dict]:
    """The runs of the Crossover tab, the latest first."""
    return json.loads(fetch(f"{base}/crossover/runs", process))["runs"]


def fetch(url: str, process: subprocess.Popen) -> str:
    """GET, as soon as the page is there."""
    while True:
        assert process.poll() is None, process.stdout.read()
        try:
            return urllib.request.urlopen(url, timeout=120).read().decode()
        except urllib.error.URLError:
            time.sleep(0.2)


def post(url: str, body: str) -> str:
    return urllib.request.urlopen(url, body.encode(), timeout=120).read().decode()


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


def test_threads_that_decode_at_once_under_locust_do_not_wait_for_each_other_for_ever():
    """soundfile has one lock for all threads; gevent's, which it would get under Locust, left some asleep."""
    program = """
import sys
sys.argv = ["locust"]
import loadgen.audio
import soundfile
from loadgen import real_threads
from preprocess.audio import waveform
from workloads.audio import AUDIO
ended = real_threads.SimpleQueue()
[song] = [each.encoded for each in AUDIO.load("") if each.name == "song-48k-mono.ogg"]
def decode():
    for _ in range(60):
        waveform(song)
    ended.put(None)
for _ in range(3):
    real_threads.start_thread(decode, ())
for _ in range(3):
    ended.get(timeout=100)
print("ended")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.stdout == "ended\n", done.stderr
