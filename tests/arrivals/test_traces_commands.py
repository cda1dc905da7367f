"""A trace in Locust, on its command line and in its page, and in bench: refused in one line, or read and said."""

import json
import re

from tests.commands import only, refuses, run
from tests.faults.test_strangers_page import page, send
from tests.locust_plugin.locust_runs import headless

AMBIGUOUS = "queue,model\n1.5,a\n"
REFUSED = "trace.csv, line 1: no name tells which column holds the arrivals: queue, model; say column=NAME"
EPOCH = "id,timestamp\n" + "".join(f"7,{1_700_000_000_000 + 50 * i}\n" for i in range(20))
READ = "column 'timestamp', milliseconds since 1970 (recognised by their size; unit= says otherwise)"


def write(folder, text: str) -> str:
    (folder / "trace.csv").write_text(text)
    return f"trace:file={folder / 'trace.csv'}"


def test_locust_refuses_a_trace_in_one_line(tmp_path):
    for text, says in [
        (AMBIGUOUS, REFUSED),
        ("100.5\n", "1 arrival from 100.5 to 100.5 s; 0 arrivals from its 0 to 30 s"),
    ]:
        code, output = headless("image", "http://127.0.0.1:9", tmp_path, "--arrivals", write(tmp_path, text))
        assert code == 2 and "Traceback" not in output
        assert says in output.splitlines()[-1]


def test_locusts_page_refuses_a_trace_in_one_line(tmp_path):
    with page(tmp_path) as run:
        status, answer = send(run, "/swarm", f"arrivals={write(tmp_path, AMBIGUOUS)}")
    assert status == 200 and json.loads(answer)["success"] is False
    assert json.loads(answer)["message"].endswith(REFUSED)


def test_locust_logs_and_keeps_how_a_trace_was_read(server, tmp_path):
    reports = tmp_path / "reports"
    code, output = headless("audio", server.url, reports, "--arrivals", write(tmp_path, EPOCH), "--seconds", 1)
    assert code in (0, 3), output
    assert READ in output and "scheduled 20 = completed 20" in output
    for name in ("run.json", "summary.json"):
        assert READ in json.loads((only(reports) / name).read_text())["trace"]


SHORT = ["audio", "--seconds", 6, "--rounds", 1, "--modes", "async"]


def find(server) -> list:
    return ["--url", server.url, "--state", server.state]


def test_bench_refuses_a_trace_in_one_line(tmp_path, capsys):
    refuses("bench", ["image", "--arrivals", write(tmp_path, AMBIGUOUS)], REFUSED, capsys)


def test_bench_prints_and_keeps_how_a_trace_was_read(server, tmp_path):
    reports = tmp_path / "reports"
    code, output = run("bench", *SHORT, *find(server), "--arrivals", write(tmp_path, EPOCH), "--reports", reports)
    assert code in (0, 3), output
    assert READ in output
    assert READ in json.loads((only(reports) / "run.json").read_text())["workloads"]["audio"]["trace"]


def test_bench_says_why_a_trace_has_no_arrival_in_a_block(server, tmp_path):
    code, output = run(
        "bench", *SHORT, *find(server), "--arrivals", write(tmp_path, "5000\n"), "--reports", tmp_path / "reports"
    )
    assert code == 2
    [seconds] = re.findall(r"none in a trial of ([\d.]+) s \(audio\)", output)
    assert f"1 arrival from 5000 to 5000 s; 0 arrivals from its 0 to {seconds} s" in output
