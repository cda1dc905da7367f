"""Every command that asks a server, pointed at none: one line, an exit code that is not 0, and nothing half-written."""

import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import null_server
from benchmarks.side_by_side import split_cores
from tests import forks
from tests.conftest import ROOT

COMMANDS = {
    "compare": ["-m", "crossover", "compare", "image", "--reports", "{out}", "--url", "{url}"],
    "capacity": ["-m", "crossover", "capacity", "image", "--reports", "{out}", "--url", "{url}"],
    "sweep": ["-m", "crossover", "sweep", "image", "--sweeps=size", "--reports", "{out}", "--url", "{url}"],
    "efficiency": ["-m", "crossover", "efficiency", "image", "--reports", "{out}", "--url", "{url}"],
    "clients": ["-m", "crossover", "clients", "image", "--reports", "{out}", "--url", "{url}"],
    "load": ["-m", "crossover", "load", "image", "--reports", "{out}", "--url", "{url}"],
    "check": ["-m", "crossover", "check", "image", "--url", "{url}"],
    "infer": ["-m", "crossover", "infer", "serving/smoke_test.jpg", "--url", "{url}"],
    "dispatch": ["-m", "benchmarks.dispatch", "--seconds=1", "--repetitions=1", "--url", "{url}"],
    "ours": ["-m", "benchmarks.crossover_client", "{url}", "small", "--rate=20", "--seconds=0.5"],
    "overload": ["-m", "crossover", "overload", "image", "--url", "{url}"],
    "soak": ["-m", "crossover", "soak", "--url", "{url}"],
    "locust": [
        "-m", "locust", "-f", "loadgen/image.py", "--headless", "--seconds=1", "--reports", "{out}", "--host", "{url}",
    ],
}  # fmt: skip
ALL = pytest.mark.parametrize("command", COMMANDS)


def run(command: str, url: str, out) -> tuple[int, list[str]]:
    """(exit code, lines that it printed)"""
    arguments = [each.format(url=url, out=out) for each in COMMANDS[command]]
    if arguments[1] in forks.PRELOADED:
        done = forks.run(*arguments[1:], timeout=200)
    else:
        whole = [sys.executable, *arguments]
        done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    said = done.stdout + done.stderr
    assert "Traceback" not in said and "object at 0x" not in said, said
    return done.returncode, said.strip().splitlines()


def refuses(command: str, url: str, out, says: str) -> None:
    code, lines = run(command, url, out)
    assert code in (1, 2), lines
    if command == "locust" and any("books: " in line for line in lines):  # what a server answers is a sample of it
        assert any("INVALID: errors: " in line for line in lines)
        names = {path.name for path in out.rglob("*") if path.is_file()}
        assert names == {"run.json", "summary.json", "samples.parquet"}
        return
    assert re.search(says, lines[-1], re.I), lines
    assert COMMANDS[command][1] != "crossover" or lines[-1].startswith(f"crossover {command}: "), lines
    if command == "locust":
        lines = lines[1:]  # its name and version
    if command != "sweep":  # which says first what it plans
        assert len(lines) == 1
    assert not out.exists() or not [path for path in out.rglob("*") if path.is_file() and path.name != "run.json"]


@ALL
def test_at_a_closed_port(command, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refuses(command, f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "out", "refused")


@pytest.fixture(scope="module")
def without_models():
    """A real Triton with other models."""
    with null_server.null_server(split_cores()[1]) as server:
        yield server.url


@pytest.mark.parametrize("command", [each for each in COMMANDS if each != "ours"])  # which is made for just that one
def test_at_a_server_without_the_models(command, without_models, tmp_path):
    refuses(command, without_models, tmp_path / "out", "unknown model|has no model")


class Website(BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<html>It works!</html>" if self.command == "GET" else b'{"hello": [1, 2]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class OtherJson(Website):
    def answer(self):
        self.command = "JSON"
        super().answer()

    do_GET = do_POST = answer


class OtherPages(Website):
    """What most web servers answer: they have no page of that address."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_error(404)

    do_GET = do_POST = answer


@contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def banner():
    """What greets and hangs up, as an SSH server does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        threading.Thread(target=greet, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


MAIN = ("compare", "infer", "locust")
OTHERS = {"html": lambda: served(Website), "json": lambda: served(OtherJson), "ssh": banner}


@pytest.mark.parametrize(
    ("command", "other"),
    [
        *((each, kind) for each in MAIN for kind in OTHERS),
        *(pytest.param(each, "html", marks=pytest.mark.long) for each in COMMANDS if each not in MAIN),
    ],
)
def test_at_something_else(command, other, tmp_path):
    with OTHERS[other]() as url:
        refuses(command, url, tmp_path / "out", "answer|not sent|malformed|reset|ssh|version|none of|no outputs")


@pytest.mark.parametrize("command", ["compare", "check", "load"])
@pytest.mark.parametrize(
    ("handler", "says"), [(OtherPages, r" is HTTP 404 there\)"), (Website, r"\(its answer is no JSON\)")]
)
def test_a_web_server_is_named_as_no_triton_without_its_html_or_a_parsers_words(command, handler, says, tmp_path):
    with served(handler) as url:
        code, lines = run(command, url, tmp_path / "out")
    assert (code, len(lines)) == (1, 1)
    assert re.search(rf"no Triton server answers at {url} .*{says}; is the address right\?", lines[0]), lines


@ALL
def test_an_address_that_would_be_sent_in_clear_text_is_refused_without_its_secret(command, tmp_path):
    code, lines = run(command, "https://me:hunter2@triton", tmp_path / "out")
    assert code == 2
    assert "before an @" in lines[-1]
    assert "hunter2" not in "\n".join(lines)
    assert not (tmp_path / "out").exists()


@ALL
def test_the_grpc_port_is_no_http_and_no_binary_is_printed(server, tmp_path, command):
    if command in ("dispatch", "ours"):
        pytest.skip("a benchmark, for whoever knows its server")
    port = server.grpc_port
    refuses(command, f"http://localhost:{port}", tmp_path, rf"there is no HTTP\); is {port} its gRPC port\?")
