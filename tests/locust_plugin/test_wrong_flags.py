"""What keeps a locustfile from running is one line: wrong flags, ports that are taken, a server that is not there."""

import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.locust_plugin.locust_runs import anew, flat, headless, locust

GRPC = "--transport", "grpc"
BOTH = pytest.mark.parametrize("workload", ["image", "audio"])


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


@pytest.mark.parametrize("processes", [[], ["--processes", 2]], ids=["one", "two"])
def test_where_nothing_answers_nothing_is_sent_and_one_line_says_so(tmp_path, processes):
    code, output = headless("image", "http://127.0.0.1:9", tmp_path, *processes)
    assert code == 1
    [line] = [line for line in output.splitlines() if not line.startswith("[")]  # Locust's own begin with the time
    refused = "no Triton server answers at http://127.0.0.1:9 (Connection refused)"
    assert line == f"{refused}; is the address right? `crossover status` has one"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workload", ["image", "audio", "own"])
def test_flags_lists_what_locust_s_help_cannot(workload):
    given = ["--workload", "audio"] if workload == "own" else []
    output, _ = (process := anew(workload, *given, "--flags")).communicate(timeout=300)
    assert process.returncode == 0
    assert "--in-flight-cap" in output and f"(default: poisson:rate={4 if workload == 'image' else 1})" in flat(output)
    assert "docs/load-generator.md" in output and "Starting Locust" not in output


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


@pytest.mark.parametrize("given", [["--master"], ["--processes", 2, "--master-port"]], ids=["master", "workers"])
def test_a_master_that_cannot_listen_says_so_in_one_line(tmp_path, given):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = [*given, port] if given[-1] == "--master-port" else given
        code, output = headless("audio", "http://127.0.0.1:9", tmp_path, *given, "--master-bind-port", port)
    assert code == 2
    assert output.strip() == f"Locust's master cannot listen on 127.0.0.1:{port}: address already in use"
