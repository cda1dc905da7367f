"""Both locustfiles as a user runs them: the real Locust, the real server."""

import itertools
import json
import subprocess
import sys

import pyarrow.parquet
import pytest

from crossover.cli.main import main as crossover
from loadgen.samples.sample import FORMAT, STATUSES
from tests.conftest import ROOT
from tests.locust_plugin.locust_runs import headless, rows

GRPC = "--transport", "grpc"


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


def test_the_default_host_is_the_server_that_up_started(server, tmp_path):
    """Its record is that of the installation, wherever Locust is started; here another directory stands in for it."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; from common import address; "
    script += f"address.STATE = Path({str(server.state)!r}); from locust.main import main; main()"
    given = ["-f", ROOT / "loadgen" / "image.py", "--headless", "--arrivals", "constant:rate=10"]
    command = [sys.executable, "-c", script, *given]
    done = subprocess.run([*command, "--seconds", "1"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert "completed 10" in done.stderr, done.stderr


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


def test_threads_that_decode_at_once_under_locust_do_not_wait_for_each_other_for_ever():
    """soundfile has one lock for all threads; gevent's, which it would get under Locust, left some asleep."""
    program = """
import sys
sys.argv = ["locust"]
import loadgen.audio
import soundfile
from common import real_threads
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
