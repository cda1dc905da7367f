"""`benchmarks.loadgen`: what it reads of perf_analyzer and makes of samples, and that it leaves nothing. No timing."""

import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from benchmarks import crossover_client, h2load, loadgen, null_server, perf_analyzer, side_by_side, tables, wires
from benchmarks.client_process import Clients
from loadgen.samples.sample import COMPLETED, FAILED, RECORD, STATUSES
from serving import Failure, local, state
from tests.conftest import ROOT

REPORT = """\
Request Rate,Inferences/Second,Client Send,Server Queue,p50 latency,p90 latency,p95 latency,p99 latency
100,99.8412,32,851,1228,1345,1382,1532

"""


def test_its_report_is_read_in_requests_per_second_and_ms(tmp_path):
    (tmp_path / "csv").write_text(REPORT)
    latency = {"p50": 1.228, "p90": 1.345, "p95": 1.382, "p99": 1.532}
    assert perf_analyzer.read(tmp_path / "csv") == {"rate": 99.8412, "latency": latency}


@pytest.mark.parametrize("content", ["", "Inferences/Second\n", "Inferences/Second\n1\n", REPORT.replace("1382", "")])
def test_a_report_without_figures_is_a_failure_in_one_line(tmp_path, content):
    (tmp_path / "csv").write_text(content)
    with pytest.raises(Failure, match=r"^perf_analyzer's report cannot be read: .*$"):
        perf_analyzer.read(tmp_path / "csv")


@pytest.mark.parametrize(("name", "shape"), [("small", "16"), ("jpeg", "7"), ("tensor", "3,224,224")])
def test_it_is_told_the_shape_of_what_it_sends(tmp_path, name, shape):
    (tmp_path / "bytes").write_bytes(b"\0" * 7)
    rival = perf_analyzer.PerfAnalyzer(tmp_path / "pa", {})
    command = rival.command("http://127.0.0.1:1", null_server.LOADS[name], tmp_path, tmp_path / "csv", ["--async"], 3)
    assert command[command.index("--shape") + 1] == f"bytes:{shape}"
    assert command[command.index("-u") + 1] == "127.0.0.1:1"
    assert command[command.index("-p") + 1] == "1000"  # three windows in three seconds


def test_the_binary_is_taken_out_of_the_wheel_and_can_be_run(tmp_path):
    wheel = tmp_path / "tritonclient-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("tritonclient-1.data/data/bin/perf_analyzer", "#!/bin/sh\necho here\n")
    perf_analyzer.extract(wheel, tmp_path / "perf_analyzer")
    assert subprocess.check_output([tmp_path / "perf_analyzer"]) == b"here\n"
    assert [path.name for path in tmp_path.iterdir()] == ["perf_analyzer"]


def test_a_binary_that_does_not_run_is_a_failure_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "perf_analyzer").write_text("#!/bin/sh\necho 'no library libb64' >&2\nexit 127\n")
    (tmp_path / "perf_analyzer").chmod(0o755)
    monkeypatch.setattr(perf_analyzer, "libraries", lambda links: "")
    with pytest.raises(Failure, match=r"^perf_analyzer does not run here: no library libb64$"):
        perf_analyzer.fetch(tmp_path)


def test_it_is_pinned_to_the_version_and_the_hash():
    pinned = perf_analyzer.PINNED.read_text()
    assert "tritonclient==2.49.0" in pinned
    assert "--hash=sha256:" in pinned


def test_h2loads_log_is_read_in_ms_without_its_warm_up(tmp_path):
    rows = [(1_700_000_000_000_000 + i, 200, 9000 if i < 2 else 250) for i in range(20)]
    h2load.log(tmp_path).write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    latency = dict.fromkeys(perf_analyzer.PERCENTILES, 0.25)
    assert h2load.read(h2load.log(tmp_path), 2.0) == {"rate": 10, "latency": latency}


@pytest.mark.parametrize("status", ["400", "-1"])
def test_a_request_of_h2loads_that_failed_is_a_failure(tmp_path, status):
    h2load.log(tmp_path).write_text(f"1\t200\t250\n2\t{status}\t250\n")
    with pytest.raises(Failure, match=r"^1 of h2load's 2 requests failed$"):
        h2load.read(h2load.log(tmp_path), 2.0)


@pytest.mark.parametrize("load", null_server.LOADS.values(), ids=null_server.LOADS)
def test_what_is_sent_is_never_copied(load):
    content = load.content()
    tensor = load.tensor(content)
    assert tensor.nbytes == len(content)
    assert np.shares_memory(tensor, np.frombuffer(content, np.uint8))


def test_the_payloads_are_those_of_the_comparison():
    sizes = {name: len(load.content()) for name, load in null_server.LOADS.items()}
    assert sizes.pop("jpeg") == pytest.approx(200e3, rel=0.05)
    assert sizes == {"small": 64, "tensor": 602_112}


def test_our_figures_leave_the_warm_up_out_and_count_errors():
    records = np.zeros(100, RECORD)
    records["due"] = np.arange(100) * 10**7  # 100 per second
    records["sent"] = records["due"] + 10**6
    records["done"] = records["sent"] + 2 * 10**6
    records["done"][:5] += 3 * 10**7  # connecting
    records["status"] = STATUSES.index(COMPLETED)
    records["status"][-1] = STATUSES.index(FAILED)
    found = crossover_client.report(records, cpu_seconds=0.05)
    assert (found["requests"], found["errors"]) == (100, 1)
    assert found["rate"] == pytest.approx(100)
    assert found["cpu_ms"] == pytest.approx(0.5)
    assert set(found["latency"].values()) == {2.0}
    assert set(found["due"].values()) == {3.0}


def test_a_ratio_is_of_the_better_rival_in_the_same_turn():
    mine = [{"rate": 10.0}, {"rate": 30.0}]
    theirs = [[{"rate": 5.0}, {"rate": 10.0}], [{"rate": 4.0}, {"rate": 15.0}]]
    assert tables.ratios(mine, theirs, max, "rate") == [2.0, 2.0]


def test_the_table_of_wires_has_the_better_rival_of_each():
    def runs(*rates):
        return [{"rate": rate, "cpu_ms": 1e3 / rate} for rate in rates]

    by_wire = {"grpc": {"pa --sync": runs(100, 100), "pa --async": runs(200, 210), "ours": runs(300, 210)}}
    head, row = wires.summarise("jpeg", by_wire).strip().splitlines()
    assert head.split() == ["jpeg", "transport", "ours", "pa", "ratio", "cpu", "pa", "cpu"]
    assert row.split() == ["gRPC", "255", "205", "1.25", "(1.00-1.50)", "4.048", "4.881"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repetitions", "0"], "--repetitions must be at least 1, not 0"),
        (["--seconds", "nan"], "--seconds must be at least 0.5, not nan"),
        (["--minutes", "-1"], "--minutes must be at least 0.1, not -1"),
        (["--rate", "0"], "--rate must be at least 1, not 0"),
        (["--payloads", "png"], "invalid choice: 'png' (choose from"),
        (["--parts", "all"], "invalid choice: 'all' (choose from"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments, words, capsys):
    check_refusal(loadgen, arguments, words, capsys)


def check_refusal(benchmark, arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        benchmark.main(arguments)
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--repetitions", "0"], "--repetitions must be at least 1, not 0"),
        (["--seconds", "nan"], "--seconds must be at least 0.5, not nan"),
        (["--wires", "udp"], "invalid choice: 'udp' (choose from"),
    ],
)
def test_a_bad_argument_of_wires_is_one_line_and_exit_code_2(arguments, words, capsys):
    check_refusal(wires, arguments, words, capsys)


@pytest.mark.parametrize(("benchmark", "name"), [(loadgen, "bench-loadgen"), (wires, "bench-wires")])
def test_without_perf_analyzer_it_says_so_in_one_line(tmp_path, monkeypatch, capsys, benchmark, name):
    def missing(cache):
        raise Failure("perf_analyzer cannot be downloaded from the package index: no network")

    monkeypatch.setattr(perf_analyzer, "fetch", missing)
    assert benchmark.main(["--reports", str(tmp_path)]) == 1
    said = f"{name}: perf_analyzer cannot be downloaded from the package index: no network\n"
    assert capsys.readouterr().err == said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other_wires", [("small",), pytest.param(("jpeg", "tensor"), marks=pytest.mark.long)])
def test_the_sinks_answer_our_requests_and_those_of_h2load(tmp_path, other_wires):
    """Every sink over HTTP, some by the other wires, too."""
    client, cores = side_by_side.split_cores()
    with null_server.null_server(cores, shm=True) as server:
        clients, third = Clients(server, None, client, tmp_path), h2load.is_installed()
        for name in null_server.LOADS:
            assert clients.run_crossover(name, "--rate", 50, "--seconds", 0.4)["requests"] == 20
            for wire in ("grpc", "shm") if name in other_wires else ():
                flags = "--transport", wire, *wires.find_access(server)
                assert clients.run_crossover(name, "--rate", 50, "--seconds", 0.4, *flags)["requests"] == 20
            if third:
                assert clients.run_h2load(name, 50, 1)["latency"]["p50"] > 0
        asked = {name: model["inference_stats"]["success"]["count"] for name, model in server.statistics().items()}
    assert set(asked) == {"jpeg", "small", "tensor"}
    ours = {name: 60 if name in other_wires else 20 for name in asked}
    assert all(asked[name] > ours[name] if third else asked[name] == ours[name] for name in asked)


def test_interrupted_it_leaves_nothing(tmp_path):
    """Ctrl-C while the server comes up and the models are loaded; with the fetching of perf_analyzer left out."""
    code = (
        f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}; from benchmarks import loadgen, perf_analyzer;"
        "from loadgen import command; perf_analyzer.fetch = lambda cache: None;"
        "raise SystemExit(command.run(lambda: loadgen.main([])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (logs := [log for log in tmp_path.glob("*/log") if "Started HTTPService" in log.read_text()]):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    name = state.name(logs[0].parent)
    assert local.processes(name)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130, output
    assert "interrupted: the server is stopped" in output.splitlines()
    assert not local.processes(name)
    assert not list(local.SHM.glob(f"{name}.*"))
    assert not list(tmp_path.iterdir())
